//! Normalizations.

use bytes::Bytes;
use shiftwise_graph::{Node, Tensor};

use super::step::{Adapter, Step, set_input};

pub(super) const ADAPTERS: &[(&str, i64, Adapter)] =
    &[("BatchNormalization", 14, batch), ("GroupNormalization", 21, group)];

/// Training was said by further outputs, and is by an attribute since.
fn batch(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    if node.outputs.iter().skip(1).any(|o| !o.is_empty()) {
        return Err("it has the outputs of training".into());
    }
    node.outputs.truncate(1);
    step.put(node)
}

/// Scale and bias were those of groups, and are those of channels since: each is repeated for the channels of its group.
fn group(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    let groups = node.int("num_groups").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let groups = groups.ok_or("its num_groups is not known")?;
    let channels = step.shape(&node, 0).and_then(|shape| shape.get(1)?.known());
    let channels = channels.filter(|c| c.is_multiple_of(groups)).ok_or("its channels are not known")?;
    for (input, what) in [(1, "scale"), (2, "bias")] {
        let name = node.input(input).ok_or_else(|| format!("it has no {what}"))?;
        let constant = step.scope.constant(name).ok_or_else(|| format!("its {what} is not constant"))?;
        let repeated = repeated(constant, groups, channels / groups).ok_or_else(|| {
            format!("its {what} of shape {:?} is not one value for each group", constant.dims())
        })?;
        let name = step.constant(&node, what, repeated);
        set_input(&mut node, input, name);
    }
    step.put(node)
}

fn repeated(tensor: &Tensor, groups: usize, times: usize) -> Option<Tensor> {
    let width = tensor.dtype().bits()? / 8;
    if tensor.dims() != [groups] || width == 0 {
        return None;
    }
    let elements = tensor.raw()?.chunks_exact(width);
    let bytes: Vec<u8> = elements.flat_map(|e| std::iter::repeat_n(e, times).flatten().copied()).collect();
    Tensor::from_raw(tensor.dtype(), vec![groups * times], Bytes::from(bytes)).ok()
}
