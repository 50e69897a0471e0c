//! Axes and sizes that were attributes and became inputs.

use shiftwise_graph::{Attribute, Node};

use super::step::{Adapter, Step};

pub(super) const ADAPTERS: &[(&str, i64, Adapter)] = &[
    ("Squeeze", 13, axes),
    ("Unsqueeze", 13, axes),
    ("ReduceSum", 13, axes),
    ("Split", 13, split),
    ("ReduceL1", 18, axes),
    ("ReduceL2", 18, axes),
    ("ReduceLogSum", 18, axes),
    ("ReduceLogSumExp", 18, axes),
    ("ReduceMax", 18, axes),
    ("ReduceMean", 18, axes),
    ("ReduceMin", 18, axes),
    ("ReduceProd", 18, axes),
    ("ReduceSumSquare", 18, axes),
    ("Split", 18, equal_parts),
    ("DFT", 20, transform),
];

fn axes(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    if matches!(node.attributes.get("axes"), Some(Attribute::Ints(axes)) if axes.is_empty()) {
        // Both mean all.
        node.attributes.shift_remove("axes");
    }
    step.move_ints(&mut node, "axes", 1)?;
    step.put(node)
}

fn split(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    step.move_ints(&mut node, "split", 1)?;
    step.put(node)
}

/// Without sizes, the number of parts has to be said.
fn equal_parts(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    if node.input(1).is_none() {
        node.attributes.insert("num_outputs".into(), Attribute::Int(node.outputs.len() as i64));
    }
    step.put(node)
}

/// The axis was 1 by default, and is the last but one since.
fn transform(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    let axis = node.int("axis").unwrap_or(1);
    node.attributes.shift_remove("axis");
    let axis = step.constant(&node, "axis", shiftwise_graph::Tensor::i64(&[], &[axis]));
    super::step::set_input(&mut node, 2, axis);
    step.put(node)
}
