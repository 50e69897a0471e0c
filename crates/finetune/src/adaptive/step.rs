//! One step of Adam over a row of weights, with the rounding before and after it, in one loop.

use shiftwise_kernels::math;

use super::simd::{Kernel, LANES, sum};

/// What the sigmoid of AdaRound is stretched to, before it is cut to 0 to 1.
const STRETCH: (f32, f32) = (-0.1, 1.1);

/// Decay of Adam's first and second moments.
const DECAY: (f64, f64) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

/// Above it, the step of single precision is one: adding it rounds to integers, ties to even.
const ROUNDER: f32 = 12_582_912.0;

/// Adam's factors in a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adam {
    /// The rate over the correction of the first moment.
    rate: f32,
    /// One over the square root of the correction of the second moment.
    root: f32,
}

impl Adam {
    /// For the step after so many.
    pub(super) fn new(rate: f32, done: usize) -> Self {
        let steps = i32::try_from(done + 1).unwrap_or(i32::MAX);
        let rate = f64::from(rate) / (1.0 - DECAY.0.powi(steps));
        Self { rate: rate as f32, root: (1.0 / (1.0 - DECAY.1.powi(steps)).sqrt()) as f32 }
    }

    /// Moves the moments; gives how far the variable goes down.
    #[inline(always)]
    pub(super) fn step(self, g: f32, m: &mut f32, v: &mut f32) -> f32 {
        const FIRST: f32 = (1.0 - DECAY.0) as f32;
        const SECOND: f32 = (1.0 - DECAY.1) as f32;
        *m += FIRST * (g - *m);
        *v = DECAY.1 as f32 * *v + SECOND * (g * g);
        self.rate * *m / (v.sqrt() * self.root + EPSILON)
    }
}

/// Scale and range of the integers of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) scale: f32,
    pub(super) range: (f32, f32),
}

impl Grid {
    /// The integer that is nearest to a weight, before it is cut to the range.
    #[inline(always)]
    fn nearest(self, w: f32) -> f32 {
        let (lo, hi) = self.range;
        // One beyond the range, it can still be seen to be outside.
        ((w / self.scale).max(lo - 1.0).min(hi + 1.0) + ROUNDER) - ROUNDER
    }

    #[inline(always)]
    fn cut(self, q: f32) -> f32 {
        q.max(self.range.0).min(self.range.1)
    }

    #[inline(always)]
    fn holds(self, q: f32) -> bool {
        q >= self.range.0 && q <= self.range.1
    }
}

/// The rows of a training. Their lengths are multiples of [`LANES`].
pub(super) struct Row<'a> {
    /// Slopes of the loss over the rounded weights.
    pub(super) g: &'a [f32],
    /// What Adam moves: α, or the weights.
    pub(super) latent: &'a mut [f32],
    pub(super) m: &'a mut [f32],
    pub(super) v: &'a mut [f32],
    /// The rounded weights.
    pub(super) w: &'a mut [f32],
    pub(super) grid: Grid,
    pub(super) adam: Adam,
}

/// A step of AdaRound; gives `Σ (1 − |2h − 1|^β)`, or 0 without the regulariser.
pub(super) struct Round<'a, const REGULAR: bool> {
    pub(super) row: Row<'a>,
    /// Sigmoid of α.
    pub(super) sigmoid: &'a mut [f32],
    /// `⌊W/s⌋`.
    pub(super) floor: &'a [f32],
    pub(super) lambda: f32,
    pub(super) beta: f32,
}

impl<const REGULAR: bool> Kernel for Round<'_, REGULAR> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let Row { g, latent, m, v, w, grid, adam } = self.row;
        let Self { sigmoid, floor, lambda, beta, .. } = self;
        let mut lanes = [0.0; LANES];
        let (g, latent, m) = (chunks(g), chunks_mut(latent), chunks_mut(m));
        let (v, w, sigmoid, floor) = (chunks_mut(v), chunks_mut(w), chunks_mut(sigmoid), chunks(floor));
        let moments = m.iter_mut().zip(v);
        let all = g.iter().zip(latent).zip(moments).zip(w).zip(sigmoid).zip(floor);
        for (((((g, latent), (m, v)), w), sigmoid), floor) in all {
            for i in 0..LANES {
                let raw = stretched(sigmoid[i]);
                let h = raw.clamp(0.0, 1.0);
                let inside = raw > 0.0 && raw < 1.0;
                let slope = (STRETCH.1 - STRETCH.0) * sigmoid[i] * (1.0 - sigmoid[i]);
                let slope = if inside { slope } else { 0.0 };
                let mut gradient = if grid.holds(floor[i] + h) { g[i] * grid.scale } else { 0.0 };
                if REGULAR {
                    let u = 2.0 * h - 1.0;
                    let power = math::exp((beta - 1.0) * logarithm(u.abs()));
                    lanes[i] += 1.0 - power * u.abs();
                    gradient -= (2.0 * lambda * beta) * power.copysign(u);
                }
                latent[i] -= adam.step(gradient * slope, &mut m[i], &mut v[i]);
                sigmoid[i] = math::sigmoid(latent[i]);
                let h = stretched(sigmoid[i]).clamp(0.0, 1.0);
                w[i] = grid.cut(floor[i] + h) * grid.scale;
            }
        }
        sum(lanes)
    }
}

/// A step of AdaQuant.
pub(super) struct Straight<'a> {
    pub(super) row: Row<'a>,
}

impl Kernel for Straight<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Row { g, latent, m, v, w, grid, adam } = self.row;
        let (g, latent, m) = (chunks(g), chunks_mut(latent), chunks_mut(m));
        let (v, w) = (chunks_mut(v), chunks_mut(w));
        for (((g, latent), (m, v)), w) in g.iter().zip(latent).zip(m.iter_mut().zip(v)).zip(w) {
            for i in 0..LANES {
                let gradient = if grid.holds(grid.nearest(latent[i])) { g[i] } else { 0.0 };
                latent[i] -= adam.step(gradient, &mut m[i], &mut v[i]);
                w[i] = straight(grid, latent[i]);
            }
        }
    }
}

/// The rounded weight of AdaQuant.
#[inline(always)]
pub(super) fn straight(grid: Grid, w: f32) -> f32 {
    grid.cut(grid.nearest(w)) * grid.scale
}

/// The integer of AdaQuant.
pub(super) fn straight_integer(grid: Grid, w: f32) -> i32 {
    grid.cut(grid.nearest(w)) as i32
}

/// The integer of AdaRound: up where α ≥ 0.
pub(super) fn hard(grid: Grid, floor: f32, alpha: f32) -> i32 {
    grid.cut(floor + if alpha >= 0.0 { 1.0 } else { 0.0 }) as i32
}

/// α and its sigmoid with `h(α)` = `share`, and the soft weight.
pub(super) fn soft(grid: Grid, floor: f32, share: f64) -> (f32, f32, f32) {
    let (low, high) = (f64::from(STRETCH.0), f64::from(STRETCH.1));
    let alpha = -((high - low) / (share - low) - 1.0).ln() as f32;
    // Half is up, whatever the logarithm was rounded to.
    let alpha = if share >= 0.5 { alpha.max(0.0) } else { alpha.min(-f32::MIN_POSITIVE) };
    let sigmoid = math::sigmoid(alpha);
    let h = stretched(sigmoid).clamp(0.0, 1.0);
    (alpha, sigmoid, grid.cut(floor + h) * grid.scale)
}

#[inline(always)]
fn stretched(sigmoid: f32) -> f32 {
    (STRETCH.1 - STRETCH.0) * sigmoid + STRETCH.0
}

/// `ln x` for 0 ≤ x ≤ 1, within 10⁻⁶ of its magnitude or 10⁻⁷; of nothing, that of a very small number.
#[inline(always)]
fn logarithm(x: f32) -> f32 {
    let x = x.max(1e-30);
    // x = 2ⁿ·f with √½ ≤ f < √2.
    let bits = x.to_bits() as i32 - 0x3f35_04f3;
    let n = (bits >> 23) as f32;
    let f = f32::from_bits(((bits & 0x007f_ffff) + 0x3f35_04f3) as u32);
    // ln f = 2 atanh t.
    let t = (f - 1.0) / (f + 1.0);
    let z = t * t;
    let series = 1.0 + z * (1.0 / 3.0 + z * (0.2 + z * (1.0 / 7.0 + z * (1.0 / 9.0))));
    n * std::f32::consts::LN_2 + 2.0 * t * series
}

#[inline(always)]
fn chunks(values: &[f32]) -> &[[f32; LANES]] {
    values.as_chunks().0
}

#[inline(always)]
fn chunks_mut(values: &mut [f32]) -> &mut [[f32; LANES]] {
    values.as_chunks_mut().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for i in 1..=100_000 {
            let x = i as f32 / 100_000.0;
            let (got, want) = (f64::from(logarithm(x)), f64::from(x).ln());
            assert!((got - want).abs() <= 1e-6 * want.abs() + 1e-7, "ln {x}: {got} {want}");
        }
        assert!(logarithm(0.0) < -60.0);
    }

    #[test]
    fn soft_weights_begin_at_the_float_weights() {
        let grid = Grid { scale: 0.25, range: (-8.0, 7.0) };
        for i in 0..100 {
            let share = f64::from(i) / 100.0;
            let (alpha, _, w) = soft(grid, 3.0, share);
            assert!((f64::from(w) - (3.0 + share) * 0.25).abs() < 1e-6, "{share}");
            assert_eq!(hard(grid, 3.0, alpha), if i >= 50 { 4 } else { 3 }, "{share}");
        }
        assert_eq!(hard(grid, 7.0, 1.0), 7);
    }
}
