//! What may stand between two layers that are equalized.

use shiftwise_graph::{Graph, Node};

/// Why channels may not be scaled in front of `node` instead of behind it; `Ok` where it is positively homogeneous and leaves channels
/// apart: Relu, LeakyRelu, means over space, padding with zeros.
pub(super) fn homogeneous(graph: &Graph, node: &Node) -> Result<(), String> {
    match node.op_type.as_str() {
        _ if !node.domain.is_empty() => Err(format!("{} is not a standard operator", node.label())),
        "Relu" | "LeakyRelu" => Ok(()),
        "ReduceMean" => over_space(graph, node),
        "Pad" => padding(graph, node),
        "Clip" => Err(format!("{} does not scale with its input", node.label())),
        _ => Err(format!("{} stands behind it", node.label())),
    }
}

/// As [`homogeneous`], with poolings and PRelu, whose slopes are of no matter.
pub(super) fn homogeneous_or_pooling(graph: &Graph, node: &Node) -> Result<(), String> {
    let pooling =
        ["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"].iter().any(|op| node.is(op));
    let slope = node.is("PRelu") && node.input(1).is_some_and(|slope| graph.initializer(slope).is_some());
    // The second output of MaxPool has indices, which stay.
    if pooling || slope { Ok(()) } else { homogeneous(graph, node) }
}

/// Constants of an attribute, or of an input.
fn constants(graph: &Graph, node: &Node, attribute: &str, input: usize) -> Option<Vec<i64>> {
    match node.ints(attribute) {
        Some(values) => Some(values.to_vec()),
        None => graph.constant(node.input(input)?)?.to_i64(),
    }
}

fn over_space(graph: &Graph, node: &Node) -> Result<(), String> {
    let axes = constants(graph, node, "axes", 1);
    let rank = node.input(0).and_then(|x| graph.tensor_type(x)?.rank());
    let spatial = |axis: &i64| match rank {
        _ if *axis >= 2 => true,
        Some(rank) => *axis < 0 && axis + rank as i64 >= 2,
        None => false,
    };
    match axes {
        Some(axes) if !axes.is_empty() && axes.iter().all(spatial) => Ok(()),
        _ => Err(format!("{} may average over channels", node.label())),
    }
}

fn padding(graph: &Graph, node: &Node) -> Result<(), String> {
    let mode = node.text("mode").unwrap_or("constant");
    let value = match node.input(2) {
        Some(value) => graph.constant(value).and_then(shiftwise_graph::Tensor::scalar_f32),
        None => Some(node.float("value").unwrap_or(0.0)),
    };
    if mode == "constant" && value != Some(0.0) {
        return Err(format!("{} pads with another constant than zero", node.label()));
    }
    let pads = constants(graph, node, "pads", 1).filter(|_| node.input(3).is_none());
    let channels_stay = pads.is_some_and(|pads| {
        let half = pads.len() / 2;
        half >= 2 && pads[..2].iter().chain(&pads[half..half + 2]).all(|p| *p == 0)
    });
    if channels_stay { Ok(()) } else { Err(format!("{} may pad channels", node.label())) }
}
