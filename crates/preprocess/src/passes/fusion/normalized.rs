//! The common part of decomposed instance and layer normalizations.

use shiftwise_graph::{Graph, Node, NodeId, Tensor};

use super::pattern::{Matcher, ints, operands};

/// What a mean is over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Over {
    /// Axes of the input, in order, not negative.
    pub(super) axes: Vec<usize>,
    /// Axes that the input has.
    pub(super) rank: usize,
    /// Whether a global pooling computes it.
    pub(super) pooled: bool,
}

/// `(x − mean(x)) / sqrt(mean((x − mean(x))²) + epsilon)`, with the factor and the offset that are inside of it.
pub(super) struct Normalized<'g> {
    pub(super) matcher: Matcher<'g>,
    pub(super) x: &'g str,
    pub(super) over: Over,
    pub(super) epsilon: f32,
    /// A constant factor within the pattern.
    pub(super) scale: Option<&'g str>,
    /// A constant offset within the pattern.
    pub(super) bias: Option<&'g str>,
    /// What the pattern makes.
    pub(super) output: &'g str,
    /// The node that makes it.
    pub(super) last: &'g Node,
}

/// Looks for the pattern that ends with this node:
///
/// ```text
/// d / s,   d·r,   d·(r·scale),   x·(r·scale) + (bias − m·(r·scale)),   d = x − m,   r = 1/s
/// ```
pub(super) fn find<'g>(graph: &'g Graph, id: NodeId, node: &'g Node) -> Option<Normalized<'g>> {
    let mut m = Matcher::new(graph, id);
    let core = match node.op_type.as_str() {
        _ if !node.domain.is_empty() => None,
        "Div" => m.attempt(|m| divided(m, node)),
        "Mul" => operands(node)?.into_iter().find_map(|(d, k)| m.attempt(|m| multiplied(m, d, k))),
        "Add" => operands(node)?.into_iter().find_map(|(p, q)| m.attempt(|m| spread(m, p, q))),
        _ => None,
    }?;
    let Core { x, over, epsilon, scale, bias } = core;
    Some(Normalized { matcher: m, x, over, epsilon, scale, bias, output: node.output(0)?, last: node })
}

impl<'g> Normalized<'g> {
    /// Makes the multiplication behind the pattern part of it, and the addition behind that, where they are with constants that fit.
    pub(super) fn absorb(&mut self, fits: &dyn Fn(&Tensor) -> bool) {
        if self.scale.is_none() && self.bias.is_none() {
            self.scale = self.follow("Mul", fits);
        }
        if self.bias.is_none() {
            self.bias = self.follow("Add", fits);
        }
    }

    fn follow(&mut self, op: &str, fits: &dyn Fn(&Tensor) -> bool) -> Option<&'g str> {
        let graph = self.matcher.graph;
        let (id, node) = graph.sole_consumer(self.output).ok().filter(|(_, n)| n.is(op))?;
        let pairs = operands(node)?.into_iter();
        let (_, constant) = pairs.into_iter().find(|(y, _)| *y == self.output)?;
        graph.constant(constant).filter(|t| fits(t))?;
        self.output = node.output(0)?;
        self.last = node;
        self.matcher.take(id);
        Some(constant)
    }
}

struct Core<'g> {
    x: &'g str,
    over: Over,
    epsilon: f32,
    scale: Option<&'g str>,
    bias: Option<&'g str>,
}

/// `d / s`
fn divided<'g>(m: &mut Matcher<'g>, node: &'g Node) -> Option<Core<'g>> {
    let (x, over) = centred(m, node.input(0)?)?;
    let epsilon = deviation(m, node.input(1)?, x, &over)?;
    Some(Core { x, over, epsilon, scale: None, bias: None })
}

/// `d·k`
fn multiplied<'g>(m: &mut Matcher<'g>, d: &'g str, k: &'g str) -> Option<Core<'g>> {
    let (x, over) = centred(m, d)?;
    let (epsilon, scale) = factor(m, k, x, &over)?;
    Some(Core { x, over, epsilon, scale, bias: None })
}

/// `x·k + (bias − m·k)`
fn spread<'g>(m: &mut Matcher<'g>, product: &'g str, rest: &'g str) -> Option<Core<'g>> {
    let rest = m.made(rest, "Sub")?;
    let bias = rest.input(0).filter(|b| m.graph.constant(b).is_some())?;
    let shift = m.made(rest.input(1)?, "Mul")?;
    let product = m.made(product, "Mul")?;
    operands(product)?.into_iter().find_map(|(x, k)| {
        m.attempt(|m| {
            let x = m.wide(x);
            let (mean_of, over) =
                operands(shift)?.into_iter().filter(|(_, f)| *f == k).find_map(|(t, _)| mean(m, t))?;
            let (epsilon, scale) = factor(m, k, x, &over).filter(|_| mean_of == x)?;
            Some(Core { x, over, epsilon, scale, bias: Some(bias) })
        })
    })
}

/// `x − mean(x)`
fn centred<'g>(m: &mut Matcher<'g>, d: &'g str) -> Option<(&'g str, Over)> {
    m.attempt(|m| {
        let sub = m.made(d, "Sub")?;
        let x = m.wide(sub.input(0)?);
        let (of, over) = mean(m, sub.input(1)?)?;
        (of == x).then_some((x, over))
    })
}

/// A mean that keeps the axes, and what it is of.
fn mean<'g>(m: &mut Matcher<'g>, tensor: &'g str) -> Option<(&'g str, Over)> {
    m.attempt(|m| {
        let pooled = m.attempt(|m| m.made(tensor, "GlobalAveragePool"));
        let node = match pooled {
            Some(node) => node,
            None => m.made(tensor, "ReduceMean").filter(|n| n.int("keepdims").unwrap_or(1) != 0)?,
        };
        let x = m.wide(node.input(0)?);
        let rank = m.graph.tensor_type(x)?.rank()?;
        let mut axes: Vec<usize> = if pooled.is_some() {
            (2..rank).collect()
        } else {
            let axes = ints(m.graph, node, "axes", 1)?;
            let placed = axes.iter().map(|a| usize::try_from(if *a < 0 { a + rank as i64 } else { *a }));
            placed.collect::<Result<_, _>>().ok()?
        };
        axes.sort_unstable();
        Some((x, Over { axes, rank, pooled: pooled.is_some() }))
    })
}

/// `r` or `r·scale`, with epsilon
fn factor<'g>(m: &mut Matcher<'g>, k: &'g str, x: &str, over: &Over) -> Option<(f32, Option<&'g str>)> {
    if let Some(epsilon) = inverse(m, k, x, over) {
        return Some((epsilon, None));
    }
    let scaled = m.attempt(|m| {
        let node = m.made(k, "Mul")?;
        operands(node)?.into_iter().find_map(|(r, scale)| {
            m.graph.constant(scale)?;
            Some((inverse(m, r, x, over)?, Some(scale)))
        })
    });
    scaled.or_else(|| {
        m.attempt(|m| {
            let node = m.made(k, "Div")?;
            let scale = node.input(0).filter(|s| m.graph.constant(s).is_some())?;
            Some((deviation(m, node.input(1)?, x, over)?, Some(scale)))
        })
    })
}

/// `1 / s`
fn inverse<'g>(m: &mut Matcher<'g>, r: &'g str, x: &str, over: &Over) -> Option<f32> {
    let reciprocal = m.attempt(|m| {
        let node = m.made(r, "Reciprocal")?;
        deviation(m, node.input(0)?, x, over)
    });
    let quotient = reciprocal.or_else(|| {
        m.attempt(|m| {
            let node = m.made(r, "Div").filter(|n| n.input(0).and_then(|one| m.number(one)) == Some(1.0))?;
            deviation(m, node.input(1)?, x, over)
        })
    });
    quotient.or_else(|| m.attempt(|m| power(m, r, -0.5, x, over)))
}

/// `s = sqrt(mean((x − mean(x))²) + epsilon)`
fn deviation<'g>(m: &mut Matcher<'g>, s: &'g str, x: &str, over: &Over) -> Option<f32> {
    let root = m.attempt(|m| {
        let node = m.made(s, "Sqrt")?;
        variance(m, node.input(0)?, x, over)
    });
    root.or_else(|| m.attempt(|m| power(m, s, 0.5, x, over)))
}

fn power<'g>(m: &mut Matcher<'g>, t: &'g str, exponent: f32, x: &str, over: &Over) -> Option<f32> {
    let node = m.made(t, "Pow").filter(|n| n.input(1).and_then(|e| m.number(e)) == Some(exponent))?;
    variance(m, node.input(0)?, x, over)
}

/// Epsilon of `mean((x − mean(x))²) + epsilon`
fn variance<'g>(m: &mut Matcher<'g>, t: &'g str, x: &str, over: &Over) -> Option<f32> {
    let sum = m.made(t, "Add")?;
    let (v, epsilon) = m.with_number(sum).filter(|(_, e)| e.is_finite() && *e >= 0.0)?;
    let (squares, again) = mean(m, v)?;
    let same = |(of, axes): (&str, Over)| of == x && axes.axes == over.axes;
    let square = m.attempt(|m| {
        let node = m.made(squares, "Mul")?;
        (same(centred(m, node.input(0)?)?) && same(centred(m, node.input(1)?)?)).then_some(())
    });
    let square = square.or_else(|| {
        m.attempt(|m| {
            let node =
                m.made(squares, "Pow").filter(|n| n.input(1).and_then(|e| m.number(e)) == Some(2.0))?;
            same(centred(m, node.input(0)?)?).then_some(())
        })
    });
    square.filter(|()| again.axes == over.axes).map(|()| epsilon)
}
