//! Clip from 0 becomes Relu where what comes behind saturates anyway.

use std::collections::HashMap;

use serde::Serialize;
use shiftwise_graph::{Graph, GraphError, Model, Node, Patch, Tensor};
use shiftwise_quant::{QParams, QuantType};

/// Identity nodes between a Clip and its limit.
const FARTHEST: usize = 8;

/// What became of a Clip.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClipToRelu {
    /// The node, as messages call it.
    pub node: String,
    /// Its upper limit, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f32>,
    /// The largest value that the quantization of its output can hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest: Option<f32>,
    /// Why it is a Clip still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declined: Option<String>,
}

impl ClipToRelu {
    /// Whether it became a Relu, and values between its limit and the largest one are not limited any more.
    fn changes(&self) -> Option<(f32, f32)> {
        let (max, largest) = (self.max?, self.largest?);
        (self.declined.is_none() && largest > max).then_some((max, largest))
    }
}

/// Turns each Clip from 0 whose output is quantized into Relu. With a quantization that holds at most L,
///
/// ```text
/// Q(min(max(x, 0), M)) = Q(max(x, 0))   for all x, where L ≤ M,   L = (qmax − zero point)·scale
/// ```
///
/// Where L is above M, values between the two become possible; a warning names them.
///
/// Fails where the model cannot be edited so, which is a bug.
pub(crate) fn to_relu(model: &mut Model) -> Result<Vec<ClipToRelu>, GraphError> {
    let graph = &model.graph;
    let mut report = Vec::new();
    let mut patch = Patch::new();
    // Reads of limits that go with their Clips.
    let mut unread: HashMap<&str, usize> = HashMap::new();
    for (id, node) in graph.nodes().filter(|(_, n)| n.is("Clip")) {
        let mut entry = ClipToRelu { node: node.label(), max: None, largest: None, declined: None };
        match convertible(graph, node, &mut entry) {
            Ok(()) => {
                let [x, y] = [node.input(0), node.output(0)].map(Option::unwrap_or_default);
                patch.replace(id, Node::new("Relu", &node.name, &[x], &[y]));
                for limit in node.inputs.iter().skip(1).filter(|i| !i.is_empty()) {
                    *unread.entry(limit).or_default() += 1;
                }
            }
            Err(reason) => entry.declined = Some(reason),
        }
        if let Some((max, largest)) = entry.changes() {
            tracing::warn!(
                "{} is a Relu now: its upper limit {max} is gone, and its output is quantized up to {largest}",
                entry.node
            );
        }
        report.push(entry);
    }
    let mut gone: Vec<&str> = unread
        .into_iter()
        .filter(|(name, n)| graph.uses(name).len() == *n && !graph.is_output(name))
        .filter_map(|(name, _)| graph.initializer(name).map(|_| name))
        .collect();
    gone.sort_unstable();
    for name in gone {
        patch.remove_initializer(name);
    }
    model.graph.apply("convert_clip_to_relu", patch)?;
    model.graph.sort();
    model.graph.check("convert_clip_to_relu")?;
    Ok(report)
}

/// Fills in the limit and the largest value; `Err` says why the node stays.
fn convertible(graph: &Graph, node: &Node, entry: &mut ClipToRelu) -> Result<(), String> {
    let min = limit(graph, node, 1, "min")?.ok_or("it has no lower limit")?;
    entry.max = limit(graph, node, 2, "max")?;
    let output = node.output(0).ok_or("its output has no name")?;
    let params = quantization(graph, output)?;
    let largest = params.representable().1;
    entry.largest = Some(largest);
    if min != 0.0 {
        return Err(format!("its lower limit is {min}, and that of Relu is 0"));
    }
    match entry.max {
        Some(max) if max.is_nan() || max < 0.0 => {
            Err(format!("its upper limit {max} is below the lower one"))
        }
        _ => Ok(()),
    }
}

/// A limit: an attribute, or a constant with one element, also behind Identity.
fn limit(graph: &Graph, node: &Node, input: usize, name: &str) -> Result<Option<f32>, String> {
    let Some(tensor) = node.input(input) else { return Ok(node.float(name)) };
    let mut source = tensor;
    for _ in 0..FARTHEST {
        match graph.producer(source).filter(|(_, n)| n.is("Identity")).and_then(|(_, n)| n.input(0)) {
            Some(before) => source = before,
            None => break,
        }
    }
    let constant = graph.constant(source).ok_or_else(|| format!("its {name} {tensor:?} is not constant"))?;
    let values = Some(constant).filter(|t| t.len() == 1).and_then(Tensor::to_f32);
    let values = values.ok_or_else(|| format!("its {name} {tensor:?} is not one number"))?;
    Ok(values.first().copied())
}

/// The parameters with which everybody who reads `tensor` quantizes it.
fn quantization(graph: &Graph, tensor: &str) -> Result<QParams, String> {
    let not = || format!("its output {tensor:?} is not quantized, or not for everybody who reads it");
    if graph.is_output(tensor) || graph.uses(tensor).is_empty() {
        return Err(not());
    }
    let mut params: Option<QParams> = None;
    for user in graph.uses(tensor) {
        let reader = graph.node(user.node).filter(|n| n.op_type == "QuantizeLinear" && user.input == Some(0));
        let reader = reader.ok_or_else(not)?;
        let constant = |input: usize| reader.input(input).and_then(|name| graph.constant(name));
        let scale = constant(1).and_then(Tensor::scalar_f32).ok_or("its output has no single scale")?;
        let zero = constant(2).ok_or("its output has no constant zero point")?;
        let ty = QuantType::from_data_type(zero.dtype()).ok_or("its output has another type")?;
        let zero_point = zero.scalar_i64().ok_or("its output has several zero points")?;
        let here = QParams { ty, scale, zero_point };
        // The larger range decides.
        if params.is_none_or(|p| p.representable().1 < here.representable().1) {
            params = Some(here);
        }
    }
    params.ok_or_else(not)
}
