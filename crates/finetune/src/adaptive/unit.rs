//! The training of a band of outputs.

use std::ops::Range;

use super::measure::{Band, CHUNK, Rows, band_errors};
use super::options::{AdaOptions, Begin, FreeBias};
use super::problem::Problem;
use super::simd::{LANES, dispatch};
use super::step::{Adam, Grid, Round, Row, Straight, hard, soft, straight, straight_integer};

/// How far from an integer a weight is taken for AdaRound to have that integer on one of its sides.
const BESIDE: f64 = 0.99;

/// What all bands share.
pub(super) struct Run<'a> {
    pub(super) problem: &'a Problem,
    pub(super) options: &'a AdaOptions,
    pub(super) method: Method<'a>,
    /// Where the batch of each step begins.
    pub(super) batches: Vec<u32>,
    /// Positions in a batch.
    pub(super) batch: usize,
    pub(super) rate: f32,
}

/// What is trained.
#[derive(Clone, Copy)]
pub(super) enum Method<'a> {
    /// The direction that each weight is rounded in.
    Round,
    /// The weights, and a bias.
    Straight(Option<&'a FreeBias>),
}

/// A band, with all that changes while it is trained. Matrices have a row for each output, `row` apart.
pub(super) struct Unit {
    pub(super) band: Band,
    pub(super) row: usize,
    grids: Vec<Grid>,
    pub(super) latent: Vec<f32>,
    m: Vec<f32>,
    v: Vec<f32>,
    sigmoid: Vec<f32>,
    floor: Vec<f32>,
    pub(super) w: Vec<f32>,
    pub(super) g: Vec<f32>,
    z: Vec<f32>,
    turned: Vec<f32>,
    mixed: Vec<f32>,
    pub(super) bias: Vec<Bias>,
    /// Sums, over the steps since they were last taken, of the loss and of the regulariser.
    pub(super) sums: [f64; 2],
    /// The best integers so far in rows of their own, with their bias and errors.
    pub(super) best: Best,
}

/// The bias of an output.
#[derive(Clone, Copy, Default)]
pub(super) struct Bias {
    /// What is added.
    pub(super) value: f32,
    latent: f64,
    m: f32,
    v: f32,
    pub(super) g: f32,
}

/// Integers with what they cost on held-out positions.
pub(super) struct Best {
    pub(super) q: Vec<i32>,
    pub(super) bias: Vec<f64>,
    pub(super) errors: Vec<f64>,
}

impl Unit {
    /// Begins at weights (`[output, input]` of the band), with the integers and errors of the start to beat.
    pub(super) fn new(run: &Run<'_>, band: Band, weights: &[f32], grids: Vec<Grid>, best: Best) -> Self {
        let inputs = run.problem.shape.inputs;
        let row = inputs.next_multiple_of(LANES);
        let zeros = || vec![0.0; band.width * row];
        let rounds = matches!(run.method, Method::Round);
        let mix = run.options.drop_ratio > 0.0 && run.options.drop_ratio < 1.0;
        let mut unit = Self {
            band,
            row,
            latent: zeros(),
            m: zeros(),
            v: zeros(),
            sigmoid: if rounds { zeros() } else { Vec::new() },
            floor: if rounds { zeros() } else { Vec::new() },
            w: zeros(),
            g: zeros(),
            z: vec![0.0; band.width * run.batch.max(CHUNK)],
            turned: zeros(),
            mixed: if mix { vec![0.0; inputs * run.batch] } else { Vec::new() },
            bias: best.bias.iter().map(|&b| Bias { value: b as f32, ..Bias::default() }).collect(),
            grids,
            sums: [0.0; 2],
            best,
        };
        for output in 0..band.width {
            unit.begin(run, output, &weights[output * inputs..][..inputs]);
        }
        unit
    }

    fn begin(&mut self, run: &Run<'_>, output: usize, weights: &[f32]) {
        let (grid, at) = (self.grids[output], output * self.row);
        if let Method::Straight(free) = run.method {
            for (k, &weight) in weights.iter().enumerate() {
                let start = self.best.q[output * weights.len() + k] as f32 * grid.scale;
                let latent = if run.options.begin == Begin::Integers { start } else { weight };
                (self.latent[at + k], self.w[at + k]) = (latent, straight(grid, latent));
            }
            if let Some(free) = free {
                let channel = self.band.channel + output;
                self.bias[output].latent = free.float[channel];
                self.bias[output].value = free.rounded(channel, free.float[channel]) as f32;
            }
            return;
        }
        for (k, &weight) in weights.iter().enumerate() {
            let mut ratio = f64::from(weight) / f64::from(grid.scale);
            let start = f64::from(self.best.q[output * weights.len() + k]);
            if run.options.begin == Begin::Integers {
                ratio = ratio.clamp(start - BESIDE, start + BESIDE);
            }
            let floor = ratio.floor();
            let mut share = ratio - floor;
            if run.options.begin != Begin::Weights {
                let up = share >= 0.5;
                if (start == floor && up) || (start == floor + 1.0 && !up) {
                    // As far on the other side; from the middle, far enough to be there.
                    share = 1.0 - share;
                    share = if up { share.min(0.49) } else { share.max(0.51) };
                }
            }
            let floor = floor as f32;
            let (latent, sigmoid, w) = soft(grid, floor, share);
            (self.latent[at + k], self.sigmoid[at + k]) = (latent, sigmoid);
            (self.floor[at + k], self.w[at + k]) = (floor, w);
        }
        // What fills up the row is decided, so that it does not count.
        self.sigmoid[at + weights.len()..at + self.row].fill(1.0);
        self.latent[at + weights.len()..at + self.row].fill(100.0);
    }

    /// Trains for some steps.
    pub(super) fn train(&mut self, run: &Run<'_>, steps: Range<usize>) {
        for step in steps {
            self.backward(run, step);
            self.step(run, step);
        }
    }

    /// Slopes of the loss of a step's batch.
    pub(super) fn backward(&mut self, run: &Run<'_>, step: usize) {
        let Problem { shape, functions, fit, .. } = run.problem;
        let (batch, from) = (run.batch, run.batches[step] as usize);
        let band = self.band;
        let ratio = run.options.drop_ratio;
        let rows = if ratio >= 1.0 {
            fit.rows(&fit.x, shape, band, from)
        } else if ratio <= 0.0 {
            fit.rows(&fit.x_float, shape, band, from)
        } else {
            let first = band.channel / shape.outputs * shape.inputs;
            let key = run.options.fixed_seed ^ ((step as u64) << 32) ^ first as u64;
            let (x, x_float) =
                (fit.rows(&fit.x, shape, band, from), fit.rows(&fit.x_float, shape, band, from));
            mix(x, x_float, &mut self.mixed, batch, ratio, key);
            Rows { x: &self.mixed, stride: batch }
        };
        let z = &mut self.z[..band.width * batch];
        rows.forward(&self.w, self.row, shape.inputs, z, batch);
        let factor = 2.0 / batch as f32;
        for (i, z) in z.chunks_mut(batch).enumerate() {
            let target = fit.target(band.channel + i, from..from + batch);
            let function = functions.of(band.channel + i);
            let [squares, slopes] = function.backward(self.bias[i].value, z, target, factor);
            self.sums[0] += f64::from(squares) / batch as f64;
            self.bias[i].g = slopes;
        }
        rows.gradient(z, batch, (&mut self.g, self.row), shape.inputs, &mut self.turned);
    }

    fn step(&mut self, run: &Run<'_>, step: usize) {
        let adam = Adam::new(run.rate, step);
        let regular = step >= run.options.warm() && run.options.reg_param > 0.0;
        let beta = if regular { run.options.beta(step) } else { 0.0 };
        for (i, &grid) in self.grids.iter().enumerate() {
            let at = i * self.row..(i + 1) * self.row;
            let row = Row {
                g: &self.g[at.clone()],
                latent: &mut self.latent[at.clone()],
                m: &mut self.m[at.clone()],
                v: &mut self.v[at.clone()],
                w: &mut self.w[at.clone()],
                grid,
                adam,
            };
            match run.method {
                Method::Round => {
                    let (sigmoid, floor) = (&mut self.sigmoid[at.clone()], &self.floor[at]);
                    let lambda = run.options.reg_param;
                    let sum = if regular {
                        dispatch(Round::<true> { row, sigmoid, floor, lambda, beta })
                    } else {
                        dispatch(Round::<false> { row, sigmoid, floor, lambda, beta })
                    };
                    self.sums[1] += f64::from(sum);
                }
                Method::Straight(free) => {
                    dispatch(Straight { row });
                    if let Some(free) = free {
                        self.bias[i].step(free, self.band.channel + i, adam);
                    }
                }
            }
        }
    }

    /// Rounds, and keeps the outputs that are better than all before on the held-out positions.
    pub(super) fn look(&mut self, run: &Run<'_>) {
        let Problem { shape, functions, held_out, .. } = run.problem;
        let inputs = shape.inputs;
        // The slopes are computed anew in every step, so their place is free.
        for (i, &grid) in self.grids.iter().enumerate() {
            for k in i * self.row..i * self.row + inputs {
                self.g[k] = self.integer(run, grid, k) as f32 * grid.scale;
            }
        }
        let bias: Vec<f32> = self.bias.iter().map(|b| b.value).collect();
        let weights = (&self.g[..], self.row);
        let errors = band_errors(shape, functions, held_out, self.band, weights, &bias, &mut self.z);
        for (i, error) in errors.into_iter().enumerate() {
            if error < self.best.errors[i] {
                self.best.errors[i] = error;
                if let Method::Straight(Some(free)) = run.method {
                    self.best.bias[i] = free.rounded(self.band.channel + i, self.bias[i].latent);
                }
                for k in 0..inputs {
                    self.best.q[i * inputs + k] = self.integer(run, self.grids[i], i * self.row + k);
                }
            }
        }
    }

    fn integer(&self, run: &Run<'_>, grid: Grid, at: usize) -> i32 {
        match run.method {
            Method::Round => hard(grid, self.floor[at], self.latent[at]),
            Method::Straight(_) => straight_integer(grid, self.latent[at]),
        }
    }
}

impl Bias {
    fn step(&mut self, free: &FreeBias, channel: usize, adam: Adam) {
        let g = if free.holds(channel, self.latent) { self.g } else { 0.0 };
        self.latent -= f64::from(adam.step(g, &mut self.m, &mut self.v));
        self.value = free.rounded(channel, self.latent) as f32;
    }
}

impl FreeBias {
    /// A bias as the model will have it.
    fn rounded(&self, channel: usize, bias: f64) -> f64 {
        let Some((scales, (lo, hi))) = &self.grid else { return f64::from(bias as f32) };
        let scale = f64::from(scales.of(channel));
        (bias / scale).round_ties_even().clamp(f64::from(*lo), f64::from(*hi)) * scale
    }

    /// Whether it is within the range.
    fn holds(&self, channel: usize, bias: f64) -> bool {
        self.grid.as_ref().is_none_or(|(scales, (lo, hi))| {
            let q = (bias / f64::from(scales.of(channel))).round_ties_even();
            q >= f64::from(*lo) && q <= f64::from(*hi)
        })
    }
}

/// Takes each value from the first with some probability, else from the second.
fn mix(x: Rows<'_>, other: Rows<'_>, out: &mut [f32], count: usize, ratio: f32, key: u64) {
    let limit = (f64::from(ratio) * 4_294_967_296.0) as u64;
    for (k, out) in out.chunks_mut(count).enumerate() {
        let rows = [&x.x[k * x.stride..], &other.x[k * other.stride..]];
        let row_key = scramble(key.wrapping_add((k as u64) << 20));
        for (p, out) in out.iter_mut().enumerate() {
            let first = scramble(row_key.wrapping_add(p as u64)) >> 32 < limit;
            *out = if first { rows[0][p] } else { rows[1][p] };
        }
    }
}

/// Spreads a counter over all numbers (the finaliser of SplitMix64).
fn scramble(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
