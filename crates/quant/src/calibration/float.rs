//! Float scales by least squared error.

use super::Target;
use super::error::{self, ErrorMetric};
use super::histogram::Histogram;

/// Range factors in the first round, per octave and in total.
const COARSE: i32 = 4;
const OCTAVES: i32 = 8;
/// Range factors per octave in the second round, around the best of the first.
const FINE: i32 = 64;

/// The range whose parameters have the least squared error.
///
/// The observed range is shrunk by 2^(-k/4) over eight octaves, then in steps of 2^(1/64) around the best. Parameters that are not
/// symmetric shrink both ends together first, then each alone. Ties go to the wider range.
pub(super) fn range(histogram: &Histogram, target: Target) -> (f32, f32) {
    let observed = histogram.range;
    let scaled = |range: (f32, f32), factors: (f64, f64)| {
        ((f64::from(range.0) * factors.0) as f32, (f64::from(range.1) * factors.1) as f32)
    };
    let search = |shrink: &dyn Fn(f64) -> (f32, f32)| {
        let factor = best(&|factor| match target.params(shrink(factor)) {
            Some(params) => error::total(histogram, &params, target.symmetric, ErrorMetric::Mse),
            None => f64::INFINITY,
        });
        shrink(factor)
    };
    let both = search(&|factor| scaled(observed, (factor, factor)));
    if target.symmetric || observed.0 >= 0.0 || observed.1 <= 0.0 {
        return both;
    }
    // From the observed end again: the common factor may have cut a side too much.
    let upper = search(&|factor| (both.0, scaled(observed, (1.0, factor)).1));
    search(&|factor| (scaled(observed, (factor, 1.0)).0, upper.1))
}

fn best(error: &dyn Fn(f64) -> f64) -> f64 {
    let factor = |steps: i32, per_octave: i32| (-f64::from(steps) / f64::from(per_octave)).exp2();
    let least = |candidates: &mut dyn Iterator<Item = i32>, per_octave: i32| {
        let mut best = (0, f64::INFINITY);
        for steps in candidates {
            let error = error(factor(steps, per_octave));
            if error < best.1 {
                best = (steps, error);
            }
        }
        best.0
    };
    let coarse = least(&mut (0..=COARSE * OCTAVES), COARSE) * FINE / COARSE;
    let reach = FINE / COARSE;
    factor(least(&mut ((coarse - reach).max(0)..=coarse + reach), FINE), FINE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QuantType;
    use crate::calibration::{ScaleKind, testing::with_histogram};

    #[test]
    fn an_outlier_is_clipped_where_that_pays() {
        let target = |symmetric| Target { symmetric, ..Target::new(QuantType::Uint8, ScaleKind::Float) };
        let mut values: Vec<f32> = (-50_000..50_000).map(|i| i as f32 / 50_000.0).collect();
        values.push(4.0);
        // Rounding 10^5 values costs 10^5 s² / 12 and clipping the outlier (4 − t)²: their sum is least at t = 2.65 for
        // s = 2t / 255, and at t = 3.43 for s = (1 + t) / 255.
        with_histogram(&[&values], |h| {
            let (_, hi) = range(h, target(true));
            assert!((hi - 2.65).abs() < 0.05, "{hi}");
            let (lo, hi) = range(h, target(false));
            assert!((lo + 1.0).abs() < 0.02 && (hi - 3.43).abs() < 0.05, "{lo} {hi}");
        });
        let even: Vec<f32> = (-1000..=1000).map(|i| i as f32 / 1000.0).collect();
        with_histogram(&[&even], |h| {
            let (_, hi) = range(h, target(true));
            assert!((hi - 1.0).abs() < 0.02, "{hi}");
        });
    }
}
