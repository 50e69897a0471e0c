//! Transposes beside a Gemm become its own.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule};

use super::name;

/// Lets a Gemm transpose what a Transpose does before or behind it:
///
/// ```text
/// Aᵀ·B            ⇒  transA of the Gemm is turned over; the same for B
/// (op(A)·op(B))ᵀ  ⇒  op(B)ᵀ·op(A)ᵀ, where there is no C
/// ```
///
/// No number changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct TransposedGemm;

impl Rule for TransposedGemm {
    fn name(&self) -> &'static str {
        name::TRANSPOSED_GEMM
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        if node.is("Gemm") {
            return operands(graph, id, node);
        }
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return Outcome::NoMatch };
        if !turns_over(node) {
            return Outcome::NoMatch;
        }
        let Some((before, gemm)) = graph.producer(x).filter(|(_, n)| n.is("Gemm")) else {
            return Outcome::NoMatch;
        };
        if gemm.input(2).is_some() {
            return Outcome::Refused(format!(
                "{} adds a constant, which would have to be transposed",
                gemm.label()
            ));
        }
        if let Err(shared) = graph.sole_consumer(x) {
            return Outcome::Refused(shared.to_string());
        }
        let [a, b] = [0, 1].map(|i| gemm.input(i).unwrap_or_default());
        let flag = |name: &str| gemm.int(name).unwrap_or(0) != 0;
        let mut patch = Patch::new();
        patch.set_input(before, 0, b).set_input(before, 1, a);
        patch.set_attribute(before, "transA", i64::from(!flag("transB")));
        patch.set_attribute(before, "transB", i64::from(!flag("transA")));
        patch.set_output(before, 0, y).remove(id).forget_type(x);
        Outcome::rewrite(patch, format!("{} does it", gemm.label()))
    }
}

/// Reads operands past the Transposes that make them.
fn operands(graph: &Graph, id: NodeId, gemm: &Node) -> Outcome {
    let mut patch = Patch::new();
    let mut past = Vec::new();
    for (input, flag) in [(0, "transA"), (1, "transB")] {
        let Some(tensor) = gemm.input(input) else { continue };
        let Some((transpose, node)) = graph.producer(tensor).filter(|(_, n)| turns_over(n)) else { continue };
        let Some(x) = node.input(0) else { continue };
        patch.set_input(id, input, x).set_attribute(id, flag, i64::from(gemm.int(flag).unwrap_or(0) == 0));
        if graph.sole_consumer(tensor).is_ok() {
            patch.remove(transpose).forget_type(tensor);
        }
        past.push(node.label());
    }
    if past.is_empty() {
        return Outcome::NoMatch;
    }
    Outcome::rewrite(patch, format!("it does what {} did", past.join(" and ")))
}

/// Whether a node transposes a matrix.
fn turns_over(node: &Node) -> bool {
    node.is("Transpose") && node.ints("perm") == Some(&[1, 0])
}
