//! The range whose quantized distribution diverges least from the observed one.

use super::histogram::Histogram;

/// The range, before it is cut to the observed one; `None` where no candidate has a divergence.
///
/// Over `bins` uniform bins between −T and T (T the largest magnitude), the candidates are the middle stretches of `quantized`
/// bins and more. Of a candidate, p is the distribution with everything outside added to the ends, and q the same stretch
/// merged into `quantized` bins, each spread evenly over its part. The least Kullback–Leibler divergence of q from p
/// wins; ties go to the narrower candidate. With as many quantized bins as bins there is one candidate, (−T, T).
pub(super) fn range(histogram: &Histogram, bins: usize, quantized: usize) -> Option<(f32, f32)> {
    let counts = resample(histogram, bins);
    let largest = f64::from(histogram.magnitude());
    let edge = |i: usize| (-largest + 2.0 * largest * i as f64 / bins as f64) as f32;
    let before: Vec<i64> = std::iter::once(0)
        .chain(counts.iter().scan(0, |sum, c| {
            *sum += c;
            Some(*sum)
        }))
        .collect();
    let middle = bins / 2;
    let mut best = None;
    let mut least = f32::INFINITY;
    for reach in quantized / 2..=middle {
        let (start, end) = (middle - reach, (middle + reach + 1).min(bins));
        let outside = (before[start], before[bins] - before[end]);
        let divergence = divergence(&counts[start..end], outside, quantized) as f32;
        if divergence < least {
            (best, least) = (Some((edge(start), edge(end))), divergence);
        }
    }
    best
}

/// Counts in uniform bins between −T and T. A bin of the statistics that an edge cuts is shared out in proportion, in whole
/// numbers.
fn resample(histogram: &Histogram, bins: usize) -> Vec<i64> {
    let largest = f64::from(histogram.magnitude());
    let place = |x: f64| ((x + largest) * bins as f64 / (2.0 * largest)).clamp(0.0, bins as f64);
    let mut counts = vec![0; bins];
    for bin in histogram.values() {
        let (from, to) = (place(bin.lo), place(bin.hi));
        let (first, last) = (from.floor() as usize, (to.ceil() as usize).saturating_sub(1));
        let mut shared = 0.0;
        for i in first..=last.max(first) {
            let part = if i >= last { 1.0 } else { ((i + 1) as f64 - from) / (to - from) };
            let until = (bin.count * part).round();
            counts[i.min(bins - 1)] += (until - shared) as i64;
            shared = until;
        }
    }
    counts
}

/// The divergence of one candidate; infinite where a distribution is empty or too thin to be smoothed.
fn divergence(stretch: &[i64], outside: (i64, i64), quantized: usize) -> f64 {
    let mut p = stretch.to_vec();
    if let Some(first) = p.first_mut() {
        *first += outside.0;
    }
    if let Some(last) = p.last_mut() {
        *last += outside.1;
    }
    let merged = stretch.len() / quantized;
    let mut q = vec![0; stretch.len()];
    for i in 0..quantized {
        let part = i * merged..(i + 1) * merged;
        let rest = if i + 1 == quantized { part.end..stretch.len() } else { 0..0 };
        let sum: i64 = stretch[part.clone()].iter().chain(&stretch[rest]).sum();
        let occupied = p[part.clone()].iter().filter(|c| **c != 0).count() as i64;
        if occupied > 0 {
            // Whole numbers: this is how the definition that others use counts.
            q[part].fill(sum / occupied);
        }
    }
    let (Some(p), Some(q)) = (smooth(&p), smooth(&q)) else { return f64::INFINITY };
    let (sum_p, sum_q) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    p.iter().zip(&q).map(|(p, q)| p / sum_p * ((p / sum_p) / (q / sum_q)).ln()).sum()
}

/// Empty bins get a little, which the others give in equal shares.
fn smooth(counts: &[i64]) -> Option<Vec<f64>> {
    const LITTLE: f64 = 1e-4;
    let empty = counts.iter().filter(|c| **c == 0).count();
    let others = counts.len() - empty;
    let share = LITTLE * empty as f64 / others as f64;
    // Without counts the share is not finite.
    if share.is_nan() || share >= 1.0 {
        return None;
    }
    let smooth = |count: &i64| {
        let change = if *count == 0 { LITTLE } else { -share };
        f64::from((*count as f64 + change) as f32)
    };
    Some(counts.iter().map(smooth).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::testing::with_histogram;

    #[test]
    fn resampling_keeps_every_value_in_its_bin() {
        let values = [-8.0, -7.9, -0.1, 0.0, 0.1, 3.9, 4.1, 8.0];
        with_histogram(&[&values], |h| {
            assert_eq!(resample(h, 4), [2, 1, 3, 2]);
            assert_eq!(resample(h, 8192).iter().sum::<i64>(), 8);
        });
    }

    #[test]
    fn a_lonely_outlier_is_left_out() {
        let mut values: Vec<f32> = (-5000..5000).map(|i| i as f32 / 5000.0).collect();
        values.push(64.0);
        with_histogram(&[&values], |h| {
            let (lo, hi) = range(h, 2048, 32).unwrap();
            assert!(lo > -32.0 && hi < 32.0, "{lo} {hi}");
            assert_eq!(range(h, 128, 128), Some((-64.0, 64.0)));
        });
    }
}
