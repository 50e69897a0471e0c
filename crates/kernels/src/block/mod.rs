//! Block formats: the elements of a block along one axis share an exponent. What [`bfp`] and [`mx`] have in common.
//!
//! Everything here quantizes and dequantizes in one step, float32 to float32, in place. Scales are powers of two made
//! from exponent bits, so dividing by them is exact and no result depends on the CPU.
//!
//! In every format infinities and NaN pass through and take no part in the shared exponent, a zero keeps its sign, and
//! what is finite stays finite.

pub mod bfp;
mod driver;
pub mod mx;

/// What becomes of a value halfway between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Away from zero: 0.5 → 1, −0.5 → −1.
    HalfAway,
    /// Upwards: 0.5 → 1, −0.5 → 0. What DPU hardware does.
    HalfUp,
    /// To the even neighbour: 0.5 → 0, 1.5 → 2.
    HalfEven,
}

/// How a row-major tensor is seen along one axis: `outer × along × inner` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Elements along the axis, which blocks divide; the last block may be short.
    pub along: usize,
    /// Elements between neighbours along the axis.
    pub inner: usize,
}

impl Axis {
    /// Axis `axis` of a tensor of this shape. Panics when there is no such axis.
    pub fn of(shape: &[usize], axis: usize) -> Self {
        Self { along: shape[axis], inner: shape[axis + 1..].iter().product() }
    }
}

/// Rounds to the nearest bfloat16, halves to even; beyond its largest number that is infinity. NaN stays NaN.
pub fn round_bf16(x: &mut [f32]) {
    for v in x {
        *v = bf16(*v);
    }
}

#[inline(always)]
fn bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    // Rounding could carry a NaN into infinity.
    f32::from_bits(if x.is_nan() { bits } else { rounded })
}

/// `2^e`, for `−149 <= e <= 127`.
fn power_of_two(e: i32) -> f32 {
    debug_assert!((-149..=127).contains(&e), "2^{e} is no float32");
    f32::from_bits(if e >= -126 { ((e + 127) as u32) << 23 } else { 1 << (e + 149) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_exact() {
        for e in -149..=127 {
            assert_eq!(f64::from(power_of_two(e)), 2.0_f64.powi(e));
        }
    }

    #[test]
    fn bfloat16_rounds_to_the_nearest_even() {
        let cases = [
            (1.0, 1.0),
            (1.003_906_2, 1.0),       // a half above an even mantissa
            (1.011_718_8, 1.015_625), // a half above an odd one
            (1.003_907, 1.007_812_5),
            (-1.003_907, -1.007_812_5),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
            (1e-45, 0.0),
        ];
        for (x, want) in cases {
            let mut v = [x];
            round_bf16(&mut v);
            assert_eq!(v[0].to_bits(), f32::to_bits(want), "{x}");
        }
        let mut nan = [f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)];
        round_bf16(&mut nan);
        assert!(nan.iter().all(|v| v.is_nan()));
    }
}
