//! Poolings.

use shiftwise_graph::Node;

use super::step::{Adapter, Step};

pub(super) const ADAPTERS: &[(&str, i64, Adapter)] = &[("AveragePool", 19, average)];

/// A window that reaches beyond the padding, as `ceil_mode` allows, was divided by its size with what is beyond; since, by what is
/// inside. Without such a window nothing changed.
fn average(step: &mut Step<'_>, node: Node) -> Result<(), String> {
    let counts = node.int("ceil_mode").unwrap_or(0) != 0 && node.int("count_include_pad").unwrap_or(0) != 0;
    if counts && !windows_fit(step, &node) {
        return Err("its ceil_mode lets windows reach beyond the padding that it counts".into());
    }
    step.put(node)
}

fn windows_fit(step: &Step<'_>, node: &Node) -> bool {
    let (Some(shape), Some(kernel)) = (step.shape(node, 0), node.ints("kernel_shape")) else { return false };
    let rank = kernel.len();
    let at =
        |name: &str, i: usize, default: i64| node.ints(name).map_or(Some(default), |v| v.get(i).copied());
    node.text("auto_pad").is_none_or(|a| a == "NOTSET")
        && shape.len() == rank + 2
        && (0..rank).all(|i| {
            let extent = shape[i + 2].known().and_then(|n| i64::try_from(n).ok());
            let parts = (extent, at("pads", i, 0), at("pads", i + rank, 0), at("strides", i, 1));
            let (Some(extent), Some(before), Some(after), Some(stride)) = parts else { return false };
            let steps = [before, after].iter().try_fold(extent, |a, b| a.checked_add(*b));
            steps.and_then(|s| s.checked_sub(kernel[i])?.checked_rem(stride)) == Some(0)
        })
}
