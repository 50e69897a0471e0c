//! Numbers that were attributes and became inputs: limits, paddings, rates.

use shiftwise_graph::{Attribute, Node};

use super::step::{Adapter, Step, set_input};

pub(super) const ADAPTERS: &[(&str, i64, Adapter)] =
    &[("Clip", 11, clip), ("Pad", 11, pad), ("Dropout", 12, dropout), ("Scatter", 11, scatter)];

fn clip(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    // The default limits are those of float32: an infinity was clipped to them, and is kept since.
    for (input, name) in [(1, "min"), (2, "max")] {
        if let Some(value) = node.float(name) {
            let constant = step.like_input(&node, name, value)?;
            set_input(&mut node, input, constant);
        }
        node.attributes.shift_remove(name);
    }
    step.put(node)
}

fn pad(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    step.move_ints(&mut node, "pads", 1)?;
    match node.attributes.shift_remove("value") {
        Some(Attribute::Float(value)) if value != 0.0 => {
            let constant = step.like_input(&node, "value", value)?;
            set_input(&mut node, 2, constant);
        }
        _ => {}
    }
    step.put(node)
}

/// The rate matters in training only, which is off without a third input.
fn dropout(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    node.attributes.shift_remove("ratio");
    step.put(node)
}

fn scatter(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    node.op_type = "ScatterElements".into();
    step.put(node)
}
