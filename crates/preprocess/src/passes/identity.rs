//! Nodes that do nothing are taken out.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule};

use super::name;
use super::no_op::{NoOp, no_op};

/// Removes nodes whose output equals an input: y = x. Identity, Dropout in inference mode, Cast to the type that is there,
/// Concat of one tensor; Reshape, Expand, Transpose, Pad and Slice where static shapes prove that they change nothing; x + 0, x − 0,
/// x·1 and x/1 where the constant does not broadcast x.
///
/// Names of graph outputs, and of what subgraphs capture, are kept: the producer of x makes y instead.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveIdentity;

impl Rule for RemoveIdentity {
    fn name(&self) -> &'static str {
        name::REMOVE_IDENTITY
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let (input, why) = match no_op(model, node) {
            NoOp::No => return Outcome::NoMatch,
            NoOp::Refused(reason) => return Outcome::Refused(reason),
            NoOp::Yes { input, why } => (input, why),
        };
        let (Some(x), Some(y)) = (node.input(input), node.output(0)) else { return Outcome::NoMatch };
        match bypass(&model.graph, id, x, y) {
            Ok(patch) => Outcome::rewrite(patch, why),
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

/// Removes node `id`, whose output `y` equals its input `x`. One of both names goes: that of `y`, unless it is seen from
/// outside.
pub(super) fn bypass(graph: &Graph, id: NodeId, x: &str, y: &str) -> Result<Patch, String> {
    let captured = |t: &str| graph.uses(t).iter().any(|u| u.input.is_none());
    let mut patch = Patch::new();
    patch.remove(id).forget_type(y);
    if !graph.is_output(y) && !captured(y) {
        patch.redirect(y, x);
        return Ok(patch);
    }
    if let Some(tensor) = graph.initializer(x) {
        patch.set_initializer(y, tensor.clone());
        return Ok(patch);
    }
    let kept = if graph.is_output(y) {
        format!("{y:?} is an output of the graph")
    } else {
        format!("{y:?} is captured by a subgraph")
    };
    if graph.is_input(x) {
        return Err(format!("{kept} and {x:?} an input: both names are needed"));
    }
    if graph.is_output(x) || captured(x) {
        return Err(format!("{kept}, and so is {x:?}, or a subgraph captures it: both names are needed"));
    }
    let producer = graph.producer(x).and_then(|(p, n)| Some((p, n.outputs.iter().position(|o| o == x)?)));
    let Some((producer, index)) = producer else { return Err(format!("nothing makes {x:?}")) };
    patch.set_output(producer, index, y).redirect(x, y).forget_type(x);
    Ok(patch)
}
