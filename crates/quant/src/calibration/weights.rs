//! Float scales of constants, from their values.

use serde::{Deserialize, Serialize};

use crate::{QParams, QuantType};

/// How the float scale of a constant is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightMethod {
    /// It covers the extremes.
    #[default]
    MinMax,
    /// The least squared error, of ranges between percentiles of the values.
    MinMsePercentile,
    /// The least squared error of a histogram, of ranges between its bins.
    MinMseHistCenter,
    /// The least squared error of the values, of the same ranges.
    MinMseAll,
}

/// Percentiles that are tried.
const PERCENTILES: [f64; 4] = [99.9, 99.99, 99.999, 99.9999];
/// Bins of the histogram, where there are as many values.
const BINS: usize = 2048;

/// Symmetric parameters with a float scale for a constant. Values that are not finite do not decide; ties go to the candidate that
/// is tried first: the lowest percentile, or the narrowest range.
pub fn float_weight(values: &[f32], ty: QuantType, method: WeightMethod) -> QParams {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let covering = match (sorted.first(), sorted.last()) {
        (Some(min), Some(max)) => QParams::affine(*min, *max, ty, true),
        _ => return QParams::affine(0.0, 0.0, ty, true),
    };
    if sorted.first() == sorted.last() {
        return covering;
    }
    let found = match method {
        WeightMethod::MinMax => None,
        WeightMethod::MinMsePercentile => {
            let ranges = PERCENTILES.map(|p| (percentile(&sorted, 100.0 - p), percentile(&sorted, p)));
            let sorted = Sorted::new(&sorted);
            best(ranges.into_iter(), ty, |params| sorted.squared_error(params))
        }
        WeightMethod::MinMseAll => {
            let histogram = Uniform::new(&sorted);
            let sorted = Sorted::new(&sorted);
            best(histogram.ranges(), ty, |params| sorted.squared_error(params))
        }
        WeightMethod::MinMseHistCenter => {
            let histogram = Uniform::new(&sorted);
            best(histogram.ranges(), ty, |params| histogram.error(params))
        }
    };
    found.unwrap_or(covering)
}

/// The candidate with the least error. Ranges without extent do not take part, nor do scales that were tried before.
fn best(
    ranges: impl Iterator<Item = (f32, f32)>,
    ty: QuantType,
    error: impl Fn(&QParams) -> f64,
) -> Option<QParams> {
    let mut tried = std::collections::BTreeSet::new();
    let mut best = None;
    let mut least = f64::INFINITY;
    for (lo, hi) in ranges {
        let Some(params) = QParams::covering(lo, hi, ty, true) else { continue };
        if !tried.insert(params.scale.to_bits()) {
            continue;
        }
        let error = error(&params);
        if error < least {
            (best, least) = (Some(params), error);
        }
    }
    best
}

/// The percentile of sorted values, linearly between neighbours.
fn percentile(sorted: &[f32], percent: f64) -> f32 {
    let place = (sorted.len() - 1) as f64 * percent / 100.0;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    (f64::from(below) + (f64::from(above) - f64::from(below)) * place.fract()) as f32
}

/// Sorted values with sums, so that the error of a scale takes one step for each of its integers rather than for each value.
struct Sorted<'a> {
    values: &'a [f32],
    /// Σ x and Σ x² of all values before; one entry more than there are values.
    sums: Vec<(f64, f64)>,
}

impl<'a> Sorted<'a> {
    fn new(values: &'a [f32]) -> Self {
        let mut sums = vec![(0.0, 0.0)];
        let (mut sum, mut squares) = (0.0, 0.0);
        sums.extend(values.iter().map(|v| {
            let v = f64::from(*v);
            sum += v;
            squares += v * v;
            (sum, squares)
        }));
        Self { values, sums }
    }

    /// Σ (x − x̂)²; over the values of one integer, which stands for p, that is Σ x² − 2p·Σ x + n·p².
    fn squared_error(&self, params: &QParams) -> f64 {
        let (mut total, mut start) = (0.0, 0);
        while let Some(first) = self.values.get(start) {
            let q = params.quantize(*first);
            let end = start + self.values[start..].partition_point(|v| params.quantize(*v) <= q);
            let p = f64::from(params.dequantize(q));
            let (a, b) = (self.sums[start], self.sums[end]);
            total += (b.1 - a.1) - 2.0 * p * (b.0 - a.0) + (end - start) as f64 * p * p;
            start = end;
        }
        total
    }
}

/// A histogram with bins of one width over the whole range.
struct Uniform {
    centers: Vec<f32>,
    counts: Vec<u64>,
}

impl Uniform {
    /// `sorted` has two different values.
    fn new(sorted: &[f32]) -> Self {
        let bins = sorted.len().min(BINS);
        let (min, max) = (f64::from(sorted[0]), f64::from(sorted[sorted.len() - 1]));
        let edge = |i: usize| min + (max - min) * i as f64 / bins as f64;
        let mut counts = Vec::with_capacity(bins);
        let mut before = 0;
        for i in 1..bins {
            let until = before + sorted[before..].partition_point(|v| f64::from(*v) < edge(i));
            counts.push((until - before) as u64);
            before = until;
        }
        counts.push((sorted.len() - before) as u64);
        let centers = (0..bins).map(|i| f64::midpoint(edge(i), edge(i + 1)) as f32).collect();
        Self { centers, counts }
    }

    /// Ranges between centres of bins: c of n bins in the middle, for c from n/2 to n − 1.
    fn ranges(&self) -> impl Iterator<Item = (f32, f32)> {
        let bins = self.centers.len();
        (bins / 2..bins).map(move |c| {
            let cut = (bins - c) as f64 / 2.0;
            let (left, right) = (cut as usize, (bins as f64 - cut) as usize);
            (self.centers[left], self.centers[right.min(bins - 1)])
        })
    }

    fn error(&self, params: &QParams) -> f64 {
        let error = |center: f32| f64::from(params.fake(center)) - f64::from(center);
        self.centers.iter().zip(&self.counts).map(|(c, n)| *n as f64 * error(*c) * error(*c)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Vec<f32> {
        // A bell with an outlier.
        let mut values: Vec<f32> =
            (0..5000).map(|i| ((i * 7919 % 5000) as f32 / 2500.0 - 1.0).powi(3) * 0.3).collect();
        values.push(2.0);
        values
    }

    fn raw(values: &[f32], params: &QParams) -> f64 {
        values.iter().map(|v| (f64::from(*v) - f64::from(params.fake(*v))).powi(2)).sum()
    }

    #[test]
    fn sums_give_the_error_of_the_values() {
        let mut sorted = values();
        sorted.sort_unstable_by(f32::total_cmp);
        for scale in [0.001, 0.0123, 0.3] {
            let params = QParams { ty: QuantType::Int8, scale, zero_point: 0 };
            let (fast, slow) = (Sorted::new(&sorted).squared_error(&params), raw(&sorted, &params));
            assert!((fast / slow - 1.0).abs() < 1e-9, "{scale}: {fast}, not {slow}");
        }
    }

    #[test]
    fn least_squared_error_beats_the_extremes() {
        let values = values();
        let error = |method| raw(&values, &float_weight(&values, QuantType::Int8, method));
        let covering = error(WeightMethod::MinMax);
        let all = error(WeightMethod::MinMseAll);
        for method in [WeightMethod::MinMseHistCenter, WeightMethod::MinMseAll] {
            assert!(error(method) < covering, "{method:?}");
        }
        assert!(all <= error(WeightMethod::MinMseHistCenter) * 1.001);
    }

    #[test]
    fn constants_of_one_value_or_none_get_a_legal_scale() {
        for method in [
            WeightMethod::MinMax,
            WeightMethod::MinMsePercentile,
            WeightMethod::MinMseHistCenter,
            WeightMethod::MinMseAll,
        ] {
            assert_eq!(float_weight(&[], QuantType::Int8, method).scale, 1.0);
            assert_eq!(float_weight(&[0.0; 9], QuantType::Int8, method).scale, 1.0);
            assert_eq!(float_weight(&[12.7], QuantType::Int8, method).scale, 0.1);
            let p = float_weight(&[f32::NAN, 1.0, f32::INFINITY, -2.0, 0.5], QuantType::Int8, method);
            assert!(p.scale.is_normal() && p.scale < 0.02, "{method:?} {}", p.scale);
        }
    }
}
