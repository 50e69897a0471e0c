//! Exact extrema and sums of one channel.
//!
//! The order of additions is part of the definition: element `i` goes to accumulator `i mod 16`, in order, and the
//! accumulators are added pairwise, halves first. No product is fused with its sum. So every CPU gives the same bits.

const LANES: usize = 16;

/// What calibration keeps of one channel of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelStats {
    /// Smallest finite value; +∞ when there is none. Zero has no sign.
    pub min: f32,
    /// Largest finite value; −∞ when there is none. Zero has no sign.
    pub max: f32,
    /// Sum of the finite values.
    pub sum: f64,
    /// Sum of the squares of the finite values.
    pub sum_sq: f64,
    /// Values that are not a number.
    pub nan: u64,
    /// Infinite values, of either sign.
    pub inf: u64,
}

/// Statistics of the values of one channel of one sample.
pub fn channel_stats(values: &[f32]) -> ChannelStats {
    let all = finite_stats(values);
    // Squares of finite f32 values cannot overflow f64, so the sum tells whether all were finite.
    if all.sum_sq.is_finite() { all } else { any_stats(values) }
}

/// For values that are all finite; the sums of any others are not finite.
#[inline(always)]
fn finite_stats_body(values: &[f32]) -> ChannelStats {
    let mut lanes = Lanes::new();
    let (chunks, tail) = values.as_chunks::<LANES>();
    for chunk in chunks {
        lanes.add(chunk);
    }
    // Zeros do not change the sums; the extrema are taken apart.
    let mut last = [0.0; LANES];
    last[..tail.len()].copy_from_slice(tail);
    lanes.add_sums(&last);
    lanes.finish(tail)
}

#[inline(always)]
fn any_stats_body(values: &[f32]) -> ChannelStats {
    let mut lanes = Lanes::new();
    let (mut nan, mut inf) = (0, 0);
    for chunk in values.chunks(LANES) {
        let mut clean = [0.0; LANES];
        for (c, &v) in clean.iter_mut().zip(chunk) {
            nan += u64::from(v.is_nan());
            inf += u64::from(v.is_infinite());
            if v.is_finite() {
                *c = v;
                lanes.extend(v);
            }
        }
        lanes.add_sums(&clean);
    }
    ChannelStats { nan, inf, ..lanes.finish(&[]) }
}

dispatch! { fn finite_stats(values: &[f32]) -> ChannelStats => finite_stats_body, wide }
dispatch! { fn any_stats(values: &[f32]) -> ChannelStats => any_stats_body }

struct Lanes {
    min: [f32; LANES],
    max: [f32; LANES],
    sum: [f64; LANES],
    sum_sq: [f64; LANES],
}

impl Lanes {
    #[inline(always)]
    fn new() -> Self {
        Self {
            min: [f32::INFINITY; LANES],
            max: [f32::NEG_INFINITY; LANES],
            sum: [0.0; LANES],
            sum_sq: [0.0; LANES],
        }
    }

    #[inline(always)]
    fn add(&mut self, chunk: &[f32; LANES]) {
        for i in 0..LANES {
            let v = chunk[i];
            self.min[i] = if v < self.min[i] { v } else { self.min[i] };
            self.max[i] = if v > self.max[i] { v } else { self.max[i] };
        }
        self.add_sums(chunk);
    }

    #[inline(always)]
    fn add_sums(&mut self, chunk: &[f32; LANES]) {
        for i in 0..LANES {
            let v = f64::from(chunk[i]);
            self.sum[i] += v;
            self.sum_sq[i] += v * v;
        }
    }

    #[inline(always)]
    fn extend(&mut self, v: f32) {
        self.min[0] = if v < self.min[0] { v } else { self.min[0] };
        self.max[0] = if v > self.max[0] { v } else { self.max[0] };
    }

    #[inline(always)]
    fn finish(mut self, tail: &[f32]) -> ChannelStats {
        for &v in tail {
            self.extend(v);
        }
        let min = self.min.iter().fold(f32::INFINITY, |a, &b| if b < a { b } else { a });
        let max = self.max.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
        // Adding zero clears the sign of a zero, which would depend on the order of the values.
        ChannelStats {
            min: min + 0.0,
            max: max + 0.0,
            sum: tree(self.sum),
            sum_sq: tree(self.sum_sq),
            nan: 0,
            inf: 0,
        }
    }
}

#[inline(always)]
fn tree(mut lanes: [f64; LANES]) -> f64 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::with_portable;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finite_values_are_summed_exactly_alike_on_every_path(values in prop::collection::vec(-1e3_f32..1e3, 0..300)) {
            let fast = channel_stats(&values);
            prop_assert_eq!(fast, with_portable(|| channel_stats(&values)));
            prop_assert_eq!(fast, any_stats(&values));
            let sum: f64 = values.iter().map(|&v| f64::from(v)).sum();
            prop_assert!((fast.sum - sum).abs() <= 1e-9 * 1e3 * (values.len() as f64 + 1.0));
            let sum_sq: f64 = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            prop_assert!((fast.sum_sq - sum_sq).abs() <= 1e-12 * (sum_sq + 1.0));
            prop_assert_eq!(fast.min, values.iter().copied().fold(f32::INFINITY, f32::min));
            prop_assert_eq!(fast.max, values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }

        #[test]
        fn values_that_are_not_finite_are_counted_and_left_out(
            values in prop::collection::vec(prop_oneof![
                -10.0_f32..10.0, Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY)], 1..100)
        ) {
            let stats = channel_stats(&values);
            prop_assert_eq!(stats, with_portable(|| channel_stats(&values)));
            prop_assert_eq!(stats.nan, values.iter().filter(|v| v.is_nan()).count() as u64);
            prop_assert_eq!(stats.inf, values.iter().filter(|v| v.is_infinite()).count() as u64);
            let zeroed: Vec<f32> = values.iter().map(|&v| if v.is_finite() { v } else { 0.0 }).collect();
            prop_assert_eq!(stats.sum, finite_stats(&zeroed).sum);
            prop_assert_eq!(stats.sum_sq, finite_stats(&zeroed).sum_sq);
            let finite = values.iter().copied().filter(|v| v.is_finite());
            prop_assert_eq!(stats.min, finite.clone().fold(f32::INFINITY, f32::min));
            prop_assert_eq!(stats.max, finite.fold(f32::NEG_INFINITY, f32::max));
        }
    }

    #[test]
    fn extremes_of_the_type_do_not_overflow() {
        let stats = channel_stats(&[f32::MAX; 1000]);
        assert_eq!((stats.nan, stats.inf), (0, 0));
        assert_eq!(stats.max, f32::MAX);
        assert_eq!(stats.sum, 1000.0 * f64::from(f32::MAX));
    }

    #[test]
    fn zero_has_no_sign() {
        let stats = channel_stats(&[-0.0; 20]);
        assert_eq!((stats.min.to_bits(), stats.max.to_bits()), (0, 0));
    }
}
