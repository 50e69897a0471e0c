//! Small detours of arithmetic.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule, Tensor};

use super::name;

/// Takes the direct way:
///
/// ```text
/// (1/x)·y                 ⇒     y/x
/// where(not(c), a, b)     ⇒     where(c, b, a)
/// ```
///
/// The quotient is rounded once instead of twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct MergeArithmetic;

impl Rule for MergeArithmetic {
    fn name(&self) -> &'static str {
        name::MERGE_ARITHMETIC
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        if node.is("Where") {
            return negated(graph, id, node)
                .map_or(Outcome::NoMatch, |(patch, what)| Outcome::rewrite(patch, what));
        }
        let (Some(a), Some(b), true) = (node.input(0), node.input(1), node.is("Mul")) else {
            return Outcome::NoMatch;
        };
        let mut reason = None;
        for (inverse, y) in [(a, b), (b, a)] {
            let Some((before, x)) = inverted(graph, inverse) else { continue };
            if let Err(shared) = graph.sole_consumer(inverse) {
                reason = Some(shared.to_string());
                continue;
            }
            let Some(out) = node.output(0) else { continue };
            let mut patch = Patch::new();
            patch
                .remove(before)
                .replace(id, Node::new("Div", &node.name, &[y, x], &[out]))
                .forget_type(inverse);
            return Outcome::rewrite(patch, format!("it divides by {x:?}"));
        }
        reason.map_or(Outcome::NoMatch, Outcome::Refused)
    }
}

/// The node that makes `tensor` as 1/x of floats, and x.
fn inverted<'a>(graph: &'a Graph, tensor: &str) -> Option<(NodeId, &'a str)> {
    let (id, node) = graph.producer(tensor).filter(|(_, n)| n.is("Div"))?;
    let one = graph.constant(node.input(0)?).filter(|t| t.dtype().is_float())?;
    let x = node.input(1)?;
    let rank = graph.tensor_type(x).and_then(|ty| ty.rank());
    let adds_no_axes = one.dims().is_empty() || rank.is_some_and(|rank| one.dims().len() <= rank);
    (Tensor::scalar_f32(one) == Some(1.0) && adds_no_axes).then_some((id, x))
}

fn negated(graph: &Graph, id: NodeId, node: &Node) -> Option<(Patch, String)> {
    let [not, a, b] = [node.input(0)?, node.input(1)?, node.input(2)?];
    let (before, negation) = graph.producer(not).filter(|(_, n)| n.is("Not"))?;
    let mut patch = Patch::new();
    patch.set_input(id, 0, negation.input(0)?).set_input(id, 1, b).set_input(id, 2, a);
    if graph.sole_consumer(not).is_ok() {
        patch.remove(before).forget_type(not);
    }
    Some((patch, format!("it chooses the other way round, without {}", negation.label())))
}
