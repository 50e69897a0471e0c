//! How far a quantized tensor is from its float reference.

use serde::{Deserialize, Serialize};

/// Sums over pairs of elements from which every metric follows; adding two of them adds the pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Comparison {
    count: u64,
    reference_energy: f64,
    other_energy: f64,
    product: f64,
    error_energy: f64,
    peak: f64,
    largest_error: f64,
}

/// Distances of a tensor from its reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// a·b / (‖a‖ ‖b‖); 1 when both are zero, 0 when one is.
    pub cosine: f64,
    /// ‖a − b‖₂.
    pub l2: f64,
    /// 20 log₁₀(max a) − 10 log₁₀(mean (a − b)²) in decibels, the mean error and the peak at least 1e-10.
    pub psnr: f64,
    /// 10 log₁₀(‖a‖² / ‖a − b‖²) in decibels; the error energy is at least 1e-30.
    pub sqnr: f64,
    /// max |a − b|.
    pub max_abs_error: f64,
}

impl Comparison {
    /// Compares elements in order; the sums are made in f64, in this order.
    pub fn of(reference: &[f32], other: &[f32]) -> Self {
        let mut sums = Self { peak: f64::NEG_INFINITY, ..Self::default() };
        for (a, b) in reference.iter().zip(other) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            sums.count += 1;
            sums.reference_energy += a * a;
            sums.other_energy += b * b;
            sums.product += a * b;
            sums.error_energy += (a - b) * (a - b);
            sums.peak = sums.peak.max(a);
            sums.largest_error = sums.largest_error.max((a - b).abs());
        }
        sums
    }

    /// The metrics of the pairs seen; all NaN where an element of either tensor was not finite, since lower bounds on errors
    /// would otherwise turn that into a perfect score.
    pub fn metrics(&self) -> Metrics {
        if !self.error_energy.is_finite() {
            let nan = f64::NAN;
            return Metrics { cosine: nan, l2: nan, psnr: nan, sqnr: nan, max_abs_error: nan };
        }
        let norms = (self.reference_energy * self.other_energy).sqrt();
        let cosine = if norms > 0.0 {
            (self.product / norms).clamp(-1.0, 1.0)
        } else if self.reference_energy == self.other_energy {
            1.0
        } else {
            0.0
        };
        let mean = if self.count > 0 { self.error_energy / self.count as f64 } else { 0.0 };
        Metrics {
            cosine,
            l2: self.error_energy.sqrt(),
            psnr: 20.0 * self.peak.max(1e-10).log10() - 10.0 * mean.max(1e-10).log10(),
            sqnr: 10.0 * (self.reference_energy.max(1e-30) / self.error_energy.max(1e-30)).log10(),
            max_abs_error: self.largest_error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_a_known_pair() {
        let m = Comparison::of(&[3.0, 4.0], &[3.0, 3.0]).metrics();
        assert!((m.cosine - 21.0 / (5.0 * 18f64.sqrt())).abs() < 1e-12);
        assert_eq!((m.l2, m.max_abs_error), (1.0, 1.0));
        assert!((m.sqnr - 10.0 * 25f64.log10()).abs() < 1e-12);
        assert!((m.psnr - (20.0 * 4f64.log10() - 10.0 * 0.5f64.log10())).abs() < 1e-12);
    }

    #[test]
    fn a_value_that_is_not_finite_is_no_perfect_score() {
        for bad in [f32::NAN, f32::INFINITY] {
            let m = Comparison::of(&[1.0, 2.0], &[1.0, bad]).metrics();
            assert!(m.sqnr.is_nan() && m.cosine.is_nan() && m.max_abs_error.is_nan(), "{bad}");
        }
    }

    #[test]
    fn equal_and_zero_tensors_do_not_divide_by_zero() {
        assert_eq!(Comparison::of(&[0.0; 3], &[0.0; 3]).metrics().cosine, 1.0);
        assert_eq!(Comparison::of(&[1.0], &[0.0]).metrics().cosine, 0.0);
        let same = Comparison::of(&[1.0, 2.0], &[1.0, 2.0]).metrics();
        assert!(same.sqnr > 200.0 && same.sqnr.is_finite());
    }
}
