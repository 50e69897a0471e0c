//! Factors between two layers that leave the least error once both are quantized.

use rayon::prelude::*;

use super::layer::{Layer, Side};
use super::room::Channel;

/// Factors that are tried: quarter octaves, from 1/16 to 16.
const FACTORS: std::ops::RangeInclusive<i32> = -16..=16;
/// Power-of-two steps of weights that are tried, below the one that covers the largest.
const FINER: i32 = 8;
/// Steps of what stands between the layers, as octaves from the present one.
const BETWEEN: std::ops::RangeInclusive<i32> = -2..=1;
/// The largest 8-bit integer.
const LEVELS: f32 = 127.0;

/// Factors for the channels between two layers, and what they bring.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) factors: Vec<f32>,
    /// Mean squared error of the second layer's output, with factors of 1, and with these.
    pub(super) before: f64,
    pub(super) after: f64,
}

/// Chooses the factors s_c for which the output of the second layer has the least mean squared error when weights, and what stands between the layers, are
/// rounded to power-of-two steps, one for each of the three tensors: with steps Δ of the first layer's weights V, of the activation a, and of the second layer's weights W,
///
/// ```text
/// E = Σ_c [ Σ_k E(x_k²)·(s_c·V_ck − ⌊s_c·V_ck⌉)²·G_c/s_c²  +  Δa²/12·G_c/s_c²  +  s_c²·E(a_c²)·Σ_o (W_oc/s_c − ⌊W_oc/s_c⌉)² ],   G_c = Σ_o W_oc²
/// ```
///
/// All combinations of steps are tried; given them, each channel has its own best factor within its room. `energy` is E(x²) of the first layer's inputs.
pub(super) fn choose(head: &Layer, tail: &Layer, energy: &[f64], channels: &[Channel]) -> Choice {
    let factors: Vec<f32> = FACTORS.map(|i| (i as f32 / 4.0).exp2()).collect();
    let made = rows(head, Side::Output, |run| energy.get(run.0).copied().unwrap_or(0.0));
    let read = rows(tail, Side::Input, |_| 1.0);
    let cover = |rows: &[Vec<(f32, f64)>]| {
        let live = rows.iter().zip(channels).filter(|(_, c)| !c.is_constant()).flat_map(|(row, _)| row);
        covering(live.fold(0f32, |m, (w, _)| m.max(w.abs())))
    };
    let largest = |c: &Channel| c.range.0.abs().max(c.range.1.abs());
    let between = covering(channels.iter().map(largest).fold(0f32, f32::max));
    let steps =
        |covering: i32| (covering - FINER..=covering + 1).map(|e| (e as f32).exp2()).collect::<Vec<_>>();
    let (head_steps, tail_steps) = (steps(cover(&made)), steps(cover(&read)));

    // Errors of each channel, factor and step, each part by itself.
    let tables: Vec<Table> = (made.par_iter().zip(&read).zip(channels))
        .map(|((made, read), channel)| {
            let gain: f64 = read.iter().map(|(w, _)| f64::from(*w).powi(2)).sum();
            let part = |factor: f32| {
                let (s, s2) = (factor, f64::from(factor).powi(2));
                let head = head_steps.iter().map(|d| rounding(made, s, *d) * gain / s2).collect();
                let tail =
                    tail_steps.iter().map(|d| rounding(read, 1.0 / s, *d) * s2 * channel.energy).collect();
                let fits = s == 1.0 || (s <= channel.most && s >= channel.least);
                Part { head, tail, gain: gain / s2, reach: largest(channel) * s, fits }
            };
            let factors: &[f32] = if channel.is_constant() { &[1.0] } else { &factors };
            Table { parts: factors.iter().map(|s| (*s, part(*s))).collect(), counts: !channel.is_constant() }
        })
        .collect();

    let error = |h: usize, t: usize, octave: i32, free: bool| -> f64 {
        tables.iter().map(|table| table.best(h, t, (between + octave, octave), free).1).sum()
    };
    let mut before = f64::INFINITY;
    let mut best = (f64::INFINITY, (0, 0, 0));
    for h in 0..head_steps.len() {
        for t in 0..tail_steps.len() {
            before = before.min(error(h, t, 0, false));
            for octave in BETWEEN {
                let e = error(h, t, octave, true);
                if e < best.0 {
                    best = (e, (h, t, octave));
                }
            }
        }
    }
    let (after, (h, t, octave)) = best;
    let chosen = |table: &Table| table.best(h, t, (between + octave, octave), true).0;
    Choice { factors: tables.iter().map(chosen).collect(), before, after }
}

/// What one channel adds to the error, by factor.
struct Table {
    parts: Vec<(f32, Part)>,
    counts: bool,
}

/// With one factor.
struct Part {
    /// Error of the first layer's weights, by step.
    head: Vec<f64>,
    /// Error of the second layer's weights, by step.
    tail: Vec<f64>,
    /// What an error of the activation becomes in the output.
    gain: f64,
    /// The largest activation.
    reach: f32,
    /// Whether the activations in between do what they did.
    fits: bool,
}

impl Table {
    /// The factor with the least error for these steps, and that error; 1 where it is not free.
    fn best(&self, head: usize, tail: usize, (exponent, octave): (i32, i32), free: bool) -> (f32, f64) {
        let mut best = (1.0, if self.counts { f64::INFINITY } else { 0.0 });
        let step = f64::from((exponent as f32).exp2());
        for (factor, part) in self.parts.iter().filter(|_| self.counts) {
            // What is coarser or finer than now reaches as far as the step allows.
            let reaches = *factor == 1.0 && octave >= 0 || part.reach <= (exponent as f32).exp2() * LEVELS;
            if !part.fits || !reaches || (!free && *factor != 1.0) {
                continue;
            }
            let error = part.head[head] + part.tail[tail] + step * step / 12.0 * part.gain;
            if error < best.1 {
                best = (*factor, error);
            }
        }
        best
    }
}

/// The weights of each channel of a side, each with what its error is multiplied by.
fn rows(layer: &Layer, side: Side, energy: impl Fn((usize, usize)) -> f64) -> Vec<Vec<(f32, f64)>> {
    let mut rows = vec![Vec::new(); layer.channels(side)];
    let taps = layer.layout.taps().max(1);
    for (run, weights) in layer.layout.runs().zip(layer.weight.chunks(taps)) {
        let channel = if side == Side::Output { run.1 } else { run.0 };
        rows[channel].extend(weights.iter().map(|w| (*w, energy(run))));
    }
    rows
}

/// Σ energy · (s·w − ⌊s·w⌉)² on a grid of 8 bits.
fn rounding(row: &[(f32, f64)], s: f32, step: f32) -> f64 {
    let error = |(w, energy): &(f32, f64)| {
        let scaled = w * s;
        let rounded = (scaled / step).round_ties_even().clamp(-LEVELS, LEVELS) * step;
        energy * f64::from(scaled - rounded).powi(2)
    };
    row.iter().map(error).sum()
}

/// The exponent of the smallest power-of-two step whose 8 bits reach `largest`.
fn covering(largest: f32) -> i32 {
    if largest > 0.0 && largest.is_finite() { (largest / LEVELS).log2().ceil() as i32 } else { 0 }
}
