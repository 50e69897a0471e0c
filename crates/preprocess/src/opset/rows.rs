//! Softmax and its like: before opset 13 everything from the axis on was one row; since, the axis alone.

use shiftwise_graph::{Dim, Node};

use super::step::{Adapter, Step};

pub(super) const ADAPTERS: &[(&str, i64, Adapter)] =
    &[("Softmax", 13, rows), ("LogSoftmax", 13, rows), ("Hardmax", 13, rows)];

fn rows(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    let axis = node.int("axis").unwrap_or(1);
    let shape = step.shape(&node, 0);
    if let Some(shape) = &shape {
        let rank = shape.len() as i64;
        let at = if axis < 0 { axis + rank } else { axis };
        let at = usize::try_from(at).ok().filter(|at| *at < shape.len());
        // Axes of one element beside the wide one make no difference.
        let mut wide = at.iter().flat_map(|at| *at..shape.len()).filter(|i| shape[*i] != Dim::Known(1));
        let only = match (at, wide.next(), wide.next()) {
            (Some(at), None, _) => Some(at),
            (Some(_), Some(wide), None) => Some(wide),
            _ => None,
        };
        if let Some(only) = only {
            node = node.with("axis", only as i64);
            return step.put(node);
        }
    }
    // As a matrix of rows, and back.
    let (Some(x), Some(y)) = (node.input(0).map(str::to_owned), node.output(0).map(str::to_owned)) else {
        return Err("its input or output is missing".into());
    };
    let [flat, soft] = ["flattened", "rows"].map(|end| step.new.fresh_name(&format!("{y}_{end}")));
    let back = if let Some(target) = shape.as_deref().and_then(target) {
        step.ints(&node, "shape", &target)
    } else {
        let shape = step.new.fresh_name(&format!("{y}_shape"));
        step.put(Node::new("Shape", &shape, &[&x], &[&shape]))?;
        shape
    };
    step.put(Node::new("Flatten", &flat, &[&x], &[&flat]).with("axis", axis))?;
    (node.inputs, node.outputs) = (vec![flat], vec![soft.clone()]);
    let name = if node.name.is_empty() { String::new() } else { format!("{}_reshape", node.name) };
    step.put(node.with("axis", 1i64))?;
    step.put(Node::new("Reshape", &name, &[&soft, &back], &[&y]))
}

/// The shape for a Reshape, where at most one extent is open.
fn target(shape: &[Dim]) -> Option<Vec<i64>> {
    let open = shape.iter().filter(|d| d.known().is_none()).count();
    let empty = shape.contains(&Dim::Known(0));
    let extent = |d: &Dim| d.known().map_or(Some(-1), |n| i64::try_from(n).ok());
    if open > 1 || empty { None } else { shape.iter().map(extent).collect() }
}
