//! Which bins have a place in the small table, and where.

use super::{BINS, PAGE, SHIFT};

/// Exponents that the small table has pages for.
pub(super) const EXPONENTS: usize = 32;

/// Places of the small table: two signs, [`EXPONENTS`] exponents, 10 bits of mantissa.
pub(super) const PLACES: usize = 2 * EXPONENTS * PAGE;

/// Exponents below that of the largest value looked at, so that values up to 2⁸ times as large have a place too.
const BELOW: u32 = 23;

/// Bits that must be zero once the first exponent is subtracted.
pub(super) const OUTSIDE: u32 = 0x7000_0000;

/// Values that are looked at to place a window.
const LOOKS: usize = 64;

/// The exponents whose values are counted in the small table; zeros, denormals, infinities and NaNs are never among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// The lowest exponent, biased.
    first: u32,
}

impl Window {
    /// A window with its lowest exponent where it is possible and nearest to `first`.
    fn new(first: u32) -> Self {
        Self { first: first.clamp(1, 255 - EXPONENTS as u32) }
    }

    /// A window for values like these, as far as a look at a few of them tells.
    pub(super) fn around(values: &[f32]) -> Self {
        let (chunks, tail) = values.as_chunks::<16>();
        let mut largest = 0;
        let mut look = |values: &[f32]| {
            for v in values {
                let bits = v.to_bits() & 0x7fff_ffff;
                let finite = if bits < 0x7f80_0000 { bits } else { 0 };
                largest = largest.max(finite);
            }
        };
        chunks.iter().step_by((chunks.len() / LOOKS).max(1)).for_each(|chunk| look(chunk));
        look(tail);
        if largest == 0 {
            Self::new(127 + 2 - BELOW)
        } else {
            Self::new((largest >> 23).saturating_sub(BELOW))
        }
    }

    /// What is subtracted from the bits of a value before its place is taken from them.
    #[inline(always)]
    pub(super) fn base(self) -> u32 {
        self.first << 23
    }

    /// Whether the value with these bits has a place, and which.
    #[inline(always)]
    pub(super) fn place(self, bits: u32) -> (bool, u16) {
        let moved = bits.wrapping_sub(self.base());
        // Without a borrow the sign is still there, and the exponent fits into five bits.
        (moved & OUTSIDE == 0, (moved >> SHIFT & 0x7fff | moved >> 16 & 0x8000) as u16)
    }

    /// The bin of the first place of a page, pages counted through both signs.
    pub(super) fn bin_of_page(self, page: usize) -> usize {
        let (sign, exponent) = (page / EXPONENTS, page % EXPONENTS);
        sign * (BINS / 2) + (self.first as usize + exponent) * PAGE
    }

    /// The exponent e of a page, whose values are from 2^e to below 2^(e + 1).
    pub(super) fn exponent_of_page(self, page: usize) -> i32 {
        self.first as i32 + (page % EXPONENTS) as i32 - 127
    }

    /// Pages that values of either sign may have, given the extremes of all finite values.
    pub(super) fn pages(self, (min, max): (f32, f32)) -> impl Iterator<Item = usize> {
        let reach = move |bound: f32| {
            let exponent = (bound.to_bits() >> 23 & 0xff) as usize;
            (exponent + 1).saturating_sub(self.first as usize).min(EXPONENTS)
        };
        (0..reach(max.max(0.0))).chain(EXPONENTS..EXPONENTS + reach(min.min(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::bin_of;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_place_leads_back_to_the_bin(bits: u32, largest in 0_u32..255) {
            let window = Window::around(&[f32::from_bits(largest << 23)]);
            let (inside, place) = window.place(bits);
            let exponent = bits >> 23 & 0xff;
            prop_assert_eq!(inside, (window.first..window.first + 32).contains(&exponent));
            if inside {
                let (page, at) = (place as usize / PAGE, place as usize % PAGE);
                let value = f32::from_bits(bits);
                prop_assert_eq!(window.bin_of_page(page) + at, bin_of(value));
                prop_assert!(window.pages((value, value)).any(|p| p == page));
            }
        }
    }

    #[test]
    fn what_is_not_a_normal_number_has_no_place() {
        for largest in [0.0, f32::MIN_POSITIVE, 1.0, f32::MAX] {
            let window = Window::around(&[largest]);
            for value in [0.0, -0.0, 1e-40, -1e-40, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
                assert!(!window.place(value.to_bits()).0, "{value} beside {largest}");
            }
            assert_eq!(window.place(largest.to_bits()).0, largest != 0.0);
        }
    }
}
