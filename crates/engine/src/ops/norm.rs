//! Normalisations.

use shiftwise_graph::Value;
use shiftwise_kernels::norm::{
    batch_norm_affine, instance_norm, per_channel_affine, per_channel_affine_in_place,
};

use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Results, Shape, axis_of, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, slice, value};

pub(super) const OPS: &[Op] = &[
    Op::float("BatchNormalization", batch),
    Op::float("InstanceNormalization", instance),
    Op::float("LpNormalization", lp),
];

/// What a BatchNormalization may not ask for.
pub(super) fn check(cx: Cx<'_>) -> Outcome<()> {
    if cx.flag("training_mode", false) {
        return Err("training_mode is not supported; export the model for inference".into());
    }
    if cx.node.outputs.iter().skip(1).any(|o| !o.is_empty()) {
        return Err("its outputs for training are not supported; export the model for inference".into());
    }
    Ok(())
}

/// BatchNormalization with fixed statistics.
fn batch(cx: Cx<'_>) -> Outcome<Kernel> {
    check(cx)?;
    let epsilon = cx.float_or("epsilon", 1e-5);
    // Before opset 9, every element of an image could have parameters of its own.
    let single = cx.opset < 9 && !cx.flag("spatial", true);
    Ok(Box::new(move |args, ws| {
        if let Value::F64(_) = args.value(0)? {
            return batch_double(args, epsilon, single, ws);
        }
        let (_, shape) = args.f32(0)?;
        let shape = Shape::from_slice(shape);
        let (channels, pixels) = parameters(&shape, single)?;
        let (scale, shift) = factors(args, 1, channels, epsilon, ws)?;
        let result = if let Some(Value::F32(mut a)) = args.take(0) {
            if let Some(x) = a.as_slice_mut() {
                per_channel_affine_in_place(x, pixels, &scale, &shift, None);
            }
            Value::F32(a)
        } else {
            let (x, _) = args.f32(0)?;
            let mut out = ws.floats(x.len());
            per_channel_affine(x, pixels, &scale, &shift, &mut out);
            Value::f32(&shape, out)
        };
        ws.recycle_floats(scale);
        ws.recycle_floats(shift);
        Ok(results![result])
    }))
}

/// The same of float64.
fn batch_double(args: &Args<'_>, epsilon: f32, single: bool, ws: &mut Workspace) -> Outcome<Results> {
    let input = |i: usize| match args.value(i)? {
        Value::F64(a) => Ok((slice(a), a.shape())),
        other => Err(format!("input {i} is {}, unlike input 0", other.dtype())),
    };
    let (x, shape) = input(0)?;
    let (channels, pixels) = parameters(shape, single)?;
    let [(scale, _), (bias, _), (mean, _), (variance, _)] = [input(1)?, input(2)?, input(3)?, input(4)?];
    if [scale, bias, mean, variance].iter().any(|p| p.len() != channels) {
        return Err(format!("a parameter of the normalisation does not have {channels} elements"));
    }
    let mut out = f64::buffer(ws, x.len())?;
    let planes = x.chunks_exact(pixels.max(1)).zip(out.chunks_exact_mut(pixels.max(1)));
    for (i, (x, out)) in planes.enumerate() {
        let c = i % channels;
        let factor = scale[c] / (variance[c] + f64::from(epsilon)).sqrt();
        out.iter_mut().zip(x).for_each(|(o, v)| *o = (v - mean[c]) * factor + bias[c]);
    }
    Ok(results![value(shape, out)?])
}

/// How many values a parameter has, and how many elements each is for.
fn parameters(shape: &[usize], single: bool) -> Outcome<(usize, usize)> {
    let (channels, pixels) = planes(shape)?;
    Ok(if single { (count(&[channels, pixels])?, 1) } else { (channels, pixels) })
}

/// Channels and elements of a plane.
fn planes(shape: &[usize]) -> Outcome<(usize, usize)> {
    match shape {
        [_, c, rest @ ..] => Ok((*c, count(rest)?)),
        _ => Err(format!("an input of shape {shape:?} has no channels")),
    }
}

/// Factor and offset of each channel, from the four parameters that stand at `at`.
pub(super) fn factors(
    args: &Args<'_>,
    at: usize,
    channels: usize,
    epsilon: f32,
    ws: &mut Workspace,
) -> Outcome<(Vec<f32>, Vec<f32>)> {
    let parameter = |i: usize| {
        let (v, _) = args.f32(at + i)?;
        if v.len() == channels {
            Ok(v)
        } else {
            Err(format!("a parameter of the normalisation has {} elements for {channels} channels", v.len()))
        }
    };
    let parameters = [parameter(0)?, parameter(1)?, parameter(2)?, parameter(3)?];
    let (mut scale, mut shift) = (ws.floats(channels), ws.floats(channels));
    batch_norm_affine(parameters, epsilon, &mut scale, &mut shift);
    Ok((scale, shift))
}

/// Limits values; NaN stays NaN.
pub(super) fn clamp_in_place(x: &mut [f32], lo: f32, hi: f32) {
    for v in x {
        let y = if lo > *v { lo } else { *v };
        *v = if hi < y { hi } else { y };
    }
}

fn instance(cx: Cx<'_>) -> Outcome<Kernel> {
    let epsilon = cx.float_or("epsilon", 1e-5);
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let (channels, pixels) = planes(shape)?;
        let ((gamma, _), (beta, _)) = (args.f32(1)?, args.f32(2)?);
        if gamma.len() != channels || beta.len() != channels {
            return Err(format!("its parameters do not have {channels} elements, one for each channel"));
        }
        let mut out = ws.floats(x.len());
        instance_norm(x, pixels, gamma, beta, epsilon, &mut out);
        Ok(results![Value::f32(shape, out)])
    }))
}

/// LpNormalization: each row along an axis divided by its norm; a row of zeros stays zeros.
fn lp(cx: Cx<'_>) -> Outcome<Kernel> {
    let (axis, p) = (cx.int_or("axis", -1), cx.int_or("p", 2));
    if p != 1 && p != 2 {
        return Err(format!("its attribute p is {p}; 1 and 2 are defined"));
    }
    Ok(Box::new(move |args, ws| match args.value(0)? {
        Value::F32(a) => divided(slice(a), a.shape(), axis, p, |v| v as f32, ws),
        Value::F64(a) => divided(slice(a), a.shape(), axis, p, |v| v, ws),
        other => Err(format!("input 0 is {}, which this operator does not take", other.dtype())),
    }))
}

fn divided<T: Scalar + Into<f64>>(
    x: &[T],
    shape: &[usize],
    axis: i64,
    p: i64,
    narrow: fn(f64) -> T,
    ws: &mut Workspace,
) -> Outcome<Results> {
    let axis = axis_of(axis, shape.len())?;
    let (n, inner) = (shape[axis], count(&shape[axis + 1..])?);
    let mut out = T::buffer(ws, x.len())?;
    let block = (n * inner).max(1);
    for (x, out) in x.chunks_exact(block).zip(out.chunks_exact_mut(block)) {
        for i in 0..inner {
            let row = || x[i..].iter().step_by(inner).map(|v| (*v).into());
            let norm: f64 =
                if p == 1 { row().map(f64::abs).sum() } else { row().map(|v| v * v).sum::<f64>().sqrt() };
            for (o, v) in out[i..].iter_mut().step_by(inner).zip(row()) {
                *o = narrow(if norm == 0.0 { 0.0 } else { v / norm });
            }
        }
    }
    Ok(results![value(shape, out)?])
}
