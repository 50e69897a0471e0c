//! Padding goes into the convolution or pooling behind it.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule};

use super::name;
use super::operand::{axis, ints, shape};

/// How far back a bound of values is looked for.
const DEPTH: usize = 4;

/// Folds a Pad with a constant into the pads of the Conv, AveragePool or MaxPool behind it. For each spatial axis,
///
/// ```text
/// y = f(pad(x, p), pads = q)     ⇒     y = f(x, pads = q + p)
/// ```
///
/// which holds where f sees the same beyond the border: a Conv sees 0; an AveragePool sees 0 where it counts its pads; a MaxPool
/// sees −∞, from which 0 does not differ where x is not negative and each window has an element of x.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoldPad;

impl Rule for FoldPad {
    fn name(&self) -> &'static str {
        name::FOLD_PAD
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return Outcome::NoMatch };
        if !node.is("Pad") {
            return Outcome::NoMatch;
        }
        let is_reader = |n: &Node| ["Conv", "AveragePool", "MaxPool"].iter().any(|op| n.is(op));
        let reader = graph.uses(y).iter().find_map(|u| {
            let node = graph.node(u.node).filter(|n| is_reader(n) && u.input == Some(0))?;
            Some((u.node, node))
        });
        let Some((after, reader)) = reader else { return Outcome::NoMatch };
        let folded = graph
            .sole_consumer(y)
            .map_err(|shared| shared.to_string())
            .and_then(|_| Padding::of(graph, node))
            .and_then(|padding| {
                fold(graph, reader, x, &padding).map_err(|r| format!("{}: {r}", reader.label()))
            });
        match folded {
            Ok(pads) => {
                let mut patch = Patch::new();
                patch.set_attribute(after, "pads", pads).remove_attribute(after, "auto_pad");
                if reader.is("AveragePool") {
                    patch.set_attribute(after, "count_include_pad", 1);
                }
                patch.set_input(after, 0, x).remove(id).forget_type(y);
                Outcome::rewrite(patch, format!("folded into {}", reader.label()))
            }
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

/// Pads of the spatial axes, first those before, then those behind; and what they are filled with.
struct Padding {
    pads: Vec<i64>,
    value: f32,
}

impl Padding {
    fn of(graph: &Graph, node: &Node) -> Result<Self, String> {
        match node.text("mode") {
            None | Some("constant") => {}
            Some(mode) => return Err(format!("its mode is {mode}, not constant")),
        }
        let value = match node.input(2) {
            None => node.float("value").unwrap_or(0.0),
            Some(name) => {
                let scalar = graph.constant(name).and_then(shiftwise_graph::Tensor::scalar_f32);
                scalar.ok_or_else(|| format!("its value {name:?} is not a constant float"))?
            }
        };
        let given = node.ints("pads").map(<[i64]>::to_vec).or_else(|| ints(graph, node, 1));
        let given = given.ok_or("its pads are not constant")?;
        let (before, behind) = given.split_at(given.len() / 2);
        if before.len() != behind.len() {
            return Err("its pads are not two for each axis".into());
        }
        let rank = node.input(0).and_then(|x| shape(graph, x)).map(|dims| dims.len());
        let rank = rank.or(node.input(3).is_none().then_some(before.len())).ok_or("its rank is not known")?;
        let mut all = vec![0; 2 * rank];
        let axes = match node.input(3) {
            Some(_) => ints(graph, node, 3).ok_or("its axes are not constant")?,
            None => (0..rank as i64).collect(),
        };
        if axes.len() != before.len() {
            return Err("its pads are not two for each axis".into());
        }
        for (i, a) in axes.iter().enumerate() {
            let a = axis(*a, rank).ok_or_else(|| format!("it has no axis {a}"))?;
            (all[a], all[rank + a]) = (before[i], behind[i]);
        }
        if let Some(n) = all.iter().find(|n| **n < 0) {
            return Err(format!("it cuts off: one of its pads is {n}"));
        }
        if let Some(a) = (0..rank.min(2)).find(|a| all[*a] != 0 || all[rank + a] != 0) {
            return Err(format!("it pads axis {a}, which is not spatial"));
        }
        let spatial = |half: &[i64]| half.iter().skip(2).copied().collect::<Vec<_>>();
        let pads = [spatial(&all[..rank]), spatial(&all[rank..])].concat();
        Ok(Self { pads, value })
    }
}

/// The pads of `reader` with the padding before it.
fn fold(graph: &Graph, reader: &Node, x: &str, padding: &Padding) -> Result<Vec<i64>, String> {
    let wanted = padding.pads.len();
    let own = match reader.text("auto_pad") {
        None | Some("NOTSET") => reader.ints("pads").map_or_else(|| vec![0; wanted], <[i64]>::to_vec),
        Some("VALID") => vec![0; wanted],
        Some(auto) => return Err(format!("its auto_pad is {auto}, which depends on the shape of its input")),
    };
    if own.len() != wanted {
        return Err(format!("it has {} pads, not {wanted}", own.len()));
    }
    let sum = own.iter().zip(&padding.pads).map(|(a, b)| a.checked_add(*b)).collect::<Option<Vec<_>>>();
    let pads = sum.ok_or("its pads are too large")?;
    let value = padding.value;
    if reader.is("Conv") {
        return if value == 0.0 { Ok(pads) } else { Err(format!("it pads with 0, not {value}")) };
    }
    if reader.int("ceil_mode").unwrap_or(0) != 0 {
        return Err("its ceil_mode is on, so that windows may lie beyond the pads".into());
    }
    // A window must have an element of its input.
    let kernel = reader.ints("kernel_shape").unwrap_or_default();
    if !pads.iter().enumerate().all(|(i, p)| kernel.get(i % (wanted / 2).max(1)).is_some_and(|k| p < k)) {
        return Err(format!("its kernel {kernel:?} would be no larger than its pads {pads:?}"));
    }
    if reader.is("AveragePool") {
        let counts = reader.int("count_include_pad").unwrap_or(0) != 0;
        if value != 0.0 {
            return Err(format!("it pads with 0, not {value}"));
        }
        if !counts && own.iter().any(|p| *p != 0) {
            return Err("it does not count its own pads".into());
        }
        return Ok(pads);
    }
    if reader.output(1).is_some() {
        return Err("its indices would be others".into());
    }
    if value == f32::NEG_INFINITY || (value <= 0.0 && is_non_negative(graph, x, DEPTH)) {
        return Ok(pads);
    }
    Err(format!("it pads with −∞, not {value}, and {x:?} may be negative"))
}

/// Whether no element of a tensor is negative, whatever the inputs. NaN does not count: padding leaves it as it is.
fn is_non_negative(graph: &Graph, tensor: &str, depth: usize) -> bool {
    let Some((_, node)) = graph.producer(tensor).filter(|(_, n)| depth > 0 && n.domain.is_empty()) else {
        return false;
    };
    let first = || node.input(0).is_some_and(|x| is_non_negative(graph, x, depth - 1));
    // Of several inputs only the nodes that make them are looked at, so that this does not grow with each level.
    let all = || node.inputs.iter().all(|i| is_non_negative(graph, i, 1));
    let least = match node.input(1) {
        Some(min) => graph.constant(min).and_then(shiftwise_graph::Tensor::scalar_f32),
        None => node.float("min"),
    };
    match node.op_type.as_str() {
        "Relu" | "Sigmoid" | "HardSigmoid" | "Softmax" | "Softplus" | "Abs" | "Exp" | "Sqrt" => true,
        "Clip" => least.is_some_and(|min| min >= 0.0),
        "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" | "Reshape" | "Transpose"
        | "Slice" | "Identity" => first(),
        "Concat" | "Add" | "Mul" | "Max" => all(),
        _ => false,
    }
}
