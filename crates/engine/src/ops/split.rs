//! Concat and Split.

use shiftwise_graph::Value;

use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Results, Shape, axis_of, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, each_type, slice, value};

pub(super) const OPS: &[Op] = &[Op::any("Concat", concat), Op::any("Split", split)];

fn concat(cx: Cx<'_>) -> Outcome<Kernel> {
    let axis = cx.node.int("axis").ok_or("it has no attribute axis")?;
    Ok(Box::new(move |args, ws| {
        let axis = axis_of(axis, args.value(0)?.shape().len())?;
        Ok(results![joined(args, axis, ws)?])
    }))
}

/// All inputs, one behind the other along an axis of the first.
pub(super) fn joined(args: &Args<'_>, axis: usize, ws: &mut Workspace) -> Outcome<Value> {
    let first = args.value(0)?;
    let mut shape = Shape::from_slice(first.shape());
    let mut total = 0usize;
    for i in 0..args.count() {
        let part = args.value(i)?;
        let fits = part.shape().len() == shape.len()
            && part.shape().iter().zip(&shape).enumerate().all(|(k, (a, b))| k == axis || a == b)
            && part.dtype() == first.dtype();
        if !fits {
            return Err(format!(
                "a {} value of shape {:?} cannot be joined to a {} one of shape {shape:?} along axis {axis}",
                part.dtype(),
                part.shape(),
                first.dtype()
            ));
        }
        total += part.shape()[axis];
    }
    shape[axis] = total;
    each_type!(first, a => fill(a, args, axis, &shape, ws))
}

fn fill<T: Scalar>(
    _like: &ndarray::ArrayD<T>,
    args: &Args<'_>,
    axis: usize,
    shape: &[usize],
    ws: &mut Workspace,
) -> Outcome<Value> {
    let mut out = T::buffer(ws, count(shape)?)?;
    let (row, inner) = (count(&shape[axis..])?, count(&shape[axis + 1..])?);
    let mut offset = 0;
    for i in 0..args.count() {
        let part = args.value(i)?;
        let width = part.shape()[axis] * inner;
        let elements = slice(T::array_of(part).ok_or("its inputs are of several types")?);
        if width > 0 && row > 0 {
            for (out, part) in out.chunks_exact_mut(row).zip(elements.chunks_exact(width)) {
                out[offset..offset + width].copy_from_slice(part);
            }
        }
        offset += width;
    }
    value(shape, out)
}

/// Split: sizes stand in an attribute before opset 13, in an input since; without them the parts are equal.
fn split(cx: Cx<'_>) -> Outcome<Kernel> {
    let axis = cx.int_or("axis", 0);
    let fixed = cx.ints("split").filter(|_| cx.opset < 13);
    let parts = cx.node.outputs.len();
    if cx.node.int("num_outputs").is_some_and(|n| n != parts as i64) {
        return Err(format!(
            "its num_outputs is {:?}, but it has {parts} outputs",
            cx.node.int("num_outputs")
        ));
    }
    Ok(Box::new(move |args, ws| {
        let from = args.value(0)?;
        let axis = axis_of(axis, from.shape().len())?;
        let size = from.shape()[axis];
        let given = match &fixed {
            Some(sizes) => Some(sizes.clone()),
            None => args.optional_ints(1)?,
        };
        let sizes: Shape = if let Some(sizes) = given {
            sizes.iter().map(|s| usize::try_from(*s).unwrap_or(usize::MAX)).collect()
        } else {
            // The last part is the smaller one where they cannot be equal.
            let each = size.div_ceil(parts.max(1));
            (0..parts).map(|i| each.min(size.saturating_sub(i * each))).collect()
        };
        if sizes.len() != parts {
            return Err(format!("its {} parts are not its {parts} outputs", sizes.len()));
        }
        self::parts(from, axis, &sizes, ws)
    }))
}

/// Parts of these sizes along an axis.
pub(super) fn parts(from: &Value, axis: usize, sizes: &[usize], ws: &mut Workspace) -> Outcome<Results> {
    let size = from.shape()[axis];
    if sizes.iter().try_fold(0usize, |a, b| a.checked_add(*b)) != Some(size) {
        return Err(format!("parts of {sizes:?} do not make {size} elements"));
    }
    each_type!(from, a => cut(a, axis, sizes, ws))
}

fn cut<T: Scalar>(
    from: &ndarray::ArrayD<T>,
    axis: usize,
    sizes: &[usize],
    ws: &mut Workspace,
) -> Outcome<Results> {
    let shape = from.shape();
    let (row, inner) = (count(&shape[axis..])?, count(&shape[axis + 1..])?);
    let mut offset = 0;
    let mut parts = Results::with_capacity(sizes.len());
    for size in sizes {
        let mut to = Shape::from_slice(shape);
        to[axis] = *size;
        let width = size * inner;
        let mut out = T::buffer(ws, count(&to)?)?;
        if width > 0 && row > 0 {
            for (out, from) in out.chunks_exact_mut(width).zip(slice(from).chunks_exact(row)) {
                out.copy_from_slice(&from[offset..offset + width]);
            }
        }
        offset += width;
        parts.push(value(&to, out)?.into());
    }
    Ok(parts)
}
