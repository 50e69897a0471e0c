//! The float-bit histogram: a value is counted in the bin that the top 19 bits of its own bits name.
//!
//! Half of what follows a Relu is zero, and increments of one bin wait for one another. So zeros are not counted one by one,
//! and only the bins of the other values, packed together, are.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod election;
mod front;
mod window;

pub use election::{CANDIDATES, Grids};
pub use front::Front;
use window::Window;

/// Bins of a histogram: sign, 8 bits of exponent, 10 bits of mantissa.
pub const BINS: usize = 1 << 19;

/// Bits of the mantissa that a bin does not tell apart.
const SHIFT: u32 = 13;

/// Bins of one sign and exponent.
const PAGE: usize = 1 << 10;

/// The bin of a value.
#[inline(always)]
pub fn bin_of(value: f32) -> usize {
    (value.to_bits() >> SHIFT) as usize
}

/// Counts every value, NaN and infinities included, in `bins`, without a table in front: for few values.
///
/// A bin holds what calls have added to it since the caller cleared it, and wraps: clear before 2³² values are seen.
///
/// Panics when `bins` has not [`BINS`] elements.
pub fn accumulate(values: &[f32], bins: &mut [u32]) {
    let bins: &mut [u32; BINS] = bins.try_into().expect("a histogram of 2^19 bins");
    for v in values {
        let count = &mut bins[bin_of(*v)];
        *count = count.wrapping_add(1);
    }
}

/// Adds to the bins of both zeros.
fn zero_bins(bins: &mut [u32], positive: u64, negative: u64) {
    for (bin, n) in [(0, positive), (BINS / 2, negative)] {
        bins[bin] = bins[bin].wrapping_add(n as u32);
    }
}

/// Values that have no place in a small table, but for +0.
#[derive(Default)]
struct Strange {
    /// Values of −0.
    negative_zeros: u64,
    /// The bins of the others.
    bins: Vec<u32>,
}

impl Strange {
    fn len(&self) -> u64 {
        self.negative_zeros + self.bins.len() as u64
    }

    /// Takes what there is of them among `values`.
    #[cold]
    #[inline(never)]
    fn add(&mut self, values: &[f32], window: Window) {
        let negative_zero = (-0.0_f32).to_bits();
        self.negative_zeros += values.iter().map(|v| u64::from(v.to_bits() == negative_zero)).sum::<u64>();
        let others = values.iter().filter(|v| **v != 0.0 && !window.place(v.to_bits()).0);
        self.bins.extend(others.map(|v| v.to_bits() >> SHIFT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::channel_stats;
    use crate::with_portable;

    fn counted(values: &[f32]) -> Vec<u32> {
        let mut bins = vec![0; BINS];
        for v in values {
            bins[(v.to_bits() >> 13) as usize] += 1;
        }
        bins
    }

    /// Floats of every kind, with a given share of zeros out of 256.
    fn values(len: usize, zeros: u64) -> Vec<f32> {
        let mut state = 0x1234_5678_9abc_def1_u64 ^ zeros;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if state >> 56 < zeros { 0.0 } else { f32::from_bits((state >> 20) as u32) }
            })
            .collect()
    }

    #[test]
    fn a_histogram_counts_every_value() {
        let values = values(5000, 128);
        let mut bins = vec![0; BINS];
        accumulate(&values, &mut bins);
        assert!(bins == counted(&values));
    }

    /// The paths of this CPU.
    fn paths() -> [fn(&mut dyn FnMut()); 3] {
        [|f| f(), |f| with_narrow(f), |f| with_portable(f)]
    }

    fn with_narrow(f: &mut dyn FnMut()) {
        #[cfg(target_arch = "x86_64")]
        crate::isa::NARROW.set(true);
        f();
        #[cfg(target_arch = "x86_64")]
        crate::isa::NARROW.set(false);
    }

    #[test]
    fn every_path_counts_every_value_and_gives_the_statistics_of_each_plane() {
        let mut front = Front::default();
        for path in paths() {
            for zeros in [0, 20, 128, 250, 256] {
                let strange = values(3000, zeros);
                let finite: Vec<f32> = strange.iter().map(|v| if v.is_finite() { *v } else { 1.5 }).collect();
                let tame: Vec<f32> =
                    strange.iter().map(|v| (v.to_bits() % 7000) as f32 * 0.001 - 1.0).collect();
                for values in [strange, finite, tame] {
                    for len in (0..3000).step_by(if zeros == 128 { 7 } else { 61 }) {
                        let plane = [1, 15, 16, 49, 196, 1024, 1100, 3000][len % 8];
                        let values = &values[..len];
                        let mut bins = vec![0; BINS];
                        let mut planes = values.chunks(plane);
                        path(&mut || {
                            front.observe(values, plane, |seen, stats| {
                                let plane = planes.next().unwrap();
                                assert_eq!(seen.as_ptr(), plane.as_ptr());
                                assert_eq!(seen.len(), plane.len());
                                assert_eq!(stats, channel_stats(plane), "{zeros} {len}");
                            });
                            front.flush(&mut bins, range(values));
                        });
                        assert!(planes.next().is_none());
                        assert!(bins == counted(values), "{zeros} {len} {plane}");
                        assert!(front.table.iter().all(|n| *n == 0));
                    }
                }
            }
        }
    }

    fn range(values: &[f32]) -> (f32, f32) {
        let finite = values.iter().filter(|v| v.is_finite());
        finite.fold((0.0, 0.0), |(lo, hi), v| (v.min(lo), v.max(hi)))
    }

    #[test]
    fn constant_stretches_and_full_counts_lose_nothing() {
        for path in paths() {
            let mut front = Front::default();
            let mut values = vec![6.0; 200_000];
            values.extend((0..200_000).map(|i| [0.5, 3.0, -0.25][i % 3]));
            values.extend((0..100_000).map(|i| (i % 700) as f32 * 0.01 - 1.5));
            for plane in [49, 1000, 12_544, 500_000] {
                let mut bins = vec![0; BINS];
                path(&mut || {
                    values.chunks(plane * 30).for_each(|part| front.observe(part, plane, |_, _| {}));
                    front.flush(&mut bins, (-1.5, 6.0));
                });
                assert!(bins == counted(&values), "{plane}");
            }
        }
    }

    #[test]
    fn zeros_of_either_sign_and_specials_have_bins_of_their_own() {
        let mut bins = vec![0; BINS];
        accumulate(&[0.0, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN], &mut bins);
        assert_eq!(bins[0], 2);
        assert_eq!(bins[1 << 18], 1);
        assert_eq!(bins[bin_of(f32::INFINITY)], 1);
        assert_eq!(bins[bin_of(f32::NEG_INFINITY)], 1);
        assert_eq!(bins[bin_of(f32::NAN)], 1);
        assert_eq!(bins.iter().sum::<u32>(), 6);
    }
}
