//! Which tensors are collected, and how they divide into channels.

use std::collections::BTreeSet;

use shiftwise_artifact::stats::TensorSpec;
use shiftwise_graph::{DataType, Dim, Graph, Model, TensorType};
use shiftwise_quant::{Placement, SelectError, input_channel_axis};

use crate::CalibrateConfig;

/// The tensors to collect, in graph order: those that the quantizer will ask for, or every float32 tensor.
///
/// Fails when the options select nodes that do not exist.
pub fn tensors_to_collect(model: &Model, config: &CalibrateConfig) -> Result<Vec<TensorSpec>, SelectError> {
    let graph = &model.graph;
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
                Some(ty) => (wanted.is_some() || ty.dtype == DataType::Float).then(|| spec(graph, t, &ty)),
                None => wanted.is_some().then(|| TensorSpec::flat(t, &[])),
            }
        });
    Ok(specs.collect())
}

fn spec(graph: &Graph, tensor: &str, ty: &TensorType) -> TensorSpec {
    let Some(shape) = &ty.shape else { return TensorSpec::flat(tensor, &[]) };
    let dims: Vec<i64> = shape.iter().map(|d| d.known().map_or(-1, |n| n as i64)).collect();
    let axis = channel_axis(graph, tensor, shape.len());
    let channels = axis.and_then(|a| shape.get(a)).and_then(Dim::known).and_then(|c| u32::try_from(c).ok());
    match (axis, channels) {
        (Some(axis), Some(channels)) if channels > 0 => {
            TensorSpec { name: tensor.into(), shape: dims, channel_axis: Some(axis as u32), channels }
        }
        _ => TensorSpec::flat(tensor, &dims),
    }
}

/// The axis that an operator with weights sums over; the second one where none reads the tensor.
fn channel_axis(graph: &Graph, tensor: &str, rank: usize) -> Option<usize> {
    let reader = graph.consumers(tensor).map(|(_, n)| n).find(|n| {
        n.input(0) == Some(tensor)
            && n.input(1).is_some_and(|w| graph.constant(w).is_some())
            && n.is("MatMul")
    });
    match reader {
        Some(node) => input_channel_axis(node, rank),
        None => (rank >= 2).then_some(1),
    }
}
