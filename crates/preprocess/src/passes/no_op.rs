//! Which nodes provably do nothing.

use shiftwise_graph::{Dim, Graph, Model, Node, Tensor};

use super::operand::ints;

/// Whether a node copies an input to its first output.
pub(super) enum NoOp {
    /// It does.
    Yes {
        /// Which input.
        input: usize,
        /// Why.
        why: String,
    },
    /// It does something, or that cannot be known.
    No,
    /// It is one of the operators for doing nothing, but does something here.
    Refused(String),
}

/// Slices that end here end with the tensor, whatever its extent: the convention for "to the end".
const TO_THE_END: i64 = i32::MAX as i64;

/// Looks at one node.
pub(super) fn no_op(model: &Model, node: &Node) -> NoOp {
    if !node.domain.is_empty() {
        return NoOp::No;
    }
    let graph = &model.graph;
    let proven = match node.op_type.as_str() {
        "Identity" => Some("it is an identity".into()),
        "Add" | "Sub" | "Mul" | "Div" => return neutral(graph, node),
        "Expand" => expand(graph, node),
        "Dropout" => return dropout(graph, node),
        "Cast" => same_type(graph, node),
        "Concat" => (node.inputs.len() == 1).then(|| "it concatenates one tensor".into()),
        "Reshape" => reshape(graph, node),
        "Transpose" => transpose(graph, node),
        "Pad" => pad(graph, node),
        "Slice" => slice(graph, node),
        _ => None,
    };
    proven.map_or(NoOp::No, |why| NoOp::Yes { input: 0, why })
}

/// One operand is 0 of a sum, or 1 of a product, and has no extent that the other does not have.
fn neutral(graph: &Graph, node: &Node) -> NoOp {
    let sum = matches!(node.op_type.as_str(), "Add" | "Sub");
    let nothing = i8::from(!sum);
    let commutes = matches!(node.op_type.as_str(), "Add" | "Mul");
    for (x, k) in [(0, 1), (1, 0)].into_iter().take(if commutes { 2 } else { 1 }) {
        let Some(constant) = node.input(k).and_then(|k| graph.initializer(k)) else { continue };
        let Some(dims) = node.input(x).and_then(|x| graph.tensor_type(x)?.shape) else { continue };
        let (few, many) = (constant.dims(), dims.as_slice());
        let aligned = || few.iter().rev().zip(many.iter().rev());
        let keeps = few.len() <= many.len() && aligned().all(|(k, d)| *k == 1 || d.known() == Some(*k));
        if keeps && is_all(constant, nothing) {
            let why = format!("its other operand is {nothing}");
            return NoOp::Yes { input: x, why };
        }
    }
    NoOp::No
}

/// Whether every element of a tensor is this number.
fn is_all(tensor: &Tensor, number: i8) -> bool {
    if tensor.dtype().is_float() {
        tensor.to_f32().is_some_and(|all| all.iter().all(|v| *v == f32::from(number)))
    } else {
        tensor.to_i64().is_some_and(|all| all.iter().all(|v| *v == i64::from(number)))
    }
}

/// Every extent that it asks for is there, or 1.
fn expand(graph: &Graph, node: &Node) -> Option<String> {
    let from = shape(graph, node)?;
    let to = ints(graph, node, 1)?;
    let aligned = to.iter().rev().zip(from.iter().rev());
    let there =
        |(to, from): (&i64, &Dim)| *to == 1 || from.known().is_some_and(|n| i64::try_from(n) == Ok(*to));
    let same = to.len() <= from.len() && aligned.into_iter().all(there);
    same.then(|| "it keeps the shape".into())
}

fn dropout(graph: &Graph, node: &Node) -> NoOp {
    if let Some(mask) = node.output(1)
        && (!graph.uses(mask).is_empty() || graph.is_output(mask))
    {
        return NoOp::Refused(format!("its mask {mask:?} is used"));
    }
    match node.input(2).map(|t| (t, graph.constant(t).and_then(shiftwise_graph::Tensor::scalar_i64))) {
        None | Some((_, Some(0))) => NoOp::Yes { input: 0, why: "it drops nothing at inference".into() },
        Some((_, Some(_))) => NoOp::Refused("its training_mode is true".into()),
        Some((t, None)) => NoOp::Refused(format!("its training_mode {t:?} is not constant")),
    }
}

fn same_type(graph: &Graph, node: &Node) -> Option<String> {
    let ty = graph.tensor_type(node.input(0)?)?;
    (node.int("to")? == i64::from(ty.dtype as i32)).then(|| format!("its input is {} already", ty.dtype))
}

fn shape(graph: &Graph, node: &Node) -> Option<Vec<Dim>> {
    graph.tensor_type(node.input(0)?)?.shape
}

/// Every extent is that of the input, copied from it, or (once) computed from the others.
fn reshape(graph: &Graph, node: &Node) -> Option<String> {
    let from = shape(graph, node)?;
    let to = ints(graph, node, 1)?;
    let allow_zero = node.int("allowzero").unwrap_or(0) != 0;
    let empty = from.contains(&Dim::Known(0));
    let inferred = to.iter().filter(|d| **d == -1).count();
    let kept = |(to, from): (&i64, &Dim)| match (*to, from) {
        (-1, _) => true,
        (0, _) if !allow_zero => true,
        (n, Dim::Known(known)) => usize::try_from(n) == Ok(*known),
        _ => false,
    };
    let same = from.len() == to.len() && inferred <= 1 && !empty && to.iter().zip(&from).all(kept);
    same.then(|| "it keeps the shape".into())
}

fn transpose(graph: &Graph, node: &Node) -> Option<String> {
    let in_order = match node.ints("perm") {
        Some(perm) => perm.iter().enumerate().all(|(i, p)| *p == i as i64),
        None => shape(graph, node)?.len() < 2,
    };
    in_order.then(|| "it keeps the order of axes".into())
}

fn pad(graph: &Graph, node: &Node) -> Option<String> {
    let pads = match node.ints("pads") {
        Some(pads) => pads.to_vec(),
        None => ints(graph, node, 1)?,
    };
    pads.iter().all(|p| *p == 0).then(|| "it pads by nothing".into())
}

fn slice(graph: &Graph, node: &Node) -> Option<String> {
    let starts = ints(graph, node, 1)?;
    let ends = ints(graph, node, 2)?;
    let axes = match node.input(3) {
        Some(_) => ints(graph, node, 3)?,
        None => (0..starts.len() as i64).collect(),
    };
    let steps = match node.input(4) {
        Some(_) => ints(graph, node, 4)?,
        None => vec![1; starts.len()],
    };
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return None;
    }
    let dims = shape(graph, node);
    let whole = |i: usize| {
        let extent = dims.as_ref().and_then(|dims| {
            let axis = if axes[i] < 0 { axes[i].checked_add(dims.len() as i64)? } else { axes[i] };
            i64::try_from(dims.get(usize::try_from(axis).ok()?)?.known()?).ok()
        });
        let from_start = starts[i] == 0 || extent.is_some_and(|n| starts[i] <= -n);
        let to_end = ends[i] >= TO_THE_END || extent.is_some_and(|n| ends[i] >= n);
        steps[i] == 1 && from_start && to_end
    };
    (0..starts.len()).all(whole).then(|| "it keeps every element".into())
}
