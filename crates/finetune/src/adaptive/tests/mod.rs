//! Layers that are computed the plain way, in double precision, to hold the module against.

mod gradients;
mod training;

use super::options::Draws;
use super::{AdaOptions, Begin, Collector, FreeBias, Problem, Refused, Tuned};
use crate::layer::{Activation, Op, Window};
use crate::least_squares::{Sampling, Scales, Start, Untunable};

/// Between −1 and 1.
fn float(draws: &mut Draws) -> f32 {
    draws.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0
}

fn floats(draws: &mut Draws, n: usize) -> Vec<f32> {
    (0..n).map(|_| float(draws)).collect()
}

/// A layer with all its samples.
#[derive(Clone)]
struct Layer {
    op: Op,
    activation: Activation,
    x_dims: Vec<usize>,
    w_dims: Vec<usize>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    x: Vec<Vec<f32>>,
    x_float: Vec<Vec<f32>>,
    y: Vec<Vec<f32>>,
}

impl Layer {
    /// Inputs of which neighbours are alike, and which differ a little from those of the float model.
    fn random(op: Op, activation: Activation, dims: [&[usize]; 2], samples: usize) -> Self {
        let mut draws = Draws(17);
        let [x_dims, w_dims] = dims;
        let weights = floats(&mut draws, w_dims.iter().product());
        let bias = floats(&mut draws, channels(&op, w_dims));
        let mut layer = Self {
            op,
            activation,
            x_dims: x_dims.to_vec(),
            w_dims: w_dims.to_vec(),
            weights,
            bias,
            x: Vec::new(),
            x_float: Vec::new(),
            y: Vec::new(),
        };
        for _ in 0..samples {
            let mut last = 0.0;
            let x: Vec<f32> = (0..x_dims.iter().product())
                .map(|_| {
                    last = 0.8 * last + 0.6 * float(&mut draws);
                    last
                })
                .collect();
            let weights: Vec<f64> = layer.weights.iter().map(|&w| w.into()).collect();
            let y = layer.forward(&x, &weights);
            layer.y.push(y.iter().map(|&v| v as f32).collect());
            layer.x.push(x.iter().map(|v| (v * 32.0).round() / 32.0).collect());
            layer.x_float.push(x);
        }
        layer
    }

    fn channels(&self) -> usize {
        channels(&self.op, &self.w_dims)
    }

    fn collector(&self, sampling: &Sampling) -> Result<Collector, Refused> {
        let (x, w) = (&self.x_dims, &self.w_dims);
        Collector::new(&self.op, &self.activation, x, w, 3, self.x.len(), sampling, true)
    }

    fn problem(&self, sampling: &Sampling) -> Result<Problem, Refused> {
        let mut collector = self.collector(sampling)?;
        for (i, (x, y)) in self.x.iter().zip(&self.y).enumerate() {
            collector.add(i, x, y, Some(&self.x_float[i]));
        }
        collector.finish()
    }

    /// Round-to-nearest.
    fn start(&self, scale: f32, range: (i32, i32)) -> Start {
        let round = |w: &f32| (w / scale).round_ties_even().clamp(range.0 as f32, range.1 as f32) as i32;
        Start {
            q: self.weights.iter().map(round).collect(),
            scales: Scales::Single(scale),
            bias: self.bias.iter().map(|&b| b.into()).collect(),
        }
    }

    /// What the layer gives, with its bias, before the activation.
    fn forward(&self, x: &[f32], w: &[f64]) -> Vec<f64> {
        let mut y = match self.op {
            Op::Conv(window) => image(window, None, x, &self.x_dims, w, &self.w_dims),
            Op::ConvTranspose(window, extra) => image(window, Some(extra), x, &self.x_dims, w, &self.w_dims),
            Op::Gemm { transposed, alpha, .. } => rows(transposed, alpha, x, w, &self.w_dims),
            Op::MatMul => rows(false, 1.0, x, w, &self.w_dims),
            Op::InstanceNormalization { epsilon } => {
                let plane = self.x_dims[2..].iter().product();
                let planes = x.chunks(plane).enumerate();
                let scaled = planes.flat_map(|(i, plane)| {
                    normal(plane, epsilon).into_iter().map(move |n| n * w[i % w.len()])
                });
                scaled.collect()
            }
            Op::LayerNormalization { epsilon, .. } => {
                let scaled = x.chunks(w.len()).flat_map(|row| {
                    normal(row, epsilon).into_iter().zip(w).map(|(n, w)| n * w).collect::<Vec<f64>>()
                });
                scaled.collect()
            }
        };
        for (i, y) in y.iter_mut().enumerate() {
            *y += f64::from(self.bias[self.channel(i)]);
        }
        y
    }

    /// The output channel of an element of a sample's output.
    fn channel(&self, i: usize) -> usize {
        let channels = self.channels();
        match self.op {
            Op::Conv(_) | Op::ConvTranspose(..) | Op::InstanceNormalization { .. } => {
                i / (self.y_len() / self.x_dims[0] / channels) % channels
            }
            _ => i % channels,
        }
    }

    fn y_len(&self) -> usize {
        let (Op::Conv(window) | Op::ConvTranspose(window, _)) = self.op else {
            return if let Op::InstanceNormalization { .. } = self.op {
                self.x_dims.iter().product()
            } else {
                self.x_dims.iter().product::<usize>() / self.x_dims[self.x_dims.len() - 1] * self.channels()
            };
        };
        let extra = if let Op::ConvTranspose(_, extra) = self.op { Some(extra) } else { None };
        let [h, w] = size(window, extra, &self.x_dims);
        self.x_dims[0] * self.channels() * h * w
    }

    /// The loss over all positions of some samples: per position, the squared error behind the activation.
    fn loss(&self, samples: std::ops::Range<usize>, w: &[f64]) -> f64 {
        let (mut sum, mut count) = (0.0, 0);
        for i in samples {
            let y = self.forward(&self.x[i], w);
            count += y.len() / self.channels();
            for (at, (y, target)) in y.iter().zip(&self.y[i]).enumerate() {
                let channel = self.channel(at);
                let act = |z: f64| activate(&self.activation, channel, z);
                sum += (act(*y) - act(f64::from(*target))).powi(2);
            }
        }
        sum / count as f64
    }
}

fn channels(op: &Op, w_dims: &[usize]) -> usize {
    match op {
        Op::Conv(_) | Op::Gemm { transposed: true, .. } => w_dims[0],
        Op::ConvTranspose(window, _) => w_dims[1] * window.groups,
        Op::Gemm { .. } | Op::MatMul => w_dims[1],
        _ => w_dims.iter().product(),
    }
}

fn activate(activation: &Activation, channel: usize, z: f64) -> f64 {
    // erf by its series.
    let erf = |x: f64| {
        let (mut term, mut sum) = (x, 0.0);
        for n in 0..200 {
            sum += term;
            term *= 2.0 * x * x / f64::from(2 * n + 3);
        }
        2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
    };
    let leaky = |slope: f32| if z > 0.0 { z } else { z * f64::from(slope) };
    match activation {
        Activation::None | Activation::Softmax(_) => z,
        Activation::Relu => z.max(0.0),
        Activation::LeakyRelu(slope) => leaky(*slope),
        Activation::PRelu(slopes) => leaky(slopes[channel % slopes.len()]),
        Activation::Clip(lo, hi) => z.clamp((*lo).into(), (*hi).into()),
        Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
        Activation::Tanh => z.tanh(),
        Activation::Gelu(false) => 0.5 * z * (1.0 + erf(z / 2f64.sqrt())),
        Activation::Gelu(true) => {
            0.5 * z * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (z + 0.044_715 * z.powi(3))).tanh())
        }
    }
}

fn normal(values: &[f32], epsilon: f32) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    values.iter().map(|&v| (f64::from(v) - mean) / (variance + f64::from(epsilon)).sqrt()).collect()
}

fn rows(transposed: bool, alpha: f32, x: &[f32], w: &[f64], w_dims: &[usize]) -> Vec<f64> {
    let [outputs, inputs] = if transposed { [w_dims[0], w_dims[1]] } else { [w_dims[1], w_dims[0]] };
    let weight = |o: usize, k: usize| if transposed { w[o * inputs + k] } else { w[k * outputs + o] };
    let product = |row: &[f32], o: usize| -> f64 {
        f64::from(alpha) * row.iter().enumerate().map(|(k, &x)| f64::from(x) * weight(o, k)).sum::<f64>()
    };
    x.chunks(inputs).flat_map(|row| (0..outputs).map(move |o| product(row, o))).collect()
}

/// Height and width of an output image.
fn size(window: Window, transposed: Option<[usize; 2]>, x_dims: &[usize]) -> [usize; 2] {
    [0, 1].map(|axis| {
        let pads = window.pads[axis] + window.pads[axis + 2];
        let reach = window.dilation[axis] * (window.kernel[axis] - 1) + 1;
        match transposed {
            None => (x_dims[axis + 2] + pads - reach) / window.stride[axis] + 1,
            Some(extra) => (x_dims[axis + 2] - 1) * window.stride[axis] + reach + extra[axis] - pads,
        }
    })
}

fn image(
    window: Window,
    transposed: Option<[usize; 2]>,
    x: &[f32],
    x_dims: &[usize],
    w: &[f64],
    w_dims: &[usize],
) -> Vec<f64> {
    let Window { groups, kernel: [kh, kw], stride, dilation, pads } = window;
    let (batch, inputs, [h, wide]) = (x_dims[0], x_dims[1], [x_dims[2], x_dims[3]]);
    let [oh, ow] = size(window, transposed, x_dims);
    let outputs = if transposed.is_some() { w_dims[1] * groups } else { w_dims[0] };
    let (of_group, in_group) = (outputs / groups, inputs / groups);
    let mut y = vec![0.0; batch * outputs * oh * ow];
    // Of input and output, the side that a stride is multiplied with, and the other.
    let [near, far] = if transposed.is_some() { [[h, wide], [oh, ow]] } else { [[oh, ow], [h, wide]] };
    for i in 0..batch * outputs * in_group * kh * kw * near[0] * near[1] {
        let (nx, i) = (i % near[1], i / near[1]);
        let (ny, i) = (i % near[0], i / near[0]);
        let (kx, i) = (i % kw, i / kw);
        let (ky, i) = (i % kh, i / kh);
        let (c, i) = (i % in_group, i / in_group);
        let (o, n) = (i % outputs, i / outputs);
        let at = |n: usize, k: usize, axis: usize| {
            (n * stride[axis] + k * dilation[axis]).checked_sub(pads[axis]).filter(|&f| f < far[axis])
        };
        let (Some(fy), Some(fx)) = (at(ny, ky, 0), at(nx, kx, 1)) else { continue };
        let channel = o / of_group * in_group + c;
        let (weight, [iy, ix], [oy, ox]) = if transposed.is_some() {
            (((channel * of_group + o % of_group) * kh + ky) * kw + kx, [ny, nx], [fy, fx])
        } else {
            (((o * in_group + c) * kh + ky) * kw + kx, [fy, fx], [ny, nx])
        };
        let x = f64::from(x[((n * inputs + channel) * h + iy) * wide + ix]);
        y[((n * outputs + o) * oh + oy) * ow + ox] += x * w[weight];
    }
    y
}

fn window(groups: usize, kernel: [usize; 2]) -> Window {
    Window { groups, kernel, stride: [1, 1], dilation: [1, 1], pads: [0; 4] }
}

/// All positions of every sample; every fifth sample is held out.
fn everything() -> Sampling {
    Sampling { positions: 1_000_000, seed: 1, max_bytes: 1 << 30 }
}
