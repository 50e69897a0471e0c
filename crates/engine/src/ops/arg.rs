//! ArgMax, ArgMin and TopK: where the extreme elements stand.

use std::cmp::Ordering;

use shiftwise_graph::Value;

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, Results, axis_of, results};
use crate::number::{Number, each_number};
use crate::pool::Workspace;
use crate::scalar::{count, slice, value};

pub(super) const OPS: &[Op] = &[Op::float("ArgMax", arg), Op::float("ArgMin", arg), Op::float("TopK", top)];

fn arg(cx: Cx<'_>) -> Outcome<Kernel> {
    let (axis, keep) = (cx.int_or("axis", 0), cx.flag("keepdims", true));
    let (max, last) = (cx.node.op_type == "ArgMax", cx.flag("select_last_index", false));
    Ok(Box::new(move |args, _| {
        let x = args.value(0)?;
        let axis = axis_of(axis, x.shape().len())?;
        let mut to = x.shape().to_vec();
        if keep {
            to[axis] = 1;
        } else {
            to.remove(axis);
        }
        let (n, inner) = (x.shape()[axis], count(&x.shape()[axis + 1..])?);
        if n == 0 && count(&to)? > 0 {
            return Err("its axis is empty".into());
        }
        let out = each_number!(x, a => Ok::<_, String>(places(slice(a), n, inner, max, last)))?;
        Ok(results![value(&to, out)?])
    }))
}

fn places<T: Number>(x: &[T], n: usize, inner: usize, max: bool, last: bool) -> Vec<i64> {
    let mut out = Vec::with_capacity(x.len() / n.max(1));
    for block in x.chunks_exact((n * inner).max(1)) {
        for i in 0..inner {
            let mut best = 0;
            for k in 1..n {
                let (v, top) = (block[k * inner + i], block[best * inner + i]);
                if (if max { v > top } else { v < top }) || (last && v == top) {
                    best = k;
                }
            }
            out.push(best as i64);
        }
    }
    out
}

/// TopK: `k` is an attribute before opset 10, an input since. Of equal elements the first counts as the larger (or
/// smaller) one.
fn top(cx: Cx<'_>) -> Outcome<Kernel> {
    let fixed = if cx.opset < 10 { Some(cx.int("k")?) } else { None };
    let axis = cx.int_or("axis", -1);
    let (largest, sorted) = (cx.flag("largest", true), cx.flag("sorted", true));
    Ok(Box::new(move |args, ws| {
        let k = match fixed {
            Some(k) => k,
            None => *args.ints(1)?.first().ok_or("its k is empty")?,
        };
        let x = args.value(0)?;
        let axis = axis_of(axis, x.shape().len())?;
        let size = x.shape()[axis];
        let k = usize::try_from(k).ok().filter(|k| *k <= size);
        let k = k.ok_or_else(|| format!("its k is not one of an axis of {size} elements"))?;
        each_number!(x, a => chosen(slice(a), a.shape(), axis, k, [largest, sorted], ws))
    }))
}

/// Larger first; NaN counts as larger than everything.
fn order<T: Number>(a: T, b: T) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

fn chosen<T: Number>(
    x: &[T],
    shape: &[usize],
    axis: usize,
    k: usize,
    [largest, sorted]: [bool; 2],
    ws: &mut Workspace,
) -> Outcome<Results> {
    let (n, inner) = (shape[axis], count(&shape[axis + 1..])?);
    let mut to = shape.to_vec();
    to[axis] = k;
    let len = count(&to)?;
    let (mut values, mut indices) = (T::buffer(ws, len)?, vec![0i64; len]);
    let mut row: Vec<usize> = Vec::with_capacity(n);
    let step = (k * inner).max(1);
    let blocks = values.chunks_exact_mut(step).zip(indices.chunks_exact_mut(step));
    for ((values, indices), x) in blocks.zip(x.chunks_exact((n * inner).max(1))) {
        for i in 0..inner {
            row.clear();
            row.extend(0..n);
            let by = |a: &usize, b: &usize| {
                let (x, y) = (x[a * inner + i], x[b * inner + i]);
                if largest { order(x, y) } else { order(y, x) }.then(a.cmp(b))
            };
            if k < n && k > 0 {
                row.select_nth_unstable_by(k - 1, by);
                row.truncate(k);
            }
            if sorted {
                row.sort_unstable_by(by);
            } else {
                row.sort_unstable();
            }
            for (j, place) in row.iter().take(k).enumerate() {
                values[j * inner + i] = x[place * inner + i];
                indices[j * inner + i] = *place as i64;
            }
        }
    }
    Ok(results![value(&to, values)?, Value::i64(&to, indices)])
}
