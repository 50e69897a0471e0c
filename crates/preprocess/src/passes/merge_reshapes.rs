//! Reshapes in a row become one, or none.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule};

use super::edit::Edit;
use super::identity::bypass;
use super::name;
use super::operand::{axes, counted, ints, shape};
use super::reshape_target::reshape_target;

/// Merges operators that only give the same elements another shape: Reshape, Flatten, Squeeze and Unsqueeze.
///
/// ```text
/// squeeze(unsqueeze(x, a), a), unsqueeze(squeeze(x, a), a)     ⇒     x
/// reshape(reshape(x, s), t)                                    ⇒     reshape(x, t′)
/// ```
///
/// where t′ is t if that copies no extent of the tensor between, and else the shape of the result as it is inferred. At most one extent may be unknown, besides those that stand at the same place in x.
#[derive(Clone, Copy, Debug, Default)]
pub struct MergeReshapes;

const OPS: [&str; 4] = ["Reshape", "Flatten", "Squeeze", "Unsqueeze"];

impl Rule for MergeReshapes {
    fn name(&self) -> &'static str {
        name::MERGE_RESHAPES
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let is_reshape = |n: &Node| OPS.iter().any(|op| n.is(op));
        let (Some(middle), Some(y)) = (node.input(0), node.output(0)) else { return Outcome::NoMatch };
        if !is_reshape(node) {
            return Outcome::NoMatch;
        }
        let Some((before, first)) = graph.producer(middle).filter(|(_, n)| is_reshape(n)) else {
            return Outcome::NoMatch;
        };
        let Some(x) = first.input(0) else { return Outcome::NoMatch };
        let what = format!("merged with {}", first.label());
        let private = graph.sole_consumer(middle).map_err(|shared| shared.to_string());
        if is_inverse(graph, first, node) || is_same(graph, x, y) {
            // Where both names are needed, one Reshape between them is.
            if let Ok(mut patch) = bypass(graph, id, x, y) {
                if private.is_ok() {
                    patch.remove(before).forget_type(middle);
                }
                return Outcome::rewrite(patch, format!("{what}: both keep the shape"));
            }
        }
        let merged = private.and_then(|_| merge(graph, (id, node), (before, first), x, y));
        match merged {
            Ok(patch) => Outcome::rewrite(patch, what),
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

fn merge(
    graph: &Graph,
    (id, node): (NodeId, &Node),
    (before, first): (NodeId, &Node),
    x: &str,
    y: &str,
) -> Result<Patch, String> {
    let mut edit = Edit::new(graph);
    let own = if node.is("Reshape") { ints(graph, node, 1) } else { None };
    if own.is_some_and(|target| !target.contains(&0)) {
        edit.patch.set_input(id, 0, x).remove(before).forget_type(first.output(0).unwrap_or_default());
        return Ok(edit.patch);
    }
    let known = |t: &str| shape(graph, t).ok_or_else(|| format!("the shape of {t:?} is not known"));
    let target = reshape_target(&known(x)?, &known(y)?)?;
    let target = edit.constant(&format!("{y}_shape"), target);
    edit.patch.remove(before).replace(id, Node::new("Reshape", &node.name, &[x, &target], &[y]));
    edit.patch.forget_type(first.output(0).unwrap_or_default());
    Ok(edit.patch)
}

/// Whether one inserts the axes that the other takes away.
fn is_inverse(graph: &Graph, first: &Node, second: &Node) -> bool {
    let pair = first.is("Squeeze") && second.is("Unsqueeze") || first.is("Unsqueeze") && second.is("Squeeze");
    if !pair {
        return false;
    }
    // Both name axes of the larger of their shapes.
    let larger = if first.is("Squeeze") { first.input(0) } else { first.output(0) };
    let rank = larger.and_then(|t| shape(graph, t)).map(|dims| dims.len());
    let of = |node: &Node| {
        let axes = axes(graph, node).ok().flatten()?;
        // Axes that count from the front are the same whatever the rank.
        let rank = rank.or_else(|| axes.iter().all(|a| *a >= 0).then_some(usize::MAX))?;
        counted(&axes, rank)
    };
    of(first).is_some_and(|axes| of(second) == Some(axes))
}

/// Whether two tensors have the same shape, every extent known.
fn is_same(graph: &Graph, x: &str, y: &str) -> bool {
    let fixed = |t: &str| graph.tensor_type(t)?.fixed_dims();
    fixed(x).is_some_and(|dims| fixed(y) == Some(dims))
}
