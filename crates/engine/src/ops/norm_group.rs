//! Normalisations over groups of channels, over neighbouring channels, and over any axes.

use shiftwise_graph::Value;

use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, axis_of, results};
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[
    Op::float("GroupNormalization", group),
    Op::float("LRN", lrn),
    Op::float("MeanVarianceNormalization", mean_variance),
];

/// Mean and variance of values, in f64.
fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
    (mean, variance)
}

/// GroupNormalization; scale and bias are one value for each group before opset 21, for each channel since.
fn group(cx: Cx<'_>) -> Outcome<Kernel> {
    let epsilon = f64::from(cx.float_or("epsilon", 1e-5));
    let groups = cx.node.int("num_groups").ok_or("it has no attribute num_groups")?;
    let groups = usize::try_from(groups).ok().filter(|g| *g > 0).ok_or("its num_groups is not positive")?;
    let per_group = cx.opset < 21;
    Ok(Box::new(move |args: &mut Args<'_>, ws| {
        let (x, shape) = args.f32(0)?;
        let ((scale, _), (bias, _)) = (args.f32(1)?, args.f32(2)?);
        let &[_, channels, ref rest @ ..] = shape else {
            return Err(format!("an input of shape {shape:?} has no channels"));
        };
        let pixels = count(rest)?;
        if !channels.is_multiple_of(groups) {
            return Err(format!("{channels} channels do not fit {groups} groups"));
        }
        let parameters = if per_group { groups } else { channels };
        if scale.len() != parameters || bias.len() != parameters {
            return Err(format!("its scale and bias do not have {parameters} elements"));
        }
        let together = channels / groups;
        let mut out = ws.floats(x.len());
        let block = (together * pixels).max(1);
        for (i, (x, out)) in x.chunks_exact(block).zip(out.chunks_exact_mut(block)).enumerate() {
            let (mean, variance) = moments(x);
            let factor = 1.0 / (variance + epsilon).sqrt();
            for (c, (x, out)) in x.chunks_exact(pixels).zip(out.chunks_exact_mut(pixels)).enumerate() {
                let g = i % groups;
                let k = if per_group { g } else { g * together + c };
                let a = factor * f64::from(scale[k]);
                let b = f64::from(bias[k]) - mean * a;
                out.iter_mut().zip(x).for_each(|(o, v)| *o = (f64::from(*v) * a + b) as f32);
            }
        }
        Ok(results![Value::f32(shape, out)])
    }))
}

/// LRN: every element over a power of the squares of its neighbours in other channels.
fn lrn(cx: Cx<'_>) -> Outcome<Kernel> {
    let size = cx.node.int("size").ok_or("it has no attribute size")?;
    let size = usize::try_from(size).ok().filter(|s| *s > 0).ok_or("its size is not positive")?;
    let [alpha, beta, bias] =
        [("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)].map(|(name, v)| cx.float_or(name, v));
    let (before, after) = ((size - 1) / 2, size / 2);
    Ok(Box::new(move |args: &mut Args<'_>, ws| {
        let (x, shape) = args.f32(0)?;
        let &[_, channels, ref rest @ ..] = shape else {
            return Err(format!("an input of shape {shape:?} has no channels"));
        };
        let pixels = count(rest)?;
        let mut out = ws.floats(x.len());
        let image = (channels * pixels).max(1);
        let mut sums = vec![0.0f64; pixels];
        for (x, out) in x.chunks_exact(image).zip(out.chunks_exact_mut(image)) {
            for c in 0..channels {
                sums.fill(0.0);
                for k in c.saturating_sub(before)..(c + after + 1).min(channels) {
                    let row = &x[k * pixels..][..pixels];
                    sums.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v) * f64::from(*v));
                }
                let part = c * pixels..(c + 1) * pixels;
                for ((o, v), s) in out[part.clone()].iter_mut().zip(&x[part]).zip(&sums) {
                    let base = f64::from(bias) + f64::from(alpha) / size as f64 * s;
                    *o = (f64::from(*v) * base.powf(-f64::from(beta))) as f32;
                }
            }
        }
        Ok(results![Value::f32(shape, out)])
    }))
}

/// MeanVarianceNormalization: mean zero and variance one over axes.
fn mean_variance(cx: Cx<'_>) -> Outcome<Kernel> {
    let axes = cx.ints("axes");
    // An attribute of versions before 9 that says the same.
    let across = cx.flag("across_channels", false);
    Ok(Box::new(move |args: &mut Args<'_>, ws| {
        let (x, shape) = args.f32(0)?;
        let mut reduced = vec![false; shape.len()];
        match &axes {
            Some(axes) => {
                for a in axes {
                    reduced[axis_of(*a, shape.len())?] = true;
                }
            }
            None => reduced.iter_mut().enumerate().for_each(|(i, r)| *r = i != 1 || across),
        }
        // The place of every element among the means.
        let mut strides = vec![0; shape.len()];
        let mut kept = 1;
        for i in (0..shape.len()).rev().filter(|i| !reduced[*i]) {
            strides[i] = kept;
            kept *= shape[i];
        }
        let place = |mut i: usize| {
            let mut at = 0;
            for (n, stride) in shape.iter().zip(&strides).rev() {
                at += i % n * stride;
                i /= n;
            }
            at
        };
        let n = x.len() as f64 / kept.max(1) as f64;
        let (mut means, mut variances) = (vec![0.0f64; kept], vec![0.0f64; kept]);
        x.iter().enumerate().for_each(|(i, v)| means[place(i)] += f64::from(*v));
        for m in &mut means {
            *m /= n;
        }
        x.iter()
            .enumerate()
            .for_each(|(i, v)| variances[place(i)] += (f64::from(*v) - means[place(i)]).powi(2));
        let mut out = ws.floats(x.len());
        for (i, (o, v)) in out.iter_mut().zip(x).enumerate() {
            let k = place(i);
            // So does the definition of the operator: a constant input gives zeros.
            *o = ((f64::from(*v) - means[k]) / ((variances[k] / n).sqrt() + 1e-9)) as f32;
        }
        Ok(results![Value::f32(shape, out)])
    }))
}
