//! Clip from 0 to 6 as Relu.

use shiftwise_graph::{Model, Node, NodeId, Outcome, Patch, Rule};

use crate::passes::{clip_bounds, name};

/// Turns Clip(0, 6) into Relu, so that equalization gets past it: max(0, min(x, 6)) becomes max(0, x).
///
/// This changes what the model computes wherever x exceeds 6. It is done only where it is asked for, and then everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplaceClip6Relu;

impl Rule for ReplaceClip6Relu {
    fn name(&self) -> &'static str {
        name::REPLACE_CLIP6_RELU
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        if !node.is("Clip") {
            return Outcome::NoMatch;
        }
        let (min, max) = match clip_bounds(&model.graph, node) {
            Ok(bounds) => bounds,
            Err(reason) => return Outcome::Refused(reason),
        };
        let close = |value: f32, to: f32| (value - to).abs() <= 1e-8 + 1e-5 * to;
        if !close(min, 0.0) || !close(max, 6.0) {
            return Outcome::Refused(format!("it clips to {min} … {max}, not to 0 … 6"));
        }
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
            return Outcome::Refused("its input or output has no name".into());
        };
        let mut patch = Patch::new();
        patch.replace(id, Node::new("Relu", &node.name, &[x], &[y]));
        Outcome::rewrite(patch, "values above 6 are not clipped any more: the model computes something else")
    }
}
