//! QuantizeLinear and DequantizeLinear of ONNX, bit for bit.
//!
//! `q = saturate(round_half_even(x / s) + z)` and `y = (q − z) · s`. The quotient is a division: multiplying by `1 / s`
//! lands one step off for some inputs of every scale that is not a power of two. Like ONNX Runtime, NaN quantizes to
//! the lowest value, and negative zero to what zero does.

use crate::math::ROUND;

/// Integers on which rounding by addition is exact.
const EXACT: i32 = 1 << 22;

/// The quotient, clamped while it is a float (so that huge and infinite ones saturate) and rounded half to even.
/// `lo` and `hi` are the limits of `q − z`.
#[inline(always)]
fn round_clamped(x: f32, scale: f32, lo: f32, hi: f32) -> f32 {
    let v = x / scale;
    // False for NaN, which thus becomes `lo`.
    let v = if v > lo { v } else { lo };
    let v = if v < hi { v } else { hi };
    (v + ROUND) - ROUND
}

macro_rules! quantize_as {
    ($ty:ty, $name:ident, $body:ident, $back:ident, $back_body:ident) => {
        #[inline(always)]
        fn $body(x: &[f32], scale: f32, zero_point: $ty, out: &mut [$ty]) {
            assert_eq!(x.len(), out.len(), "quantized values");
            let zero = i32::from(zero_point);
            let lo = (i32::from(<$ty>::MIN) - zero) as f32;
            let hi = (i32::from(<$ty>::MAX) - zero) as f32;
            for (q, &x) in out.iter_mut().zip(x) {
                // The low bits of the shifted sum are the integer: no conversion that saturates is needed.
                let shifted = round_clamped(x, scale, lo, hi) + ROUND;
                *q =
                    (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32).wrapping_add(zero) as $ty;
            }
        }

        #[inline(always)]
        fn $back_body(q: &[$ty], scale: f32, zero_point: $ty, out: &mut [f32]) {
            assert_eq!(q.len(), out.len(), "dequantized values");
            for (y, &q) in out.iter_mut().zip(q) {
                *y = (i32::from(q) - i32::from(zero_point)) as f32 * scale;
            }
        }

        dispatch! {
            /// `saturate(round_half_even(x / scale) + zero_point)`.
            pub fn $name(x: &[f32], scale: f32, zero_point: $ty, out: &mut [$ty]) => $body
        }

        dispatch! {
            /// `(q − zero_point) · scale`.
            pub fn $back(q: &[$ty], scale: f32, zero_point: $ty, out: &mut [f32]) => $back_body
        }
    };
}

quantize_as!(u8, quantize_u8, quantize_u8_body, dequantize_u8, dequantize_u8_body);
quantize_as!(i8, quantize_i8, quantize_i8_body, dequantize_i8, dequantize_i8_body);
quantize_as!(u16, quantize_u16, quantize_u16_body, dequantize_u16, dequantize_u16_body);
quantize_as!(i16, quantize_i16, quantize_i16_body, dequantize_i16, dequantize_i16_body);

/// `(q − zero_point) · scale` of 32-bit integers, as bias tensors have them.
pub fn dequantize_i32(q: &[i32], scale: f32, zero_point: i32, out: &mut [f32]) {
    assert_eq!(q.len(), out.len(), "dequantized values");
    for (y, &q) in out.iter_mut().zip(q) {
        *y = q.wrapping_sub(zero_point) as f32 * scale;
    }
}

/// The grid that a quantizer maps to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Size of a step, positive.
    pub scale: f32,
    /// The integer that stands for zero.
    pub zero_point: i32,
    /// The lowest integer.
    pub qmin: i32,
    /// The highest integer.
    pub qmax: i32,
}

impl Grid {
    fn is_narrow(&self) -> bool {
        [self.qmin, self.qmax]
            .iter()
            .all(|q| (i64::from(*q) - i64::from(self.zero_point)).abs() <= EXACT as i64)
    }

    /// Quantizes and dequantizes one value of a grid of any width.
    fn wide(&self, x: f32) -> f32 {
        let rounded = f64::from((x / self.scale).round_ties_even()) + f64::from(self.zero_point);
        let q = if rounded > f64::from(self.qmin) { rounded } else { f64::from(self.qmin) };
        let q = q.min(f64::from(self.qmax));
        (q - f64::from(self.zero_point)) as f32 * self.scale
    }
}

#[inline(always)]
fn fake_in_place_body(x: &mut [f32], grid: Grid) {
    let (lo, hi) = ((grid.qmin - grid.zero_point) as f32, (grid.qmax - grid.zero_point) as f32);
    for v in x {
        *v = round_clamped(*v, grid.scale, lo, hi) * grid.scale;
    }
}

#[inline(always)]
fn fake_body(x: &[f32], grid: Grid, out: &mut [f32]) {
    let (lo, hi) = ((grid.qmin - grid.zero_point) as f32, (grid.qmax - grid.zero_point) as f32);
    for (y, &v) in out.iter_mut().zip(x) {
        *y = round_clamped(v, grid.scale, lo, hi) * grid.scale;
    }
}

dispatch! { fn fake_in_place(x: &mut [f32], grid: Grid) => fake_in_place_body, wide }
dispatch! { fn fake_to(x: &[f32], grid: Grid, out: &mut [f32]) => fake_body, wide }

/// Quantizes and dequantizes: the bits that QuantizeLinear followed by DequantizeLinear gives.
pub fn fake_quantize(x: &[f32], grid: Grid, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "fake-quantized values");
    if grid.is_narrow() {
        fake_to(x, grid, out);
    } else {
        out.iter_mut().zip(x).for_each(|(y, &x)| *y = grid.wide(x));
    }
}

/// As [`fake_quantize`], in place.
pub fn fake_quantize_in_place(x: &mut [f32], grid: Grid) {
    if grid.is_narrow() {
        fake_in_place(x, grid);
    } else {
        x.iter_mut().for_each(|v| *v = grid.wide(*v));
    }
}
