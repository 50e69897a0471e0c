//! Clip from 0 to 6 as Relu.

use shiftwise_graph::{Model, Node, NodeId, Outcome, Patch, Rule, Tensor};

use crate::passes::name;

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
        let (min, max) = match bounds(model, node) {
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

/// The bounds of a Clip, by attribute or by input, in shape [] or [1].
pub(super) fn bounds(model: &Model, node: &Node) -> Result<(f32, f32), String> {
    let bound = |attribute: &str, input: usize, missing: f32| match node.input(input) {
        _ if node.float(attribute).is_some() => Ok(node.float(attribute).unwrap_or(missing)),
        None => Ok(missing),
        Some(name) => {
            let constant = model.graph.constant(name).filter(|t| t.len() == 1).and_then(Tensor::to_f32);
            let first = constant.and_then(|values| values.first().copied());
            first.ok_or_else(|| format!("its bound {name:?} is not one constant"))
        }
    };
    Ok((bound("min", 1, f32::NEG_INFINITY)?, bound("max", 2, f32::INFINITY)?))
}
