//! DFT and STFT, in double precision inside.

use ndarray::ArrayD;
use shiftwise_graph::Value;

use crate::args::{Args, Kernel, Outcome, axis_of, results};
use crate::number::{Number, each_real};
use crate::ops::{Cx, Op};
use crate::scalar::{count, slice, value};

pub(in crate::ops) const OPS: &[Op] = &[Op::float("DFT", dft), Op::float("STFT", stft)];

type Complex = (f64, f64);

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// Transforms of one length: a table of roots of unity, and division by prime factors.
struct Transform {
    roots: Vec<Complex>,
}

impl Transform {
    fn new(n: usize, inverse: bool) -> Self {
        let sign = if inverse { 1.0 } else { -1.0 };
        let angle = |k: usize| std::f64::consts::TAU * k as f64 / n as f64;
        Self { roots: (0..n).map(|k| (libm::cos(angle(k)), sign * libm::sin(angle(k)))).collect() }
    }

    fn apply(&self, x: &[Complex]) -> Vec<Complex> {
        self.part(x, 1)
    }

    /// The transform of a sequence whose roots are every `step`-th of the table.
    fn part(&self, x: &[Complex], step: usize) -> Vec<Complex> {
        let n = x.len();
        let Some(p) = (2..=n).find(|p| n.is_multiple_of(*p)) else { return x.to_vec() };
        let m = n / p;
        let parts: Vec<Vec<Complex>> = (0..p)
            .map(|r| {
                let every: Vec<Complex> = x[r..].iter().step_by(p).copied().collect();
                self.part(&every, step * p)
            })
            .collect();
        (0..n)
            .map(|k| {
                parts.iter().enumerate().fold((0.0, 0.0), |sum, (r, part)| {
                    let v = times(part[k % m], self.roots[k * r % n * step]);
                    (sum.0 + v.0, sum.1 + v.1)
                })
            })
            .collect()
    }
}

/// The axis is an attribute before opset 20, an input since.
fn dft(cx: Cx<'_>) -> Outcome<Kernel> {
    let fixed = if cx.opset < 20 { Some(cx.int_or("axis", 1)) } else { None };
    let (inverse, onesided) = (cx.flag("inverse", false), cx.flag("onesided", false));
    if inverse && onesided {
        return Err("inverse together with onesided is not supported".into());
    }
    Ok(Box::new(move |args, _| {
        let rank = args.value(0)?.shape().len();
        let axis = match fixed {
            Some(axis) => axis,
            None => args.optional_ints(2)?.and_then(|a| a.first().copied()).unwrap_or(-2),
        };
        let axis = axis_of(axis, rank)?;
        if axis + 1 == rank {
            return Err("its axis is that of real and imaginary parts".into());
        }
        let length = args.optional_ints(1)?.and_then(|l| l.first().copied());
        let length = match length {
            None => args.value(0)?.shape()[axis],
            Some(l) => {
                usize::try_from(l).ok().filter(|l| *l < 1 << 28).ok_or("its dft_length is not a length")?
            }
        };
        each_real!(args.value(0)?, a => transformed(a, axis, length, inverse, onesided)).map(|v| results![v])
    }))
}

fn transformed<T: Number>(
    x: &ArrayD<T>,
    axis: usize,
    n: usize,
    inverse: bool,
    onesided: bool,
) -> Outcome<Value> {
    let shape = x.shape();
    let parts = shape[shape.len() - 1];
    if parts == 0 || parts > 2 || (onesided && parts != 1) {
        return Err(format!("its input of shape {shape:?} does not end in real (and imaginary) parts"));
    }
    let (size, inner) = (shape[axis], count(&shape[axis + 1..shape.len() - 1])?);
    let bins = if onesided { n / 2 + 1 } else { n };
    let mut to = shape.to_vec();
    to[axis] = bins;
    to[shape.len() - 1] = 2;
    let mut out = vec![T::ZERO; count(&to)?];
    let transform = Transform::new(n, inverse);
    let scale = if inverse { 1.0 / n as f64 } else { 1.0 };
    let x = slice(x);
    let blocks = out.chunks_exact_mut((bins * inner * 2).max(1));
    for (out, x) in blocks.zip(x.chunks_exact((size * inner * parts).max(1))) {
        for i in 0..inner {
            let row: Vec<Complex> = (0..n)
                .map(|k| {
                    let at = (k * inner + i) * parts;
                    let imaginary = || if parts == 2 { x[at + 1].real() } else { 0.0 };
                    if k < size { (x[at].real(), imaginary()) } else { (0.0, 0.0) }
                })
                .collect();
            for (k, v) in transform.apply(&row).into_iter().take(bins).enumerate() {
                let at = (k * inner + i) * 2;
                out[at] = T::of(v.0 * scale);
                out[at + 1] = T::of(v.1 * scale);
            }
        }
    }
    value(&to, out)
}

/// `STFT(signal, frame_step, window?, frame_length?)`: the transform of each frame.
fn stft(cx: Cx<'_>) -> Outcome<Kernel> {
    let onesided = cx.flag("onesided", true);
    Ok(Box::new(move |args, _| {
        each_real!(args.value(0)?, a => frames(a, args, onesided)).map(|v| results![v])
    }))
}

fn frames<T: Number>(signal: &ArrayD<T>, args: &Args<'_>, onesided: bool) -> Outcome<Value> {
    let (batch, length, parts) = match *signal.shape() {
        [batch, length] => (batch, length, 1),
        [batch, length, parts @ (1 | 2)] => (batch, length, parts),
        ref other => return Err(format!("its signal has shape {other:?}, not [batch, length, 1 or 2]")),
    };
    let positive = |i: usize| match args.optional_ints(i)?.and_then(|v| v.first().copied()) {
        None => Ok(None),
        Some(v) => {
            usize::try_from(v).ok().filter(|v| *v > 0).map(Some).ok_or(format!("its input {i} is {v}"))
        }
    };
    let step = positive(1)?.ok_or("it has no frame_step")?;
    let window = match args.get(2) {
        None => None,
        Some(w) => Some(slice(T::array_of(w).ok_or("its window has another type than its signal")?)),
    };
    let size = positive(3)?.or(window.map(<[T]>::len)).ok_or("it has neither window nor frame_length")?;
    if window.is_some_and(|w| w.len() != size) || size > length || (onesided && parts == 2) {
        return Err(format!("frames of {size} do not fit its window or its signal of {length}"));
    }
    let count_of_frames = (length - size) / step + 1;
    let bins = if onesided { size / 2 + 1 } else { size };
    let to = [batch, count_of_frames, bins, 2];
    let mut out = Vec::with_capacity(count(&to)?);
    let transform = Transform::new(size, false);
    for signal in slice(signal).chunks_exact((length * parts).max(1)) {
        for frame in 0..count_of_frames {
            let row: Vec<Complex> = (0..size)
                .map(|k| {
                    let at = (frame * step + k) * parts;
                    let weight = window.map_or(1.0, |w| w[k].real());
                    let imaginary = if parts == 2 { signal[at + 1].real() } else { 0.0 };
                    (signal[at].real() * weight, imaginary * weight)
                })
                .collect();
            out.extend(transform.apply(&row).into_iter().take(bins).flat_map(|v| [T::of(v.0), T::of(v.1)]));
        }
    }
    value(&to, out)
}
