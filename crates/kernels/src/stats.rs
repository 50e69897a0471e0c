//! Exact extrema and sums of one channel.
//!
//! The order of additions is part of the definition: element `i` goes to accumulator `i mod 16`, in order, and the
//! accumulators are added pairwise, halves first. Squares of f32 values are exact in f64, so it makes no difference whether
//! a square is fused with its sum. So every CPU gives the same bits.

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
    finite_or_any(finite_stats(values), values)
}

/// `all` if it is valid: it was made of `values` as if all were finite.
#[inline(always)]
pub(crate) fn finite_or_any(all: ChannelStats, values: &[f32]) -> ChannelStats {
    // Squares of finite f32 values cannot overflow f64, so the sum tells whether all were finite.
    if all.sum_sq.is_finite() { all } else { any_stats(values) }
}

/// For values that are all finite; the sums of any others are not finite.
fn finite_stats(values: &[f32]) -> ChannelStats {
    let (chunks, tail) = values.as_chunks::<LANES>();
    let lanes = match crate::isa::current() {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        // SAFETY: `current` gives `Avx512` only after the CPU reported the features that the function is built for.
        crate::isa::Isa::Avx512 => return unsafe { x86::stats_avx512(values) },
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        // SAFETY: as above, for `Avx2`.
        crate::isa::Isa::Avx2 => unsafe { x86::sum_avx2(chunks) },
        crate::isa::Isa::Portable => sum_each(chunks),
    };
    lanes.finish_with(tail)
}

fn sum_each(chunks: &[[f32; LANES]]) -> Lanes {
    let mut lanes = Lanes::new();
    for chunk in chunks {
        lanes.add(chunk);
    }
    lanes
}

/// The same sums with vector instructions: what the compiler makes of the loop above is three times slower.
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use super::{ChannelStats, LANES, Lanes};
    use std::arch::x86_64::{
        __m512, __m512d, _MM_FROUND_CUR_DIRECTION, _mm_add_pd, _mm_add_sd, _mm_cvtsd_f64, _mm_cvtss_f32,
        _mm_max_ps, _mm_max_ss, _mm_min_ps, _mm_min_ss, _mm_movehdup_ps, _mm_movehl_ps, _mm_unpackhi_pd,
        _mm256_add_pd, _mm256_castpd256_pd128, _mm256_castps256_ps128, _mm256_cvtps_pd,
        _mm256_extractf128_pd, _mm256_extractf128_ps, _mm256_fmadd_pd, _mm256_loadu_ps, _mm256_max_ps,
        _mm256_min_ps, _mm256_set1_ps, _mm256_setzero_pd, _mm256_storeu_pd, _mm256_storeu_ps, _mm512_add_pd,
        _mm512_castpd512_pd256, _mm512_castps512_ps256, _mm512_cvt_roundps_pd, _mm512_extractf32x8_ps,
        _mm512_extractf64x4_pd, _mm512_fmadd_pd, _mm512_mask_max_ps, _mm512_mask_min_ps, _mm512_max_ps,
        _mm512_min_ps, _mm512_set1_ps, _mm512_setzero_pd,
    };

    /// Sixteen lanes of extrema and sums.
    #[derive(Clone)]
    pub(crate) struct Sums512 {
        min: __m512,
        max: __m512,
        sum: [__m512d; 2],
        sum_sq: [__m512d; 2],
    }

    impl Sums512 {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        pub(crate) fn new() -> Self {
            Self {
                min: _mm512_set1_ps(f32::INFINITY),
                max: _mm512_set1_ps(f32::NEG_INFINITY),
                sum: [_mm512_setzero_pd(); 2],
                sum_sq: [_mm512_setzero_pd(); 2],
            }
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        pub(crate) fn add(&mut self, v: __m512) {
            self.min = _mm512_min_ps(v, self.min);
            self.max = _mm512_max_ps(v, self.max);
            self.add_sums(v);
        }

        /// Adds the first `n` of at most 16 values; the others are zero.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        pub(crate) fn add_some(&mut self, v: __m512, n: usize) {
            let mask = ((1_u32 << n.min(16)) - 1) as u16;
            self.min = _mm512_mask_min_ps(self.min, mask, v, self.min);
            self.max = _mm512_mask_max_ps(self.max, mask, v, self.max);
            self.add_sums(v);
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn add_sums(&mut self, v: __m512) {
            let halves = [_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v)];
            for (i, half) in halves.into_iter().enumerate() {
                let d = _mm512_cvt_roundps_pd::<_MM_FROUND_CUR_DIRECTION>(half);
                self.sum[i] = _mm512_add_pd(self.sum[i], d);
                self.sum_sq[i] = _mm512_fmadd_pd(d, d, self.sum_sq[i]);
            }
        }

        /// The statistics of all values that were added, if they are finite.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        pub(crate) fn finish(&self) -> ChannelStats {
            // Extrema do not depend on the order, the sums are added halves first.
            let min = _mm256_min_ps(_mm512_castps512_ps256(self.min), _mm512_extractf32x8_ps::<1>(self.min));
            let max = _mm256_max_ps(_mm512_castps512_ps256(self.max), _mm512_extractf32x8_ps::<1>(self.max));
            let min = _mm_min_ps(_mm256_castps256_ps128(min), _mm256_extractf128_ps::<1>(min));
            let max = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps::<1>(max));
            let min = _mm_min_ps(min, _mm_movehl_ps(min, min));
            let max = _mm_max_ps(max, _mm_movehl_ps(max, max));
            let min = _mm_cvtss_f32(_mm_min_ss(min, _mm_movehdup_ps(min)));
            let max = _mm_cvtss_f32(_mm_max_ss(max, _mm_movehdup_ps(max)));
            // Adding zero clears the sign of a zero.
            ChannelStats {
                min: min + 0.0,
                max: max + 0.0,
                sum: tree_512(self.sum),
                sum_sq: tree_512(self.sum_sq),
                nan: 0,
                inf: 0,
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn tree_512([low, high]: [__m512d; 2]) -> f64 {
        let eight = _mm512_add_pd(low, high);
        let four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd::<1>(eight));
        let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
        _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
    }

    /// Statistics of values that are all finite.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) fn stats_avx512(values: &[f32]) -> ChannelStats {
        let (chunks, tail) = values.as_chunks::<LANES>();
        let mut sums = Sums512::new();
        for chunk in chunks {
            sums.add(bytemuck::cast(*chunk));
        }
        let mut last = [0.0; LANES];
        last[..tail.len()].copy_from_slice(tail);
        sums.add_some(bytemuck::cast(last), tail.len());
        sums.finish()
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn sum_avx2(chunks: &[[f32; LANES]]) -> Lanes {
        let mut min = [_mm256_set1_ps(f32::INFINITY); 2];
        let mut max = [_mm256_set1_ps(f32::NEG_INFINITY); 2];
        let mut sum = [_mm256_setzero_pd(); 4];
        let mut sum_sq = [_mm256_setzero_pd(); 4];
        for chunk in chunks {
            for half in 0..2 {
                #[allow(unsafe_code)]
                // SAFETY: reads 8 of 16 floats, from the first or the ninth; the load needs no alignment.
                let v = unsafe { _mm256_loadu_ps(chunk.as_ptr().add(8 * half)) };
                min[half] = _mm256_min_ps(v, min[half]);
                max[half] = _mm256_max_ps(v, max[half]);
                let quarters = [_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v)];
                for (i, quarter) in quarters.into_iter().enumerate() {
                    let d = _mm256_cvtps_pd(quarter);
                    let lane = 2 * half + i;
                    sum[lane] = _mm256_add_pd(sum[lane], d);
                    sum_sq[lane] = _mm256_fmadd_pd(d, d, sum_sq[lane]);
                }
            }
        }
        let mut lanes = Lanes::new();
        #[allow(unsafe_code)]
        // SAFETY: writes 8 floats or 4 doubles into arrays of 16, at multiples of that width; no alignment is needed.
        unsafe {
            for i in 0..2 {
                _mm256_storeu_ps(lanes.min[8 * i..].as_mut_ptr(), min[i]);
                _mm256_storeu_ps(lanes.max[8 * i..].as_mut_ptr(), max[i]);
            }
            for i in 0..4 {
                _mm256_storeu_pd(lanes.sum[4 * i..].as_mut_ptr(), sum[i]);
                _mm256_storeu_pd(lanes.sum_sq[4 * i..].as_mut_ptr(), sum_sq[i]);
            }
        }
        lanes
    }

    /// The AVX2 sums, on a CPU that has them.
    #[cfg(test)]
    pub(super) fn try_avx2(chunks: &[[f32; LANES]]) -> Option<Lanes> {
        if !is_x86_feature_detected!("avx2") || !is_x86_feature_detected!("fma") {
            return None;
        }
        #[allow(unsafe_code)]
        // SAFETY: the features were detected above.
        Some(unsafe { sum_avx2(chunks) })
    }
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
        for (i, &v) in chunk.iter().enumerate() {
            self.min[i] = if v < self.min[i] { v } else { self.min[i] };
            self.max[i] = if v > self.max[i] { v } else { self.max[i] };
        }
        self.add_sums(chunk);
    }

    #[inline(always)]
    fn add_sums(&mut self, chunk: &[f32; LANES]) {
        for (i, &v) in chunk.iter().enumerate() {
            let v = f64::from(v);
            self.sum[i] += v;
            self.sum_sq[i] += v * v;
        }
    }

    #[inline(always)]
    fn extend(&mut self, v: f32) {
        self.min[0] = if v < self.min[0] { v } else { self.min[0] };
        self.max[0] = if v > self.max[0] { v } else { self.max[0] };
    }

    /// The statistics of the chunks that were added and of fewer than 16 values after them.
    #[inline(always)]
    fn finish_with(mut self, tail: &[f32]) -> ChannelStats {
        // The zeros that fill the last chunk do not change the sums; the extrema are taken apart.
        let mut last = [0.0; LANES];
        last[..tail.len()].copy_from_slice(tail);
        self.add_sums(&last);
        self.finish(tail)
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
            #[cfg(target_arch = "x86_64")]
            if let Some(lanes) = x86::try_avx2(values.as_chunks().0) {
                prop_assert_eq!(lanes.finish(&[]), sum_each(values.as_chunks().0).finish(&[]));
            }
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
