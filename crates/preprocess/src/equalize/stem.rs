//! The first convolution, equalized against normalizations.

use std::collections::{BTreeSet, VecDeque};

use shiftwise_graph::{DataType, Graph, GraphError, Model, Node, NodeId, Note, PassReport, Patch, Tensor};

use super::between::homogeneous;
use super::layer::{Layer, Side};
use crate::passes::name;

/// Channels whose weights are all below it are dead.
const DEAD: f32 = 1e-6;
/// The largest factor.
const MOST: f32 = 16.0;

/// A normalization, and its first channel that comes from the stem.
type Reached = (NodeId, usize);

/// Equalizes the first convolution of a model against the normalizations behind it. Per channel i, with m_i the largest magnitude among its
/// weights and m the largest m_i, s_i = min(max(m / m_i, 1), 16), and 1 where m_i ≤ 1e-6:
///
/// ```text
/// W_i ← s_i·W_i,   b_i ← s_i·b_i,   gamma ← gamma/s_i,   mean ← s_i·mean,   var ← var
/// ```
///
/// where (s·x − s·mean)·(gamma/s)/√(var + epsilon) + beta is what it was. Between them may stand Relu, poolings, zero padding and concatenations of channels.
/// Where normalizations were folded, there is nothing to do.
///
/// Fails only where the graph was inconsistent before.
pub(crate) fn stem(model: &mut Model) -> Result<PassReport, GraphError> {
    let mut report = PassReport::new(name::STEM_EQUALIZATION);
    let graph = &model.graph;
    let first = graph.nodes().find(|(_, n)| {
        n.is("Conv") && n.int("group").unwrap_or(1) == 1 && n.input(0).is_some_and(|x| graph.is_input(x))
    });
    let Some((id, node)) = first else { return Ok(report) };
    match equalize(graph, id, node) {
        Ok(None) => {}
        Ok(Some((patch, what))) => {
            report.applied.push(Note { node: node.label(), what });
            model.graph.apply(name::STEM_EQUALIZATION, patch)?;
            model.graph.check(name::STEM_EQUALIZATION)?;
        }
        Err(what) => report.refused.push(Note { node: node.label(), what }),
    }
    Ok(report)
}

fn equalize(graph: &Graph, id: NodeId, node: &Node) -> Result<Option<(Patch, String)>, String> {
    let mut layer = Layer::of(graph, id, node)?;
    let channels = layer.channels(Side::Output);
    let reached = reach(graph, node, channels)?;
    let ranges = layer.largest(Side::Output);
    let target = ranges.iter().fold(0f32, |m, r| m.max(*r));
    let factor = |r: &f32| if *r > DEAD { (target / r).clamp(1.0, MOST) } else { 1.0 };
    let factors: Vec<f32> = ranges.iter().map(factor).collect();
    if factors.iter().all(|f| *f == 1.0) {
        return Ok(None);
    }
    let mut patch = Patch::new();
    for (normalization, offset) in &reached {
        scale_normalization(graph, &mut patch, *normalization, *offset, &factors)?;
    }
    layer.scale_outputs(&factors);
    let what = format!("{}, for {} normalizations", layer.span(), reached.len());
    layer.write(graph, &mut patch);
    Ok(Some((patch, what)))
}

/// Every normalization that the layer's channels reach; fails where they reach anything else.
fn reach(graph: &Graph, node: &Node, channels: usize) -> Result<Vec<Reached>, String> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut waiting = VecDeque::from([(node.output(0).unwrap_or_default(), 0usize)]);
    while let Some((tensor, offset)) = waiting.pop_front() {
        if graph.is_output(tensor) {
            return Err(format!("{tensor:?} is an output of the graph"));
        }
        for user in graph.uses(tensor) {
            let Some(next) = graph.node(user.node) else { continue };
            if !seen.insert((user.node, user.input, offset)) {
                continue;
            }
            let label = next.label();
            let output = next.output(0).unwrap_or_default();
            match (next.op_type.as_str(), user.input) {
                (_, None) => return Err(format!("{tensor:?} is captured by a subgraph of {label}")),
                ("Concat", Some(input)) => waiting.push_back((output, offset + before(graph, next, input)?)),
                ("BatchNormalization", Some(0)) => found.push((user.node, offset)),
                ("Identity" | "MaxPool" | "AveragePool" | "GlobalAveragePool", Some(0)) => {
                    waiting.push_back((output, offset));
                }
                (_, Some(0)) => {
                    homogeneous(graph, next)?;
                    waiting.push_back((output, offset));
                }
                _ => return Err(format!("{label} reads {tensor:?}")),
            }
        }
    }
    let mut normalizations = BTreeSet::new();
    if let Some((id, _)) = found.iter().find(|(id, _)| !normalizations.insert(*id)) {
        let label = graph.node(*id).map_or_else(String::new, Node::label);
        return Err(format!("its channels reach {label} twice"));
    }
    if found.is_empty() {
        return Err(format!("no normalization reads its {channels} channels"));
    }
    Ok(found)
}

/// How many channels a Concat puts before those of one input.
fn before(graph: &Graph, concat: &Node, input: usize) -> Result<usize, String> {
    if concat.int("axis") != Some(1) {
        return Err(format!("{} does not join channels", concat.label()));
    }
    let channels = |name: &String| graph.tensor_type(name)?.shape?.get(1)?.known();
    let sum = concat.inputs[..input].iter().map(channels).sum::<Option<usize>>();
    sum.ok_or_else(|| format!("{} joins an unknown number of channels", concat.label()))
}

/// gamma / s and s · mean in the channels from `offset` on.
fn scale_normalization(
    graph: &Graph,
    patch: &mut Patch,
    id: NodeId,
    offset: usize,
    factors: &[f32],
) -> Result<(), String> {
    let node = graph.node(id).ok_or("a normalization is gone")?;
    let label = node.label();
    if node.int("training_mode").unwrap_or(0) != 0 {
        return Err(format!("the training_mode of {label} is on"));
    }
    for (input, divide) in [(1, true), (3, false)] {
        let name = node.input(input).unwrap_or_default();
        let constant =
            graph.initializer(name).filter(|t| t.dtype() == DataType::Float).and_then(Tensor::to_f32);
        let mut values = constant.ok_or_else(|| format!("{name:?} of {label} is not a float32 constant"))?;
        if graph.uses(name).len() != 1 || graph.is_output(name) {
            return Err(format!("{name:?} of {label} has other readers"));
        }
        let part = values.get_mut(offset..offset + factors.len());
        let part = part.ok_or_else(|| format!("{label} has fewer channels than reach it"))?;
        part.iter_mut().zip(factors).for_each(|(v, s)| if divide { *v /= s } else { *v *= s });
        patch.set_initializer(name, Tensor::f32(&[values.len()], &values));
    }
    Ok(())
}
