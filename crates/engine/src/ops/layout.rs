//! Operators that move elements: transposing, repeating, trading channels for pixels.

use shiftwise_graph::Value;
use shiftwise_kernels::broadcast::broadcast_shape;

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, Shape, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, each_type, slice, value};
use crate::strided;

pub(super) const OPS: &[Op] = &[
    Op::any("Transpose", transpose),
    Op::any("Expand", expand),
    Op::any("Tile", tile),
    Op::any("DepthToSpace", depth_to_space),
    Op::any("SpaceToDepth", space_to_depth),
];

/// A dense value of `shape` whose elements lie at `strides` in `from`.
fn gathered<T: Scalar>(from: &[T], shape: &[usize], strides: &[isize], ws: &mut Workspace) -> Outcome<Value> {
    let mut out = T::buffer(ws, count(shape)?)?;
    strided::copy(from, 0, shape, strides, &mut out);
    value(shape, out)
}

/// `value` repeated along broadcast axes to `shape`.
pub(super) fn expanded(from: &Value, shape: &[usize], ws: &mut Workspace) -> Outcome<Value> {
    if from.shape() == shape {
        return Ok(crate::args::copy(from, ws));
    }
    if broadcast_shape(from.shape(), shape).as_deref() != Some(shape) {
        return Err(format!("a value of shape {:?} does not broadcast to {shape:?}", from.shape()));
    }
    each_type!(from, a => gathered(slice(a), shape, &strided::broadcast_strides(a.shape(), shape), ws))
}

fn transpose(cx: Cx<'_>) -> Outcome<Kernel> {
    let perm = cx.sizes("perm", 0)?;
    Ok(Box::new(move |args, ws| {
        let shape = Shape::from_slice(args.value(0)?.shape());
        let perm = perm.as_deref().map_or_else(|| (0..shape.len()).rev().collect(), Shape::from_slice);
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..shape.len()) {
            return Err(format!("its perm {perm:?} does not fit an input of shape {shape:?}"));
        }
        let strides = strided::strides(&shape);
        let to: Shape = perm.iter().map(|p| shape[*p]).collect();
        // Moving axes of one element moves nothing.
        let wide = |p: &&usize| shape[**p] != 1;
        if perm.iter().filter(wide).is_sorted() {
            let value = args.take_or_copy(0, ws)?;
            return value.reshaped(&to).map(|v| results![v]).ok_or_else(|| "it cannot be reshaped".into());
        }
        let steps: strided::Strides = perm.iter().map(|p| strides[*p]).collect();
        each_type!(args.value(0)?, a => gathered(slice(a), &to, &steps, ws)).map(|v| results![v])
    }))
}

fn expand(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let wanted = args.ints(1)?;
        let wanted = wanted.iter().map(|d| usize::try_from(*d).ok()).collect::<Option<Vec<_>>>();
        let wanted = wanted.ok_or("its shape has a negative dimension")?;
        let from = args.value(0)?;
        let shape = broadcast_shape(from.shape(), &wanted).ok_or_else(|| {
            format!("a value of shape {:?} does not broadcast with {wanted:?}", from.shape())
        })?;
        count(&shape)?;
        Ok(results![expanded(from, &shape, ws)?])
    }))
}

fn tile(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let from = args.value(0)?;
        let repeats = args.ints(1)?;
        let repeats = repeats.iter().map(|d| usize::try_from(*d).ok()).collect::<Option<Vec<_>>>();
        let repeats =
            repeats.filter(|r| r.len() == from.shape().len()).ok_or("its repeats do not fit its input")?;
        let shape = from.shape();
        let to = shape.iter().zip(&repeats).map(|(n, r)| n.checked_mul(*r)).collect::<Option<Vec<_>>>();
        let to = to.ok_or("its result is too large")?;
        count(&to)?;
        // Each axis as two: the repetition, which does not move, and the axis.
        let steps = strided::strides(shape);
        let doubled: Vec<usize> = repeats.iter().zip(shape).flat_map(|(r, n)| [*r, *n]).collect();
        let steps: Vec<isize> = steps.iter().flat_map(|s| [0, *s]).collect();
        let tiled = each_type!(from, a => gathered(slice(a), &doubled, &steps, ws))?;
        tiled.reshaped(&to).map(|v| results![v]).ok_or_else(|| "it cannot be reshaped".into())
    }))
}

/// A six-dimensional view of an image, its axes reordered, under a new shape.
fn rearranged(
    from: &Value,
    view: [usize; 6],
    order: [usize; 6],
    to: &[usize],
    ws: &mut Workspace,
) -> Outcome<Value> {
    let strides = strided::strides(&view);
    let (dims, steps): (Vec<usize>, Vec<isize>) = order.iter().map(|i| (view[*i], strides[*i])).unzip();
    let moved = each_type!(from, a => gathered(slice(a), &dims, &steps, ws))?;
    moved.reshaped(to).ok_or_else(|| "it cannot be reshaped".into())
}

fn block_size(cx: Cx<'_>) -> Outcome<usize> {
    usize::try_from(cx.int_or("blocksize", 0))
        .ok()
        .filter(|b| (1..=1 << 16).contains(b))
        .ok_or_else(|| format!("its blocksize is {:?}, which is not valid", cx.node.int("blocksize")))
}

fn depth_to_space(cx: Cx<'_>) -> Outcome<Kernel> {
    let b = block_size(cx)?;
    let depth_first = match cx.text_or("mode", "DCR") {
        "DCR" => true,
        "CRD" => false,
        other => return Err(format!("its mode {other:?} is not defined")),
    };
    Ok(Box::new(move |args, ws| {
        let from = args.value(0)?;
        let &[n, c, h, w] = from.shape() else { return Err("its input is not four-dimensional".into()) };
        if c % (b * b) != 0 {
            return Err(format!("{c} channels do not divide into blocks of {b} by {b}"));
        }
        let rest = c / (b * b);
        let to = [n, rest, h * b, w * b];
        let (view, order) = if depth_first {
            ([n, b, b, rest, h, w], [0, 3, 4, 1, 5, 2])
        } else {
            ([n, rest, b, b, h, w], [0, 1, 4, 2, 5, 3])
        };
        Ok(results![rearranged(from, view, order, &to, ws)?])
    }))
}

fn space_to_depth(cx: Cx<'_>) -> Outcome<Kernel> {
    let b = block_size(cx)?;
    Ok(Box::new(move |args, ws| {
        let from = args.value(0)?;
        let &[n, c, h, w] = from.shape() else { return Err("its input is not four-dimensional".into()) };
        if h % b != 0 || w % b != 0 {
            return Err(format!("an image of {h} by {w} does not divide into blocks of {b} by {b}"));
        }
        let to = [n, c * b * b, h / b, w / b];
        Ok(results![rearranged(from, [n, c, h / b, b, w / b, b], [0, 3, 5, 1, 2, 4], &to, ws)?])
    }))
}
