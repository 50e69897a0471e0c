//! Gather, GatherElements, GatherND.

use shiftwise_graph::Value;

use super::scatter::{element_places, slice_places};
use super::{Cx, Op};
use crate::args::{Kernel, Outcome, axis_of, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, each_type, slice, value};

pub(super) const OPS: &[Op] =
    &[Op::any("Gather", gather), Op::any("GatherElements", elements), Op::any("GatherND", slices)];

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

/// The slices of `each` elements that start at `places`.
pub(super) fn taken<T: Scalar>(
    from: &[T],
    places: &[usize],
    each: usize,
    shape: &[usize],
    ws: &mut Workspace,
) -> Outcome<Value> {
    let mut out = T::buffer(ws, count(shape)?)?;
    if each > 0 {
        for (out, place) in out.chunks_exact_mut(each).zip(places) {
            out.copy_from_slice(&from[*place..][..each]);
        }
    }
    value(shape, out)
}

fn elements(cx: Cx<'_>) -> Outcome<Kernel> {
    let axis = cx.int_or("axis", 0);
    Ok(Box::new(move |args, ws| {
        let from = args.value(0)?;
        let axis = axis_of(axis, from.shape().len())?;
        let at = args.value(1)?.shape();
        let places = element_places(from.shape(), at, &args.ints(1)?, axis)?;
        each_type!(from, a => taken(slice(a), &places, 1, at, ws)).map(|v| results![v])
    }))
}

fn slices(cx: Cx<'_>) -> Outcome<Kernel> {
    let batch = usize::try_from(cx.int_or("batch_dims", 0)).map_err(|_| "its batch_dims is negative")?;
    Ok(Box::new(move |args, ws| {
        let from = args.value(0)?;
        let at = args.value(1)?.shape();
        let (places, each) = slice_places(from.shape(), at, &args.ints(1)?, batch)?;
        let depth = at.last().copied().unwrap_or(0);
        let mut shape = at[..at.len() - 1].to_vec();
        shape.extend(&from.shape()[batch + depth..]);
        each_type!(from, a => taken(slice(a), &places, each, &shape, ws)).map(|v| results![v])
    }))
}
