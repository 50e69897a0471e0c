//! Normalisations of rows: LayerNormalization, RMS normalisation, and both after a skip connection.

use std::borrow::Cow;

use shiftwise_graph::{DataType, Value};
use shiftwise_kernels::norm::layer_norm;
use smallvec::SmallVec;

use super::pairs::common_shape;
use super::{Cx, Op, cast};
use crate::args::{Arg, Args, Datum, Kernel, Outcome, Results, axis_of, results};
use crate::scalar::{count, slice, value};
use crate::strided;

pub(super) const OPS: &[Op] = &[
    Op::any("LayerNormalization", wide_statistics),
    Op::any("LayerNormalization", wide_statistics).contrib(),
    Op::any("RMSNormalization", wide_statistics),
    Op::any("SimplifiedLayerNormalization", wide_statistics),
    Op::any("SimplifiedLayerNormalization", wide_statistics).contrib(),
    Op::float("SkipLayerNormalization", skip).contrib(),
    Op::float("SkipSimplifiedLayerNormalization", skip).contrib(),
    Op::float("MeanVarianceNormalization", mean_variance),
];

/// Rows of `columns` elements, and what each is scaled and shifted by.
struct Rows<'a> {
    columns: usize,
    scale: Option<&'a [f32]>,
    shift: Option<&'a [f32]>,
    epsilon: f32,
    /// Whether the mean is subtracted.
    centred: bool,
}

impl Rows<'_> {
    /// Normalises each row; adds its mean and its inverse deviation to the lists.
    fn apply(&self, x: &[f32], out: &mut [f32], means: &mut Vec<f32>, inverses: &mut Vec<f32>) {
        let c = self.columns.max(1);
        for (x, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
            let n = x.len() as f64;
            let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let centre = if self.centred { mean } else { 0.0 };
            let squares: f64 = x.iter().map(|v| (f64::from(*v) - centre).powi(2)).sum();
            let inverse = 1.0 / (squares / n + f64::from(self.epsilon)).sqrt();
            for (i, (o, v)) in out.iter_mut().zip(x).enumerate() {
                let y = (f64::from(*v) - centre) * inverse;
                let scaled = y * self.scale.map_or(1.0, |s| f64::from(s[i]));
                *o = (scaled + self.shift.map_or(0.0, |s| f64::from(s[i]))) as f32;
            }
            means.push(mean as f32);
            inverses.push(inverse as f32);
        }
    }
}

/// Parameters as long as a row, repeated where they broadcast to one.
fn parameter<'v>(args: &'v Args<'_>, index: usize, row: &[usize]) -> Outcome<Option<Cow<'v, [f32]>>> {
    if args.get(index).is_none() {
        return Ok(None);
    }
    let (v, shape) = args.f32(index)?;
    let columns = count(row)?;
    if v.len() == columns {
        return Ok(Some(v.into()));
    }
    let fits = shape.len() <= row.len() && common_shape(shape, row).is_ok_and(|s| *s == *row);
    if !fits {
        return Err(format!("a parameter of shape {shape:?} does not fit rows of shape {row:?}"));
    }
    let mut out = vec![0.0; columns];
    strided::copy(v, 0, row, &strided::broadcast_strides(shape, row), &mut out);
    Ok(Some(out.into()))
}

/// Halves are computed in float32, and so are means and deviations given, whatever the type of the input.
fn wide_statistics(cx: Cx<'_>) -> Outcome<Kernel> {
    match cx.node.int("stash_type") {
        None | Some(1) => {}
        Some(other) => return Err(format!("its stash_type {other} is not supported; 1, float32, is")),
    }
    let kernel = if cx.node.op_type == "LayerNormalization" { layer(cx)? } else { rms(cx)? };
    Ok(Box::new(move |args, ws| {
        let dtype = args.value(0)?.dtype();
        if !matches!(dtype, DataType::Float16 | DataType::Bfloat16) {
            return kernel(args, ws);
        }
        let mut widened = Args(SmallVec::new());
        for i in 0..args.count() {
            widened.0.push(match args.get(i) {
                Some(v) => Arg::Owned(cast::cast(v, DataType::Float, ws)?),
                None => Arg::None,
            });
        }
        let mut results = kernel(&mut widened, ws)?;
        if let Some(Datum::Tensor(v)) = results.first_mut() {
            *v = cast::cast(v, dtype, ws)?;
        }
        Ok(results)
    }))
}

fn layer(cx: Cx<'_>) -> Outcome<Kernel> {
    let (axis, epsilon) = (cx.int_or("axis", -1), cx.float_or("epsilon", 1e-5));
    let statistics = cx.node.output(1).is_some() || cx.node.output(2).is_some();
    Ok(Box::new(move |args, ws| {
        if let Value::F64(x) = args.value(0)? {
            return double(slice(x), args, axis, epsilon, statistics);
        }
        let (x, shape) = args.f32(0)?;
        let axis = axis_of(axis, shape.len())?;
        let row = &shape[axis..];
        let (gamma, beta) =
            (parameter(args, 1, row)?.ok_or("its scale is missing")?, parameter(args, 2, row)?);
        let mut out = ws.floats(x.len());
        if !statistics {
            if x.is_empty() {
                return Ok(results![Value::f32(shape, out)]);
            }
            layer_norm(x, &gamma, beta.as_deref(), epsilon, &mut out);
            return Ok(results![Value::f32(shape, out)]);
        }
        let columns = count(row)?;
        let rows = Rows { columns, scale: Some(&gamma), shift: beta.as_deref(), epsilon, centred: true };
        with_statistics(&rows, x, shape, axis, out)
    }))
}

fn with_statistics(
    rows: &Rows<'_>,
    x: &[f32],
    shape: &[usize],
    axis: usize,
    mut out: Vec<f32>,
) -> Outcome<Results> {
    let (mut means, mut inverses) = (Vec::new(), Vec::new());
    rows.apply(x, &mut out, &mut means, &mut inverses);
    let mut kept = shape.to_vec();
    kept[axis..].fill(1);
    Ok(results![Value::f32(shape, out), value(&kept, means)?, value(&kept, inverses)?])
}

/// LayerNormalization in double precision.
fn double(x: &[f64], args: &Args<'_>, axis: i64, epsilon: f32, statistics: bool) -> Outcome<Results> {
    if statistics {
        return Err("its outputs Mean and InvStdDev are not supported on double".into());
    }
    let shape = args.value(0)?.shape();
    let columns = count(&shape[axis_of(axis, shape.len())?..])?.max(1);
    let list = |i: usize| match args.get(i) {
        None => Ok(None),
        Some(Value::F64(a)) if a.len() == columns => Ok(Some(slice(a))),
        Some(v) => Err(format!("a parameter of {} and shape {:?} does not fit", v.dtype(), v.shape())),
    };
    let (gamma, beta) = (list(1)?, list(2)?);
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(columns) {
        let n = columns as f64;
        let mean = row.iter().sum::<f64>() / n;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let inverse = 1.0 / (variance + f64::from(epsilon)).sqrt();
        out.extend(
            row.iter().enumerate().map(|(i, v)| {
                (v - mean) * inverse * gamma.map_or(1.0, |g| g[i]) + beta.map_or(0.0, |b| b[i])
            }),
        );
    }
    Ok(results![value(shape, out)?])
}

/// RMSNormalization and ONNX Runtime's name for it: rows divided by the root of their mean square.
fn rms(cx: Cx<'_>) -> Outcome<Kernel> {
    let (axis, epsilon) = (cx.int_or("axis", -1), cx.float_or("epsilon", 1e-5));
    let inverse = cx.node.output(1).is_some();
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let axis = axis_of(axis, shape.len())?;
        let row = &shape[axis..];
        let (gamma, beta) =
            (parameter(args, 1, row)?.ok_or("its scale is missing")?, parameter(args, 2, row)?);
        let columns = count(row)?;
        let rows = Rows { columns, scale: Some(&gamma), shift: beta.as_deref(), epsilon, centred: false };
        let mut results = with_statistics(&rows, x, shape, axis, ws.floats(x.len()))?;
        results.remove(1);
        results.truncate(if inverse { 2 } else { 1 });
        Ok(results)
    }))
}

/// Normalises `input + skip + bias`; the fourth output is that sum.
fn skip(cx: Cx<'_>) -> Outcome<Kernel> {
    let epsilon = cx.float_or("epsilon", 1e-12);
    let centred = cx.node.op_type == "SkipLayerNormalization";
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let (other, other_shape) = args.f32(1)?;
        if *common_shape(shape, other_shape)? != *shape {
            return Err(format!("a skip of shape {other_shape:?} does not fit an input of shape {shape:?}"));
        }
        let row = &shape[shape.len().saturating_sub(1)..];
        let columns = count(row)?.max(1);
        // Without the mean, there is no beta either.
        let gamma = parameter(args, 2, row)?.ok_or("its gamma is missing")?;
        let beta = if centred { parameter(args, 3, row)? } else { None };
        let bias = parameter(args, if centred { 4 } else { 3 }, row)?;
        let mut sum = ws.floats(x.len());
        strided::copy(other, 0, shape, &strided::broadcast_strides(other_shape, shape), &mut sum);
        sum.iter_mut().zip(x).for_each(|(s, x)| *s += x);
        if let Some(bias) = bias {
            for row in sum.chunks_exact_mut(columns) {
                row.iter_mut().zip(bias.iter()).for_each(|(v, b)| *v += b);
            }
        }
        let rows = Rows { columns, scale: Some(&gamma), shift: beta.as_deref(), epsilon, centred };
        let axis = shape.len().saturating_sub(1);
        let mut results = with_statistics(&rows, &sum, shape, axis, ws.floats(x.len()))?;
        results.push(Datum::from(Value::f32(shape, sum)));
        Ok(results)
    }))
}

/// `(x − mean) / deviation` over some axes; all but the channels unless it says otherwise.
fn mean_variance(cx: Cx<'_>) -> Outcome<Kernel> {
    let axes = cx.ints("axes").unwrap_or_else(|| [0, 2, 3].into_iter().collect());
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let mut inside = vec![false; shape.len()];
        for axis in &axes {
            inside[axis_of(*axis, shape.len())?] = true;
        }
        let order: Vec<usize> =
            (0..shape.len()).filter(|i| !inside[*i]).chain((0..shape.len()).filter(|i| inside[*i])).collect();
        let strides = strided::strides(shape);
        let turned_shape: Vec<usize> = order.iter().map(|i| shape[*i]).collect();
        let steps: Vec<isize> = order.iter().map(|i| strides[*i]).collect();
        let mut turned = ws.floats(x.len());
        strided::copy(x, 0, &turned_shape, &steps, &mut turned);
        let columns = (0..shape.len()).filter(|i| inside[*i]).map(|i| shape[i]).product();
        let mut out = ws.floats(x.len());
        normalised(&turned, columns, &mut out);
        // Back: axis `order[k]` of the result is axis `k` of what was computed.
        let back = strided::strides(&turned_shape);
        let mut steps = vec![0; shape.len()];
        order.iter().zip(back).for_each(|(i, s)| steps[*i] = s);
        strided::copy(&out, 0, shape, &steps, &mut turned);
        ws.recycle_floats(out);
        Ok(results![Value::f32(shape, turned)])
    }))
}

fn normalised(x: &[f32], columns: usize, out: &mut [f32]) {
    let rows = Rows { columns, scale: None, shift: None, epsilon: 1e-9, centred: true };
    rows.apply(x, out, &mut Vec::new(), &mut Vec::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_mean_zero_and_deviation_one() {
        let mut out = [0.0; 4];
        normalised(&[1.0, 3.0, -2.0, 2.0], 2, &mut out);
        assert_eq!(out, [-1.0, 1.0, -1.0, 1.0]);
    }
}
