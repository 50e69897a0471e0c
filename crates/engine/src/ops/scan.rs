//! Operators along one axis: CumSum, Hardmax, ReverseSequence.

use shiftwise_graph::Value;

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, axis_of, results};
use crate::number::{Number, each_number};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, each_type, slice, value};

pub(super) const OPS: &[Op] = &[
    Op::float("CumSum", cumulative),
    Op::float("Hardmax", hardmax),
    Op::any("ReverseSequence", reverse_sequence),
];

fn cumulative(cx: Cx<'_>) -> Outcome<Kernel> {
    let (exclusive, reverse) = (cx.flag("exclusive", false), cx.flag("reverse", false));
    Ok(Box::new(move |args, ws| {
        let x = args.value(0)?;
        let axis = *args.ints(1)?.first().ok_or("its axis is empty")?;
        let axis = axis_of(axis, x.shape().len())?;
        each_number!(x, a => sums(slice(a), a.shape(), axis, exclusive, reverse, ws)).map(|v| results![v])
    }))
}

fn sums<T: Number>(
    x: &[T],
    shape: &[usize],
    axis: usize,
    exclusive: bool,
    reverse: bool,
    ws: &mut Workspace,
) -> Outcome<Value> {
    let (n, inner) = (shape[axis], count(&shape[axis + 1..])?);
    let mut out = T::buffer(ws, x.len())?;
    let block = (n * inner).max(1);
    for (x, out) in x.chunks_exact(block).zip(out.chunks_exact_mut(block)) {
        for i in 0..inner {
            let mut sum = T::ZERO;
            for k in 0..n {
                let at = if reverse { n - 1 - k } else { k } * inner + i;
                let with = sum.plus(x[at]);
                out[at] = if exclusive { sum } else { with };
                sum = with;
            }
        }
    }
    value(shape, out)
}

/// 1 at the first largest element, else 0. Before opset 13 everything from the axis on is one row.
fn hardmax(cx: Cx<'_>) -> Outcome<Kernel> {
    let flat = cx.opset < 13;
    let axis = cx.int_or("axis", if flat { 1 } else { -1 });
    Ok(Box::new(move |args, ws| {
        let x = args.value(0)?;
        let shape = x.shape();
        let axis = if flat && axis == shape.len() as i64 { shape.len() } else { axis_of(axis, shape.len())? };
        let inner = if flat { 1 } else { count(&shape[axis + 1..])? };
        let n = if flat { count(&shape[axis..])? } else { shape[axis] };
        each_number!(x, a => hard(slice(a), shape, n, inner, ws)).map(|v| results![v])
    }))
}

fn hard<T: Number>(x: &[T], shape: &[usize], n: usize, inner: usize, ws: &mut Workspace) -> Outcome<Value> {
    let mut out = T::buffer(ws, x.len())?;
    out.fill(T::ZERO);
    let block = (n * inner).max(1);
    for (x, out) in x.chunks_exact(block).zip(out.chunks_exact_mut(block)) {
        for i in 0..inner {
            let best =
                (1..n).fold(0, |best, k| if x[k * inner + i] > x[best * inner + i] { k } else { best });
            out[best * inner + i] = T::ONE;
        }
    }
    value(shape, out)
}

/// The first elements of each sequence turned around, as many as its length says.
fn reverse_sequence(cx: Cx<'_>) -> Outcome<Kernel> {
    let (batch_axis, time_axis) = (cx.int_or("batch_axis", 1), cx.int_or("time_axis", 0));
    let batch_first = match (batch_axis, time_axis) {
        (0, 1) => true,
        (1, 0) => false,
        other => return Err(format!("its batch_axis and time_axis are {other:?}, not 0 and 1")),
    };
    Ok(Box::new(move |args, ws| {
        let x = args.value(0)?;
        let &[first, second, ..] = x.shape() else { return Err("its input has fewer than two axes".into()) };
        let (batch, time) = if batch_first { (first, second) } else { (second, first) };
        let lengths = args.ints(1)?;
        let lengths = lengths.iter().map(|l| usize::try_from(*l).ok().filter(|l| *l <= time));
        let lengths = lengths.collect::<Option<Vec<_>>>().filter(|l| l.len() == batch);
        let lengths = lengths.ok_or("its sequence_lens do not fit its input")?;
        each_type!(x, a => turned(slice(a), a.shape(), &lengths, batch_first, ws)).map(|v| results![v])
    }))
}

fn turned<T: Scalar>(
    x: &[T],
    shape: &[usize],
    lengths: &[usize],
    batch_first: bool,
    ws: &mut Workspace,
) -> Outcome<Value> {
    let inner = count(&shape[2..])?;
    let mut out = T::buffer(ws, x.len())?;
    for (b, length) in lengths.iter().enumerate() {
        for t in 0..if batch_first { shape[1] } else { shape[0] } {
            let at = |t: usize| if batch_first { b * shape[1] + t } else { t * shape[1] + b } * inner;
            let from = if t < *length { length - 1 - t } else { t };
            out[at(t)..][..inner].copy_from_slice(&x[at(from)..][..inner]);
        }
    }
    value(shape, out)
}
