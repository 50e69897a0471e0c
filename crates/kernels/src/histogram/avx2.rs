//! Packing with AVX2.

use std::arch::x86_64::{
    __m256i, _mm_packus_epi32, _mm256_and_si256, _mm256_castsi256_ps, _mm256_castsi256_si128,
    _mm256_cmpeq_epi32, _mm256_extracti128_si256, _mm256_movemask_ps, _mm256_or_si256,
    _mm256_permutevar8x32_epi32, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_srli_epi32,
    _mm256_sub_epi32,
};

use bytemuck::cast;

use super::front::QUEUE;
use super::window::{OUTSIDE, Window};

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

/// Writes the places of the values of a block, but for those that have none, to the front of `queue`. Says how many there
/// were, and whether there were others than +0 without one.
#[target_feature(enable = "avx2,fma,popcnt")]
pub(super) fn pack(block: &[f32], window: Window, queue: &mut [u16; QUEUE]) -> (usize, bool) {
    let base = _mm256_set1_epi32(window.base() as i32);
    let outside = _mm256_set1_epi32(OUTSIDE as i32);
    let (mantissa, sign) = (_mm256_set1_epi32(0x7fff), _mm256_set1_epi32(0x8000));
    let zero = _mm256_setzero_si256();
    let (mut kept, mut strange) = (0, 0);
    let (chunks, tail) = block.as_chunks::<8>();
    let mut last = [0.0; 8];
    last[..tail.len()].copy_from_slice(tail);
    // Zeros that fill the last chunk have no place.
    for chunk in chunks.iter().chain([&last]) {
        let bits: __m256i = cast(*chunk);
        let some = !_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, zero)));
        let moved = _mm256_sub_epi32(bits, base);
        let inside = _mm256_cmpeq_epi32(_mm256_and_si256(moved, outside), zero);
        let inside = _mm256_movemask_ps(_mm256_castsi256_ps(inside));
        let places = _mm256_or_si256(
            _mm256_and_si256(_mm256_srli_epi32::<13>(moved), mantissa),
            _mm256_and_si256(_mm256_srli_epi32::<16>(moved), sign),
        );
        let packed = _mm256_permutevar8x32_epi32(places, cast(FRONT[inside as usize & 255]));
        let packed = _mm_packus_epi32(_mm256_castsi256_si128(packed), _mm256_extracti128_si256::<1>(packed));
        *queue[kept..].first_chunk_mut().expect("room for one more chunk") = cast::<_, [u16; 8]>(packed);
        kept += inside.count_ones() as usize;
        strange |= (some ^ inside) & 255;
    }
    (kept, strange != 0)
}
