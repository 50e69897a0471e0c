//! Constants that several operators read get a copy for each.

use std::collections::HashMap;

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule};

use super::name;

/// Operators whose third input is a bias.
const WITH_BIAS: [&str; 3] = ["Conv", "ConvTranspose", "Gemm"];
/// Which input that is.
const BIAS: usize = 2;

/// Which constants are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Any,
    Biases,
}

/// Gives each node of some operators an initializer of its own where it shares one with another node, so that each can be
/// quantized by itself. Where all users are such nodes, the first keeps the original. Copies of `w` are called `duplicated_w_1`, ….
#[derive(Clone, Debug)]
pub struct CopyShared {
    what: What,
    operators: Vec<String>,
    /// By constant: who keeps the original, if one of the operators may, and how many copies there are.
    seen: HashMap<String, (Option<NodeId>, usize)>,
}

impl CopyShared {
    /// Any initializer, whichever input it is, of these operators; of all where none is named.
    pub fn initializers(operators: &[String]) -> Self {
        Self { what: What::Any, operators: operators.to_vec(), seen: HashMap::new() }
    }

    /// The third input of these operators; of all that have a bias there where none is named.
    pub fn biases(operators: &[String]) -> Self {
        Self { what: What::Biases, operators: operators.to_vec(), seen: HashMap::new() }
    }

    fn is_one(&self, node: &Node) -> bool {
        match (self.what, self.operators.as_slice()) {
            (What::Any, []) => true,
            (What::Biases, []) => WITH_BIAS.iter().any(|op| node.is(op)),
            (_, operators) => operators.contains(&node.op_type),
        }
    }

    fn concerns(&self, node: &Node, input: usize) -> bool {
        self.is_one(node) && (self.what == What::Any || input == BIAS)
    }

    /// The node that keeps the original.
    fn keeper(&self, graph: &Graph, constant: &str) -> Option<NodeId> {
        let uses = graph.uses(constant);
        let all = uses.iter().all(|u| {
            u.input.is_some_and(|input| graph.node(u.node).is_some_and(|n| self.concerns(n, input)))
        });
        uses.first().filter(|_| all).map(|u| u.node)
    }
}

impl Rule for CopyShared {
    fn name(&self) -> &'static str {
        match self.what {
            What::Any => name::COPY_SHARED,
            What::Biases => name::COPY_BIASES,
        }
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let mut patch = Patch::new();
        let mut copied: Vec<(&str, String)> = Vec::new();
        for (input, constant) in node.inputs.iter().enumerate() {
            let Some(tensor) = graph.initializer(constant).filter(|_| self.concerns(node, input)) else {
                continue;
            };
            // Two inputs of one node share one copy.
            if let Some((_, copy)) = copied.iter().find(|(of, _)| of == constant) {
                patch.set_input(id, input, copy.as_str());
                continue;
            }
            if !self.seen.contains_key(constant) {
                let others = graph.uses(constant).iter().any(|u| u.node != id);
                let keeper = if others { self.keeper(graph, constant) } else { Some(id) };
                self.seen.insert(constant.clone(), (keeper, 0));
            }
            let Some((keeper, copies)) = self.seen.get_mut(constant) else { continue };
            if *keeper == Some(id) {
                continue;
            }
            *copies += 1;
            let copy = graph.fresh_name(&format!("duplicated_{constant}_{copies}"));
            patch.set_input(id, input, copy.as_str()).set_initializer(copy.as_str(), tensor.clone());
            copied.push((constant, copy));
        }
        if copied.is_empty() {
            return Outcome::NoMatch;
        }
        let list: Vec<String> = copied.iter().map(|(of, copy)| format!("{of:?} as {copy:?}")).collect();
        Outcome::rewrite(patch, format!("has its own copy of {}", list.join(" and ")))
    }
}

#[cfg(test)]
mod tests {
    use shiftwise_graph::{Builder, Tensor, run_rule};

    use super::*;

    fn model() -> Model {
        Builder::new()
            .input("x", &[1, 2, 3, 3])
            .constant("w", Tensor::f32(&[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]))
            .constant("b", Tensor::f32(&[2], &[5.0, 6.0]))
            .constant("duplicated_b_1", Tensor::f32(&[1], &[0.0]))
            .node("Conv", &["x", "w", "b"], &["c1"])
            .node("Conv", &["c1", "w", "b"], &["c2"])
            .node("Add", &["c2", "duplicated_b_1"], &["a"])
            .node("ConvTranspose", &["a", "w", "b"], &["c3"])
            .build(&[("c3", &[1, 2, 3, 3])], 13)
    }

    fn inputs(model: &Model, output: &str) -> Vec<String> {
        model.graph.producer(output).unwrap().1.inputs.clone()
    }

    #[test]
    fn the_first_user_keeps_a_shared_constant() {
        let mut model = model();
        let report = run_rule(&mut model, &mut CopyShared::biases(&[])).unwrap();
        assert_eq!(report.applied.len(), 2);
        assert_eq!(inputs(&model, "c1"), ["x", "w", "b"]);
        // The name that comes to mind is taken.
        assert_eq!(inputs(&model, "c2"), ["c1", "w", "duplicated_b_1_1"]);
        assert_eq!(inputs(&model, "c3"), ["a", "w", "duplicated_b_2"]);
        assert_eq!(model.graph.initializer("duplicated_b_2"), model.graph.initializer("b"));
        assert!(!run_rule(&mut model, &mut CopyShared::biases(&[])).unwrap().changed());
    }

    #[test]
    fn operators_that_are_not_named_keep_sharing() {
        let mut model = model();
        run_rule(&mut model, &mut CopyShared::initializers(&["ConvTranspose".into()])).unwrap();
        assert_eq!(inputs(&model, "c2"), ["c1", "w", "b"]);
        assert_eq!(inputs(&model, "c3"), ["a", "duplicated_w_1", "duplicated_b_1_1"]);
        run_rule(&mut model, &mut CopyShared::initializers(&[])).unwrap();
        assert_eq!(inputs(&model, "c1"), ["x", "w", "b"]);
        let c2 = inputs(&model, "c2");
        assert!(c2[1].starts_with("duplicated_w_") && c2[2].starts_with("duplicated_b_"), "{c2:?}");
    }

    #[test]
    fn a_node_that_reads_a_constant_twice_has_one_copy() {
        let mut model = Builder::new()
            .constant("k", Tensor::f32(&[2], &[1.0, 2.0]))
            .input("x", &[2])
            .node("Add", &["x", "k"], &["a"])
            .node("Mul", &["k", "k"], &["m"])
            .node("Add", &["a", "m"], &["y"])
            .build(&[("y", &[2])], 13);
        run_rule(&mut model, &mut CopyShared::initializers(&[])).unwrap();
        assert_eq!(inputs(&model, "m"), ["duplicated_k_1", "duplicated_k_1"]);
        assert_eq!(inputs(&model, "a"), ["x", "k"]);
    }
}
