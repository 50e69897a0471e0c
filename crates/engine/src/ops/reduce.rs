//! Reductions to numbers.
//!
//! Without elements a sum is 0, a product 1, a maximum −∞, a minimum ∞, a mean NaN.

use shiftwise_graph::Value;
use smallvec::{SmallVec, smallvec};

use super::{Cx, Op};
use crate::args::{Args, Ints, Kernel, Outcome, Shape, axis_of, results};
use crate::number::{Number, each_number};
use crate::pool::Workspace;
use crate::scalar::{count, slice, value};
use crate::strided;

pub(super) const OPS: &[Op] = &[
    Op::float("ReduceMean", compile),
    Op::float("ReduceSum", compile),
    Op::float("ReduceMax", compile),
    Op::float("ReduceMin", compile),
    Op::float("ReduceProd", compile),
    Op::float("ReduceL1", compile),
    Op::float("ReduceL2", compile),
    Op::float("ReduceSumSquare", compile),
    Op::float("ReduceLogSum", compile),
    Op::float("ReduceLogSumExp", compile),
];

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Mean,
    Sum,
    Max,
    Min,
    Prod,
    L1,
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let kind = match cx.node.op_type.as_str() {
        "ReduceMean" => Kind::Mean,
        "ReduceSum" => Kind::Sum,
        "ReduceMax" => Kind::Max,
        "ReduceMin" => Kind::Min,
        "ReduceProd" => Kind::Prod,
        "ReduceL1" => Kind::L1,
        "ReduceL2" => Kind::L2,
        "ReduceSumSquare" => Kind::SumSquare,
        "ReduceLogSum" => Kind::LogSum,
        _ => Kind::LogSumExp,
    };
    // Axes stand in an attribute before opset 18, before 13 for sums; in an input since.
    let by_input = cx.opset >= if kind == Kind::Sum { 13 } else { 18 };
    let fixed = cx.ints("axes").filter(|_| !by_input);
    let (keep, noop) = (cx.flag("keepdims", true), cx.flag("noop_with_empty_axes", false));
    Ok(Box::new(move |args, ws| {
        let axes = match &fixed {
            Some(axes) => Some(axes.clone()),
            None if by_input => args.optional_ints(1)?,
            None => None,
        };
        let axes = axes.filter(|a| !a.is_empty());
        // Over no axes, every element is reduced alone: its square, its logarithm.
        let axes = axes.or((noop && by_input).then(Ints::new));
        let plan = Reduced::new(args.value(0)?.shape(), axes.as_deref(), keep)?;
        match args.value(0)? {
            Value::F32(_) => Ok(results![float(kind, &plan, args, ws)?]),
            Value::Bool(a) if matches!(kind, Kind::Max | Kind::Min) => {
                let bytes: Vec<u8> = a.iter().map(|v| u8::from(*v)).collect();
                match plain(kind, &plan, &bytes, ws)? {
                    Value::U8(a) => Ok(results![Value::Bool(a.mapv(|v| v != 0))]),
                    _ => Err("its result is not of its type".into()),
                }
            }
            other => each_number!(other, a => plain(kind, &plan, slice(a), ws)).map(|v| results![v]),
        }
    }))
}

/// Which elements go into which result.
struct Reduced {
    /// Shape of the result.
    shape: Shape,
    /// Layout that brings each result's elements together: kept axes first.
    dims: Shape,
    strides: strided::Strides,
    results: usize,
    each: usize,
    /// Elements behind the reduced axes, when those stand together: no copy is needed then.
    inner: Option<usize>,
}

impl Reduced {
    fn new(shape: &[usize], axes: Option<&[i64]>, keep: bool) -> Outcome<Self> {
        let mut reduced: SmallVec<[bool; 8]> = smallvec![axes.is_none(); shape.len()];
        for axis in axes.unwrap_or(&[]) {
            reduced[axis_of(*axis, shape.len())?] = true;
        }
        let strides = strided::strides(shape);
        let kept = (0..shape.len()).filter(|i| !reduced[*i]);
        let gone = (0..shape.len()).filter(|i| reduced[*i]);
        let order: Shape = kept.clone().chain(gone.clone()).collect();
        let to =
            (0..shape.len()).filter(|i| keep || !reduced[*i]).map(|i| if reduced[i] { 1 } else { shape[i] });
        let wide: Shape = gone.clone().filter(|i| shape[*i] != 1).collect();
        let together = wide.windows(2).all(|w| (w[0] + 1..w[1]).all(|i| shape[i] == 1));
        let behind = wide.last().map_or(shape.len(), |i| i + 1);
        Ok(Self {
            shape: to.collect(),
            dims: order.iter().map(|i| shape[*i]).collect(),
            strides: order.iter().map(|i| strides[*i]).collect(),
            results: kept.map(|i| shape[i]).product(),
            each: gone.map(|i| shape[i]).product(),
            inner: together.then(|| shape[behind..].iter().product()),
        })
    }
}

fn float(kind: Kind, plan: &Reduced, args: &Args<'_>, ws: &mut Workspace) -> Outcome<Value> {
    let (x, _) = args.f32(0)?;
    let mut out = ws.floats(count(&plan.shape)?);
    if plan.each == 0 {
        out.fill(one(kind, &[])?);
        return Ok(Value::f32(&plan.shape, out));
    }
    match plan.inner {
        Some(inner) if inner > 1 => columns(kind, x, plan.each, inner, &mut out),
        Some(_) => out.iter_mut().zip(x.chunks_exact(plan.each)).for_each(|(o, row)| *o = fold(kind, row)),
        None => {
            let mut turned = ws.floats(x.len());
            strided::copy(x, 0, &plan.dims, &plan.strides, &mut turned);
            out.iter_mut().zip(turned.chunks_exact(plan.each)).for_each(|(o, row)| *o = fold(kind, row));
            ws.recycle_floats(turned);
        }
    }
    Ok(Value::f32(&plan.shape, out))
}

/// Accumulators of a row; their number does not depend on the machine, so neither does the sum.
const LANES: usize = 8;

fn sum(row: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks, tail) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += f(f64::from(*v));
        }
    }
    for (lane, v) in lanes.iter_mut().zip(tail) {
        *lane += f(f64::from(*v));
    }
    lanes.iter().sum()
}

fn largest(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

fn smallest(a: f32, b: f32) -> f32 {
    if b < a || b.is_nan() { b } else { a }
}

fn fold(kind: Kind, row: &[f32]) -> f32 {
    match kind {
        Kind::Max => row.iter().copied().fold(f32::NEG_INFINITY, largest),
        Kind::Min => row.iter().copied().fold(f32::INFINITY, smallest),
        Kind::Prod => row.iter().fold(1.0, |p, v| p * f64::from(*v)) as f32,
        Kind::L1 => sum(row, f64::abs) as f32,
        Kind::LogSumExp => {
            let top = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, largest));
            let top = if top.is_finite() { top } else { 0.0 };
            (sum(row, |v| (v - top).exp()).ln() + top) as f32
        }
        Kind::Mean => (sum(row, |v| v) / row.len() as f64) as f32,
        Kind::Sum => sum(row, |v| v) as f32,
        Kind::LogSum => sum(row, |v| v).ln() as f32,
        Kind::SumSquare => sum(row, |v| v * v) as f32,
        Kind::L2 => sum(row, |v| v * v).sqrt() as f32,
    }
}

/// Reduces an axis in the middle: `x` is `[outer, n, inner]`.
fn columns(kind: Kind, x: &[f32], n: usize, inner: usize, out: &mut [f32]) {
    let mut column = vec![0.0; n];
    let mut sums = vec![0.0f64; inner];
    for (block, out) in x.chunks_exact(n * inner).zip(out.chunks_exact_mut(inner)) {
        if matches!(kind, Kind::Mean | Kind::Sum | Kind::SumSquare | Kind::L2) {
            sums.fill(0.0);
            let square = matches!(kind, Kind::SumSquare | Kind::L2);
            for row in block.chunks_exact(inner) {
                for (s, v) in sums.iter_mut().zip(row) {
                    let v = f64::from(*v);
                    *s += if square { v * v } else { v };
                }
            }
            for (o, s) in out.iter_mut().zip(&sums) {
                *o = match kind {
                    Kind::Mean => s / n as f64,
                    Kind::L2 => s.sqrt(),
                    _ => *s,
                } as f32;
            }
            continue;
        }
        for (i, o) in out.iter_mut().enumerate() {
            for (c, row) in column.iter_mut().zip(block.chunks_exact(inner)) {
                *c = row[i];
            }
            *o = fold(kind, &column);
        }
    }
}

/// Sums and products of integers wrap, means and roots are cut off.
fn plain<T: Number>(kind: Kind, plan: &Reduced, x: &[T], ws: &mut Workspace) -> Outcome<Value> {
    let mut turned = T::buffer(ws, x.len())?;
    strided::copy(x, 0, &plan.dims, &plan.strides, &mut turned);
    let rows = (0..plan.results).map(|i| one(kind, &turned[i * plan.each..][..plan.each]));
    value(&plan.shape, rows.collect::<Outcome<Vec<T>>>()?)
}

fn one<T: Number>(kind: Kind, row: &[T]) -> Outcome<T> {
    let total = |f: fn(T) -> T| row.iter().fold(T::ZERO, |sum, v| sum.plus(f(*v)));
    let real = |f: &dyn Fn(f64) -> f64| row.iter().map(|v| f(v.real())).sum::<f64>();
    let empty = || format!("nothing is left to reduce: its input of {} is empty", std::any::type_name::<T>());
    Ok(match kind {
        Kind::Sum => total(|v| v),
        Kind::L1 => total(T::absolute),
        Kind::SumSquare => total(|v| v.times(v)),
        Kind::Prod => row.iter().fold(T::ONE, |product, v| product.times(*v)),
        Kind::Mean if row.is_empty() && T::FLOAT => T::of(f64::NAN),
        Kind::Mean => {
            let n = T::of(row.len() as f64);
            total(|v| v).over(n).ok_or_else(empty)?
        }
        Kind::Max => match row.iter().copied().reduce(T::most) {
            Some(v) => v,
            None if T::FLOAT => T::of(f64::NEG_INFINITY),
            None => return Err(empty()),
        },
        Kind::Min => match row.iter().copied().reduce(T::least) {
            Some(v) => v,
            None if T::FLOAT => T::of(f64::INFINITY),
            None => return Err(empty()),
        },
        Kind::L2 => T::of(real(&|v| v * v).sqrt()),
        Kind::LogSum => T::of(real(&|v| v).ln()),
        Kind::LogSumExp => {
            let top = row.iter().map(|v| v.real()).fold(f64::NEG_INFINITY, f64::most);
            let top = if top.is_finite() { top } else { 0.0 };
            T::of(real(&|v| (v - top).exp()).ln() + top)
        }
    })
}
