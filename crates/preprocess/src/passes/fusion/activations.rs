//! Decomposed Sigmoid and HardSigmoid, alone and in Swish and HardSwish.

use serde::Serialize;
use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule};

use super::pattern::{Matcher, float32, near, operands};
use super::product::product;
use crate::passes::{clip_bounds, name};

/// Puts Sigmoid and HardSigmoid in the place of their parts:
///
/// ```text
/// 1 / (1 + exp(−x))         =  Sigmoid(x)            x / (1 + exp(−x))          =  x·Sigmoid(x)
/// min(max(x + 3, 0), 6) / 6 =  HardSigmoid(x; 1/6, 1/2)       x·min(max(x + 3, 0), 6)/6  =  x·HardSigmoid(x; 1/6, 1/2)
/// ```
///
/// with any order of operands; limits by Clip, or by Relu, Max and Min. The products stay two nodes, which engines and NPUs know as
/// Swish and HardSwish.
#[derive(Clone, Copy, Debug, Default)]
pub struct FuseActivations;

/// An activation of two nodes that is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recognized {
    /// What it is.
    pub pattern: &'static str,
    /// The nodes, as messages call them.
    pub nodes: Vec<String>,
    /// What it reads.
    pub input: String,
    /// What it makes.
    pub output: String,
}

/// Every `x·Sigmoid(x)` and `x·HardSigmoid(x; 1/6, 1/2)` of a graph.
pub(crate) fn recognized(graph: &Graph) -> Vec<Recognized> {
    let find = |node: &Node| {
        operands(node).filter(|_| node.is("Mul"))?.into_iter().find_map(|(x, gate)| {
            let (_, gate) = graph.producer(gate).filter(|(_, g)| g.input(0) == Some(x))?;
            let pattern = if gate.is("Sigmoid") {
                "Swish"
            } else if gate.is("HardSigmoid") && is_hard_swish_gate(gate) {
                "HardSwish"
            } else {
                return None;
            };
            let nodes = vec![gate.label(), node.label()];
            Some(Recognized { pattern, nodes, input: x.into(), output: node.output(0)?.into() })
        })
    };
    graph.nodes().filter_map(|(_, node)| find(node)).collect()
}

fn is_hard_swish_gate(node: &Node) -> bool {
    let (alpha, beta) = (node.float("alpha").unwrap_or(0.2), node.float("beta").unwrap_or(0.5));
    near(alpha, 1.0 / 6.0) && near(beta, 0.5)
}

impl Rule for FuseActivations {
    fn name(&self) -> &'static str {
        name::FUSE_ACTIVATIONS
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let Some(found) = sigmoid(graph, id, node).or_else(|| hard(graph, id, node)) else {
            return Outcome::NoMatch;
        };
        match fuse(graph, &found, node) {
            Ok(patch) => Outcome::rewrite(
                patch,
                format!(
                    "{} nodes are the {}{} of {:?}",
                    found.matcher.len(),
                    if found.times { "input times the " } else { "" },
                    found.gate,
                    found.x
                ),
            ),
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

struct Found<'g> {
    matcher: Matcher<'g>,
    gate: &'static str,
    x: &'g str,
    /// Whether the gate multiplies its own input.
    times: bool,
}

fn sigmoid<'g>(graph: &'g Graph, id: NodeId, node: &'g Node) -> Option<Found<'g>> {
    let mut m = Matcher::new(graph, id);
    let (above, below) = match node.op_type.as_str() {
        "Reciprocal" if node.domain.is_empty() => (None, node.input(0)?),
        "Div" if node.domain.is_empty() => (Some(node.input(0)?), node.input(1)?),
        _ => return None,
    };
    let sum = m.made(below, "Add")?;
    let (exponential, _) = m.with_number(sum).filter(|(_, one)| *one == 1.0)?;
    let argument = m.made(exponential, "Exp")?.input(0)?;
    let (_, negated) = graph.producer(argument)?;
    let x = if negated.is("Neg") { negated.input(0)? } else { m.with_number(negated)?.0 };
    let minus = product(&mut m, argument, x, "")?;
    if (minus.number, minus.power) != (-1.0, 1) {
        return None;
    }
    let times = match above {
        None => false,
        Some(above) if m.number(above) == Some(1.0) => false,
        Some(above) if above == x => true,
        Some(_) => return None,
    };
    Some(Found { matcher: m, gate: "Sigmoid", x, times })
}

fn hard<'g>(graph: &'g Graph, id: NodeId, node: &'g Node) -> Option<Found<'g>> {
    if !node.is("Mul") && !node.is("Div") {
        return None;
    }
    let mut m = Matcher::new(graph, id);
    let (x, limited) = limited_factor(&mut m, node, 3)?;
    let whole = product(&mut m, node.output(0)?, x, limited)?;
    let is_gate = near(whole.number, 1.0 / 6.0) && whole.other == 1 && whole.power <= 1;
    is_gate.then_some(Found { matcher: m, gate: "HardSigmoid", x, times: whole.power == 1 })
}

/// `min(max(x + 3, 0), 6)` among the factors of a product: x, and the tensor.
fn limited_factor<'g>(m: &mut Matcher<'g>, node: &'g Node, depth: usize) -> Option<(&'g str, &'g str)> {
    let depth = depth.checked_sub(1)?;
    let graph = m.graph;
    node.inputs.iter().find_map(|input| {
        let (_, made) = graph.producer(input)?;
        if made.is("Mul") || made.is("Div") {
            return limited_factor(m, made, depth);
        }
        m.attempt(|m| {
            let shifted = limited(m, input, 2, (f32::NEG_INFINITY, f32::INFINITY))?;
            let add = m.made(shifted, "Add")?;
            let (x, _) = m.with_number(add).filter(|(_, three)| *three == 3.0)?;
            Some((x, input.as_str()))
        })
    })
}

/// What is limited to 0 and 6, by one node or two.
fn limited<'g>(m: &mut Matcher<'g>, t: &'g str, depth: usize, behind: (f32, f32)) -> Option<&'g str> {
    let graph = m.graph;
    let (id, node) = graph.producer(t).filter(|(_, n)| n.domain.is_empty())?;
    let none = (f32::NEG_INFINITY, f32::INFINITY);
    let (inner, (lo, hi)) = match node.op_type.as_str() {
        "Clip" => (node.input(0)?, clip_bounds(graph, node).ok()?),
        "Relu" => (node.input(0)?, (0.0, none.1)),
        "Max" if node.inputs.len() == 2 => m.with_number(node).map(|(v, lo)| (v, (lo, none.1)))?,
        "Min" if node.inputs.len() == 2 => m.with_number(node).map(|(v, hi)| (v, (none.0, hi)))?,
        _ => return None,
    };
    m.take(id);
    let both = (behind.0.max(lo), behind.1.min(hi));
    let further = depth.checked_sub(1).filter(|d| *d > 0);
    let deeper = further.and_then(|depth| m.attempt(|m| limited(m, inner, depth, both)));
    deeper.or((both == (0.0, 6.0)).then_some(inner))
}

fn fuse(graph: &Graph, found: &Found<'_>, last: &Node) -> Result<Patch, String> {
    let output = last.output(0).ok_or("its output has no name")?;
    float32(graph, found.x)?;
    found.matcher.closed(output)?;
    let mut patch = found.matcher.removal(output);
    let gated = if found.times {
        let gated = graph.fresh_name(&format!("{output}_{}", found.gate.to_lowercase()));
        patch.insert(Node::new("Mul", &last.name, &[found.x, &gated], &[output]));
        gated
    } else {
        output.to_owned()
    };
    let name = if found.times { &gated } else { &last.name };
    let mut gate = Node::new(found.gate, name, &[found.x], &[&gated]);
    if found.gate == "HardSigmoid" {
        gate = gate.with("alpha", 1.0f32 / 6.0).with("beta", 0.5f32);
    }
    patch.insert(gate);
    Ok(patch)
}
