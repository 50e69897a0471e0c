//! Which bin a value falls into, and what values a bin holds.
//!
//! `bin = bits >> 13`: sign, 8 exponent bits, 10 mantissa bits. A page is the 1024 bins of one sign and exponent.
//! Negative bins are ordered by magnitude: a larger index is a smaller value.
//!
//! Zeros share their bin with the denormals below 2^-136, which are zero for every purpose of quantization. Pages 255 and 511
//! hold infinities and NaNs; these are counted exactly elsewhere.

/// Bits of an f32 that do not count.
pub const BIN_SHIFT: u32 = 13;
/// Number of bins.
pub const BINS: usize = 1 << 19;
/// Bins of one page: one sign and exponent.
pub const PAGE_BINS: usize = 1 << 10;
/// Number of pages.
pub const PAGES: usize = BINS / PAGE_BINS;
/// The bin of +0 and of positive values below 2^-136.
pub const ZERO_BIN: u32 = 0;
/// The bin of -0 and of negative values above -2^-136.
pub const NEGATIVE_ZERO_BIN: u32 = 1 << 18;
/// The page of +infinity and of NaNs without a sign.
pub const NON_FINITE_PAGE: usize = 255;
/// The page of -infinity and of NaNs with a sign.
pub const NEGATIVE_NON_FINITE_PAGE: usize = 511;

/// The bin of a value.
#[inline]
pub fn bin_of(value: f32) -> u32 {
    value.to_bits() >> BIN_SHIFT
}

/// The page of a bin.
#[inline]
pub fn page_of(bin: u32) -> usize {
    bin as usize / PAGE_BINS
}

/// Whether the bin holds negative values (or -0).
#[inline]
pub fn is_negative(bin: u32) -> bool {
    bin >= NEGATIVE_ZERO_BIN
}

/// Whether the bin holds finite values.
#[inline]
pub fn is_finite(bin: u32) -> bool {
    page_of(bin) & NON_FINITE_PAGE != NON_FINITE_PAGE
}

/// The edge of the bin that is nearer to zero, and belongs to the bin: a float with a 10-bit mantissa.
#[inline]
pub fn bin_lower(bin: u32) -> f32 {
    f32::from_bits(bin << BIN_SHIFT)
}

/// The edge of the bin that is farther from zero, where the next bin begins; infinity behind the largest finite bin.
#[inline]
pub fn bin_upper(bin: u32) -> f32 {
    f32::from_bits((bin << BIN_SHIFT) + (1 << BIN_SHIFT))
}

/// The width of a finite bin: 2^(e-10) for values in [2^e, 2^(e+1)), and 2^-136 for denormals.
#[inline]
pub fn bin_width(bin: u32) -> f64 {
    // Denormals have the step of exponent 1.
    let exponent = (page_of(bin) & NON_FINITE_PAGE).max(1) as i32;
    power_of_two(exponent - 127 - 10)
}

/// The middle of a finite bin, exact in f64; 0 for both bins of zeros, since what falls there is almost always zero.
#[inline]
pub fn bin_center(bin: u32) -> f64 {
    if bin & (NEGATIVE_ZERO_BIN - 1) == 0 {
        return 0.0;
    }
    let lower = bin_lower(bin) as f64;
    lower + (bin_width(bin) / 2.0).copysign(lower)
}

/// 2^exponent for a normal f64.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_bin_has_its_edges_centre_and_width() {
        for bin in (0..BINS as u32).filter(|&b| is_finite(b)) {
            let (lower, upper) = (bin_lower(bin) as f64, bin_upper(bin) as f64);
            assert_eq!(bin_of(bin_lower(bin)), bin);
            assert_eq!(bin_of(f32::from_bits(((bin + 1) << BIN_SHIFT) - 1)), bin);
            if upper.is_finite() {
                assert_eq!((upper - lower).abs(), bin_width(bin), "{bin}");
            }
            if bin != ZERO_BIN && bin != NEGATIVE_ZERO_BIN {
                assert_eq!((bin_center(bin) - lower).abs(), bin_width(bin) / 2.0, "{bin}");
                assert_eq!(bin_center(bin) < 0.0, is_negative(bin));
            }
        }
        assert_eq!((bin_center(ZERO_BIN), bin_center(NEGATIVE_ZERO_BIN)), (0.0, 0.0));
    }

    #[test]
    fn special_values_have_their_places() {
        assert_eq!((bin_of(0.0), bin_of(-0.0)), (ZERO_BIN, NEGATIVE_ZERO_BIN));
        for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)] {
            assert!(!is_finite(bin_of(value)));
        }
        assert!(is_finite(bin_of(f32::MAX)) && is_finite(bin_of(f32::MIN)));
        assert_eq!(bin_of(f32::from_bits(1)), ZERO_BIN);
        assert_eq!(page_of(bin_of(1.0)), 127);
    }

    #[test]
    fn no_bin_straddles_a_rounding_boundary_of_a_power_of_two_scale() {
        // With scale s, boundaries are the odd multiples of s/2; below 128 s none lies inside a bin.
        let s = 0.125_f32;
        for k in 0..128 {
            let boundary = (2 * k + 1) as f32 * s / 2.0;
            assert_eq!(bin_lower(bin_of(boundary)), boundary);
            assert!(bin_width(bin_of(boundary)) <= s as f64 / 16.0);
        }
    }
}
