//! What the moments of a layer say about integers, and the search for better ones.

use rayon::prelude::*;

use super::descent::{Descent, LIMIT, add_product};
use super::moments::Centred;
use super::{Geometry, Order, Scales, Search};

/// Outputs that are worked on at once. Whatever it is, an output's integers are the same.
const BAND: usize = 64;

/// The moments of a layer: all that is needed to choose its integers.
pub struct Problem {
    geometry: Geometry,
    /// `[group, output, input]`.
    weights: Vec<f32>,
    counts: [u64; 2],
    fit: Centred,
    held_out: Centred,
}

/// Mean squared errors of a position's output, summed over the output channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// On the positions that integers are fitted to.
    pub fit: f64,
    /// On those that are held out.
    pub held_out: f64,
}

/// What a layer has now, and falls back to.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Integers, as the operator has its weights.
    pub q: Vec<i32>,
    /// Their scales.
    pub scales: Scales,
    /// What is added to each output channel (of a Gemm, `beta` times its bias).
    pub bias: Vec<f64>,
}

/// The best that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// Integers, as the operator has its weights.
    pub q: Vec<i32>,
    /// Their scales.
    pub scales: Scales,
    /// What is to be added to each output channel.
    pub bias: Vec<f64>,
    /// Errors of the start.
    pub before: Errors,
    /// Errors of this.
    pub after: Errors,
    /// The most passes that changed an integer, over all scales and outputs.
    pub sweeps: usize,
}

/// Integers and a bias for every output, and what they cost.
struct Candidate {
    /// `[group, output, input]`.
    q: Vec<i32>,
    scales: Scales,
    bias: Vec<f64>,
    held_out: Vec<f64>,
}

impl Problem {
    pub(super) fn new(
        geometry: Geometry,
        weights: Vec<f32>,
        counts: [u64; 2],
        fit: Centred,
        held_out: Centred,
    ) -> Self {
        Self { geometry, weights, counts, fit, held_out }
    }

    /// Groups, outputs and inputs.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Positions that integers are fitted to, and positions that are held out.
    pub fn counts(&self) -> [u64; 2] {
        self.counts
    }

    /// Variance of the float model's output on the fitted and on the held-out positions, summed over the output
    /// channels: what to hold errors against.
    pub fn signal(&self) -> Errors {
        Errors { fit: self.fit.signal, held_out: self.held_out.signal }
    }

    /// Errors of any integers (as the operator has its weights) with any scales and bias.
    pub fn error_of(&self, q: &[i32], scales: &Scales, bias: &[f64]) -> Errors {
        self.check(scales, bias);
        let delta = self.delta(&self.geometry.to_rows(q), scales);
        let total = |m: &Centred| self.errors(m, &delta, bias).iter().sum();
        Errors { fit: total(&self.fit), held_out: total(&self.held_out) }
    }

    /// The bias that is best for integers (as the operator has its weights), on the fitted positions.
    pub fn best_bias(&self, q: &[i32], scales: &Scales) -> Vec<f64> {
        self.bias_of(&self.delta(&self.geometry.to_rows(q), scales))
    }

    /// The best integers within `range`, with each of the scales, that coordinate descent finds from round-to-nearest
    /// of the float weights; of those, and the start, what has the least error on the held-out positions. The start
    /// wins unless something is better. Where start and candidates all have a scale for every output, each output
    /// chooses for itself.
    ///
    /// Panics when lengths contradict the layer, a scale is not positive and finite, or the range is empty or has
    /// integers beyond 2²¹.
    pub fn solve(&self, start: &Start, scales: &[Scales], range: (i32, i32), search: &Search) -> Tuned {
        assert!(range.0 <= range.1 && range.0 >= -LIMIT && range.1 <= LIMIT, "range {range:?} of integers");
        for scales in scales.iter().chain([&start.scales]) {
            self.check(scales, &start.bias);
        }
        let q = self.geometry.to_rows(&start.q);
        let mut best = self.candidate(q, start.scales.clone(), Some(&start.bias));
        let before = self.both_errors(&best);
        let separate = scales.iter().chain([&start.scales]).all(|s| matches!(s, Scales::PerOutput(_)));
        let system = System::new(self, &start.bias, search);
        let mut sweeps = 0;
        for scales in scales {
            let (q, took) = self.descend(&system, scales, range, search);
            sweeps = sweeps.max(took);
            let bias = (!search.free_bias).then_some(&start.bias[..]);
            best.improve(self.candidate(q, scales.clone(), bias), separate, self.geometry.inputs);
        }
        let after = self.both_errors(&best);
        let q = self.geometry.from_rows(&best.q);
        Tuned { q, scales: best.scales, bias: best.bias, before, after, sweeps }
    }

    /// The integers (as the operator has its weights) that coordinate descent finds for given scales. The bias counts
    /// only where it is not free.
    #[cfg(test)]
    pub(super) fn integers(
        &self,
        scales: &Scales,
        bias: &[f64],
        range: (i32, i32),
        search: &Search,
    ) -> Vec<i32> {
        let (q, _) = self.descend(&System::new(self, bias, search), scales, range, search);
        self.geometry.from_rows(&q)
    }

    fn check(&self, scales: &Scales, bias: &[f64]) {
        let channels = self.geometry.channels();
        assert_eq!(bias.len(), channels, "a bias for each output channel");
        if let Scales::PerOutput(scales) = scales {
            assert_eq!(scales.len(), channels, "a scale for each output channel");
        }
        assert!((0..channels).all(|o| scales.of(o) > 0.0 && scales.of(o).is_finite()), "scales are positive");
    }

    fn candidate(&self, q: Vec<i32>, scales: Scales, bias: Option<&[f64]>) -> Candidate {
        let delta = self.delta(&q, &scales);
        let bias = bias.map_or_else(|| self.bias_of(&delta), <[f64]>::to_vec);
        let held_out = self.errors(&self.held_out, &delta, &bias);
        Candidate { q, scales, bias, held_out }
    }

    /// The errors of a candidate, of which those on the held-out positions are known.
    fn both_errors(&self, candidate: &Candidate) -> Errors {
        let delta = self.delta(&candidate.q, &candidate.scales);
        let fit = self.errors(&self.fit, &delta, &candidate.bias).iter().sum();
        Errors { fit, held_out: candidate.held_out.iter().sum() }
    }

    /// `sQ − W`, rows of outputs.
    fn delta(&self, q: &[i32], scales: &Scales) -> Vec<f32> {
        let inputs = self.geometry.inputs;
        let rows = q.chunks(inputs).zip(self.weights.chunks(inputs)).enumerate();
        let rows = rows.flat_map(|(output, (q, w))| {
            let s = f64::from(scales.of(output));
            q.iter().zip(w).map(move |(&q, &w)| (s * f64::from(q) - f64::from(w)) as f32)
        });
        rows.collect()
    }

    /// `E[d] − Δ E[x]`.
    fn bias_of(&self, delta: &[f32]) -> Vec<f64> {
        self.offsets(&self.fit, delta)
    }

    fn offsets(&self, moments: &Centred, delta: &[f32]) -> Vec<f64> {
        let Geometry { outputs, inputs, .. } = self.geometry;
        let one = |(output, delta): (usize, &[f32])| {
            let mean = &moments.mean_x[output / outputs * inputs..][..inputs];
            moments.mean_d[output] - delta.iter().zip(mean).map(|(&d, m)| f64::from(d) * m).sum::<f64>()
        };
        delta.chunks(inputs).enumerate().map(one).collect()
    }

    /// `E(d − Δx − b)²` of each output channel.
    fn errors(&self, moments: &Centred, delta: &[f32], bias: &[f64]) -> Vec<f64> {
        let Geometry { inputs, .. } = self.geometry;
        let variances = self.bands(|group, first, width| {
            let a = &moments.a[group * inputs * inputs..][..inputs * inputs];
            let columns = transpose(&delta[first * inputs..][..width * inputs], inputs);
            let product = half_product(a, inputs, &columns, width);
            let b = transpose(&moments.b[first * inputs..][..width * inputs], inputs);
            let mut sums = moments.square_d[first..first + width].to_vec();
            let rows = columns.chunks(width).zip(product.chunks(width)).zip(b.chunks(width));
            for ((delta, product), b) in rows {
                for (((sum, &delta), &product), &b) in sums.iter_mut().zip(delta).zip(product).zip(b) {
                    *sum += f64::from(delta) * (f64::from(product) - 2.0 * f64::from(b));
                }
            }
            sums
        });
        let offsets = self.offsets(moments, delta);
        let offsets = offsets.iter().zip(bias).map(|(best, bias)| (best - bias).powi(2));
        variances.into_iter().flatten().zip(offsets).map(|(v, o)| v.max(0.0) + o).collect()
    }

    /// `f(group, first output channel, output channels)` for each band of each group, in parallel.
    fn bands<T: Send>(&self, f: impl Fn(usize, usize, usize) -> T + Sync) -> Vec<T> {
        let Geometry { groups, outputs, .. } = self.geometry;
        let of_group = outputs.div_ceil(BAND);
        let one = |i: usize| {
            let (group, first) = (i / of_group, i % of_group * BAND);
            f(group, group * outputs + first, (outputs - first).min(BAND))
        };
        (0..groups * of_group).into_par_iter().map(one).collect()
    }

    /// Integers `[group, output, input]` for one choice of scales, and how many passes they took.
    fn descend(
        &self,
        system: &System,
        scales: &Scales,
        range: (i32, i32),
        search: &Search,
    ) -> (Vec<i32>, usize) {
        let Geometry { inputs, .. } = self.geometry;
        let bands = self.bands(|group, first, width| {
            let scales: Vec<f32> = (first..first + width).map(|o| scales.of(o)).collect();
            let descent = Descent {
                a: &system.a[group * inputs * inputs..][..inputs * inputs],
                inputs,
                block: search.block.max(1),
                range: (range.0 as f32, range.1 as f32),
                scales: &scales,
            };
            let rows = first * inputs..(first + width) * inputs;
            let weights = system.arrange(group, &self.weights[rows.clone()], inputs);
            let b = system.arrange(group, &system.b[rows], inputs);
            let (q, sweeps) = descent.run(&weights, &b, search.sweeps);
            (system.restore(group, &q, inputs), sweeps)
        });
        let sweeps = bands.iter().map(|(_, sweeps)| *sweeps).max().unwrap_or(0);
        (bands.into_iter().flat_map(|(q, _)| q).collect(), sweeps)
    }
}

impl Candidate {
    /// Takes over what is better in the other.
    fn improve(&mut self, other: Self, separate: bool, inputs: usize) {
        if !separate {
            if other.held_out.iter().sum::<f64>() < self.held_out.iter().sum::<f64>() {
                *self = other;
            }
            return;
        }
        let (Scales::PerOutput(scales), Scales::PerOutput(others)) = (&mut self.scales, &other.scales) else {
            return;
        };
        for output in 0..self.bias.len() {
            if other.held_out[output] < self.held_out[output] {
                let row = output * inputs..(output + 1) * inputs;
                self.q[row.clone()].copy_from_slice(&other.q[row]);
                scales[output] = others[output];
                self.bias[output] = other.bias[output];
                self.held_out[output] = other.held_out[output];
            }
        }
    }
}

/// The quadratic function that is minimised, with its inputs in the order of a pass.
struct System {
    /// Inputs of each group, in the order of a pass.
    order: Vec<Vec<usize>>,
    /// `[group, input, input]`, in that order.
    a: Vec<f32>,
    /// `[group, output, input]`, not in that order.
    b: Vec<f32>,
}

impl System {
    fn new(problem: &Problem, bias: &[f64], search: &Search) -> Self {
        let Geometry { groups, outputs, inputs, .. } = problem.geometry;
        let moments = &problem.fit;
        let (mut order, mut b) = (Vec::new(), moments.b.clone());
        let mut a = vec![0.0; moments.a.len()];
        for group in 0..groups {
            let from = &moments.a[group * inputs * inputs..][..inputs * inputs];
            let variance = |k: usize| from[k * (inputs + 1)];
            let mut ks: Vec<usize> = (0..inputs).collect();
            match search.order {
                Order::Natural => {}
                Order::Variance => ks.sort_by(|&i, &j| variance(j).total_cmp(&variance(i))),
                Order::LeastVariance => ks.sort_by(|&i, &j| variance(i).total_cmp(&variance(j))),
            }
            let mean = &moments.mean_x[group * inputs..][..inputs];
            let pull =
                search.lambda * ks.iter().map(|&k| f64::from(variance(k))).sum::<f64>() / inputs as f64;
            let to = &mut a[group * inputs * inputs..][..inputs * inputs];
            to.par_chunks_mut(inputs).zip(&ks).for_each(|(row, &i)| {
                for (value, &j) in row.iter_mut().zip(&ks) {
                    let mut sum = f64::from(from[i * inputs + j]);
                    if i == j {
                        sum += pull;
                    }
                    if !search.free_bias {
                        sum += mean[i] * mean[j];
                    }
                    *value = sum as f32;
                }
            });
            if !search.free_bias {
                // What the bias leaves of the mean is for the weights to explain.
                for output in group * outputs..(group + 1) * outputs {
                    let rest = moments.mean_d[output] - bias[output];
                    for (b, m) in b[output * inputs..][..inputs].iter_mut().zip(mean) {
                        *b = (f64::from(*b) + rest * m) as f32;
                    }
                }
            }
            order.push(ks);
        }
        Self { order, a, b }
    }

    /// Rows of outputs as columns, inputs in the order of a pass.
    fn arrange(&self, group: usize, rows: &[f32], inputs: usize) -> Vec<f32> {
        let columns = self.order[group].iter();
        columns.flat_map(|&k| rows.chunks(inputs).map(move |row| row[k])).collect()
    }

    /// Integers as rows of outputs, inputs in their own order.
    fn restore(&self, group: usize, columns: &[f32], inputs: usize) -> Vec<i32> {
        let width = columns.len() / inputs;
        let mut rows = vec![0; columns.len()];
        for (values, &k) in columns.chunks(width).zip(&self.order[group]) {
            for (output, &value) in values.iter().enumerate() {
                rows[output * inputs + k] = value as i32;
            }
        }
        rows
    }
}

/// Something whose product with `x` of `width` columns is that of `a x` with `x`, for a symmetric `a`: what is below
/// the diagonal is not multiplied, but what is above it counts twice.
fn half_product(a: &[f32], inputs: usize, x: &[f32], width: usize) -> Vec<f32> {
    const ROWS: usize = 192;
    let mut product = vec![0.0; x.len()];
    for top in (0..inputs).step_by(ROWS) {
        let end = (top + ROWS).min(inputs);
        add_product(a, inputs, x, &mut product, width, [top, end], [end, inputs]);
        product[top * width..end * width].iter_mut().for_each(|v| *v *= 2.0);
        add_product(a, inputs, x, &mut product, width, [top, end], [top, end]);
    }
    product
}

/// Rows of `inputs` values as columns.
fn transpose(rows: &[f32], inputs: usize) -> Vec<f32> {
    (0..inputs).flat_map(|k| rows.chunks(inputs).map(move |row| row[k])).collect()
}
