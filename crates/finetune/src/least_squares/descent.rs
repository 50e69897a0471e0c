//! Cyclic coordinate descent over the integers of a band of outputs.
//!
//! With `Δ = sQ − W` the objective of each output is `ΔAΔᵀ − 2ΔB`. One integer at a time is set to what is best with
//! all others as they are: `q − R/(s·A_kk)`, rounded and clamped, where `R = ΔA − B` is kept up to date. Outputs do not
//! know of each other. A step changes `R` for every input, and doing so at once would be a product of vectors for every
//! integer. Instead inputs are halved and halved again: a half is worked off on its own, and then one matrix product
//! brings the other half up to date with all that it changed. Each input's `R` is then up to date when its turn comes.

use shiftwise_kernels::coordinate::{Block, visit};
use shiftwise_kernels::matmul::{MatRef, matmul_into};

/// Largest magnitude of an integer: up to there, adding and subtracting [`ROUNDER`] rounds exactly.
pub(super) const LIMIT: i32 = 1 << 21;
/// Above it, the step of single precision is one: adding it rounds to integers, ties to even, in one instruction.
const ROUNDER: f32 = (3 << 22) as f32;

/// What is fixed while integers change.
pub(super) struct Descent<'a> {
    /// `[inputs, inputs]`, symmetric.
    pub(super) a: &'a [f32],
    pub(super) inputs: usize,
    /// Inputs that are worked off one by one; at least one.
    pub(super) block: usize,
    pub(super) range: (f32, f32),
    /// Scale of each output of the band.
    pub(super) scales: &'a [f32],
}

/// What a descent changes; matrices are `[inputs, outputs of the band]`.
struct State {
    q: Vec<f32>,
    r: Vec<f32>,
    /// How far the last visit moved `s · q`.
    moved: Vec<f32>,
    /// One over each scale.
    inverse: Vec<f32>,
}

impl Descent<'_> {
    /// The integers of a band of outputs, and how many passes changed something. `weights` and `b` are
    /// `[inputs, outputs of the band]`, and so is the result.
    pub(super) fn run(&self, weights: &[f32], b: &[f32], sweeps: usize) -> (Vec<f32>, usize) {
        let (inputs, width) = (self.inputs, self.scales.len());
        let q = self.nearest(weights);
        let mut delta = q.clone();
        for (delta, w) in delta.chunks_mut(width).zip(weights.chunks(width)) {
            for ((d, w), s) in delta.iter_mut().zip(w).zip(self.scales) {
                *d = *d * s - w;
            }
        }
        let mut r: Vec<f32> = b.iter().map(|b| -b).collect();
        add_product(self.a, inputs, &delta, &mut r, width, [0, inputs], [0, inputs]);
        let inverse = self.scales.iter().map(|s| 1.0 / s).collect();
        let mut state = State { q, r, moved: delta, inverse };
        let mut done = 0;
        while done < sweeps && self.sweep(&mut state, 0, inputs, done + 1 == sweeps) {
            done += 1;
        }
        (state.q, done)
    }

    /// `clamp(round(W/s))`.
    fn nearest(&self, weights: &[f32]) -> Vec<f32> {
        let (lo, hi) = self.range;
        let rounded = weights.chunks(self.scales.len()).flat_map(|row| {
            row.iter().zip(self.scales).map(|(w, s)| ((w / s).clamp(lo, hi) + ROUNDER) - ROUNDER)
        });
        rounded.collect()
    }

    /// Works off the inputs `from..to`, after which their `R` is up to date, but for the last pass, after which nobody
    /// asks for it. Whether an integer changed.
    fn sweep(&self, state: &mut State, from: usize, to: usize, last: bool) -> bool {
        let width = self.scales.len();
        if to - from <= self.block {
            let State { q, r, moved, inverse } = state;
            let block = Block {
                a: &self.a[from * self.inputs + from..],
                stride: self.inputs,
                range: self.range,
                scales: self.scales,
                inverse_scales: inverse,
            };
            let rows = from * width..to * width;
            return visit(&block, &mut q[rows.clone()], &mut r[rows.clone()], &mut moved[rows]);
        }
        let middle = from + (to - from).div_ceil(2).next_multiple_of(self.block).min(to - from - 1);
        let first = self.sweep(state, from, middle, last);
        if first {
            add_product(self.a, self.inputs, &state.moved, &mut state.r, width, [middle, to], [from, middle]);
        }
        let second = self.sweep(state, middle, to, last);
        if second && !last {
            add_product(self.a, self.inputs, &state.moved, &mut state.r, width, [from, middle], [middle, to]);
        }
        first || second
    }
}

/// `r[rows] += a[rows, depth] · x[depth]` for `x` and `r` of `width` columns.
pub(super) fn add_product(
    a: &[f32],
    inputs: usize,
    x: &[f32],
    r: &mut [f32],
    width: usize,
    rows: [usize; 2],
    depth: [usize; 2],
) {
    /// Below so many products, the loop below takes less time than getting started elsewhere.
    const FEW: usize = 2048;
    let [rows, m] = [rows[0], rows[1] - rows[0]];
    let [first, k] = [depth[0], depth[1] - depth[0]];
    let a = &a[rows * inputs + first..];
    let x = &x[first * width..][..k * width];
    let r = &mut r[rows * width..][..m * width];
    if m * k * width <= FEW {
        for (r, a) in r.chunks_mut(width).zip(a.chunks(inputs)) {
            for (x, &a) in x.chunks(width).zip(a) {
                for (r, x) in r.iter_mut().zip(x) {
                    *r += a * x;
                }
            }
        }
        return;
    }
    matmul_into(m, k, width, MatRef::strided(a, inputs, 1), MatRef::row_major(x, width), r, width, 1.0, 1.0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::Draws;
    use super::*;

    proptest! {
        #[test]
        fn blocks_do_not_show(inputs in 1usize..100, width in 1usize..70, seed: u64, block in 1usize..50) {
            // Whole numbers and powers of two, so that every sum is exact in any order.
            let mut draws = Draws::new(seed);
            let mut whole = |n: usize| (0..n).map(|_| draws.below(5) as f32 - 2.0).collect::<Vec<f32>>();
            let x = whole(30 * inputs);
            let mut a = vec![0.0; inputs * inputs];
            for row in x.chunks(inputs) {
                for (i, x) in row.iter().enumerate() {
                    for (a, y) in a[i * inputs..].iter_mut().zip(row) {
                        *a += x * y;
                    }
                }
            }
            let weights: Vec<f32> = whole(inputs * width).iter().map(|w| w * 0.375).collect();
            let b = whole(inputs * width);
            let scales: Vec<f32> = (0..width).map(|o| [0.5, 0.25][o % 2]).collect();
            let run = |block| {
                let descent = Descent { a: &a, inputs, block, range: (-4.0, 3.0), scales: &scales };
                descent.run(&weights, &b, 10)
            };
            let whole = run(usize::MAX / 2);
            prop_assert!(whole.0.iter().all(|q| (-4.0..=3.0).contains(q) && q.fract() == 0.0));
            prop_assert_eq!(run(block), whole);
        }

        #[test]
        fn nothing_is_left_to_gain_from_one_integer(inputs in 1usize..12, width in 1usize..5, seed: u64) {
            let mut draws = Draws::new(seed);
            let x = draws.floats(40 * inputs);
            let mut a = vec![0.0; inputs * inputs];
            for row in x.chunks(inputs) {
                for (i, x) in row.iter().enumerate() {
                    for (a, y) in a[i * inputs..].iter_mut().zip(row) {
                        *a += x * y / 40.0;
                    }
                }
            }
            let (weights, b) = (draws.floats(inputs * width), draws.floats(inputs * width));
            let scales = vec![0.3; width];
            let descent = Descent { a: &a, inputs, block: 4, range: (-3.0, 3.0), scales: &scales };
            let (q, _) = descent.run(&weights, &b, 100);
            for o in 0..width {
                let cost = |q: &[f32]| -> f64 {
                    let delta: Vec<f64> = (0..inputs)
                        .map(|k| f64::from(0.3 * q[k * width + o]) - f64::from(weights[k * width + o]))
                        .collect();
                    (0..inputs)
                        .map(|i| {
                            let ad: f64 = (0..inputs).map(|j| f64::from(a[i * inputs + j]) * delta[j]).sum();
                            delta[i] * (ad - 2.0 * f64::from(b[i * width + o]))
                        })
                        .sum()
                };
                let best = cost(&q);
                for k in 0..inputs {
                    for other in -3..=3 {
                        let mut q = q.clone();
                        q[k * width + o] = other as f32;
                        prop_assert!(cost(&q) >= best - 1e-5);
                    }
                }
            }
        }
    }
}
