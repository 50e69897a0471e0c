//! Block floating point.
//!
//! With `E` the largest exponent of a block and `m` mantissa bits, the elements become multiples of `2^(E − m + 1)`.
//! The width of a format counts 8 bits of shared exponent, a sign and the mantissa: `m = width − 9`.

use std::marker::PhantomData;

use super::driver::{Format, Round, Sizes, check, sweep_with};
use super::{Axis, Rounding, power_of_two, round_bf16};
use crate::isa::{at_least, at_most, select};

/// Which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Mantissas from `−(2^m − 1)` to `2^m − 1`. One that would round to `2^m` is clamped.
    Plain,
    /// Two's complement mantissas, `−2^m` to `2^m − 1`. A block in which a mantissa would round beyond takes the next
    /// larger exponent. This is what the compilers of the hardware compute.
    Compiler,
    /// Microexponents: each part of a block lowers the shared exponent by up to `2^shift_bits − 1`, as far as its own
    /// largest exponent allows. Mantissas from `−(2^m − 1)` to `2^m − 1`; subnormal elements become zero.
    Microexponents {
        /// Elements of a part; divides the block.
        part: usize,
        /// Bits of a part's shift, 1 to 7.
        shift_bits: u32,
    },
}

/// A block floating point format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bfp {
    /// Which format.
    pub method: Method,
    /// Mantissa bits without the sign, 2 to 15.
    pub mantissa_bits: u32,
    /// Elements of a block.
    pub block: usize,
    /// How mantissas are rounded.
    pub rounding: Rounding,
    /// Whether elements are rounded to bfloat16 first, halves to even.
    pub from_bf16: bool,
}

/// Quantizes and dequantizes in place. Panics when the format is not one that [`Bfp`] describes, or `x` is not made of
/// whole slabs of the axis.
pub fn fake_quantize(x: &mut [f32], axis: Axis, format: &Bfp) {
    let m = format.mantissa_bits;
    assert!((2..=15).contains(&m), "{m} mantissa bits");
    let part = if let Method::Microexponents { part, .. } = format.method { part } else { format.block };
    let sizes = Sizes { block: format.block, part };
    check(x, axis, sizes);
    if format.from_bf16 {
        round_bf16(x);
    }
    let rounding = format.rounding;
    match format.method {
        Method::Plain => {
            sweep_with!(rounding, x, axis, sizes, |R| Plain::<R>(m, PhantomData), Plain);
        }
        Method::Compiler => {
            sweep_with!(rounding, x, axis, sizes, |R| Compiler::<R>(m, PhantomData), Compiler);
        }
        Method::Microexponents { shift_bits, .. } => {
            assert!((1..=7).contains(&shift_bits), "a shift of {shift_bits} bits");
            let deepest = (1 << shift_bits) - 1;
            sweep_with!(rounding, x, axis, sizes, |R| Micro::<R>(m, deepest, PhantomData), Micro);
        }
    }
}

/// `2^(E − m + 1)` for the biased exponent of `E`.
#[inline(always)]
fn step(exponent: u32, mantissa_bits: u32) -> f32 {
    power_of_two(exponent as i32 - 126 - mantissa_bits as i32)
}

#[inline(always)]
fn clamped(y: f32, bound: f32) -> f32 {
    at_most(at_least(y, -bound), bound)
}

#[derive(Clone, Copy)]
struct Plain<R>(u32, PhantomData<R>);

impl<R: Round> Format for Plain<R> {
    #[inline(always)]
    fn shared(self, block: u32, _: u32) -> (f32, f32) {
        let step = step(block, self.0);
        (step, ((1 << self.0) - 1) as f32 * step)
    }

    #[inline(always)]
    fn element(self, x: f32, step: f32, bound: f32) -> f32 {
        clamped(R::round(x / step) * step, bound)
    }
}

#[derive(Clone, Copy)]
struct Compiler<R>(u32, PhantomData<R>);

impl<R: Round> Format for Compiler<R> {
    const GROWS: bool = true;

    #[inline(always)]
    fn shared(self, block: u32, _: u32) -> (f32, f32) {
        let step = step(block, self.0);
        // A block of the largest numbers that grew ends below 2^128, where half of the mantissas are.
        let largest = if block > 254 { (1 << (self.0 - 1)) - 1 } else { (1 << self.0) - 1 };
        (step, largest as f32 * step)
    }

    #[inline(always)]
    fn overflows(self, x: f32, step: f32) -> bool {
        let (mantissa, limit) = (R::round(x / step), (1 << self.0) as f32);
        mantissa >= limit || mantissa < -limit
    }

    #[inline(always)]
    fn element(self, x: f32, step: f32, bound: f32) -> f32 {
        let lowest = bound + step;
        let lowest = select(lowest <= f32::MAX, lowest, bound);
        at_most(at_least(R::round(x / step) * step, -lowest), bound)
    }
}

#[derive(Clone, Copy)]
struct Micro<R>(u32, u32, PhantomData<R>);

impl<R: Round> Format for Micro<R> {
    const PARTS: bool = true;

    #[inline(always)]
    fn shared(self, block: u32, part: u32) -> (f32, f32) {
        let step = step(block - (block - part).min(self.1), self.0);
        (step, ((1 << self.0) - 1) as f32 * step)
    }

    #[inline(always)]
    fn element(self, x: f32, step: f32, bound: f32) -> f32 {
        let y = clamped(R::round(x / step) * step, bound);
        select(x.abs() < f32::MIN_POSITIVE, 0.0, y)
    }
}
