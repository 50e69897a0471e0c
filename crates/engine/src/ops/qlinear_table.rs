//! Functions of one quantized value as tables: QLinearLeakyRelu, QLinearSigmoid, QLinearConcat, QLinearWhere; and
//! QLinearSoftmax, whose exponentials are a table.

use shiftwise_graph::Value;
use shiftwise_kernels::broadcast::broadcast_shape;

use super::qlinear::{Quantized, quantized_like, scale, zero};
use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Results, Shape, axis_of, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, slice, value};
use crate::strided;

pub(super) const OPS: &[Op] = &[
    Op::any("QLinearConcat", concat).contrib(),
    Op::any("QLinearLeakyRelu", leaky).contrib(),
    Op::any("QLinearSigmoid", sigmoid).contrib(),
    Op::any("QLinearSoftmax", softmax).contrib(),
    Op::any("QLinearWhere", select).contrib(),
];

/// How real numbers are quantized.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Quant {
    pub(super) scale: f32,
    pub(super) zero: i32,
}

impl Quant {
    pub(super) fn at(args: &Args<'_>, scale_index: usize, zero_index: usize) -> Outcome<Self> {
        Ok(Self { scale: scale(args, scale_index)?, zero: zero(args, zero_index)? })
    }
}

/// The elements of a quantized input.
pub(super) fn elements<'a, T: Quantized>(
    args: &'a Args<'_>,
    index: usize,
) -> Outcome<(&'a [T], &'a [usize])> {
    let v = args.value(index)?;
    let a = T::array_of(v).ok_or_else(|| format!("input {index} is {}, unlike the others", v.dtype()))?;
    Ok((slice(a), a.shape()))
}

/// What a function makes of each value of eight bits, for [`through`].
fn table<T: Quantized>(from: Quant, to: Quant, f: impl Fn(f32) -> f32) -> Outcome<Vec<T>> {
    if size_of::<T>() != 1 {
        return Err("values of 16 bits are not supported".into());
    }
    let entry = |v: i32| {
        if from == to {
            let same = f(v as f32);
            if same == v as f32 {
                return T::of(v);
            }
        }
        T::rounded(f(from.scale * (v - from.zero) as f32) / to.scale, to.zero)
    };
    Ok((T::LOW..=T::HIGH).map(entry).collect())
}

fn through<T: Quantized>(table: &[T], v: T) -> T {
    table[(v.into() - T::LOW) as usize]
}

fn mapped<T: Quantized>(args: &Args<'_>, f: impl Fn(f32) -> f32, ws: &mut Workspace) -> Outcome<Results> {
    let (x, shape) = elements::<T>(args, 0)?;
    let table = table::<T>(Quant::at(args, 1, 2)?, Quant::at(args, 3, 4)?, f)?;
    let mut out = T::buffer(ws, x.len())?;
    out.iter_mut().zip(x).for_each(|(o, v)| *o = through(&table, *v));
    Ok(results![value(shape, out)?])
}

fn leaky(cx: Cx<'_>) -> Outcome<Kernel> {
    let alpha = cx.float_or("alpha", 0.01);
    Ok(Box::new(
        move |args, ws| quantized_like!(args, 0, T => mapped::<T>(args, |v| if v >= 0.0 { v } else { alpha * v }, ws)),
    ))
}

fn sigmoid(_: Cx<'_>) -> Outcome<Kernel> {
    let f = |v: f32| (1.0 / (1.0 + (-f64::from(v)).exp())) as f32;
    Ok(Box::new(move |args, ws| quantized_like!(args, 0, T => mapped::<T>(args, f, ws))))
}

/// QLinearConcat: `y_scale, y_zero`, then `x, x_scale, x_zero` of each part.
fn concat(cx: Cx<'_>) -> Outcome<Kernel> {
    let axis = cx.node.int("axis").ok_or("it has no attribute axis")?;
    Ok(Box::new(move |args, ws| quantized_like!(args, 1, T => joined::<T>(args, axis, ws))))
}

fn joined<T: Quantized>(args: &Args<'_>, axis: i64, ws: &mut Workspace) -> Outcome<Results> {
    let to = Quant::at(args, 0, 1)?;
    let mut parts = Vec::new();
    for i in (2..args.count()).step_by(3) {
        let (x, shape) = elements::<T>(args, i)?;
        parts.push((x, shape, table::<T>(Quant::at(args, i + 1, i + 2)?, to, |v| v)?));
    }
    let Some((_, first, _)) = parts.first() else { return Err("it joins nothing".into()) };
    let axis = axis_of(axis, first.len())?;
    let mut shape = Shape::from_slice(first);
    shape[axis] = 0;
    for (_, s, _) in &parts {
        if s.len() != shape.len() || s.iter().zip(*first).enumerate().any(|(i, (a, b))| i != axis && a != b) {
            return Err(format!("tensors of shapes {first:?} and {s:?} cannot be joined"));
        }
        shape[axis] += s[axis];
    }
    let inner = count(&shape[axis + 1..])?;
    let mut out = T::buffer(ws, count(&shape)?)?;
    let row = (shape[axis] * inner).max(1);
    for (k, out) in out.chunks_exact_mut(row).enumerate() {
        let mut at = 0;
        for (x, s, table) in &parts {
            let len = s[axis] * inner;
            let to = &mut out[at..at + len];
            to.iter_mut().zip(&x[k * len..]).for_each(|(o, v)| *o = through(table, *v));
            at += len;
        }
    }
    Ok(results![value(&shape, out)?])
}

/// The elements as if they had a shape.
pub(super) fn expanded<T: Scalar>(
    x: &[T],
    shape: &[usize],
    to: &[usize],
    ws: &mut Workspace,
) -> Outcome<Vec<T>> {
    let mut out = T::buffer(ws, count(to)?)?;
    strided::copy(x, 0, to, &strided::broadcast_strides(shape, to), &mut out);
    Ok(out)
}

/// QLinearWhere: `condition, x, x_scale, x_zero, y, y_scale, y_zero, z_scale, z_zero`.
fn select(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| quantized_like!(args, 1, T => selected::<T>(args, ws))))
}

fn selected<T: Quantized>(args: &Args<'_>, ws: &mut Workspace) -> Outcome<Results> {
    let Value::Bool(condition) = args.value(0)? else { return Err("its condition is not bool".into()) };
    let ((x, x_shape), (y, y_shape)) = (elements::<T>(args, 1)?, elements::<T>(args, 4)?);
    let to = Quant::at(args, 7, 8)?;
    let x_table = table::<T>(Quant::at(args, 2, 3)?, to, |v| v)?;
    let y_table = table::<T>(Quant::at(args, 5, 6)?, to, |v| v)?;
    let shape = broadcast_shape(condition.shape(), x_shape).and_then(|s| broadcast_shape(&s, y_shape));
    let shape = shape.ok_or_else(|| {
        format!("shapes {:?}, {x_shape:?} and {y_shape:?} do not broadcast", condition.shape())
    })?;
    let condition = expanded(slice(condition), condition.shape(), &shape, ws)?;
    let mut out = expanded(x, x_shape, &shape, ws)?;
    let y = expanded(y, y_shape, &shape, ws)?;
    for ((o, y), c) in out.iter_mut().zip(&y).zip(&condition) {
        *o = if *c { through(&x_table, *o) } else { through(&y_table, *y) };
    }
    Ok(results![value(&shape, out)?])
}

/// QLinearSoftmax: `x, x_scale, x_zero, y_scale, y_zero`; its attribute opset says whose Softmax it stands for.
fn softmax(cx: Cx<'_>) -> Outcome<Kernel> {
    let opset = cx.node.int("opset").ok_or("it has no attribute opset")?;
    let axis = cx.int_or("axis", if opset < 13 { 1 } else { -1 });
    Ok(Box::new(move |args, ws| quantized_like!(args, 0, T => softmax_of::<T>(args, axis, opset < 13, ws))))
}

fn softmax_of<T: Quantized>(args: &Args<'_>, axis: i64, flat: bool, ws: &mut Workspace) -> Outcome<Results> {
    if size_of::<T>() != 1 {
        return Err("values of 16 bits are not supported".into());
    }
    let (x, shape) = elements::<T>(args, 0)?;
    let axis = axis_of(axis, shape.len())?;
    let (n, inner) =
        if flat { (count(&shape[axis..])?, 1) } else { (shape[axis], count(&shape[axis + 1..])?) };
    let x_scale = f64::from(scale(args, 1)?);
    let (steps, zero) = ((1.0 / scale(args, 3)?).floor(), zero(args, 4)?);
    let mut out = T::buffer(ws, x.len())?;
    if out.is_empty() {
        return Ok(results![value(shape, out)?]);
    }
    // As large as sums of n stay finite: the largest value of a row always has this exponential.
    let room = (f64::from((f32::MAX / n as f32).ln()) - 5.0).max(0.0) / x_scale;
    let table: Vec<f32> = (0..256).map(|i| ((f64::from(i) - 255.0 + room) * x_scale).exp() as f32).collect();
    for outer in 0..x.len() / (n * inner) {
        for i in 0..inner {
            let at = |k: usize| (outer * n + k) * inner + i;
            let most: i32 = (0..n).map(|k| x[at(k)].into()).max().unwrap_or(0);
            let power = |v: T| table[(255 - most + v.into()) as usize];
            let sum = (0..n).fold(0.0f32, |sum, k| sum + power(x[at(k)]));
            for k in 0..n {
                let y = (power(x[at(k)]) * steps / sum).round_ties_even() as i32 + zero;
                out[at(k)] = T::of(y.min(T::HIGH));
            }
        }
    }
    Ok(results![value(shape, out)?])
}
