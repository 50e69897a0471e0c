//! Gather.

use shiftwise_graph::Value;

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, axis_of, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, each_type, slice, value};

pub(super) const OPS: &[Op] = &[Op::any("Gather", gather)];

fn gather(cx: Cx<'_>) -> Outcome<Kernel> {
    let axis = cx.int_or("axis", 0);
    Ok(Box::new(move |args, ws| {
        let from = args.value(0)?;
        let axis = axis_of(axis, from.shape().len())?;
        let size = from.shape()[axis];
        let places: Vec<usize> = args
            .ints(1)?
            .iter()
            .map(|i| axis_of(*i, size))
            .collect::<Outcome<_>>()
            .map_err(|_| format!("an index is outside of an axis of {size} elements"))?;
        let mut shape = from.shape()[..axis].to_vec();
        shape.extend(args.value(1)?.shape());
        shape.extend(&from.shape()[axis + 1..]);
        each_type!(from, a => picked(slice(a), a.shape(), axis, &places, &shape, ws)).map(|v| results![v])
    }))
}

fn picked<T: Scalar>(
    from: &[T],
    from_shape: &[usize],
    axis: usize,
    places: &[usize],
    shape: &[usize],
    ws: &mut Workspace,
) -> Outcome<Value> {
    let mut out = T::buffer(ws, count(shape)?)?;
    let inner = count(&from_shape[axis + 1..])?;
    let (from_block, to_block) = (from_shape[axis] * inner, places.len() * inner);
    if !out.is_empty() {
        for (from, out) in from.chunks_exact(from_block).zip(out.chunks_exact_mut(to_block)) {
            for (place, out) in places.iter().zip(out.chunks_exact_mut(inner)) {
                out.copy_from_slice(&from[place * inner..][..inner]);
            }
        }
    }
    value(shape, out)
}
