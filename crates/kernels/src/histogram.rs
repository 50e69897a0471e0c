//! The float-bit histogram: a value is counted in the bin that the top 19 bits of its own bits name.

/// Bins of a histogram: sign, 8 bits of exponent, 10 bits of mantissa.
pub const BINS: usize = 1 << 19;

/// Bits of the mantissa that a bin does not tell apart.
const SHIFT: u32 = 13;

/// The bin of a value.
#[inline(always)]
pub fn bin_of(value: f32) -> usize {
    (value.to_bits() >> SHIFT) as usize
}

/// Counts every value, NaN and infinities included, in `bins`.
///
/// A bin holds what one call adds to it, so callers empty the counts into wider ones before 2³² values are seen.
///
/// Panics when `bins` has not [`BINS`] elements.
pub fn accumulate(values: &[f32], bins: &mut [u32]) {
    let bins: &mut [u32; BINS] = bins.try_into().expect("a histogram of 2^19 bins");
    for &v in values {
        bins[bin_of(v)] += 1;
    }
}
