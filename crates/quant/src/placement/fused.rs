//! Q/DQ between an operator and what the hardware fuses into it.

use shiftwise_graph::{Graph, Node, NodeId};

use super::{Placement, PlacementOptions, Role};

/// Operators whose output stage computes an activation.
const PRODUCERS: [&str; 8] =
    ["Conv", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "MatMul", "Gemm", "ConvTranspose"];

/// The activation that the hardware computes together with the producer of `tensor`, if there is one: a removable
/// activation that is the only reader of the tensor.
pub fn fused_activation<'g>(
    graph: &'g Graph,
    tensor: &str,
    options: &PlacementOptions,
) -> Option<(NodeId, &'g Node)> {
    let (_, producer) = graph.producer(tensor)?;
    if !PRODUCERS.iter().any(|op| producer.is(op)) {
        return None;
    }
    let (id, consumer) = graph.sole_consumer(tensor).ok()?;
    let removable = match consumer.op_type.as_str() {
        "Relu" => options.remove_qdq_conv_relu,
        "LeakyRelu" => options.remove_qdq_conv_leaky_relu,
        "PRelu" => options.remove_qdq_conv_prelu && consumer.input(0) == Some(tensor),
        "Clip" => options.remove_qdq_conv_clip && clips_to_hardware_range(graph, consumer),
        _ => false,
    };
    (removable && consumer.domain.is_empty()).then_some((id, consumer))
}

/// Clip to [0, 6] or [0, 1]. Bounds are attributes before opset 11, constants since.
fn clips_to_hardware_range(graph: &Graph, clip: &Node) -> bool {
    let bound = |index: usize, name: &str| match clip.input(index) {
        Some(tensor) => graph.constant(tensor)?.scalar_f32(),
        None => clip.float(name),
    };
    let near = |value: f32, wanted: f32| (value - wanted).abs() <= 1e-6;
    match (bound(1, "min"), bound(2, "max")) {
        (Some(min), Some(max)) => near(min, 0.0) && (near(max, 6.0) || near(max, 1.0)),
        _ => false,
    }
}

/// Drops sites in front of fused activations, and between a padding and the pooling that it belongs to.
///
/// A site stays when what comes behind has none of its own: the value would not be quantized at all.
pub(super) fn drop_fused(placement: &mut Placement, graph: &Graph, options: &PlacementOptions) {
    let candidates: Vec<String> =
        placement.sites.iter().filter(|(_, s)| s.role == Role::Activation).map(|(t, _)| t.clone()).collect();
    for tensor in candidates {
        let behind = fused_activation(graph, &tensor, options)
            .map(|(_, node)| node)
            .or_else(|| pool_behind_pad(graph, &tensor));
        let Some(behind) = behind else { continue };
        if behind.output(0).is_some_and(|o| placement.sites.contains_key(o)) {
            placement.fused.insert(tensor);
        }
    }
    for tensor in &placement.fused {
        placement.sites.shift_remove(tensor);
    }
}

fn pool_behind_pad<'g>(graph: &'g Graph, tensor: &str) -> Option<&'g Node> {
    let (_, producer) = graph.producer(tensor)?;
    if !producer.is("Pad") {
        return None;
    }
    let (_, consumer) = graph.sole_consumer(tensor).ok()?;
    (consumer.is("AveragePool") || consumer.is("GlobalAveragePool")).then_some(consumer)
}
