//! Concat and Split.

use shiftwise_graph::Value;

use super::Cx;
use crate::args::{Args, Kernel, Outcome, axis_of};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, each_type, slice, value};

pub(super) fn concat(cx: Cx<'_>) -> Outcome<Kernel> {
    let axis = cx.node.int("axis").ok_or("it has no attribute axis")?;
    Ok(Box::new(move |args, ws| {
        let first = args.value(0)?;
        let axis = axis_of(axis, first.shape().len())?;
        let mut shape = first.shape().to_vec();
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
        each_type!(first, a => joined(a, args, axis, &shape, ws)).map(|v| vec![v])
    }))
}

fn joined<T: Scalar>(
    _like: &ndarray::ArrayD<T>,
    args: &Args<'_>,
    axis: usize,
    shape: &[usize],
    ws: &mut Workspace,
) -> Outcome<Value>
where
    Value: Holds<T>,
{
    let mut out = T::buffer(ws, count(shape)?)?;
    let (row, inner) = (count(&shape[axis..])?, count(&shape[axis + 1..])?);
    let mut offset = 0;
    for i in 0..args.count() {
        let part = args.value(i)?;
        let width = part.shape()[axis] * inner;
        let elements = part.elements().ok_or("its inputs are of several types")?;
        if width > 0 && row > 0 {
            for (out, part) in out.chunks_exact_mut(row).zip(elements.chunks_exact(width)) {
                out[offset..offset + width].copy_from_slice(part);
            }
        }
        offset += width;
    }
    value(shape, out)
}

/// Values that may hold elements of a type.
pub(super) trait Holds<T> {
    fn elements(&self) -> Option<&[T]>;
}

macro_rules! holds {
    ($($variant:ident $ty:ty),*) => {
        $(impl Holds<$ty> for Value {
            fn elements(&self) -> Option<&[$ty]> {
                match self {
                    Self::$variant(a) => Some(slice(a)),
                    _ => None,
                }
            }
        })*
    };
}

holds!(F32 f32, F64 f64, F16 half::f16, Bf16 half::bf16, I64 i64, I32 i32, I16 i16, I8 i8, U64 u64, U32 u32, U16 u16, U8 u8, Bool bool);

/// Split: sizes stand in an attribute before opset 13, in an input since; without them the parts are equal.
pub(super) fn split(cx: Cx<'_>) -> Outcome<Kernel> {
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
        let sizes: Vec<usize> = if let Some(sizes) = given {
            sizes.iter().map(|s| usize::try_from(*s).unwrap_or(usize::MAX)).collect()
        } else {
            // The last part is the smaller one where they cannot be equal.
            let each = size.div_ceil(parts.max(1));
            (0..parts).map(|i| each.min(size.saturating_sub(i * each))).collect()
        };
        let total = sizes.iter().try_fold(0usize, |a, b| a.checked_add(*b));
        if sizes.len() != parts || total != Some(size) {
            return Err(format!("parts of {sizes:?} do not make {size} elements in {parts} outputs"));
        }
        each_type!(from, a => cut(a, axis, &sizes, ws))
    }))
}

fn cut<T: Scalar>(
    from: &ndarray::ArrayD<T>,
    axis: usize,
    sizes: &[usize],
    ws: &mut Workspace,
) -> Outcome<Vec<Value>> {
    let shape = from.shape();
    let (row, inner) = (count(&shape[axis..])?, count(&shape[axis + 1..])?);
    let mut offset = 0;
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        let mut to = shape.to_vec();
        to[axis] = *size;
        let width = size * inner;
        let mut out = T::buffer(ws, count(&to)?)?;
        if width > 0 && row > 0 {
            for (out, from) in out.chunks_exact_mut(width).zip(slice(from).chunks_exact(row)) {
                out.copy_from_slice(&from[offset..offset + width]);
            }
        }
        offset += width;
        parts.push(value(&to, out)?);
    }
    Ok(parts)
}
