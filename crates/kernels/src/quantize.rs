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
        /// What rounds a sum of less than 2⁵¹ to an integer: a rounding function is a library call on some CPUs.
        const ROUND: f64 = 6_755_399_441_055_744.0;
        let zero = f64::from(self.zero_point);
        let (lo, hi) = (f64::from(self.qmin) - zero, f64::from(self.qmax) - zero);
        let v = f64::from(x / self.scale);
        // False for NaN, which thus becomes `lo`.
        let v = if v > lo { v } else { lo };
        let v = if v < hi { v } else { hi };
        ((v + ROUND) - ROUND) as f32 * self.scale
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
        for v in x {
            *v = grid.wide(*v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::with_portable;
    use proptest::prelude::*;

    /// The definition, one value at a time, in integers.
    fn define(x: f32, scale: f32, zero: i32, lo: i32, hi: i32) -> i32 {
        let quotient = (x / scale).round_ties_even();
        if quotient.is_nan() {
            lo
        } else {
            (quotient as i64).saturating_add(zero.into()).clamp(lo.into(), hi.into()) as i32
        }
    }

    fn input() -> impl Strategy<Value = (Vec<f32>, f32)> {
        let scale = prop_oneof![1e-6_f32..10.0, (-20..10_i32).prop_map(|e| 2.0_f32.powi(e))];
        scale.prop_flat_map(|s| {
            let value = prop_oneof![
                // Halves of steps, where rounding to even and dividing exactly matter.
                4 => (-140_000..140_000_i32).prop_map(move |k| k as f32 * 0.5 * s),
                4 => (-300.0_f32..300.0).prop_map(move |v| v * s),
                1 => any::<u32>().prop_map(f32::from_bits),
                1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0]),
            ];
            (prop::collection::vec(value, 1..200), Just(s))
        })
    }

    macro_rules! agree {
        ($ty:ty, $x:expr, $scale:expr, $zero:expr, $quantize:ident, $dequantize:ident) => {{
            let (x, scale, zero) = (&$x, $scale, $zero as $ty);
            let (lo, hi) = (i32::from(<$ty>::MIN), i32::from(<$ty>::MAX));
            let want: Vec<$ty> = x.iter().map(|&v| define(v, scale, zero.into(), lo, hi) as $ty).collect();
            let mut q: Vec<$ty> = vec![0; x.len()];
            $quantize(x, scale, zero, &mut q);
            prop_assert_eq!(&q, &want);
            with_portable(|| $quantize(x, scale, zero, &mut q));
            prop_assert_eq!(&q, &want);
            let mut y = vec![0.0; x.len()];
            $dequantize(&q, scale, zero, &mut y);
            let grid = Grid { scale, zero_point: zero.into(), qmin: lo, qmax: hi };
            let mut fused = vec![0.0; x.len()];
            fake_quantize(x, grid, &mut fused);
            let mut portable = x.clone();
            with_portable(|| fake_quantize_in_place(&mut portable, grid));
            for i in 0..x.len() {
                let defined = (i32::from(q[i]) - i32::from(zero)) as f32 * scale;
                prop_assert_eq!(y[i].to_bits(), defined.to_bits());
                prop_assert_eq!(fused[i].to_bits(), defined.to_bits(), "{}", x[i]);
                prop_assert_eq!(portable[i].to_bits(), defined.to_bits());
                prop_assert_eq!(grid.wide(x[i]), defined);
            }
        }};
    }

    proptest! {
        #[test]
        fn quantizing_is_exact((x, scale) in input(), zero: i32) {
            agree!(u8, x, scale, zero, quantize_u8, dequantize_u8);
            agree!(i8, x, scale, zero, quantize_i8, dequantize_i8);
            agree!(u16, x, scale, zero, quantize_u16, dequantize_u16);
            agree!(i16, x, scale, zero, quantize_i16, dequantize_i16);
            agree!(i8, x, scale, 0, quantize_i8, dequantize_i8);
        }
    }

    #[test]
    fn thirty_two_bit_grids_saturate() {
        let grid = Grid { scale: 0.5, zero_point: 0, qmin: i32::MIN, qmax: i32::MAX };
        let mut x = [1e30, -1e30, 0.75, -0.75, 3.1, f32::INFINITY];
        fake_quantize_in_place(&mut x, grid);
        assert_eq!(x, [1_073_741_800.0, -1_073_741_800.0, 1.0, -1.0, 3.0, 1_073_741_800.0]);
    }
}
