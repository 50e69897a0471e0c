//! The float-bit histogram: a value is counted in the bin that the top 19 bits of its own bits name.
//!
//! Half of what follows a Relu is zero, and increments of one bin wait for one another. So where a block has many
//! zeros they are counted apart, and only the bins of the other values, packed together, are incremented one by one.

use crate::stats::{ChannelStats, channel_stats};

/// Bins of a histogram: sign, 8 bits of exponent, 10 bits of mantissa.
pub const BINS: usize = 1 << 19;

/// Bits of the mantissa that a bin does not tell apart.
const SHIFT: u32 = 13;

/// Values that are packed at a time.
const BLOCK: usize = 1024;

/// The bin of a value.
#[inline(always)]
pub fn bin_of(value: f32) -> usize {
    (value.to_bits() >> SHIFT) as usize
}

/// Bins of one sign and exponent.
const PAGE: usize = 1 << 10;

/// Counts every value, NaN and infinities included, in `bins`.
///
/// A bin holds what calls have added to it since the caller cleared it, and wraps: clear before 2³² values are seen.
///
/// Panics when `bins` has not [`BINS`] elements.
pub fn accumulate(values: &[f32], bins: &mut [u32]) {
    let bins: &mut [u32; BINS] = bins.try_into().expect("a histogram of 2^19 bins");
    count(values, bins);
}

/// A small table in front of a histogram, for many values of one tensor.
///
/// The bins that a tensor reaches take a hundred kilobytes as u32, which thrash the first-level cache; as u8 most of them
/// stay in it. A count that is about to overflow goes to the histogram, and so does everything in the end.
pub struct Front(Box<[u8; BINS]>);

impl Default for Front {
    fn default() -> Self {
        let table = vec![0; BINS].into_boxed_slice();
        Self(table.try_into().unwrap_or_else(|_| unreachable!("the table was made with this length")))
    }
}

impl Front {
    /// Counts as [`accumulate`] does; `bins` is complete after [`Front::flush`].
    pub fn accumulate(&mut self, values: &[f32], bins: &mut [u32]) {
        let bins = bins.try_into().expect("a histogram of 2^19 bins");
        count(values, &mut Fronted { front: &mut self.0, bins });
    }

    /// Counts as [`Front::accumulate`] does and gives each plane, in order, to `each` with its statistics, those of
    /// [`channel_stats`]. Both in one pass where that pays: counting is bound by memory and statistics by arithmetic.
    ///
    /// Panics when `bins` has not [`BINS`] elements or `plane` is zero.
    pub fn observe(
        &mut self,
        values: &[f32],
        plane: usize,
        bins: &mut [u32],
        mut each: impl FnMut(&[f32], ChannelStats),
    ) {
        let bins = bins.try_into().expect("a histogram of 2^19 bins");
        let mut tally = Fronted { front: &mut self.0, bins };
        #[cfg(target_arch = "x86_64")]
        if crate::isa::current() == crate::isa::Isa::Avx512 {
            #[allow(unsafe_code)]
            // SAFETY: `current` gives `Avx512` only after the CPU reported the features that the function is built for.
            return unsafe { x86::observe_avx512(values, plane, &mut tally, each) };
        }
        for plane in values.chunks(plane) {
            count(plane, &mut tally);
            each(plane, channel_stats(plane));
        }
    }

    /// Moves all counts to `bins`. `range` bounds the finite values that were counted; `strange` says whether there were
    /// others.
    ///
    /// Panics when `bins` has not [`BINS`] elements.
    pub fn flush(&mut self, bins: &mut [u32], range: (f32, f32), strange: bool) {
        assert_eq!(bins.len(), BINS, "a histogram of 2^19 bins");
        let half = BINS / 2;
        // Both zeros count as zero in the range, and each has a page of its own.
        let end = |bound: f32| if strange { half } else { (bin_of(bound.abs()) / PAGE + 1) * PAGE };
        for pages in [0..end(range.1.max(0.0)), half..half + end(range.0.min(0.0))] {
            let front = self.0[pages.clone()].chunks_exact_mut(PAGE);
            for (front, bins) in front.zip(bins[pages].chunks_exact_mut(PAGE)) {
                if front.iter().fold(0, |any, n| any | n) != 0 {
                    bins.iter_mut()
                        .zip(front.iter())
                        .for_each(|(bin, n)| *bin = bin.wrapping_add(u32::from(*n)));
                    front.fill(0);
                }
            }
        }
    }
}

/// Where counts go.
trait Tally {
    /// Counts one value.
    fn bump(&mut self, bin: u32);
    /// Counts values of +0.
    fn zeros(&mut self, n: u32);
}

impl Tally for [u32; BINS] {
    #[inline(always)]
    fn bump(&mut self, bin: u32) {
        // The mask changes nothing: it shows the compiler that the index is in bounds.
        let count = &mut self[bin as usize & (BINS - 1)];
        *count = count.wrapping_add(1);
    }

    #[inline(always)]
    fn zeros(&mut self, n: u32) {
        self[0] = self[0].wrapping_add(n);
    }
}

struct Fronted<'a> {
    front: &'a mut [u8; BINS],
    bins: &'a mut [u32; BINS],
}

impl Tally for Fronted<'_> {
    #[inline(always)]
    fn bump(&mut self, bin: u32) {
        let bin = bin as usize & (BINS - 1);
        let count = &mut self.front[bin];
        *count = count.wrapping_add(1);
        if *count == 0 {
            self.bins[bin] = self.bins[bin].wrapping_add(1 << 8);
        }
    }

    #[inline(always)]
    fn zeros(&mut self, n: u32) {
        self.bins.zeros(n);
    }
}

fn count(values: &[f32], tally: &mut impl Tally) {
    match crate::isa::current() {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        // SAFETY: `current` gives `Avx512` only after the CPU reported the features that the function is built for.
        crate::isa::Isa::Avx512 => unsafe { x86::count_avx512(values, tally) },
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        // SAFETY: as above, for `Avx2`.
        crate::isa::Isa::Avx2 => unsafe { x86::count_avx2(values, tally) },
        crate::isa::Isa::Portable => count_each(values, tally),
    }
}

#[inline(always)]
fn count_each(values: &[f32], tally: &mut impl Tally) {
    for v in values {
        tally.bump(v.to_bits() >> SHIFT);
    }
}

/// Counts block by block; `pack` writes the bins of the values of a chunk whose bits are not all zero to the front
/// of its second argument, and says how many there were.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn count_packed<const LANES: usize>(
    values: &[f32],
    tally: &mut impl Tally,
    pack: impl Fn(&[f32; LANES], &mut [u32; LANES]) -> usize,
) {
    let mut packed = [0; BLOCK + 16];
    for block in values.chunks(BLOCK) {
        let zeros: u32 = block.iter().map(|v| u32::from(v.to_bits() == 0)).sum();
        if (zeros as usize) < block.len() / 16 {
            count_each(block, tally);
            continue;
        }
        let (chunks, tail) = block.as_chunks::<LANES>();
        let mut kept = 0;
        for chunk in chunks {
            let room = packed[kept..].first_chunk_mut().expect("room for one more chunk");
            kept += pack(chunk, room);
        }
        for bin in &packed[..kept] {
            tally.bump(*bin);
        }
        count_each(tail, tally);
        tally.zeros((chunks.len() * LANES - kept) as u32);
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::cast_ptr_alignment, reason = "the loads and stores used here need no alignment")]
mod x86 {
    use super::{BLOCK, SHIFT, Tally, count_each, count_packed};
    use crate::stats::x86::Sums512;
    use crate::stats::{ChannelStats, finite_or_any};
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_loadu_si256, _mm256_movemask_ps,
        _mm256_permutevar8x32_epi32, _mm256_setzero_si256, _mm256_srli_epi32, _mm256_storeu_si256,
        _mm512_castsi512_ps, _mm512_loadu_si512, _mm512_maskz_compress_epi32, _mm512_srli_epi32,
        _mm512_storeu_si512, _mm512_test_epi32_mask,
    };

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt")]
    pub(super) fn count_avx512(values: &[f32], tally: &mut impl Tally) {
        count_packed::<16>(values, tally, |chunk, room| pack_avx512(load(chunk), room));
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(chunk: &[f32; 16]) -> __m512i {
        #[allow(unsafe_code)]
        // SAFETY: reads the 16 lanes of an array of 16 floats; the load needs no alignment.
        unsafe {
            _mm512_loadu_si512(std::ptr::from_ref(chunk).cast::<__m512i>())
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,popcnt")]
    fn pack_avx512(bits: __m512i, room: &mut [u32; 16]) -> usize {
        let kept = _mm512_test_epi32_mask(bits, bits);
        // Compressing in a register and storing all of it: compressing into memory is microcode on some CPUs.
        let packed = _mm512_maskz_compress_epi32(kept, _mm512_srli_epi32::<SHIFT>(bits));
        #[allow(unsafe_code)]
        // SAFETY: writes the 16 lanes of an array of 16 integers; the store needs no alignment.
        unsafe {
            _mm512_storeu_si512(std::ptr::from_mut(room).cast::<__m512i>(), packed);
        }
        kept.count_ones() as usize
    }

    /// While the values of a stretch are packed and added up, as many of the bins of the stretch before are counted with
    /// each chunk: the same number each time, so that branches are predicted.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt")]
    pub(super) fn observe_avx512(
        values: &[f32],
        plane: usize,
        tally: &mut impl Tally,
        mut each: impl FnMut(&[f32], ChannelStats),
    ) {
        let (mut before, mut packed) = (&mut [0; BLOCK + 16], &mut [0; BLOCK + 16]);
        let mut waiting = 0;
        for plane in values.chunks(plane) {
            let (chunks, tail) = plane.as_chunks::<16>();
            let stretches = chunks.len().div_ceil(BLOCK / 16).max(1);
            let mut sums = Sums512::new();
            for stretch in chunks.chunks(chunks.len().div_ceil(stretches).max(1)) {
                let share = waiting / 4 / stretch.len();
                let (groups, _) = before.as_chunks::<4>();
                let mut kept = 0;
                for (i, chunk) in stretch.iter().enumerate() {
                    let bits = load(chunk);
                    sums.add(_mm512_castsi512_ps(bits));
                    let room = packed[kept..].first_chunk_mut().expect("room for one more chunk");
                    kept += pack_avx512(bits, room);
                    for group in &groups[i * share..][..share] {
                        for bin in group {
                            tally.bump(*bin);
                        }
                    }
                }
                for bin in &before[4 * share * stretch.len()..waiting] {
                    tally.bump(*bin);
                }
                tally.zeros((stretch.len() * 16 - kept) as u32);
                std::mem::swap(&mut before, &mut packed);
                waiting = kept;
            }
            count_each(tail, tally);
            each(plane, finite_or_any(sums.lanes().finish_with(tail), plane));
        }
        for bin in &before[..waiting] {
            tally.bump(*bin);
        }
    }

    /// For each set of lanes, the lanes in order, then anything.
    static FRONT: [[u32; 8]; 256] = {
        let mut table = [[0; 8]; 256];
        let mut set = 0;
        while set < 256 {
            let (mut lane, mut n) = (0, 0);
            while lane < 8 {
                if set >> lane & 1 == 1 {
                    table[set][n] = lane;
                    n += 1;
                }
                lane += 1;
            }
            set += 1;
        }
        table
    };

    #[target_feature(enable = "avx2,fma,popcnt")]
    pub(super) fn count_avx2(values: &[f32], tally: &mut impl Tally) {
        count_packed::<8>(values, tally, |chunk, room| {
            #[allow(unsafe_code)]
            // SAFETY: reads the 8 lanes of an array of 8 floats; the load needs no alignment.
            let bits = unsafe { _mm256_loadu_si256(std::ptr::from_ref(chunk).cast::<__m256i>()) };
            let zero = _mm256_cmpeq_epi32(bits, _mm256_setzero_si256());
            let kept = !_mm256_movemask_ps(_mm256_castsi256_ps(zero)) as u8;
            #[allow(unsafe_code)]
            // SAFETY: reads the 8 lanes of an array of 8 integers; the load needs no alignment.
            let order = unsafe { _mm256_loadu_si256(FRONT[kept as usize].as_ptr().cast::<__m256i>()) };
            let packed = _mm256_permutevar8x32_epi32(_mm256_srli_epi32::<{ SHIFT as i32 }>(bits), order);
            #[allow(unsafe_code)]
            // SAFETY: writes the 8 lanes of an array of 8 integers; the store needs no alignment.
            unsafe {
                _mm256_storeu_si256(std::ptr::from_mut(room).cast::<__m256i>(), packed);
            }
            kept.count_ones() as usize
        });
    }

    /// Counts with AVX2 on whatever this CPU has, or not at all.
    #[cfg(test)]
    pub(super) fn try_avx2(values: &[f32], bins: &mut [u32; super::BINS]) -> bool {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        if has {
            #[allow(unsafe_code)]
            // SAFETY: the features were detected above.
            unsafe {
                count_avx2(values, bins);
            }
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn every_path_counts_every_value() {
        for zeros in [0, 3, 20, 128, 250, 256] {
            for len in [0, 1, 7, 15, 16, 17, 1023, 1024, 1025, 5000] {
                let values = values(len, zeros);
                let want = counted(&values);
                let mut fast = vec![0; BINS];
                accumulate(&values, &mut fast);
                assert!(fast == want, "{zeros} {len}");
                let mut portable = vec![0; BINS];
                with_portable(|| accumulate(&values, &mut portable));
                assert!(portable == want, "portable {zeros} {len}");
                #[cfg(target_arch = "x86_64")]
                {
                    let mut bins = vec![0; BINS];
                    if x86::try_avx2(&values, bins.as_mut_slice().try_into().unwrap()) {
                        assert!(bins == want, "AVX2 {zeros} {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_front_counts_the_same_over_several_tensors() {
        let mut front = Front::default();
        for (zeros, len) in [(0, 3000), (128, 70_000), (20, 5000), (256, 1000)] {
            let values = values(len, zeros);
            let mut bins = vec![0; BINS];
            values.chunks(900).for_each(|part| front.accumulate(part, &mut bins));
            front.flush(&mut bins, (0.0, 0.0), true);
            assert!(bins == counted(&values), "{zeros} {len}");
        }
        // Within a range only its pages are looked at, and they are all that is needed.
        let tame: Vec<f32> = (0..5000).map(|i| (i % 700) as f32 * 0.01 - 1.5).chain([-0.0, 0.0]).collect();
        let mut bins = vec![0; BINS];
        front.accumulate(&tame, &mut bins);
        front.flush(&mut bins, (-1.5, 5.49), false);
        assert!(bins == counted(&tame));
        assert!(front.0.iter().all(|n| *n == 0));
    }

    #[test]
    fn one_pass_gives_what_two_give() {
        let (mut front, mut portable) = (Front::default(), Front::default());
        let (mut bins, mut want) = (vec![0; BINS], vec![0; BINS]);
        let (mut n, mut expected) = (0, 0);
        for zeros in [0, 20, 128, 250, 256] {
            let strange = values(3000, zeros);
            let finite: Vec<f32> = strange.iter().map(|v| if v.is_finite() { *v } else { 1.5 }).collect();
            for values in [strange, finite] {
                for len in (0..3000).step_by(if zeros == 128 { 1 } else { 61 }) {
                    let plane = [1, 15, 16, 49, 196, 1024, 1100, 3000][len % 8];
                    let values = &values[..len];
                    let mut planes = values.chunks(plane);
                    front.observe(values, plane, &mut bins, |seen, stats| {
                        let plane = planes.next().unwrap();
                        assert_eq!(seen.as_ptr(), plane.as_ptr());
                        assert_eq!(seen.len(), plane.len());
                        assert_eq!(stats, channel_stats(plane), "{zeros} {len}");
                        n += 1;
                    });
                    assert!(planes.next().is_none());
                    with_portable(|| portable.observe(values, plane, &mut want, |_, _| expected += 1));
                }
                front.flush(&mut bins, (0.0, 0.0), true);
                portable.flush(&mut want, (0.0, 0.0), true);
                assert!(bins == want, "{zeros}");
                assert_eq!(n, expected);
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
