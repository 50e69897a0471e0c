//! The float-bit histogram: a value is counted in the bin that the top 19 bits of its own bits name.
//!
//! Half of what follows a Relu is zero, and increments of one bin wait for one another. So where a block has many
//! zeros they are counted apart, and only the bins of the other values, packed together, are incremented one by one.

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

/// Counts every value, NaN and infinities included, in `bins`.
///
/// A bin holds what calls have added to it since the caller cleared it, and wraps: clear before 2³² values are seen.
///
/// Panics when `bins` has not [`BINS`] elements.
pub fn accumulate(values: &[f32], bins: &mut [u32]) {
    let bins: &mut [u32; BINS] = bins.try_into().expect("a histogram of 2^19 bins");
    match crate::isa::current() {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        // SAFETY: `current` gives `Avx512` only after the CPU reported the features that the function is built for.
        crate::isa::Isa::Avx512 => unsafe { x86::count_avx512(values, bins) },
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        // SAFETY: as above, for `Avx2`.
        crate::isa::Isa::Avx2 => unsafe { x86::count_avx2(values, bins) },
        crate::isa::Isa::Portable => count_each(values, bins),
    }
}

#[inline(always)]
fn count_each(values: &[f32], bins: &mut [u32; BINS]) {
    for &v in values {
        bump(bins, v.to_bits() >> SHIFT);
    }
}

#[inline(always)]
fn bump(bins: &mut [u32; BINS], bin: u32) {
    // The mask changes nothing: it shows the compiler that the index is in bounds.
    let count = &mut bins[bin as usize & (BINS - 1)];
    *count = count.wrapping_add(1);
}

/// Counts block by block; `pack` writes the bins of the values of a chunk whose bits are not all zero to the front
/// of its second argument, and says how many there were.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn count_packed<const LANES: usize>(
    values: &[f32],
    bins: &mut [u32; BINS],
    pack: impl Fn(&[f32; LANES], &mut [u32; LANES]) -> usize,
) {
    let mut packed = [0; BLOCK + 16];
    for block in values.chunks(BLOCK) {
        let zeros: u32 = block.iter().map(|v| u32::from(v.to_bits() == 0)).sum();
        if (zeros as usize) < block.len() / 16 {
            count_each(block, bins);
            continue;
        }
        let (chunks, tail) = block.as_chunks::<LANES>();
        let mut kept = 0;
        for chunk in chunks {
            let room = packed[kept..].first_chunk_mut().expect("room for one more chunk");
            kept += pack(chunk, room);
        }
        for &bin in &packed[..kept] {
            bump(bins, bin);
        }
        count_each(tail, bins);
        bins[0] = bins[0].wrapping_add((chunks.len() * LANES - kept) as u32);
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::cast_ptr_alignment, reason = "the loads and stores used here need no alignment")]
mod x86 {
    use super::{BINS, SHIFT, count_packed};
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_loadu_si256, _mm256_movemask_ps,
        _mm256_permutevar8x32_epi32, _mm256_setzero_si256, _mm256_srli_epi32, _mm256_storeu_si256,
        _mm512_loadu_si512, _mm512_maskz_compress_epi32, _mm512_srli_epi32, _mm512_storeu_si512,
        _mm512_test_epi32_mask,
    };

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt")]
    pub(super) fn count_avx512(values: &[f32], bins: &mut [u32; BINS]) {
        // Compressing in a register and storing all of it: compressing into memory is microcode on some CPUs.
        count_packed::<16>(values, bins, |chunk, room| {
            #[allow(unsafe_code)]
            // SAFETY: reads the 16 lanes of an array of 16 floats; the load needs no alignment.
            let bits = unsafe { _mm512_loadu_si512(std::ptr::from_ref(chunk).cast::<__m512i>()) };
            let kept = _mm512_test_epi32_mask(bits, bits);
            let packed = _mm512_maskz_compress_epi32(kept, _mm512_srli_epi32::<SHIFT>(bits));
            #[allow(unsafe_code)]
            // SAFETY: writes the 16 lanes of an array of 16 integers; the store needs no alignment.
            unsafe {
                _mm512_storeu_si512(std::ptr::from_mut(room).cast::<__m512i>(), packed);
            }
            kept.count_ones() as usize
        });
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
    pub(super) fn count_avx2(values: &[f32], bins: &mut [u32; BINS]) {
        count_packed::<8>(values, bins, |chunk, room| {
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
    pub(super) fn try_avx2(values: &[f32], bins: &mut [u32; BINS]) -> bool {
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
