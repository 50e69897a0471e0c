//! What is known of a layer, and its training.

use rayon::prelude::*;

use crate::least_squares::{Errors, Scales, Start, Untunable};

use super::Refused;
use super::collect::Data;
use super::function::Functions;
use super::measure::{bands, errors};
use super::options::{AdaOptions, FreeBias};
use super::source::{Shape, Source};
use super::step::Grid;
use super::unit::{Best, Method, Run, Unit};

/// How often in a training the rounded integers are looked at.
const LOOKS: usize = 10;

/// Largest magnitude of an integer, for rounding in single precision.
const LIMIT: i32 = 1 << 21;

/// What sampled positions of a layer read, and are to give after its activation.
pub struct Problem {
    pub(super) source: Source,
    pub(super) shape: Shape,
    pub(super) functions: Functions,
    pub(super) fit: Data,
    pub(super) held_out: Data,
}

/// The best that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// Integers, as the operator has its weights.
    pub q: Vec<i32>,
    /// Their scales: those of the start.
    pub scales: Scales,
    /// What is to be added to each output channel.
    pub bias: Vec<f64>,
    /// Errors of the start.
    pub before: Errors,
    /// Errors of this.
    pub after: Errors,
    /// Steps that were made.
    pub iterations: usize,
}

impl Problem {
    pub(super) fn new(source: Source, functions: Functions, fit: Data, held_out: Data) -> Self {
        Self { shape: source.shape(), source, functions, fit, held_out }
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.shape.channels
    }

    /// Positions that are trained on, and positions that are held out.
    pub fn counts(&self) -> [u64; 2] {
        [self.fit.count as u64, self.held_out.count as u64]
    }

    /// Variance of what the float model gives after the activation on the fitted and on the held-out positions, summed over the output
    /// channels: what to hold errors against.
    pub fn signal(&self) -> Errors {
        let of = |data: &Data| {
            let rows = data.y.par_chunks(data.stride).map(|row| {
                let row = &row[..data.count];
                let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / row.len() as f64;
                row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / row.len() as f64
            });
            rows.collect::<Vec<f64>>().iter().sum()
        };
        Errors { fit: of(&self.fit), held_out: of(&self.held_out) }
    }

    /// Mean squared errors after the activation, summed over the output channels, of any integers (as the operator has its weights) with
    /// any scales and bias.
    pub fn error_of(&self, q: &[i32], scales: &Scales, bias: &[f64]) -> Errors {
        let w = self.dequantized(&self.source.to_rows(q), scales);
        let bias: Vec<f32> = bias.iter().map(|&b| b as f32).collect();
        let total = |data| errors(&self.shape, &self.functions, data, &w, &bias).iter().sum();
        Errors { fit: total(&self.fit), held_out: total(&self.held_out) }
    }

    /// AdaRound: each weight's integer is that below it or that above it. `weights` are the float model's, as the operator has them.
    /// The scales and the bias stay those of the start.
    pub fn adaround(
        &self,
        start: &Start,
        weights: &[f32],
        range: (i32, i32),
        options: &AdaOptions,
    ) -> Result<Tuned, Refused> {
        self.solve(start, weights, range, options, Method::Round)
    }

    /// AdaQuant: the weights move, and with `update_bias` the bias where one is given. The scales stay those of the start.
    pub fn adaquant(
        &self,
        start: &Start,
        weights: &[f32],
        range: (i32, i32),
        bias: Option<&FreeBias>,
        options: &AdaOptions,
    ) -> Result<Tuned, Refused> {
        if let Some(bias) = bias {
            let fail = |why| Err(Refused::Start { what: "bias", why });
            if bias.float.len() != self.shape.channels || !bias.float.iter().all(|b| b.is_finite()) {
                return fail("there is not a number for each output channel");
            }
            if let Some((scales, range)) = &bias.grid {
                self.check_scales(scales)?;
                if range.0 > range.1 {
                    return fail("the range of its integers is empty");
                }
            }
        }
        let bias = bias.filter(|_| options.update_bias);
        self.solve(start, weights, range, options, Method::Straight(bias))
    }

    fn solve(
        &self,
        start: &Start,
        weights: &[f32],
        range: (i32, i32),
        options: &AdaOptions,
        method: Method<'_>,
    ) -> Result<Tuned, Refused> {
        self.check(start, weights, range, options)?;
        let before = self.error_of(&start.q, &start.scales, &start.bias);
        if !before.fit.is_finite() || !before.held_out.is_finite() {
            return Err(Untunable::Overflow.into());
        }
        let squared = before.fit / self.shape.channels as f64;
        let adjusted = options.lr_adjust.filter(|(threshold, _)| squared > *threshold);
        let batch = options.batch_size.min(self.fit.count);
        let run = Run {
            problem: self,
            options,
            method,
            batches: options.batches(self.fit.count, batch),
            batch,
            rate: adjusted.map_or(options.learning_rate, |(_, rate)| rate),
        };
        let mut units = self.units(&run, start, weights, range);
        let iterations = train(&run, &mut units);
        let rows: Vec<i32> = units.iter().flat_map(|unit| unit.best.q.iter().copied()).collect();
        let bias: Vec<f64> = units.iter().flat_map(|unit| unit.best.bias.iter().copied()).collect();
        let q = self.source.to_weights(&rows);
        let after = self.error_of(&q, &start.scales, &bias);
        Ok(Tuned { q, scales: start.scales.clone(), bias, before, after, iterations })
    }

    /// A unit for each band, with the start as what is to be beaten.
    pub(super) fn units(
        &self,
        run: &Run<'_>,
        start: &Start,
        weights: &[f32],
        range: (i32, i32),
    ) -> Vec<Unit> {
        let Shape { inputs, .. } = self.shape;
        let (weights, q) = (self.source.to_rows(weights), self.source.to_rows(&start.q));
        let bias: Vec<f32> = start.bias.iter().map(|&b| b as f32).collect();
        let w = self.dequantized(&q, &start.scales);
        let held_out = errors(&self.shape, &self.functions, &self.held_out, &w, &bias);
        let range = (range.0 as f32, range.1 as f32);
        let unit = |band: super::measure::Band| {
            let channels = band.channel..band.channel + band.width;
            let rows = channels.start * inputs..channels.end * inputs;
            let grids = channels.clone().map(|c| Grid { scale: start.scales.of(c), range }).collect();
            let best = Best {
                q: q[rows.clone()].to_vec(),
                bias: start.bias[channels.clone()].to_vec(),
                errors: held_out[channels].to_vec(),
            };
            Unit::new(run, band, &weights[rows], grids, best)
        };
        bands(&self.shape).into_par_iter().map(unit).collect()
    }

    /// `s · q` for integers `[group, output, input]`.
    fn dequantized(&self, q: &[i32], scales: &Scales) -> Vec<f32> {
        let rows = q.chunks(self.shape.inputs).enumerate();
        rows.flat_map(|(channel, row)| row.iter().map(move |&q| q as f32 * scales.of(channel))).collect()
    }

    fn check(
        &self,
        start: &Start,
        weights: &[f32],
        range: (i32, i32),
        options: &AdaOptions,
    ) -> Result<(), Refused> {
        let Shape { channels, inputs, .. } = self.shape;
        let fail = |what, why| Err(Refused::Start { what, why });
        options.check()?;
        if options.drop_ratio < 1.0 && self.fit.x_float.is_empty() {
            return Err(Refused::FloatInputs("a drop_ratio below 1 needs the inputs of the float model"));
        }
        if weights.len() != channels * inputs {
            return fail("float weights", "their number is not that of the layer");
        }
        if !weights.iter().all(|w| w.is_finite()) {
            return fail("float weights", "not all are finite");
        }
        if range.0 > range.1 || range.0 < -LIMIT || range.1 > LIMIT {
            return fail("integers", "their range is empty or beyond 2^21");
        }
        if start.q.len() != weights.len() {
            return fail("integers", "their number is not that of the layer");
        }
        if !start.q.iter().all(|q| (range.0..=range.1).contains(q)) {
            return fail("integers", "not all are in the range");
        }
        if start.bias.len() != channels || !start.bias.iter().all(|b| b.is_finite()) {
            return fail("bias", "there is not a number for each output channel");
        }
        self.check_scales(&start.scales)
    }

    fn check_scales(&self, scales: &Scales) -> Result<(), Refused> {
        let fail = |why| Err(Refused::Start { what: "scales", why });
        match scales {
            Scales::PerOutput(all) if all.len() != self.shape.channels => {
                fail("there is not one for each output channel")
            }
            _ if (0..self.shape.channels).all(|c| scales.of(c) > 0.0 && scales.of(c).is_finite()) => Ok(()),
            _ => fail("not all are numbers above 0"),
        }
    }
}

/// Trains all units; gives how many steps were made.
fn train(run: &Run<'_>, units: &mut [Unit]) -> usize {
    let options = run.options;
    let all = options.num_iterations;
    let look = all.div_ceil(LOOKS).max(1);
    let window = if options.num_batches > 1 { options.num_batches } else { (all / 10).max(1) };
    let which = usize::from(matches!(run.method, Method::Round));
    units.par_iter_mut().for_each(|unit| unit.look(run));
    let (mut done, mut least) = (0, f64::INFINITY);
    while done < all {
        let mut next = (done / look + 1) * look;
        if options.early_stop {
            next = next.min((done / window + 1) * window);
        }
        let next = next.min(all);
        units.par_iter_mut().for_each(|unit| unit.train(run, done..next));
        done = next;
        let mut stop = done == all;
        if options.early_stop && done.is_multiple_of(window) {
            // Summed in the order of the units, whichever was done first.
            let loss: f64 = units.iter().map(|unit| unit.sums[which]).sum();
            for unit in &mut *units {
                unit.sums = [0.0; 2];
            }
            if done >= options.warm() + window {
                stop |= loss >= least;
                least = least.min(loss);
            }
        }
        if stop || done.is_multiple_of(look) {
            units.par_iter_mut().for_each(|unit| unit.look(run));
        }
        if stop {
            break;
        }
    }
    done
}
