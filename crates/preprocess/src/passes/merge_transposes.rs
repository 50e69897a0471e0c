//! Transposes in a row become one, or none.

use shiftwise_graph::{Model, Node, NodeId, Outcome, Patch, Rule};

use super::identity::bypass;
use super::name;
use super::operand::shape;

/// Merges a Transpose with the one before it. With p of the first and q of the second,
///
/// ```text
/// y[i] = transpose(transpose(x, p), q)     ⇒     transpose(x, r) with r[i] = p[q[i]]
/// ```
///
/// and x itself where r keeps the order. Where others read the first, it stays, and only an r that keeps the order is worth it.
#[derive(Clone, Copy, Debug, Default)]
pub struct MergeTransposes;

impl Rule for MergeTransposes {
    fn name(&self) -> &'static str {
        name::MERGE_TRANSPOSES
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let (Some(middle), Some(y)) = (node.input(0), node.output(0)) else { return Outcome::NoMatch };
        if !node.is("Transpose") {
            return Outcome::NoMatch;
        }
        let Some((before, first)) = graph.producer(middle).filter(|(_, n)| n.is("Transpose")) else {
            return Outcome::NoMatch;
        };
        let Some(x) = first.input(0) else { return Outcome::NoMatch };
        let rank = [x, middle, y].iter().find_map(|t| shape(graph, t)).map(|dims| dims.len());
        let (Some(p), Some(q)) = (order(first, rank), order(node, rank)) else {
            return Outcome::Refused("the order of its axes is not known".into());
        };
        let Some(merged) = composed(&p, &q) else {
            return Outcome::Refused(format!("the orders {p:?} and {q:?} do not fit"));
        };
        let what = format!("merged with {}", first.label());
        if merged.iter().enumerate().all(|(i, axis)| *axis == i as i64) {
            return match bypass(graph, id, x, y) {
                Ok(mut patch) => {
                    if graph.sole_consumer(middle).is_ok() {
                        patch.remove(before).forget_type(middle);
                    }
                    Outcome::rewrite(patch, format!("{what}: both keep the order"))
                }
                Err(reason) => Outcome::Refused(reason),
            };
        }
        if let Err(shared) = graph.sole_consumer(middle) {
            return Outcome::Refused(shared.to_string());
        }
        let mut patch = Patch::new();
        patch.set_input(id, 0, x).set_attribute(id, "perm", merged);
        patch.remove(before).forget_type(middle);
        Outcome::rewrite(patch, what)
    }
}

/// The order of axes; without one, it is turned over.
fn order(node: &Node, rank: Option<usize>) -> Option<Vec<i64>> {
    match node.ints("perm") {
        Some(perm) => Some(perm.to_vec()),
        None => Some((0..i64::try_from(rank?).ok()?).rev().collect()),
    }
}

fn composed(first: &[i64], second: &[i64]) -> Option<Vec<i64>> {
    if first.len() != second.len() {
        return None;
    }
    second.iter().map(|q| first.get(usize::try_from(*q).ok()?).copied()).collect()
}
