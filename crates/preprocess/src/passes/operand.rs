//! What operators have as an attribute in one operator set, and as an input in another.

use shiftwise_graph::{Dim, Graph, Node, Tensor};

/// The integers of a constant input.
pub(super) fn ints(graph: &Graph, node: &Node, input: usize) -> Option<Vec<i64>> {
    graph.constant(node.input(input)?)?.to_i64()
}

/// The axes of Squeeze, Unsqueeze, ReduceMean and the like: an attribute, later the second input. `Ok(None)` where there are none.
///
/// Fails where they are not constant.
pub(super) fn axes(graph: &Graph, node: &Node) -> Result<Option<Vec<i64>>, String> {
    if let Some(axes) = node.ints("axes") {
        return Ok(Some(axes.to_vec()));
    }
    let Some(name) = node.input(1) else { return Ok(None) };
    let constant = ints(graph, node, 1).ok_or_else(|| format!("its axes {name:?} are not constant"))?;
    Ok(Some(constant))
}

/// Axes that may count from the end, sorted, each of them once; `None` where one is not among `rank`, or stands twice.
pub(super) fn counted(axes: &[i64], rank: usize) -> Option<Vec<usize>> {
    let mut counted = axes.iter().map(|a| axis(*a, rank)).collect::<Option<Vec<_>>>()?;
    counted.sort_unstable();
    counted.windows(2).all(|w| w[0] != w[1]).then_some(counted)
}

/// An axis that may count from the end; `None` where it is not among `rank`.
pub(super) fn axis(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
    usize::try_from(axis).ok().filter(|a| *a < rank)
}

/// The bounds of a Clip: attributes, or constants with one element; infinite where there are none.
///
/// Fails where one is computed.
pub(crate) fn clip_bounds(graph: &Graph, clip: &Node) -> Result<(f32, f32), String> {
    let bound = |input: usize, attribute: &str, none: f32| match clip.input(input) {
        None => Ok(clip.float(attribute).unwrap_or(none)),
        Some(name) => {
            let bound = graph.constant(name).and_then(Tensor::scalar_f32);
            bound.ok_or_else(|| format!("the bound {name:?} of {} is not one constant", clip.label()))
        }
    };
    Ok((bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?))
}

/// For rules that leave no node of an operator without a reason.
pub(super) fn gone(node: &Node, op: &str) -> Result<(), String> {
    if node.is(op) { Err("it is still there, without a reason".into()) } else { Ok(()) }
}

/// The dimensions of a tensor, as far as known.
pub(super) fn shape(graph: &Graph, tensor: &str) -> Option<Vec<Dim>> {
    graph.tensor_type(tensor)?.shape
}
