//! Clips in a row become one.

use shiftwise_graph::{DataType, Graph, Model, Node, NodeId, Outcome, Rule, Tensor};

use super::edit::Edit;
use super::name;
use super::operand::clip_bounds;

/// The first operator set in which Clip has its bounds as inputs.
const BOUNDS_ARE_INPUTS: i64 = 11;

/// Merges Relu and Clip with the Relu or Clip before it; Relu is a Clip from 0.
///
/// ```text
/// clip(clip(x, a, b), c, d)     ⇒     clip(x, clip(a, c, d), clip(b, c, d))     for a ≤ b, c ≤ d
/// ```
///
/// which is a Relu again where only a lower bound of 0 is left. Bounds must be constant, and the numbers float32, but for two
/// Relus in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct MergeClips;

impl Rule for MergeClips {
    fn name(&self) -> &'static str {
        name::MERGE_CLIPS
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let is_clip = |n: &Node| n.is("Relu") || n.is("Clip");
        let (Some(middle), Some(y)) = (node.input(0), node.output(0)) else { return Outcome::NoMatch };
        if !is_clip(node) {
            return Outcome::NoMatch;
        }
        let Some((before, first)) = graph.producer(middle).filter(|(_, n)| is_clip(n)) else {
            return Outcome::NoMatch;
        };
        let Some(x) = first.input(0) else { return Outcome::NoMatch };
        let merged = graph
            .sole_consumer(middle)
            .map_err(|shared| shared.to_string())
            .and_then(|_| merged(graph, first, node));
        let bounds = match merged {
            Ok(bounds) => bounds,
            Err(reason) => return Outcome::Refused(reason),
        };
        let mut edit = Edit::new(graph);
        let merged = bounds.node(&mut edit, node, x, y, model.opset() >= BOUNDS_ARE_INPUTS);
        edit.patch.remove(before).replace(id, merged).forget_type(middle);
        Outcome::rewrite(edit.patch, format!("merged with {}", first.label()))
    }
}

/// Lowest and highest value.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bounds {
    low: f32,
    high: f32,
}

const RELU: Bounds = Bounds { low: 0.0, high: f32::INFINITY };

fn merged(graph: &Graph, first: &Node, second: &Node) -> Result<Bounds, String> {
    if first.is("Relu") && second.is("Relu") {
        return Ok(RELU);
    }
    let x = first.input(0).unwrap_or_default();
    let dtype = graph.tensor_type(x).ok_or_else(|| format!("the type of {x:?} is not known"))?.dtype;
    if dtype != DataType::Float {
        return Err(format!("{x:?} is {dtype}, not float32"));
    }
    let (inner, outer) = (Bounds::of(graph, first)?, Bounds::of(graph, second)?);
    Ok(Bounds { low: inner.low.clamp(outer.low, outer.high), high: inner.high.clamp(outer.low, outer.high) })
}

impl Bounds {
    /// Fails where they are not constant, or not in order.
    fn of(graph: &Graph, node: &Node) -> Result<Self, String> {
        if node.is("Relu") {
            return Ok(RELU);
        }
        let (low, high) = clip_bounds(graph, node)?;
        let bounds = Self { low, high };
        // NaN is in no order.
        if low <= high { Ok(bounds) } else { Err(format!("{} has bounds {low} and {high}", node.label())) }
    }

    /// The node that clips to them, in the place of `old`.
    fn node(self, edit: &mut Edit, old: &Node, x: &str, y: &str, as_inputs: bool) -> Node {
        if self == RELU {
            return Node::new("Relu", &old.name, &[x], &[y]);
        }
        let mut node = Node::new("Clip", &old.name, &[x], &[y]);
        for (what, bound) in [("min", self.low), ("max", self.high)] {
            if bound.is_infinite() && (bound < 0.0) == (what == "min") {
                if as_inputs {
                    node.inputs.push(String::new());
                }
            } else if as_inputs {
                node.inputs.push(edit.constant(&format!("{y}_{what}"), Tensor::f32(&[], &[bound])));
            } else {
                node = node.with(what, bound);
            }
        }
        while node.inputs.last().is_some_and(String::is_empty) {
            node.inputs.pop();
        }
        node
    }
}
