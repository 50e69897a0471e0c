//! Splits become slices.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule, Tensor};

use super::edit::Edit;
use super::name;
use super::operand::{axis, gone, ints, shape};

/// The operator set in which Split without sizes may leave less for the last part.
const LAST_MAY_BE_SMALLER: i64 = 18;

/// Turns a Split into one Slice for each of its outputs that is used. With part i of size n,
///
/// ```text
/// y = split(x)[i]     ⇒     y = x[a … a + n] on the axis, a the sum of the sizes before
/// ```
///
/// The sizes are those of the attribute or of the constant input; without, the parts are equal, and from operator set 18 on the
/// last may be smaller. The Slice that makes output `out` is called `out_i`, and its constants `out_starts_i`, `out_ends_i`,
/// `out_axes_i` and `out_steps_i`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SplitToSlice;

impl Rule for SplitToSlice {
    fn name(&self) -> &'static str {
        name::SPLIT_TO_SLICE
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        if !node.is("Split") {
            return Outcome::NoMatch;
        }
        match slices(&model.graph, model.opset(), id, node) {
            Ok((patch, sizes)) => Outcome::rewrite(patch, format!("its parts have the sizes {sizes:?}")),
            Err(reason) => Outcome::Refused(reason),
        }
    }

    fn ensures(&self, _: &Model, node: &Node) -> Result<(), String> {
        gone(node, "Split")
    }
}

fn slices(graph: &Graph, opset: i64, id: NodeId, node: &Node) -> Result<(Patch, Vec<i64>), String> {
    let x = node.input(0).ok_or("its input is missing")?;
    let dims = shape(graph, x);
    let given = node.int("axis").unwrap_or(0);
    // Slice takes axes that count from the end, too.
    let extent = dims.as_ref().map(|dims| {
        let axis = axis(given, dims.len()).ok_or_else(|| format!("its input has no axis {given}"))?;
        Ok::<_, String>(dims[axis].known())
    });
    let extent = extent.transpose()?.flatten();
    let sizes = sizes(graph, opset, node, extent)?;
    if sizes.len() != node.outputs.len() {
        return Err(format!("it has {} outputs and {} sizes", node.outputs.len(), sizes.len()));
    }
    let total = sizes.iter().try_fold(0i64, |sum, n| sum.checked_add(*n).filter(|_| *n >= 0));
    let total = total.ok_or_else(|| format!("its sizes {sizes:?} are not valid"))?;
    if extent.is_some_and(|extent| i64::try_from(extent) != Ok(total)) {
        return Err(format!("its sizes {sizes:?} do not add up to the {} of its input", extent.unwrap_or(0)));
    }
    let mut edit = Edit::new(graph);
    let mut start = 0;
    for (i, (output, size)) in node.outputs.iter().zip(&sizes).enumerate() {
        let end = start + size;
        if !graph.uses(output).is_empty() || graph.is_output(output) {
            let parts = [("starts", start), ("ends", end), ("axes", given), ("steps", 1)];
            let parts = parts
                .map(|(what, n)| edit.constant(&format!("{output}_{what}_{i}"), Tensor::i64(&[1], &[n])));
            let [starts, ends, axes, steps] = &parts;
            let name = format!("{output}_{i}");
            let slice = Node::new("Slice", &name, &[x, starts, ends, axes, steps], &[output]);
            edit.patch.insert_before(id, slice);
        }
        start = end;
    }
    edit.patch.remove(id);
    Ok((edit.patch, sizes))
}

fn sizes(graph: &Graph, opset: i64, node: &Node, extent: Option<usize>) -> Result<Vec<i64>, String> {
    if let Some(sizes) = node.ints("split") {
        return Ok(sizes.to_vec());
    }
    if let Some(name) = node.input(1) {
        return ints(graph, node, 1).ok_or_else(|| format!("its sizes {name:?} are not constant"));
    }
    let parts = node.outputs.len();
    if node.int("num_outputs").is_some_and(|n| usize::try_from(n) != Ok(parts)) || parts == 0 {
        return Err(format!("it has {parts} outputs, and says another number"));
    }
    let extent = extent.ok_or("the extent of its axis is not known")?;
    if opset < LAST_MAY_BE_SMALLER && !extent.is_multiple_of(parts) {
        return Err(format!("{extent} does not divide into {parts} equal parts"));
    }
    let size = extent.div_ceil(parts);
    let of_part = |i: usize| {
        let size = extent.checked_sub(i * size)?.min(size);
        i64::try_from(size).ok()
    };
    let sizes: Option<Vec<i64>> = (0..parts).map(of_part).collect();
    sizes.ok_or_else(|| format!("{extent} is too little for {parts} parts of {size}"))
}
