//! Ranges that leave out a small part of the values.

use super::histogram::{Bin, Histogram};

/// The range that holds `percent` of the values, cut to the observed one.
///
/// By magnitude: (−t, t) with the percentile t of |x|; behind a Relu that is (0, t). Two-sided: the same part of the
/// values lies below as above.
pub(super) fn range(histogram: &Histogram, percent: f64, by_magnitude: bool) -> (f32, f32) {
    let (lo, hi) = if by_magnitude {
        let t = percentile(&histogram.magnitudes(), percent);
        (-t, t)
    } else {
        let values = histogram.values();
        let cut = (100.0 - percent) / 2.0;
        (percentile(&values, cut), percentile(&values, 100.0 - cut))
    };
    (histogram.range.0.max(lo as f32), histogram.range.1.min(hi as f32))
}

/// The percentile of values in ascending bins. Of N values it is at the place (N − 1) · percent / 100, counted from 0, linearly
/// between its neighbours. Accurate to half of a bin, and exact at both ends.
pub(super) fn percentile(bins: &[Bin], percent: f64) -> f64 {
    let total: f64 = bins.iter().map(|bin| bin.count).sum();
    let place = (total - 1.0).max(0.0) * (percent / 100.0).clamp(0.0, 1.0);
    let below = at(bins, total, place.floor());
    let above = at(bins, total, place.ceil());
    below + (above - below) * place.fract()
}

/// The value at a place, in the middle of its share of the bin.
fn at(bins: &[Bin], total: f64, place: f64) -> f64 {
    let (Some(first), Some(last)) = (bins.first(), bins.last()) else { return 0.0 };
    if place <= 0.0 {
        return first.lo;
    }
    if place >= total - 1.0 {
        // Of two signs, the bin with the larger end is not always the last.
        return bins.iter().rev().take(2).map(|bin| bin.hi).fold(last.hi, f64::max);
    }
    let mut before = 0.0;
    for bin in bins {
        if place < before + bin.count {
            return bin.lo + (place - before + 0.5) / bin.count * (bin.hi - bin.lo);
        }
        before += bin.count;
    }
    last.hi
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::testing::with_histogram;

    #[test]
    fn percentiles_stand_between_neighbours() {
        let values: Vec<f32> = (0..=100).map(|i| i as f32).collect();
        with_histogram(&[&values], |h| {
            for percent in [0.0, 12.5, 50.0, 99.0, 99.9, 100.0] {
                let t = percentile(&h.values(), percent);
                assert!((t - percent).abs() <= percent / 1000.0, "{percent}: {t}");
            }
        });
        with_histogram(&[&[-2.0, 1.0]], |h| assert_eq!(percentile(&h.magnitudes(), 100.0), 2.0));
        with_histogram(&[&[-6.002, 6.001]], |h| {
            assert_eq!(percentile(&h.magnitudes(), 100.0), f64::from(6.002_f32));
        });
    }

    #[test]
    fn a_relu_gets_a_range_from_zero() {
        let values: Vec<f32> = (0..1000).map(|i| i as f32 / 100.0).collect();
        with_histogram(&[&values], |h| {
            let (lo, hi) = range(h, 99.0, true);
            assert!(lo == 0.0 && (hi - 9.89).abs() < 0.01, "{lo} {hi}");
            let (lo, hi) = range(h, 98.0, false);
            assert!((lo - 0.0999).abs() < 2e-4 && (hi - 9.89).abs() < 0.01, "{lo} {hi}");
            assert_eq!(range(h, 100.0, true), (0.0, 9.99));
        });
    }
}
