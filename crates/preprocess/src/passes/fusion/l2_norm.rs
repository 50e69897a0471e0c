//! Decomposed L2 normalizations.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule};

use super::pattern::{Matcher, float32, ints, operands};
use crate::passes::{clip_bounds, name};

/// The largest norm that may be taken for another: LpNormalization has no epsilon.
const NEGLIGIBLE: f64 = 1.001e-6;
/// The largest number added to a norm that may be left away.
const NEGLIGIBLE_ADDED: f64 = 1.001e-8;

/// Puts one LpNormalization in the place of its parts. Along one axis,
///
/// ```text
/// y = x / n   or   x·(1/n),   n = ‖x‖₂   or   max(‖x‖₂, e)   or   ‖x‖₂ + e   or   sqrt(max(Σx², e²))   or   sqrt(Σx² + e²),   ‖x‖₂ = sqrt(Σx²)
/// ```
///
/// with any order of operands; norms by ReduceL2, or Sqrt of ReduceSumSquare, or of ReduceSum of a square; maxima by Max or Clip.
/// LpNormalization divides by the norm alone. That is another function where the norm is below e, so that e may be 1e-6 at most; as a
/// number added to the norm 1e-8. Rows of zeros, which the parts divide by e or by zero, become zeros.
#[derive(Clone, Copy, Debug, Default)]
pub struct FuseL2Norm;

impl Rule for FuseL2Norm {
    fn name(&self) -> &'static str {
        name::FUSE_L2_NORM
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let Some((m, found)) = find(graph, id, node) else { return Outcome::NoMatch };
        match fuse(graph, &m, &found, node) {
            Ok(patch) => {
                let without = match found.guard {
                    Guard::None => String::new(),
                    Guard::AtLeast(e) => format!("; norms below {e:e} are divided by themselves now"),
                    Guard::Added(e) => format!("; {e:e} is not added to norms any more"),
                };
                let what = format!("{} nodes are an L2 normalization of {:?}{without}", m.len(), found.x);
                Outcome::rewrite(patch, what)
            }
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

/// How the norm is kept away from zero.
#[derive(Clone, Copy, PartialEq)]
enum Guard {
    None,
    AtLeast(f64),
    Added(f64),
}

struct Found<'g> {
    x: &'g str,
    axes: Vec<i64>,
    guard: Guard,
    /// Whether the norm is repeated along the axis before it divides.
    expanded: bool,
}

fn find<'g>(graph: &'g Graph, id: NodeId, node: &'g Node) -> Option<(Matcher<'g>, Found<'g>)> {
    let mut m = Matcher::new(graph, id);
    let found = if node.is("Div") {
        m.attempt(|m| norm(m, node.input(0)?, node.input(1)?))
    } else if node.is("Mul") {
        let inverse = |m: &mut Matcher<'g>, r: &'g str| {
            let reciprocal = m.attempt(|m| m.made(r, "Reciprocal")?.input(0));
            reciprocal.or_else(|| {
                m.attempt(|m| {
                    let node = m.made(r, "Div")?;
                    node.input(1).filter(|_| node.input(0).and_then(|one| m.number(one)) == Some(1.0))
                })
            })
        };
        operands(node)?.into_iter().find_map(|(x, r)| {
            m.attempt(|m| {
                let n = inverse(m, r)?;
                norm(m, x, n)
            })
        })
    } else {
        None
    }?;
    Some((m, found))
}

/// The norm of `x`, guarded against zero.
fn norm<'g>(m: &mut Matcher<'g>, x: &'g str, n: &'g str) -> Option<Found<'g>> {
    let expand = m.attempt(|m| m.made(n, "Expand")?.input(0));
    let (inner, guard) = guarded(m, expand.unwrap_or(n));
    let axes = m.attempt(|m| reduced(m, inner, "ReduceL2", x));
    let (axes, guard) = if let Some(axes) = axes {
        (axes, guard)
    } else {
        let root = m.made(inner, "Sqrt")?;
        let (sum, within) = guarded(m, root.input(0)?);
        let guard = match (guard, within) {
            (guard, Guard::None) => guard,
            (Guard::None, Guard::AtLeast(e)) => Guard::AtLeast(e.sqrt()),
            // Between norm and norm + sqrt(e), and near the former only where the norm is far above.
            (Guard::None, Guard::Added(e)) => Guard::AtLeast(e.sqrt()),
            _ => return None,
        };
        let squares = m.attempt(|m| reduced(m, sum, "ReduceSumSquare", x));
        let axes = squares.or_else(|| m.attempt(|m| sum_of_squares(m, sum, x)))?;
        (axes, guard)
    };
    Some(Found { x, axes, guard, expanded: expand.is_some() })
}

/// What a maximum with a number, or a sum with one, guards.
fn guarded<'g>(m: &mut Matcher<'g>, t: &'g str) -> (&'g str, Guard) {
    let graph = m.graph;
    let found = m
        .attempt(|m| {
            let node = m.made(t, "Max").filter(|n| n.inputs.len() == 2)?;
            m.with_number(node).map(|(v, e)| (v, Guard::AtLeast(e.into())))
        })
        .or_else(|| {
            m.attempt(|m| {
                let node = m.made(t, "Clip")?;
                let (lo, hi) = clip_bounds(graph, node).ok()?;
                (hi >= 1e30).then_some((node.input(0)?, Guard::AtLeast(lo.into())))
            })
        })
        .or_else(|| {
            m.attempt(|m| {
                let node = m.made(t, "Add")?;
                m.with_number(node).map(|(v, e)| (v, Guard::Added(e.into())))
            })
        });
    found.unwrap_or((t, Guard::None))
}

/// Axes of a reduction of `x` that keeps them, or puts them back.
fn reduced<'g>(m: &mut Matcher<'g>, t: &'g str, op: &str, x: &str) -> Option<Vec<i64>> {
    let graph = m.graph;
    let put_back = m.attempt(|m| {
        let node = m.made(t, "Unsqueeze")?;
        Some((node.input(0)?, ints(graph, node, "axes", 1)?))
    });
    let reduction = m.made(put_back.as_ref().map_or(t, |(inner, _)| inner), op)?;
    let axes = ints(graph, reduction, "axes", 1)?;
    let keeps = reduction.int("keepdims").unwrap_or(1) != 0;
    let fits = match put_back {
        None => keeps,
        Some((_, back)) => !keeps && back == axes,
    };
    (fits && reduction.input(0) == Some(x)).then_some(axes)
}

fn sum_of_squares<'g>(m: &mut Matcher<'g>, t: &'g str, x: &str) -> Option<Vec<i64>> {
    // The reduction is of the square, which has to be one of x.
    let unsqueezed = m.attempt(|m| m.made(t, "Unsqueeze")?.input(0));
    let square = m.graph.producer(unsqueezed.unwrap_or(t)).and_then(|(_, n)| n.input(0))?;
    let axes = reduced(m, t, "ReduceSum", square)?;
    let product = m.attempt(|m| {
        let node = m.made(square, "Mul")?;
        (node.input(0) == Some(x) && node.input(1) == Some(x)).then_some(())
    });
    product.or_else(|| {
        m.attempt(|m| {
            let node = m.made(square, "Pow")?;
            (node.input(0) == Some(x) && node.input(1).and_then(|e| m.number(e)) == Some(2.0)).then_some(())
        })
    })?;
    Some(axes)
}

fn fuse(graph: &Graph, m: &Matcher<'_>, found: &Found<'_>, last: &Node) -> Result<Patch, String> {
    let output = last.output(0).ok_or("its output has no name")?;
    let [axis] = found.axes[..] else {
        return Err(format!("its norm is over axes {:?}, and LpNormalization has one", found.axes));
    };
    float32(graph, found.x)?;
    match found.guard {
        Guard::AtLeast(e) if !(0.0..=NEGLIGIBLE).contains(&e) => {
            return Err(format!(
                "its norm is at least {e:e}, and LpNormalization has no epsilon: norms below would change"
            ));
        }
        Guard::Added(e) if !(0.0..=NEGLIGIBLE_ADDED).contains(&e) => {
            return Err(format!("{e:e} is added to its norm, and LpNormalization has no epsilon"));
        }
        _ => {}
    }
    let shape = |t: &str| graph.tensor_type(t).and_then(|t| t.shape);
    let same = shape(found.x).is_some_and(|x| {
        let known = x.iter().all(|d| *d != shiftwise_graph::Dim::Unknown);
        known && shape(output).as_ref() == Some(&x)
    });
    if found.expanded && !same {
        return Err(format!("its norm may be repeated to another shape than that of {:?}", found.x));
    }
    m.closed(output)?;
    let mut patch = m.removal(output);
    let node = Node::new("LpNormalization", &last.name, &[found.x], &[output]);
    patch.insert(node.with("axis", axis).with("p", 2i64));
    Ok(patch)
}
