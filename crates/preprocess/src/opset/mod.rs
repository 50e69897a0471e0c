//! Conversion to a newer operator set: what changed its meaning between versions is written in the new way.
//!
//! One file a family of operators. A version of an operator that only takes more types than the one before needs nothing.

#![allow(
    clippy::unnecessary_wraps,
    clippy::needless_pass_by_value,
    reason = "adapters have one signature, also those that refuse nothing"
)]

mod axes;
mod bounds;
mod normalization;
mod pooling;
mod resample;
mod rows;
mod step;

use shiftwise_graph::{Model, Node, Note, Rebuild, Rebuilt, Scope};
use step::{Adapter, Step};

/// The oldest operator set that is converted from.
pub(crate) const OLDEST: i64 = 10;
/// The newest operator set that is converted to.
pub(crate) const NEWEST: i64 = 21;

/// Adapters by operator, with the version whose meaning they give.
const FAMILIES: [&[(&str, i64, Adapter)]; 6] = [
    axes::ADAPTERS,
    bounds::ADAPTERS,
    normalization::ADAPTERS,
    pooling::ADAPTERS,
    resample::ADAPTERS,
    rows::ADAPTERS,
];

/// The model, written for operator set `to`, which must not be older than its own: every node computes what it did, in bodies of
/// If, Loop and Scan as well. Also says how many nodes are written differently.
///
/// Shapes must have been inferred. Fails with the first node that cannot be said in the new way, and why.
pub(crate) fn convert(model: &Model, to: i64) -> Result<(Model, usize), Note> {
    let mut converter = Converter { from: model.opset(), to, changed: 0 };
    let graph = model.graph.rebuilt(&mut converter)?;
    let mut converted = Model {
        graph,
        opsets: model.opsets.clone(),
        metadata: model.metadata.clone(),
        functions: Vec::new(),
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        domain: model.domain.clone(),
        doc_string: model.doc_string.clone(),
        ..*model
    };
    converted.opsets.insert(String::new(), to);
    converted.ir_version = converted.ir_version.max(oldest_ir(to));
    Ok((converted, converter.changed))
}

/// The version of the format that came with an operator set.
fn oldest_ir(opset: i64) -> i64 {
    match opset {
        ..=10 => 5,
        11 => 6,
        12..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        _ => 10,
    }
}

struct Converter {
    from: i64,
    to: i64,
    changed: usize,
}

impl Rebuild for Converter {
    fn node(&mut self, scope: &Scope<'_>, node: Node, new: &mut Rebuilt) -> Result<(), String> {
        let mut nodes = vec![node];
        if nodes[0].domain.is_empty() {
            for version in self.from + 1..=self.to {
                let mut next = Vec::with_capacity(nodes.len());
                for node in nodes {
                    match adapter(&node.op_type, version) {
                        None => next.push(node),
                        Some(adapter) => {
                            let before = node.clone();
                            let mut step = Step { scope, new, nodes: Vec::new() };
                            adapter(&mut step, node).map_err(|reason| {
                                format!("{reason}, and opset {version} has another meaning there")
                            })?;
                            self.changed += usize::from(step.nodes != [before]);
                            next.extend(step.nodes);
                        }
                    }
                }
                nodes = next;
            }
        }
        for node in nodes {
            new.node(node);
        }
        Ok(())
    }
}

fn adapter(op_type: &str, version: i64) -> Option<Adapter> {
    let mut all = FAMILIES.iter().copied().flatten();
    all.find(|(op, v, _)| *v == version && *op == op_type).map(|(.., adapter)| *adapter)
}
