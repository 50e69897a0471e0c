//! Microscaling (MX) formats: small floats that share a power of two.
//!
//! With `Emax` the largest exponent of a block and `emax` that of the largest element, the block's scale is
//! `X = 2^(Emax − emax)`, and an element is `x / X` rounded to the element format: to a multiple of the spacing of its
//! binade (of the subnormals below the smallest normal one), saturating at the largest number. Unlike the formats that
//! hold these blocks in memory, scales may be as small as float32 allows.

use std::marker::PhantomData;

use super::driver::{Format, Round, Sizes, check, sweep_with};
use super::{Axis, Rounding, power_of_two};
use crate::isa::{at_least, at_most};

/// The format of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 8 bits, 5 of them exponent: up to 57344.
    Fp8E5M2,
    /// 8 bits, 4 of them exponent: up to 448.
    Fp8E4M3,
    /// 6 bits, 3 of them exponent: up to 28.
    Fp6E3M2,
    /// 6 bits, 2 of them exponent: up to 7.5.
    Fp6E2M3,
    /// 4 bits, 2 of them exponent: up to 6.
    Fp4E2M1,
    /// 64ths from −2 to 127/64.
    Int8,
}

/// What the sweep needs to know of an element format.
#[derive(Clone, Copy)]
struct Grid {
    /// Exponent of the largest number.
    emax: i32,
    /// Exponent of the smallest normal number.
    emin: i32,
    /// Mantissa bits behind the point.
    mantissa_bits: u32,
    /// The largest number.
    largest: f32,
    /// The lowest number, negated.
    lowest: f32,
}

impl Element {
    fn grid(self) -> Grid {
        let float =
            |emax, emin, mantissa_bits, largest| Grid { emax, emin, mantissa_bits, largest, lowest: largest };
        match self {
            Self::Fp8E5M2 => float(15, -14, 2, 57344.0),
            Self::Fp8E4M3 => float(8, -6, 3, 448.0),
            Self::Fp6E3M2 => float(4, -2, 2, 28.0),
            Self::Fp6E2M3 => float(2, 0, 3, 7.5),
            Self::Fp4E2M1 => float(2, 0, 1, 6.0),
            // Below 2 all 64ths are as far apart as those from 1 on.
            Self::Int8 => Grid { emax: 0, emin: 0, mantissa_bits: 6, largest: 127.0 / 64.0, lowest: 2.0 },
        }
    }
}

/// A microscaling format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mx {
    /// Format of the elements.
    pub element: Element,
    /// Elements of a block.
    pub block: usize,
    /// How elements are rounded.
    pub rounding: Rounding,
}

/// Quantizes and dequantizes in place. Panics when blocks have no elements, or `x` is not made of whole slabs of the
/// axis.
pub fn fake_quantize(x: &mut [f32], axis: Axis, format: &Mx) {
    let sizes = Sizes { block: format.block, part: format.block };
    check(x, axis, sizes);
    let grid = format.element.grid();
    sweep_with!(format.rounding, x, axis, sizes, |R| Scaled::<R>(grid, PhantomData), Scaled);
}

#[derive(Clone, Copy)]
struct Scaled<R>(Grid, PhantomData<R>);

impl<R: Round> Format for Scaled<R> {
    #[inline(always)]
    fn shared(self, block: u32, _: u32) -> (f32, f32) {
        let x = power_of_two(block as i32 - 127 - self.0.emax);
        // Only the lowest 64th of the largest numbers is no float32.
        (x, if self.0.lowest * x <= f32::MAX { self.0.lowest } else { self.0.largest })
    }

    #[inline(always)]
    fn element(self, x: f32, step: f32, bound: f32) -> f32 {
        let v = x / step;
        let binade = (v.to_bits() & 0x7f80_0000).max(((self.0.emin + 127) as u32) << 23);
        let spacing = f32::from_bits(binade.wrapping_sub(self.0.mantissa_bits << 23));
        let rounded = R::round(v / spacing) * spacing;
        at_most(at_least(rounded, -bound), self.0.largest) * step
    }
}
