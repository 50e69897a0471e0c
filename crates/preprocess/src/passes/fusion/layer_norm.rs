//! Decomposed layer normalizations.

use shiftwise_graph::{DataType, Graph, Model, Node, NodeId, Outcome, Patch, Rule, Tensor};

use super::instance_norm::{kept_or_fresh, over_images};
use super::needs_opset;
use super::normalized::{Normalized, find};
use super::pattern::float32;
use crate::passes::name;

/// The first operator set with LayerNormalization.
const FIRST_OPSET: i64 = 17;

/// Puts one LayerNormalization in the place of its parts. Over the last axes,
///
/// ```text
/// m = mean(x),   v = mean((x − m)²),   y = (x − m) / sqrt(v + epsilon) · gamma + beta
/// ```
///
/// in the forms of [`super::FuseInstanceNorm`]. Without gamma it is 1. A factor or offset that is not constant, or does not fit the last
/// axes, stays behind as a node.
#[derive(Clone, Copy, Debug, Default)]
pub struct FuseLayerNorm;

impl FuseLayerNorm {
    /// The operator set that the model needs for a fusion that it does not have yet: the rule is asked, and changes nothing.
    pub fn needed_opset(model: &Model) -> Option<i64> {
        if model.opset() >= FIRST_OPSET {
            return None;
        }
        let graph = &model.graph;
        let found = |(id, node)| {
            find(graph, id, node).filter(|f| !over_images(f)).is_some_and(|mut f| fuse(graph, &mut f).is_ok())
        };
        graph.nodes().any(found).then_some(FIRST_OPSET)
    }
}

impl Rule for FuseLayerNorm {
    fn name(&self) -> &'static str {
        name::FUSE_LAYER_NORM
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let Some(mut found) = find(graph, id, node).filter(|f| !over_images(f)) else {
            return Outcome::NoMatch;
        };
        match fuse(graph, &mut found) {
            Ok(_) if model.opset() < FIRST_OPSET => Outcome::Refused(needs_opset(FIRST_OPSET, model.opset())),
            Ok(patch) => Outcome::rewrite(
                patch,
                format!("{} nodes are a layer normalization of {:?}", found.matcher.len(), found.x),
            ),
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

fn fuse(graph: &Graph, found: &mut Normalized<'_>) -> Result<Patch, String> {
    let rank = found.over.rank;
    let first = found.over.axes.first().copied().unwrap_or(rank);
    if first == rank || !found.over.axes.iter().copied().eq(first..rank) {
        return Err(format!("its mean is over axes {:?}, not over the last of {rank}", found.over.axes));
    }
    float32(graph, found.x)?;
    let shape = graph.tensor_type(found.x).and_then(|t| t.shape).unwrap_or_default();
    let row: Option<Vec<usize>> = shape.iter().skip(first).map(shiftwise_graph::Dim::known).collect();
    let row = row.ok_or_else(|| format!("the last extents of {:?} are not known", found.x))?;
    found.absorb(&|t| spread(t, &row).is_some());
    float32(graph, found.output)?;
    found.matcher.closed(found.output)?;

    let mut patch = found.matcher.removal(found.output);
    let mut inputs = vec![found.x.to_owned()];
    for (given, end) in [(found.scale, "scale"), (found.bias, "bias")] {
        let (name, tensor) = match given {
            None if end == "bias" => continue,
            None => {
                let ones = vec![1.0; row.iter().product()];
                (graph.fresh_name(&format!("{}_{end}", found.output)), Tensor::f32(&row, &ones))
            }
            Some(name) => {
                let tensor = graph.constant(name).and_then(|t| spread(t, &row));
                let tensor = tensor
                    .ok_or_else(|| format!("its {end} {name:?} does not fit the normalized axes {row:?}"))?;
                (kept_or_fresh(graph, name, end), tensor)
            }
        };
        inputs.push(name.clone());
        patch.set_initializer(name, tensor);
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let node = Node::new("LayerNormalization", &found.last.name, &inputs, &[found.output]);
    let axis = first as i64 - rank as i64;
    patch.insert(node.with("axis", axis).with("epsilon", found.epsilon));
    Ok(patch)
}

/// A constant with one value for each element of a row; what has fewer is repeated.
fn spread(tensor: &Tensor, row: &[usize]) -> Option<Tensor> {
    let dims = tensor.dims();
    let outer = dims.len().saturating_sub(row.len());
    if tensor.dtype() != DataType::Float || dims[..outer].iter().any(|d| *d != 1) {
        return None;
    }
    let dims = &dims[outer..];
    if dims == row {
        return tensor.reshaped(row.to_vec());
    }
    let skipped = row.len() - dims.len();
    if dims.iter().zip(&row[skipped..]).any(|(d, n)| d != n && *d != 1) {
        return None;
    }
    let values = tensor.to_f32()?;
    let all: usize = row.iter().product();
    let mut result = Vec::with_capacity(all);
    for place in 0..all {
        let (mut rest, mut index, mut stride) = (place, 0, 1);
        for axis in (0..row.len()).rev() {
            let at = rest % row[axis];
            rest /= row[axis];
            if let Some(extent) = axis.checked_sub(skipped).map(|i| dims[i]) {
                index += if extent == 1 { 0 } else { at * stride };
                stride *= extent;
            }
        }
        result.push(*values.get(index)?);
    }
    Some(Tensor::f32(row, &result))
}
