//! Shape inference that degrades: what cannot be known is reported at the node where it first arose, the rest goes on.
//!
//! Extents are numbers, names or unknown. Small integer tensors are followed element by element, so that the shape
//! arithmetic of exporters (Shape, Gather, Concat, …, Reshape) resolves, with names as well as with numbers.

mod constants;
mod context;
mod control;
mod conv;
mod data;
mod declared;
mod dims;
mod elementwise;
mod fix;
#[cfg(test)]
mod fuzz;
mod infer;
mod linear;
mod merge;
mod normalization;
mod options;
mod pool;
mod quantization;
mod recurrent;
mod reduction;
mod registry;
mod report;
mod reshape;
mod resize;
mod select;
mod slice;
mod unary;

use std::collections::HashSet;

use options::Env;

pub use fix::fix_dims;
pub use merge::merge_dims;
pub use options::ShapeOptions;
pub use report::{ShapeIssue, ShapeIssueKind, ShapeReport};

use crate::{Dim, Model, Patch, TensorType, ValueInfo, ValueType};

/// Infers element type and shape of every tensor of the main graph and records them, so that
/// [`crate::Graph::tensor_type`] answers; declared outputs of the graph are brought into line.
///
/// Types that the model declares are used where inference cannot do better. Where they contradict what is inferred,
/// this is reported and the inferred type wins. A pass that changes the shape of a tensor must therefore forget its
/// recorded type ([`Patch::forget_type`]) before inference runs again, or the old one is reported.
///
/// Never fails: what is not known is in the report, once, at the node where it first arose.
pub fn infer_shapes(model: &mut Model) -> ShapeReport {
    infer_shapes_with(model, &ShapeOptions::default())
}

/// As [`infer_shapes`], with options.
pub fn infer_shapes_with(model: &mut Model, options: &ShapeOptions) -> ShapeReport {
    let mut report = ShapeReport::default();
    let mut patch = Patch::new();
    {
        let graph = &model.graph;
        let scope =
            infer::graph(graph, &Env { opsets: &model.opsets, options, meetings: None }, None, &mut report);
        let outputs: HashSet<&str> = graph.outputs().iter().map(|v| v.name.as_str()).collect();
        for name in graph.nodes().flat_map(|(_, n)| &n.outputs).filter(|n| !n.is_empty()) {
            let Some(fact) = scope.get(name) else { continue };
            report.tensors += 1;
            if fact.ty.as_ref().is_some_and(complete) {
                report.resolved += 1;
            } else if let Some(cause) = fact.cause {
                report.affected.insert(name.clone(), cause);
            }
            if let Some(ty) = fact.ty.as_ref().filter(|_| !outputs.contains(name.as_str()))
                && graph.types.get(name).and_then(ValueType::tensor) != Some(ty)
            {
                patch.set_type(name, ty.clone());
            }
        }
        // The boundary says what outputs are; types of what is gone or stands there would only contradict it.
        for (name, _) in graph.types() {
            if outputs.contains(name) || !graph.producers.contains_key(name) {
                patch.forget_type(name);
            }
        }
        let updated: Vec<ValueInfo> = graph
            .outputs()
            .iter()
            .map(|v| match scope.get(&v.name).and_then(|f| f.ty) {
                Some(ty) => ValueInfo { name: v.name.clone(), ty: ValueType::Tensor(ty) },
                None => v.clone(),
            })
            .collect();
        if updated != graph.outputs() {
            patch.set_boundary(graph.inputs().to_vec(), updated);
        }
    }
    if !patch.is_empty()
        && let Err(e) = model.graph.apply("shape inference", patch)
    {
        tracing::error!(error = %e, "types could not be recorded");
    }
    tracing::debug!(
        tensors = report.tensors,
        resolved = report.resolved,
        issues = report.issues.len(),
        "inferred shapes"
    );
    report
}

/// What the recorded types say, without inferring anything: for models whose inference was skipped.
pub fn known_shapes(model: &Model) -> ShapeReport {
    let mut report = ShapeReport::default();
    let mut cause = None;
    for name in model.graph.nodes().flat_map(|(_, n)| &n.outputs).filter(|n| !n.is_empty()) {
        report.tensors += 1;
        if model.graph.tensor_type(name).as_ref().is_some_and(complete) {
            report.resolved += 1;
        } else {
            let why = || "no shapes were inferred, and the model does not declare this one".to_owned();
            let cause = *cause.get_or_insert_with(|| {
                report.issues.push(ShapeIssue {
                    node: format!("tensor {name:?}"),
                    kind: ShapeIssueKind::Unknown,
                    reason: why(),
                });
                0
            });
            report.affected.insert(name.clone(), cause);
        }
    }
    report
}

/// Whether every extent has a number or a name.
fn complete(ty: &TensorType) -> bool {
    ty.shape.as_ref().is_some_and(|dims| !dims.contains(&Dim::Unknown))
}
