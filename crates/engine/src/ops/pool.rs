//! Pooling of float32: the fast way for planes, and any number of dimensions up to three.

use shiftwise_graph::Value;
use shiftwise_kernels::Pool2d;
use shiftwise_kernels::pool::global_average;
use shiftwise_kernels::volume::Volume;

use super::pool_max;
use super::window::{Span, Window};
use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Shape, results};
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[
    Op::float("MaxPool", max),
    Op::float("AveragePool", average),
    Op::float("LpPool", lp),
    Op::float("GlobalAveragePool", global),
    Op::float("GlobalMaxPool", global),
    Op::float("GlobalLpPool", global),
];

/// A pooling on an input of a shape.
pub(super) struct Pooling {
    /// Images times channels.
    pub(super) planes: usize,
    pub(super) span: Span,
    pub(super) volume: Volume,
    /// The shape of the result.
    pub(super) to: Shape,
}

impl Pooling {
    pub(super) fn of(window: &Window, ceil: bool, shape: &[usize]) -> Outcome<Self> {
        let &[n, c, ref spatial @ ..] = shape else {
            return Err(format!("an input of shape {shape:?} has no channels"));
        };
        let span = window.span(spatial, None)?;
        let volume = span.volume(span.outputs(ceil)?);
        let to = span.shape([n, c], volume.out);
        count(&to)?;
        Ok(Self { planes: count(&[n, c])?, span, volume, to })
    }

    fn plane(&self) -> Option<Pool2d> {
        let plane = self.span.plane()?;
        Some(Pool2d {
            planes: self.planes,
            h: plane.size[0],
            w: plane.size[1],
            out: [self.volume.out[1], self.volume.out[2]],
            kernel: plane.kernel,
            stride: plane.stride,
            dilation: plane.dilation,
            pads: plane.pads,
        })
    }

    /// What the mean of each window is divided by, where padding counts.
    pub(super) fn divisors(&self) -> Vec<f64> {
        let [z, y, x] = [0, 1, 2].map(|a| self.volume.padded_taps(a, self.span.end[a]));
        let mut all = Vec::with_capacity(self.volume.output_len());
        for nz in &z {
            for ny in &y {
                all.extend(x.iter().map(|nx| (nz * ny * nx) as f64));
            }
        }
        all
    }

    /// Pairs of planes of the input and of the result.
    pub(super) fn pairs<'a, T, U>(
        &self,
        x: &'a [T],
        out: &'a mut [U],
    ) -> impl Iterator<Item = (&'a [T], &'a mut [U])> {
        x.chunks(self.volume.input_len().max(1)).zip(out.chunks_mut(self.volume.output_len().max(1)))
    }
}

fn max(cx: Cx<'_>) -> Outcome<Kernel> {
    let (window, ceil) = (Window::parse(cx)?, cx.flag("ceil_mode", false));
    let indices = cx.node.output(1).is_some();
    let columns_first = cx.flag("storage_order", false);
    Ok(Box::new(move |args, ws| {
        let pooling = Pooling::of(&window, ceil, args.value(0)?.shape())?;
        if let (Value::F32(_), Some(pool), false) = (args.value(0)?, pooling.plane(), indices) {
            let (x, _) = args.f32(0)?;
            let mut out = ws.floats(count(&pooling.to)?);
            pool.max(x, &mut out, &mut ws.kernels);
            return Ok(results![Value::f32(&pooling.to, out)]);
        }
        pool_max::run(&pooling, args, indices.then_some(columns_first), ws)
    }))
}

fn average(cx: Cx<'_>) -> Outcome<Kernel> {
    let (window, ceil) = (Window::parse(cx)?, cx.flag("ceil_mode", false));
    let include_pad = cx.flag("count_include_pad", false);
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let pooling = Pooling::of(&window, ceil, shape)?;
        let mut out = ws.floats(count(&pooling.to)?);
        if let Some(pool) = pooling.plane() {
            pool.average(x, include_pad, &mut out, &mut ws.kernels);
        } else {
            let divisors = include_pad.then(|| pooling.divisors());
            for (x, out) in pooling.pairs(x, &mut out) {
                pooling.volume.windows(|i, each| {
                    let (mut sum, mut taps) = (0.0f64, 0.0);
                    each(&mut |at| {
                        sum += f64::from(x[at]);
                        taps += 1.0;
                    });
                    out[i] = (sum / divisors.as_ref().map_or(taps, |d| d[i])) as f32;
                });
            }
        }
        Ok(results![Value::f32(&pooling.to, out)])
    }))
}

/// The exponent of a norm.
fn exponent(cx: Cx<'_>) -> Outcome<f64> {
    match cx.int_or("p", 2) {
        p @ 1.. => Ok(p as f64),
        p => Err(format!("its attribute p is {p}, which is not positive")),
    }
}

/// `(Σ |x|ᵖ)^(1/p)`, of values that `each` names one after the other.
fn norm(each: impl FnOnce(&mut dyn FnMut(f64)), p: f64) -> f32 {
    let mut sum = 0.0f64;
    each(&mut |v| {
        sum += if p == 2.0 {
            v * v
        } else if p == 1.0 {
            v.abs()
        } else {
            v.abs().powf(p)
        }
    });
    sum.powf(1.0 / p) as f32
}

fn lp(cx: Cx<'_>) -> Outcome<Kernel> {
    let (window, ceil, p) = (Window::parse(cx)?, cx.flag("ceil_mode", false), exponent(cx)?);
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let pooling = Pooling::of(&window, ceil, shape)?;
        let mut out = ws.floats(count(&pooling.to)?);
        for (x, out) in pooling.pairs(x, &mut out) {
            pooling.volume.windows(|i, each| out[i] = norm(|f| each(&mut |at| f(f64::from(x[at]))), p));
        }
        Ok(results![Value::f32(&pooling.to, out)])
    }))
}

/// Images times channels, pixels, and the shape of one value for each channel.
pub(super) fn globally(shape: &[usize]) -> Outcome<(usize, usize, Shape)> {
    let &[n, c, ref spatial @ ..] = shape else {
        return Err(format!("an input of shape {shape:?} has no channels"));
    };
    let pixels = count(spatial)?;
    if pixels == 0 {
        return Err("its images have no pixels".into());
    }
    let mut to = Shape::from_slice(&[n, c]);
    to.extend(spatial.iter().map(|_| 1));
    Ok((count(&[n, c])?, pixels, to))
}

fn global(cx: Cx<'_>) -> Outcome<Kernel> {
    let op = cx.node.op_type.clone();
    let p = exponent(cx)?;
    Ok(Box::new(move |args: &mut Args<'_>, ws| {
        let (x, shape) = args.f32(0)?;
        let (planes, pixels, to) = globally(shape)?;
        let mut out = ws.floats(planes);
        match op.as_str() {
            "GlobalAveragePool" => global_average(x, pixels, &mut out),
            "GlobalMaxPool" => {
                for (o, plane) in out.iter_mut().zip(x.chunks_exact(pixels)) {
                    *o = plane.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                }
            }
            _ => {
                for (o, plane) in out.iter_mut().zip(x.chunks_exact(pixels)) {
                    *o = norm(|f| plane.iter().for_each(|v| f(f64::from(*v))), p);
                }
            }
        }
        Ok(results![Value::f32(&to, out)])
    }))
}
