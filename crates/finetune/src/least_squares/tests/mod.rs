//! Layers that are computed the plain way, to hold the module against.

mod gather;
mod moments;
mod rounding;

use super::{Collector, Geometry, Look, Picked, Positions, Problem, Sampling, Scales, Start, Untunable};
use crate::layer::{Op, Window};

/// Numbers that are the same everywhere.
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    /// Between −1 and 1.
    pub(super) fn float(&mut self) -> f32 {
        self.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(super) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

/// A layer with all its samples.
pub(super) struct Layer {
    pub(super) op: Op,
    pub(super) x_dims: Vec<usize>,
    pub(super) w_dims: Vec<usize>,
    pub(super) weights: Vec<f32>,
    pub(super) x: Vec<Vec<f32>>,
    pub(super) y: Vec<Vec<f32>>,
}

impl Layer {
    /// Inputs that depend on each other and have means, and outputs that the float weights do not quite explain.
    pub(super) fn random(op: Op, x_dims: &[usize], w_dims: &[usize], samples: usize, seed: u64) -> Self {
        let mut draws = Draws::new(seed);
        let weights = draws.floats(w_dims.iter().product());
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for _ in 0..samples {
            let mut last = 0.0;
            let sample: Vec<f32> = (0..x_dims.iter().product())
                .map(|_| {
                    last = 0.6 * last + draws.float();
                    (last + 0.5).max(0.0)
                })
                .collect();
            let mut out = forward(&op, &sample, x_dims, &weights, w_dims);
            for (i, v) in out.iter_mut().enumerate() {
                *v += 0.1 * f64::from(draws.float()) + 0.25 * (i % 3) as f64;
            }
            x.push(sample);
            y.push(out.iter().map(|&v| v as f32).collect());
        }
        Self { op, x_dims: x_dims.to_vec(), w_dims: w_dims.to_vec(), weights, x, y }
    }

    pub(super) fn geometry(&self) -> Geometry {
        Geometry::new(&self.op, &self.x_dims, &self.w_dims).unwrap()
    }

    pub(super) fn problem(&self, sampling: &Sampling) -> Result<Problem, Untunable> {
        let samples = self.x.len();
        let look = Look::new(&self.op, &self.x_dims, &self.w_dims, &self.weights, 3, samples, sampling)?;
        let mut collector = Collector::new(look, sampling.max_bytes)?;
        for (i, (x, y)) in self.x.iter().zip(&self.y).enumerate() {
            collector.add(i, x, y);
        }
        collector.finish()
    }

    /// Mean squared error over some of the positions, computed directly.
    pub(super) fn error(
        &self,
        sampling: &Sampling,
        q: &[i32],
        scale: f32,
        bias: &[f64],
        which: fn(&Picked) -> &Vec<usize>,
    ) -> f64 {
        let channels = self.geometry().channels();
        let available = self.y[0].len() / channels;
        let positions = Positions::new(available, self.x.len(), 3, sampling).unwrap();
        let weights: Vec<f32> = q.iter().map(|&q| q as f32 * scale).collect();
        let plane = if matches!(self.op, Op::Conv(_) | Op::ConvTranspose(..)) { available } else { 1 };
        let (mut sum, mut count) = (0.0, 0);
        for (i, (x, y)) in self.x.iter().zip(&self.y).enumerate() {
            let out = forward(&self.op, x, &self.x_dims, &weights, &self.w_dims);
            let picked = positions.of(i);
            for &p in which(&picked) {
                count += 1;
                for (c, bias) in bias.iter().enumerate() {
                    let at = (p / plane * channels + c) * plane + p % plane;
                    sum += (f64::from(y[at]) - out[at] - bias).powi(2);
                }
            }
        }
        sum / f64::from(count)
    }

    /// Round-to-nearest with the float layer's bias left out.
    pub(super) fn start(&self, scale: f32, range: (i32, i32)) -> Start {
        Start {
            q: nearest(&self.weights, scale, range),
            scales: Scales::Single(scale),
            bias: vec![0.0; self.geometry().channels()],
        }
    }
}

pub(super) fn nearest(weights: &[f32], scale: f32, range: (i32, i32)) -> Vec<i32> {
    let round = |w: &f32| (w / scale).round_ties_even().clamp(range.0 as f32, range.1 as f32) as i32;
    weights.iter().map(round).collect()
}

pub(super) fn window(groups: usize, kernel: [usize; 2]) -> Window {
    Window { groups, kernel, stride: [1, 1], dilation: [1, 1], pads: [0; 4] }
}

pub(super) fn matmul() -> Op {
    Op::MatMul
}

/// The layer without a bias, one product after the other.
pub(super) fn forward(op: &Op, x: &[f32], x_dims: &[usize], w: &[f32], w_dims: &[usize]) -> Vec<f64> {
    match *op {
        Op::Conv(window) => image(window, None, x, x_dims, w, w_dims),
        Op::ConvTranspose(window, extra) => image(window, Some(extra), x, x_dims, w, w_dims),
        Op::Gemm { transposed, alpha, .. } => rows(transposed, alpha, x, w, w_dims),
        _ => rows(false, 1.0, x, w, w_dims),
    }
}

fn rows(transposed: bool, alpha: f32, x: &[f32], w: &[f32], w_dims: &[usize]) -> Vec<f64> {
    let [outputs, inputs] = if transposed { [w_dims[0], w_dims[1]] } else { [w_dims[1], w_dims[0]] };
    let weight = |o: usize, k: usize| if transposed { w[o * inputs + k] } else { w[k * outputs + o] };
    let product = |row: &[f32], o: usize| -> f64 {
        row.iter().enumerate().map(|(k, &x)| f64::from(alpha) * f64::from(x) * f64::from(weight(o, k))).sum()
    };
    x.chunks(inputs).flat_map(|row| (0..outputs).map(move |o| product(row, o))).collect()
}

fn image(
    window: Window,
    transposed: Option<[usize; 2]>,
    x: &[f32],
    x_dims: &[usize],
    w: &[f32],
    w_dims: &[usize],
) -> Vec<f64> {
    let Window { groups, kernel: [kh, kw], stride, dilation, pads } = window;
    let (batch, channels) = (x_dims[0], x_dims[1]);
    let [h, w_in] = if x_dims.len() == 3 { [1, x_dims[2]] } else { [x_dims[2], x_dims[3]] };
    let size = |axis: usize, size: usize| {
        let (pads, reach) = (pads[axis] + pads[axis + 2], dilation[axis] * (window.kernel[axis] - 1) + 1);
        match transposed {
            None => (size + pads - reach) / stride[axis] + 1,
            Some(extra) => (size - 1) * stride[axis] + reach + extra[axis] - pads,
        }
    };
    let [oh, ow] = [size(0, h), size(1, w_in)];
    let outputs = if transposed.is_some() { w_dims[1] * groups } else { w_dims[0] };
    let (of_group, in_group) = (outputs / groups, channels / groups);
    let mut y = vec![0.0; batch * outputs * oh * ow];
    // Every pair of an input and an output that a tap connects.
    let meets = |axis: usize, input: usize, output: usize, tap: usize| {
        let (near, far) = if transposed.is_some() { (input, output) } else { (output, input) };
        near * stride[axis] + tap * dilation[axis] == far + pads[axis]
    };
    for (n, o, c) in
        (0..batch).flat_map(|n| (0..outputs).flat_map(move |o| (0..in_group).map(move |c| (n, o, c))))
    {
        let channel = o / of_group * in_group + c;
        for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
            let tap = ky * kw + kx;
            let weight = if transposed.is_some() {
                w[(channel * of_group + o % of_group) * kh * kw + tap]
            } else {
                w[(o * in_group + c) * kh * kw + tap]
            };
            for (iy, oy) in
                (0..h).flat_map(|i| (0..oh).map(move |o| (i, o))).filter(|&(i, o)| meets(0, i, o, ky))
            {
                for (ix, ox) in
                    (0..w_in).flat_map(|i| (0..ow).map(move |o| (i, o))).filter(|&(i, o)| meets(1, i, o, kx))
                {
                    let x = x[((n * channels + channel) * h + iy) * w_in + ix];
                    y[((n * outputs + o) * oh + oy) * ow + ox] += f64::from(x) * f64::from(weight);
                }
            }
        }
    }
    y
}
