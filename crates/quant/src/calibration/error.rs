//! What rounding to a grid costs, over a histogram.

use serde::{Deserialize, Serialize};

use super::histogram::{Bin, Histogram, Side};
use crate::QParams;

/// What is averaged over the values of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorMetric {
    /// The mean absolute error.
    #[default]
    Mae,
    /// The mean squared error.
    Mse,
}

/// The floats that integers stand for: n·s for whole n from −`below` to `above`. Zero is always one of them.
#[derive(Clone, Copy, Debug)]
struct Grid {
    step: f64,
    below: f64,
    above: f64,
}

/// Total error of the finite values of a tensor, each clipped to the grid and rounded to its nearest point.
pub(crate) fn total(histogram: &Histogram, params: &QParams, symmetric: bool, metric: ErrorMetric) -> f64 {
    let (lo, hi) = if symmetric { params.ty.symmetric_range() } else { params.ty.full_range() };
    let grid = Grid {
        step: f64::from(params.scale),
        below: (params.zero_point - lo) as f64,
        above: (hi - params.zero_point) as f64,
    };
    let sum = |side: &Side, levels: f64| match metric {
        ErrorMetric::Mse => squared(side, grid.step, levels),
        ErrorMetric::Mae => {
            side.bins.iter().map(|bin| bin.count * mean_absolute(bin, grid.step, levels)).sum()
        }
    };
    // Zeros are on the grid.
    sum(&histogram.negative, grid.below) + sum(&histogram.positive, grid.above)
}

/// Σ (x − x̂)² over one side; magnitudes are rounded to 0, s, … `levels`·s.
fn squared(side: &Side, step: f64, levels: f64) -> f64 {
    // What is rounded to zero costs its own square.
    let first = side.bins.partition_point(|bin| bin.hi <= step / 2.0);
    side.energy[first]
        + side.bins[first..].iter().map(|bin| bin.count * mean_squared(bin, step, levels)).sum::<f64>()
}

/// Mean of (x − x̂)² over values spread evenly in a bin.
///
/// Inside of one rounding cell, around the point p = n·s, with the bin's middle c and width w: (c − p)² + w²/12. Over more
/// than one cell it is an integral. With n(x) the (clipped) number of the nearest point and r(x) = x − n(x)·s,
///
/// F(x) = ∫₀ˣ r² dt = n·s³/12 + r³/3,
///
/// since each whole cell between two points adds 2·∫₀^{s/2} t² dt = s³/12, and the rest of the way to x adds r³/3; beyond
/// the last point n stays and r grows, which is what clipping costs. The mean is (F(hi) − F(lo)) / w: exact for a bin of
/// any width, and s²/12 in the limit of many cells. With 8-bit power-of-two scales a bin never lies in two cells; with 16
/// bits it is up to 32 steps wide.
fn mean_squared(bin: &Bin, step: f64, levels: f64) -> f64 {
    let width = bin.hi - bin.lo;
    let (a, b) = points(bin, step, levels);
    if a >= b {
        let error = f64::midpoint(bin.lo, bin.hi) - a * step;
        return error * error + width * width / 12.0;
    }
    let (ra, rb) = (bin.lo - a * step, bin.hi - b * step);
    ((b - a) * step * step * step / 12.0 + (rb * rb * rb - ra * ra * ra) / 3.0) / width
}

/// Mean of |x − x̂| over values spread evenly in a bin: as for the square, with ∫₀ˣ |r| dt = n·s²/4 + r·|r|/2.
fn mean_absolute(bin: &Bin, step: f64, levels: f64) -> f64 {
    let width = bin.hi - bin.lo;
    let (a, b) = points(bin, step, levels);
    let (ra, rb) = (bin.lo - a * step, bin.hi - b * step);
    if a >= b && (ra >= 0.0 || rb <= 0.0 || width == 0.0) {
        return (f64::midpoint(bin.lo, bin.hi) - a * step).abs();
    }
    ((b - a).max(0.0) * step * step / 4.0 + (rb * rb.abs() - ra * ra.abs()) / 2.0) / width
}

/// Numbers of the points that the values next to the lower and to the upper edge are rounded to. An edge on a rounding boundary
/// belongs to the bin's own side of it.
fn points(bin: &Bin, step: f64, levels: f64) -> (f64, f64) {
    ((bin.lo / step + 0.5).floor().min(levels), (bin.hi / step - 0.5).ceil().clamp(0.0, levels))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean over many evenly spread values.
    fn sampled(bin: &Bin, step: f64, levels: f64, metric: ErrorMetric) -> f64 {
        let n = 200_000;
        let error = |i: usize| {
            let x = bin.lo + (i as f64 + 0.5) / n as f64 * (bin.hi - bin.lo);
            let error = (x - (x / step).round_ties_even().min(levels) * step).abs();
            if metric == ErrorMetric::Mse { error * error } else { error }
        };
        (0..n).map(error).sum::<f64>() / n as f64
    }

    #[test]
    fn the_mean_over_a_bin_is_that_of_evenly_spread_values() {
        // Within a cell, across one boundary, about a step wide, many steps wide, across the last point, and behind it.
        let bins = [
            (0.1, 0.2),
            (0.9, 1.1),
            (0.4, 0.6),
            (0.2, 1.3),
            (2.5, 3.5),
            (3.1, 19.7),
            (90.0, 130.0),
            (140.0, 150.0),
        ];
        for (lo, hi) in bins {
            let bin = Bin { lo, hi, count: 1.0 };
            for step in [1.0, 0.25, 0.3, 7.0] {
                let near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * b;
                let (mse, wanted) =
                    (mean_squared(&bin, step, 127.0), sampled(&bin, step, 127.0, ErrorMetric::Mse));
                assert!(near(mse, wanted), "{lo} to {hi} by {step}: {mse}, not {wanted}");
                let (mae, wanted) =
                    (mean_absolute(&bin, step, 127.0), sampled(&bin, step, 127.0, ErrorMetric::Mae));
                assert!(near(mae, wanted), "{lo} to {hi} by {step}: {mae}, not {wanted}");
            }
        }
    }

    #[test]
    fn a_single_value_costs_its_own_error() {
        for (x, wanted) in [(6.0, 0.0), (0.5, 0.5), (2.25, 0.25), (130.0, 3.0)] {
            let bin = Bin { lo: x, hi: x, count: 1.0 };
            assert_eq!(mean_squared(&bin, 1.0, 127.0), wanted * wanted);
            assert_eq!(mean_absolute(&bin, 1.0, 127.0), wanted);
        }
    }

    #[test]
    fn a_bin_of_many_steps_costs_a_twelfth_of_the_square_of_the_step() {
        let bin = Bin { lo: 1024.0, hi: 1025.0, count: 1.0 };
        let step = 2f64.powi(-10);
        assert!((mean_squared(&bin, step, 1e9) / (step * step / 12.0) - 1.0).abs() < 1e-9);
    }
}
