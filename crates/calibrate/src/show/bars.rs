//! The histogram of the statistics on a linear axis.

use shiftwise_artifact::stats::{TensorView, layout};

/// The axis goes beyond the values by this part of their extent, if that brings a threshold into view.
const EXTENSION: f64 = 0.3;
/// Values spread more than this many times wider than every threshold that clips some would leave nothing to see.
const SPREAD: f64 = 4.0;

/// Counts over equal intervals of an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bars {
    pub(super) low: f64,
    pub(super) high: f64,
    /// How many values lie in each interval; a bin of the statistics that lies in two is divided.
    pub(super) counts: Vec<f64>,
    /// How many values lie below and above the axis.
    pub(super) outside: (u64, u64),
    /// The smallest and the largest value.
    pub(super) extremes: (f64, f64),
}

impl Bars {
    /// `n` bars; `thresholds` are the ends of what methods represent, with whether anything lies beyond. `None` where there is no
    /// finite value.
    pub(super) fn new(view: TensorView<'_>, n: usize, thresholds: &[(f64, f64, bool)]) -> Option<Self> {
        let (min, max) = view.range()?;
        let extremes = (f64::from(min), f64::from(max));
        let (low, high) = axis(extremes, thresholds);
        let mut bars = Self { low, high, counts: vec![0.0; n.max(1)], outside: (0, 0), extremes };
        for (bin, count) in view.bins() {
            let (mut from, mut to) = (f64::from(layout::bin_lower(bin)), f64::from(layout::bin_lower(bin)));
            if layout::is_negative(bin) {
                from -= layout::bin_width(bin);
            } else {
                to += layout::bin_width(bin);
            }
            if layout::bin_center(bin) == 0.0 {
                (from, to) = (0.0, 0.0);
            }
            bars.add(from.max(extremes.0), to.min(extremes.1), count);
        }
        Some(bars)
    }

    fn add(&mut self, from: f64, to: f64, count: u64) {
        let middle = f64::midpoint(from, to);
        if middle < self.low {
            self.outside.0 += count;
        } else if middle > self.high {
            self.outside.1 += count;
        } else {
            let (first, last) = (self.at(from), self.at(to));
            for i in first..=last {
                let (left, right) = (self.edge(i).max(from), self.edge(i + 1).min(to));
                let part = if first == last { 1.0 } else { ((right - left) / (to - from)).clamp(0.0, 1.0) };
                self.counts[i] += count as f64 * part;
            }
        }
    }

    /// The bar of a value, which may lie outside.
    fn at(&self, value: f64) -> usize {
        let place = (value - self.low) / (self.high - self.low) * self.counts.len() as f64;
        (place.max(0.0) as usize).min(self.counts.len() - 1)
    }

    /// The bar of a value on the axis.
    pub(super) fn place(&self, value: f64) -> Option<usize> {
        (self.low..=self.high).contains(&value).then(|| self.at(value))
    }

    /// Where a bar begins.
    pub(super) fn edge(&self, bar: usize) -> f64 {
        let part = bar as f64 / self.counts.len() as f64;
        self.low * (1.0 - part) + self.high * part
    }

    /// The highest bar.
    pub(super) fn most(&self) -> f64 {
        self.counts.iter().copied().fold(1.0, f64::max)
    }
}

/// From the smallest to the largest value, or, where that is much wider than what methods keep, over what these keep; and a
/// little farther where a threshold is near.
fn axis((min, max): (f64, f64), thresholds: &[(f64, f64, bool)]) -> (f64, f64) {
    let (mut low, mut high) = (min, max);
    let clipping = thresholds.iter().filter(|t| t.2);
    let hull = clipping.fold(None, |hull: Option<(f64, f64)>, t| {
        Some(hull.map_or((t.0, t.1), |h| (h.0.min(t.0), h.1.max(t.1))))
    });
    if let Some((a, b)) = hull.map(|h| (h.0.max(min), h.1.min(max)))
        && a < b
        && (b - a) * SPREAD < max - min
    {
        let margin = (b - a) * EXTENSION / 2.0;
        (low, high) = ((a - margin).max(min), (b + margin).min(max));
    } else {
        let reach = (max - min) * EXTENSION;
        for end in thresholds.iter().flat_map(|t| [t.0, t.1]) {
            if (min - reach..min).contains(&end) {
                low = low.min(end);
            }
            if end > max && end <= max + reach {
                high = high.max(end);
            }
        }
    }
    if low < high {
        return (low, high);
    }
    let around = (low.abs() / 2.0).max(f64::from(f32::MIN_POSITIVE));
    (low - around, low + around)
}

#[cfg(test)]
mod tests {
    use super::super::testing::statistics;
    use super::*;

    fn bars(values: &[f32], n: usize, thresholds: &[(f64, f64, bool)]) -> Bars {
        Bars::new(statistics(&[values]).tensor("t").unwrap(), n, thresholds).unwrap()
    }

    #[test]
    fn every_value_is_in_one_place() {
        let values: Vec<f32> = (0..1000).map(|i| (i as f32 - 300.0) / 100.0).collect();
        let b = bars(&values, 10, &[]);
        assert_eq!((b.low, b.high), (-3.0, f64::from(6.99_f32)));
        assert!((b.counts.iter().sum::<f64>() - 1000.0).abs() < 1e-6);
        for count in &b.counts {
            assert!((99.0..101.5).contains(count), "{:?}", b.counts);
        }
        assert_eq!(b.place(-3.0), Some(0));
        assert_eq!((b.place(7.0), b.place(0.0)), (None, Some(3)));
    }

    #[test]
    fn outliers_do_not_squeeze_the_rest() {
        let mut values: Vec<f32> = (0..100).map(|i| i as f32 / 100.0).collect();
        values.extend([100.0, 200.0, -300.0]);
        let b = bars(&values, 8, &[(-1.0, 1.0, true), (-300.0, 300.0, false)]);
        assert_eq!((b.low, b.high, b.outside), (-1.3, 1.3, (1, 2)));
        assert_eq!(b.extremes, (-300.0, 200.0));
    }

    #[test]
    fn near_thresholds_widen_the_axis_and_far_ones_do_not() {
        let b = bars(&[0.0, 1.0, 6.0], 4, &[(-8.0, 7.5, false)]);
        assert_eq!((b.low, b.high), (0.0, 7.5));
    }

    #[test]
    fn constants_and_nothing() {
        let b = bars(&[2.0; 5], 5, &[]);
        assert_eq!((b.low, b.high), (1.0, 3.0));
        assert_eq!(b.counts[2], 5.0);
        let b = bars(&[0.0, -0.0], 3, &[]);
        assert_eq!(b.counts, [0.0, 2.0, 0.0]);
        let none = statistics(&[&[f32::NAN]]);
        assert!(Bars::new(none.tensor("t").unwrap(), 4, &[]).is_none());
    }
}
