//! Sums, extremes and counts: what stands beside a histogram.

use serde::{Deserialize, Serialize};

use super::layout::{NEGATIVE_NON_FINITE_PAGE, NEGATIVE_ZERO_BIN, NON_FINITE_PAGE, bin_of, page_of};
use super::plan::TensorSpec;
use super::votes::Votes;

/// A sum whose value does not depend on the order of its addends: a fixed-point number with 48 fraction bits in 128 bits.
///
/// An addend is rounded to 2^-48, ties to even. Addends of magnitude 2^55 and more, infinities and NaNs are not added but
/// counted, and make the sum unavailable. 2^24 addends below 2^55 stay within the 127 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedSum {
    total: i128,
    overflows: u64,
}

/// 2^48.
const ONE: f64 = (1_u64 << 48) as f64;
/// The exponent field of a value whose mantissa counts units of 2^-48.
const UNIT_EXPONENT: u32 = 1075 - 48;
/// 2^55.
const LIMIT: f64 = (1_u64 << 55) as f64;

impl FixedSum {
    /// Add one value.
    #[inline]
    pub fn push(&mut self, value: f64) {
        if value.abs() >= LIMIT || value.is_nan() {
            self.overflows += 1;
            return;
        }
        // The value is ±mantissa × 2^(exponent - 1075). Integers round it faster than the conversion of a float to 128 bits
        // does, and without branches, which sums of either sign and of any size would mispredict.
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as u32;
        // Denormals are far below a unit, so it does not matter that they lack the leading one.
        let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
        // At most 50, as the value is below 2^55.
        let left = exponent.saturating_sub(UNIT_EXPONENT) & 63;
        // From 54 on all is less than a half.
        let right = UNIT_EXPONENT.saturating_sub(exponent).min(54);
        // One bit more, so that there is a half where nothing is shifted out.
        let (whole, rest, half) = (mantissa >> right, mantissa << 1 & ((2 << right) - 1), 1_u64 << right);
        // A half goes up to an even whole, that is where the whole is odd.
        let rounded = whole + u64::from(rest + (whole & 1) > half);
        let sign = i128::from(bits as i64 >> 63);
        self.total = self.total.wrapping_add((i128::from(rounded) << left ^ sign) - sign);
    }

    /// Add another sum.
    pub fn merge(&mut self, other: &Self) {
        self.total = self.total.wrapping_add(other.total);
        self.overflows = self.overflows.saturating_add(other.overflows);
    }

    /// The sum, rounded to nearest; `None` if an addend was too large.
    pub fn value(&self) -> Option<f64> {
        (self.overflows == 0).then(|| self.total as f64 / ONE)
    }

    /// How many addends were too large.
    pub fn overflows(&self) -> u64 {
        self.overflows
    }
}

/// One channel of one tensor in one sample, over its finite values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelSample {
    /// Number of finite values.
    pub count: u64,
    /// Smallest; +infinity where there is none.
    pub min: f32,
    /// Largest; -infinity where there is none.
    pub max: f32,
    /// Sum, made in a fixed order.
    pub sum: f64,
    /// Sum of squares, made in a fixed order.
    pub sum_sq: f64,
}

impl Default for ChannelSample {
    fn default() -> Self {
        Self { count: 0, min: f32::INFINITY, max: f32::NEG_INFINITY, sum: 0.0, sum_sq: 0.0 }
    }
}

impl ChannelSample {
    /// Take in one value; what is not finite is left out.
    #[inline]
    pub fn push(&mut self, value: f32) {
        if value.is_finite() {
            self.count += 1;
            self.min = self.min.min(value);
            self.max = self.max.max(value);
            self.sum += value as f64;
            self.sum_sq += value as f64 * value as f64;
        }
    }
}

/// Everything about a tensor but its histogram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    pub(crate) samples: u64,
    pub(crate) elements: u64,
    pub(crate) nans: u64,
    pub(crate) infinities: u64,
    /// Over finite values, as the sums below are over samples that have one.
    pub(crate) range: Option<(f32, f32)>,
    pub(crate) ranged_samples: u64,
    pub(crate) sum_of_minima: FixedSum,
    pub(crate) sum_of_maxima: FixedSum,
    pub(crate) votes: Votes,
    pub(crate) channels: Channels,
}

/// Arrays by channel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Channels {
    pub(crate) count: Vec<u64>,
    pub(crate) min: Vec<f32>,
    pub(crate) max: Vec<f32>,
    pub(crate) sum: Vec<FixedSum>,
    pub(crate) sum_sq: Vec<FixedSum>,
}

/// Minus zero is plus zero, so that a minimum does not depend on which zero came first.
fn one_zero(value: f32) -> f32 {
    value + 0.0
}

fn joined(a: Option<(f32, f32)>, b: Option<(f32, f32)>) -> Option<(f32, f32)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((one_zero(a.0.min(b.0)), one_zero(a.1.max(b.1)))),
        (one, None) | (None, one) => one.map(|(min, max)| (one_zero(min), one_zero(max))),
    }
}

impl Moments {
    /// Pages that can hold a count, given the range and what is not finite, in ascending order. Reading a page of a table
    /// that nothing touched costs a fault, and most tensors reach a quarter of the pages.
    pub(crate) fn possible_pages(&self) -> impl Iterator<Item = usize> + use<> {
        let (min, max) = self.range.unwrap_or((0.0, 0.0));
        // Both zeros count as zero in the range, and each has a page of its own.
        let last = |bound: f32| page_of(bin_of(bound));
        let positive = 0..=last(max.max(0.0).abs());
        let negative = page_of(NEGATIVE_ZERO_BIN);
        let negative = negative..=negative + last(min.min(0.0).abs());
        let strange = self.nans + self.infinities > 0;
        let above = strange.then_some(NON_FINITE_PAGE);
        let below = strange.then_some(NEGATIVE_NON_FINITE_PAGE);
        positive.chain(above).chain(negative).chain(below)
    }

    pub(crate) fn new(channels: u32) -> Self {
        let n = channels as usize;
        let channels = Channels {
            count: vec![0; n],
            min: vec![f32::INFINITY; n],
            max: vec![f32::NEG_INFINITY; n],
            sum: vec![FixedSum::default(); n],
            sum_sq: vec![FixedSum::default(); n],
        };
        Self {
            samples: 0,
            elements: 0,
            nans: 0,
            infinities: 0,
            range: None,
            ranged_samples: 0,
            sum_of_minima: FixedSum::default(),
            sum_of_maxima: FixedSum::default(),
            votes: Votes::default(),
            channels,
        }
    }

    /// Take in a sample's range.
    pub(crate) fn push_range(&mut self, range: Option<(f32, f32)>) {
        if let Some((min, max)) = range {
            self.ranged_samples += 1;
            self.sum_of_minima.push(min as f64);
            self.sum_of_maxima.push(max as f64);
        }
        self.range = joined(self.range, range);
    }

    /// Take in a sample's channels, as many as there are.
    pub(crate) fn push_channels(&mut self, samples: &[ChannelSample]) {
        let c = &mut self.channels;
        for (count, sample) in c.count.iter_mut().zip(samples) {
            *count += sample.count;
        }
        for ((min, max), sample) in c.min.iter_mut().zip(&mut c.max).zip(samples) {
            *min = one_zero(min.min(sample.min));
            *max = one_zero(max.max(sample.max));
        }
        for ((sum, sum_sq), sample) in c.sum.iter_mut().zip(&mut c.sum_sq).zip(samples) {
            sum.push(sample.sum);
            sum_sq.push(sample.sum_sq);
        }
    }

    /// Add other samples of the same tensor; `None` if a count overflows.
    pub(crate) fn merge(&mut self, other: &Self) -> Option<()> {
        self.samples = self.samples.checked_add(other.samples)?;
        self.elements = self.elements.checked_add(other.elements)?;
        self.nans = self.nans.checked_add(other.nans)?;
        self.infinities = self.infinities.checked_add(other.infinities)?;
        self.ranged_samples = self.ranged_samples.checked_add(other.ranged_samples)?;
        self.range = joined(self.range, other.range);
        self.sum_of_minima.merge(&other.sum_of_minima);
        self.sum_of_maxima.merge(&other.sum_of_maxima);
        self.votes.merge(&other.votes)?;
        let (a, b) = (&mut self.channels, &other.channels);
        for i in 0..a.count.len() {
            a.count[i] = a.count[i].checked_add(b.count[i])?;
            a.min[i] = one_zero(a.min[i].min(b.min[i]));
            a.max[i] = one_zero(a.max[i].max(b.max[i]));
            a.sum[i].merge(&b.sum[i]);
            a.sum_sq[i].merge(&b.sum_sq[i]);
        }
        Some(())
    }

    /// Check what was read from a file.
    pub(crate) fn check(&self, spec: &TensorSpec) -> Result<(), String> {
        let c = &self.channels;
        let n = spec.channels as usize;
        let lengths = [c.count.len(), c.min.len(), c.max.len(), c.sum.len(), c.sum_sq.len()];
        let counts = self.nans.checked_add(self.infinities).is_some_and(|n| n <= self.elements);
        let ordered = self.range.is_none_or(|(min, max)| min.is_finite() && max.is_finite() && min <= max);
        let channels = c.min.iter().zip(&c.max).zip(&c.count).all(|((min, max), &count)| {
            if count == 0 { min > max } else { min.is_finite() && max.is_finite() && min <= max }
        });
        if lengths != [n; 5]
            || !counts
            || !ordered
            || !channels
            || self.ranged_samples > self.samples
            || !self.votes.is_of(self.samples)
        {
            return Err(format!("the record of tensor {} contradicts itself", spec.name));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_sum_does_not_depend_on_order(values in prop::collection::vec(-1e9_f64..1e9, 1..50), cut in 0_usize..50) {
            let sum = |values: &mut dyn Iterator<Item = &f64>| {
                let mut sum = FixedSum::default();
                values.for_each(|&v| sum.push(v));
                sum
            };
            let whole = sum(&mut values.iter());
            prop_assert_eq!(whole, sum(&mut values.iter().rev()));
            let (a, b) = values.split_at(cut.min(values.len()));
            let mut parts = sum(&mut b.iter());
            parts.merge(&sum(&mut a.iter()));
            prop_assert_eq!(whole, parts);
            let exact: f64 = values.iter().sum();
            prop_assert!((whole.value().unwrap() - exact).abs() < 1e-5);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn a_value_is_rounded_as_the_formula_says(bits in any::<u64>(), exponent in 960_u64..1080, halves in any::<u64>()) {
            let near = bits & !(0x7ff << 52) | exponent << 52;
            // Few bits, so that many are exactly between two units.
            let even = near & !((1 << (halves % 52)) - 1);
            for value in [bits, near, even].map(f64::from_bits) {
                let mut sum = FixedSum::default();
                sum.push(value);
                if value.abs() < LIMIT {
                    prop_assert_eq!(sum, FixedSum { total: (value * ONE).round_ties_even() as i128, overflows: 0 });
                } else {
                    prop_assert_eq!(sum, FixedSum { total: 0, overflows: 1 });
                }
            }
        }
    }

    #[test]
    fn rounds_to_even_and_counts_what_is_too_large() {
        let step = 2_f64.powi(-48);
        let value = |x: f64| {
            let mut sum = FixedSum::default();
            sum.push(x);
            sum.value()
        };
        assert_eq!(value(0.5 * step), Some(0.0));
        assert_eq!(value(1.5 * step), Some(2.0 * step));
        assert_eq!(value(-2.5 * step), Some(-2.0 * step));
        assert_eq!(value(2_f64.powi(55)), None);
        assert_eq!((value(f64::NAN), value(f64::NEG_INFINITY)), (None, None));
        let below = 2_f64.powi(55).next_down();
        assert_eq!((value(below), value(-below)), (Some(below), Some(-below)));
    }

    #[test]
    fn zeros_are_one() {
        let mut a = Moments::new(0);
        a.push_range(Some((-0.0, -0.0)));
        let mut b = Moments::new(0);
        b.push_range(Some((0.0, 0.0)));
        assert_eq!(a.range.map(|r| r.0.to_bits()), b.range.map(|r| r.0.to_bits()));
    }
}
