//! Which tensors are collected, and how they divide into channels.

use std::collections::{BTreeSet, HashMap};

use shiftwise_artifact::stats::TensorSpec;
use shiftwise_graph::{DataType, Dim, Graph, Model, Node, TensorType};
use shiftwise_quant::{Placement, SelectError, input_channel_axis};

use crate::CalibrateConfig;

/// The tensors to collect, in graph order: those that the quantizer will ask for, or every float32 tensor.
///
/// Fails when the options select nodes that do not exist.
pub fn tensors_to_collect(model: &Model, config: &CalibrateConfig) -> Result<Vec<TensorSpec>, SelectError> {
    let graph = &model.graph;
    let axes = channel_axes(graph);
    let placement = Placement::of(model, &config.placement)?;
    let wanted: Option<BTreeSet<String>> = (!config.collect_all).then(|| placement.wanted_statistics(graph));
    let inputs = graph.inputs().iter().map(|i| i.name.as_str());
    let made = graph
        .nodes()
        .filter(|(_, n)| !n.is("Constant"))
        .flat_map(|(_, n)| n.outputs.iter().map(String::as_str))
        .filter(|o| !o.is_empty());
    let specs =
        inputs.chain(made).filter(|t| wanted.as_ref().is_none_or(|w| w.contains(*t))).filter_map(|t| {
            // A tensor that was asked for and has another type is refused when it comes by; one that was not is left out.
            match graph.tensor_type(t) {
                Some(ty) => (wanted.is_some() || ty.dtype == DataType::Float)
                    .then(|| spec(t, &ty, axes.get(t).copied())),
                None => wanted.is_some().then(|| TensorSpec::flat(t, &[])),
            }
        });
    Ok(specs.collect())
}

fn spec(tensor: &str, ty: &TensorType, axis: Option<usize>) -> TensorSpec {
    let Some(shape) = &ty.shape else { return TensorSpec::flat(tensor, &[]) };
    let dims: Vec<i64> = shape.iter().map(|d| d.known().map_or(-1, |n| n as i64)).collect();
    let channels = axis.and_then(|a| shape.get(a)).and_then(Dim::known).and_then(|c| u32::try_from(c).ok());
    match (axis, channels) {
        (Some(axis), Some(channels)) if channels > 0 => {
            TensorSpec { name: tensor.into(), shape: dims, channel_axis: Some(axis as u32), channels }
        }
        _ => TensorSpec::flat(tensor, &dims),
    }
}

/// The channel axis of each tensor: what an operator with weights that reads it sums over; else where the operator that made it put
/// its channels, or had them in its input. The second axis where nothing says otherwise.
fn channel_axes(graph: &Graph) -> HashMap<&str, usize> {
    let mut axes = HashMap::new();
    let rank = |tensor: &str| graph.tensor_type(tensor).and_then(|ty| ty.rank());
    let inputs = graph.inputs().iter().map(|i| (i.name.as_str(), None));
    let made = graph.nodes().flat_map(|(_, n)| n.outputs.iter().map(move |o| (o.as_str(), Some(n))));
    for (tensor, maker) in inputs.chain(made) {
        let Some(rank) = rank(tensor).filter(|rank| *rank >= 2) else { continue };
        let read = graph.consumers(tensor).find_map(|(_, node)| wanted_axis(graph, node, tensor, rank));
        let axis = read.or_else(|| made_axis(graph, maker?, rank, &axes));
        axes.insert(tensor, axis.filter(|axis| *axis < rank).unwrap_or(1));
    }
    axes
}

/// The axis of `tensor` that `node` has weights for.
fn wanted_axis(graph: &Graph, node: &Node, tensor: &str, rank: usize) -> Option<usize> {
    if node.input(0) != Some(tensor) || node.input(1).is_none_or(|w| graph.constant(w).is_none()) {
        return None;
    }
    match node.op_type.as_str() {
        "Conv" | "ConvTranspose" => Some(1),
        "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" => Some(rank - 1),
        "MatMul" | "Gemm" => input_channel_axis(node, rank),
        _ => None,
    }
}

/// The channel axis of what `node` makes, from its weights or from its input.
fn made_axis(graph: &Graph, node: &Node, rank: usize, axes: &HashMap<&str, usize>) -> Option<usize> {
    let has_weights = |i: usize| node.input(i).is_some_and(|w| graph.constant(w).is_some());
    match node.op_type.as_str() {
        "Conv" | "ConvTranspose" => Some(1),
        "MatMul" | "Gemm" if has_weights(1) => Some(rank - 1),
        // A table of embeddings.
        "Gather" if has_weights(0) => Some(rank - 1),
        "Transpose" => {
            let from = *axes.get(node.input(0)?)?;
            match node.ints("perm") {
                Some(order) => order.iter().position(|&axis| usize::try_from(axis) == Ok(from)),
                None => Some(rank - 1 - from),
            }
        }
        _ => {
            let same_rank = |t: &&str| graph.tensor_type(t).and_then(|ty| ty.rank()) == Some(rank);
            node.inputs.iter().map(String::as_str).filter(same_rank).find_map(|t| axes.get(t).copied())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shiftwise_graph::{Builder, Tensor};

    #[test]
    fn channels_are_where_weights_are_multiplied() {
        let square = || Tensor::f32(&[4, 4], &[0.0; 16]);
        let kernel = Tensor::f32(&[3, 3, 1, 1], &[0.0; 9]);
        let mut model = Builder::new()
            .input("image", &[1, 3, 5, 5])
            .input("tokens", &[2, 7, 4])
            .constant("k", kernel)
            .constant("w", square())
            .constant("g", Tensor::f32(&[4], &[1.0; 4]))
            .constant("one", Tensor::f32(&[1], &[1.0]))
            .node("Conv", &["image", "k"], &["c"])
            .node("Relu", &["c"], &["r"])
            .node("LayerNormalization", &["tokens", "g"], &["n"])
            .node("MatMul", &["n", "w"], &["m"])
            .node("Add", &["m", "tokens"], &["a"])
            .node("Mul", &["a", "one"], &["b"])
            .node("Softmax", &["b"], &["y"])
            .build(&[("r", &[1, 3, 5, 5]), ("y", &[2, 7, 4])], 17);
        shiftwise_graph::infer_shapes(&mut model);
        let axes = channel_axes(&model.graph);
        let expected =
            [("image", 1), ("c", 1), ("r", 1), ("tokens", 2), ("n", 2), ("m", 2), ("a", 2), ("y", 2)];
        for (tensor, axis) in expected {
            assert_eq!(axes.get(tensor), Some(&axis), "{tensor}");
        }
    }
}
