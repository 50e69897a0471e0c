//! Decomposed Gelu.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule};

use super::pattern::{Matcher, float32, near, operands};
use super::product::product;
use super::{CONTRIBUTED, needs_opset};
use crate::passes::name;

/// The first operator set with Gelu.
const FIRST_OPSET: i64 = 20;

/// Puts one Gelu in the place of its parts:
///
/// ```text
/// y = 0.5·x·(1 + erf(x/√2)),   y = 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
/// ```
///
/// with any order of the factors, constants to five digits. Before opset 20 the first is Gelu of `com.microsoft`; the second needs
/// opset 20.
#[derive(Clone, Copy, Debug, Default)]
pub struct FuseGelu;

impl FuseGelu {
    /// The operator set that the model needs for a fusion that it does not have yet: the rule is asked, and changes nothing.
    pub fn needed_opset(model: &Model) -> Option<i64> {
        if model.opset() >= FIRST_OPSET {
            return None;
        }
        let graph = &model.graph;
        let found = |(id, node)| {
            find(graph, id, node).is_some_and(|f| f.tanh && fuse(graph, &f, node, FIRST_OPSET).is_ok())
        };
        graph.nodes().any(found).then_some(FIRST_OPSET)
    }
}

impl Rule for FuseGelu {
    fn name(&self) -> &'static str {
        name::FUSE_GELU
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let Some(found) = find(&model.graph, id, node) else { return Outcome::NoMatch };
        match fuse(&model.graph, &found, node, model.opset()) {
            Ok(patch) => Outcome::rewrite(
                patch,
                format!("{} nodes are the Gelu of {:?}", found.matcher.len(), found.x),
            ),
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

struct Found<'g> {
    matcher: Matcher<'g>,
    x: &'g str,
    tanh: bool,
    /// A constant that is not the one of the definition.
    off: Option<f32>,
}

fn find<'g>(graph: &'g Graph, id: NodeId, node: &'g Node) -> Option<Found<'g>> {
    if !node.is("Mul") && !node.is("Div") {
        return None;
    }
    let mut m = Matcher::new(graph, id);
    let sum = one_plus(graph, node, 3)?;
    let (add, inner) = graph.producer(sum)?;
    m.take(add);
    let (function, _) = m.with_number(inner).filter(|(_, one)| *one == 1.0)?;
    let (id, function) = graph.producer(function)?;
    m.take(id);
    let argument = function.input(0)?;
    let tanh = function.is("Tanh");
    let (x, off) = if tanh { cubic(&mut m, argument)? } else { linear(&mut m, argument)? };
    let whole = product(&mut m, node.output(0)?, x, sum)?;
    let halved = near(whole.number, 0.5) && whole.power == 1 && whole.other == 1;
    halved.then_some(Found { matcher: m, x, tanh, off })
}

/// The sum of one and erf or tanh among the factors of a product.
fn one_plus<'g>(graph: &'g Graph, node: &'g Node, depth: usize) -> Option<&'g str> {
    let depth = depth.checked_sub(1)?;
    node.inputs.iter().find_map(|input| {
        let (_, made) = graph.producer(input)?;
        if made.is("Mul") || made.is("Div") {
            return one_plus(graph, made, depth);
        }
        let mut terms = made.inputs.iter().filter_map(|t| graph.producer(t));
        (made.is("Add") && terms.any(|(_, n)| n.is("Erf") || n.is("Tanh"))).then_some(input.as_str())
    })
}

/// `x/√2`
fn linear<'g>(m: &mut Matcher<'g>, argument: &'g str) -> Option<(&'g str, Option<f32>)> {
    let (_, node) = m.graph.producer(argument)?;
    let x = if node.is("Mul") {
        m.with_number(node)?.0
    } else if node.is("Div") {
        node.input(0)?
    } else {
        return None;
    };
    let factor = product(m, argument, x, "")?.number;
    Some((x, (!near(factor, std::f64::consts::FRAC_1_SQRT_2)).then_some(factor)))
}

/// `√(2/π)·(x + 0.044715·x³)`, or `√(2/π)·x·(1 + 0.044715·x²)`
fn cubic<'g>(m: &mut Matcher<'g>, argument: &'g str) -> Option<(&'g str, Option<f32>)> {
    let outer = (2.0 / std::f64::consts::PI).sqrt();
    let (_, node) = m.graph.producer(argument).filter(|(_, n)| n.is("Mul"))?;
    operands(node)?.into_iter().find_map(|(_, sum)| {
        m.attempt(|m| {
            let add = m.made(sum, "Add")?;
            operands(add)?.into_iter().find_map(|(a, b)| {
                m.attempt(|m| {
                    let one = m.number(a) == Some(1.0);
                    let x = if one { squared(m, b, 4)? } else { a };
                    let inner = product(m, b, x, "").filter(|p| p.power == if one { 2 } else { 3 })?;
                    let whole = product(m, argument, x, sum)?;
                    if whole.power != u32::from(one) || whole.other != 1 {
                        return None;
                    }
                    let off = [(inner.number, 0.044_715), (whole.number, outer)];
                    let off = off.into_iter().find(|(v, wanted)| !near(*v, *wanted)).map(|(v, _)| v);
                    Some((x, off))
                })
            })
        })
    })
}

/// The value whose square times a number this may be.
fn squared<'g>(m: &Matcher<'g>, tensor: &'g str, depth: usize) -> Option<&'g str> {
    let depth = depth.checked_sub(1)?;
    let (_, node) = m.graph.producer(tensor)?;
    let (a, b) = (node.input(0)?, node.input(1)?);
    if node.is("Pow") || (node.is("Mul") && a == b) {
        return Some(a);
    }
    if !node.is("Mul") {
        return None;
    }
    match (m.number(a), m.number(b)) {
        (Some(_), _) => squared(m, b, depth),
        (_, Some(_)) => squared(m, a, depth),
        // (number·x)·x
        _ => [(a, b), (b, a)].into_iter().find_map(|(p, x)| {
            let (_, inner) = m.graph.producer(p).filter(|(_, n)| n.is("Mul"))?;
            m.with_number(inner).filter(|(v, _)| *v == x).map(|(v, _)| v)
        }),
    }
}

fn fuse(graph: &Graph, found: &Found<'_>, last: &Node, opset: i64) -> Result<Patch, String> {
    let output = last.output(0).ok_or("its output has no name")?;
    if let Some(number) = found.off {
        return Err(format!("its constant {number} is not that of Gelu to five digits"));
    }
    float32(graph, found.x)?;
    found.matcher.closed(output)?;
    if found.tanh && opset < FIRST_OPSET {
        return Err(needs_opset(FIRST_OPSET, opset));
    }
    let mut patch = found.matcher.removal(output);
    let mut node = Node::new("Gelu", &last.name, &[found.x], &[output]);
    if found.tanh {
        node = node.with("approximate", "tanh");
    } else if opset < FIRST_OPSET {
        node.domain = CONTRIBUTED.into();
    }
    patch.insert(node);
    Ok(patch)
}
