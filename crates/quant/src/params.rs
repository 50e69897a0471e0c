//! Scales, zero points and positions, and the arithmetic of quantizing constants with them.

use std::fmt;

use serde::{Deserialize, Serialize};
use shiftwise_graph::{GraphError, Tensor};

use crate::QuantType;

/// Fraction bits of a power-of-two scale: scale = 2^-position. Negative for scales above 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(i32);

impl Position {
    /// Largest magnitude: beyond it 2^-position is not a float32.
    pub const LIMIT: i32 = 127;

    /// The largest position whose scale is a normal float32, as chosen scales are: engines may take others for zero.
    pub const FINEST: i32 = 126;

    /// The position nearest to `value` that a scale can have.
    pub fn new(value: i32) -> Self {
        Self(value.clamp(-Self::LIMIT, Self::LIMIT))
    }

    /// The number of fraction bits.
    pub fn get(self) -> i32 {
        self.0
    }

    /// The position whose scale is nearest to `scale` on a logarithmic axis: round(-log2 scale), ties to even.
    ///
    /// Nearest, not covering: the scale can shrink by up to √2, and what it then clips is the price of finer steps.
    pub fn nearest(scale: f32) -> Self {
        let limit = f64::from(Self::LIMIT).exp2();
        Self::new((-f64::from(scale).clamp(1.0 / limit, limit).log2()).round_ties_even() as i32)
    }

    /// The position of a scale that is a power of two; `None` for any other.
    pub fn of(scale: f32) -> Option<Self> {
        let position = Self::nearest(scale);
        (position.scale() == scale).then_some(position)
    }

    /// 2^-position.
    pub fn scale(self) -> f32 {
        f64::from(-self.0).exp2() as f32
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How one tensor is quantized: q = saturate(round(x / scale) + zero_point).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QParams {
    /// Type of the integers.
    pub ty: QuantType,
    /// Step between neighbouring integers; positive.
    pub scale: f32,
    /// The integer that stands for zero.
    pub zero_point: i64,
}

impl QParams {
    /// Symmetric parameters at a position.
    pub fn at(ty: QuantType, position: Position) -> Self {
        Self { ty, scale: position.scale(), zero_point: ty.symmetric_zero_point() }
    }

    /// Parameters that cover `[rmin, rmax]` (widened to contain 0), with a float scale.
    ///
    /// scale = (rmax − rmin) / (qmax − qmin), zero point = round(qmin − rmin / scale), ties to even; the difference of
    /// the range in f32, the quotients in f64. Symmetric: rmax = −rmin = max(|rmin|, |rmax|) first, and qmin, qmax from
    /// [`QuantType::symmetric_range`]. A range without extent gets scale 1 and the zero point that is legal for the type.
    pub fn affine(rmin: f32, rmax: f32, ty: QuantType, symmetric: bool) -> Self {
        Self::covering(rmin, rmax, ty, symmetric).unwrap_or_else(|| {
            let zero_point = if symmetric { ty.symmetric_zero_point() } else { ty.full_range().0.max(0) };
            Self { ty, scale: 1.0, zero_point }
        })
    }

    /// The same, but `None` for a range without extent.
    pub fn covering(rmin: f32, rmax: f32, ty: QuantType, symmetric: bool) -> Option<Self> {
        let half_max = f32::MAX / 2.0;
        let (mut lo, mut hi) = (rmin.min(0.0).max(-half_max), rmax.max(0.0).min(half_max));
        let (qmin, qmax) = if symmetric { ty.symmetric_range() } else { ty.full_range() };
        if symmetric {
            hi = hi.max(-lo);
            lo = -hi;
        }
        let scale = f64::from(hi - lo) / (qmax - qmin) as f64;
        if scale < f64::from(f32::MIN_POSITIVE) {
            return None;
        }
        // The symmetric middle of 32-bit types is lost to the rounding of f32; it is known exactly.
        let zero_point = if symmetric {
            ty.symmetric_zero_point()
        } else {
            (qmin as f64 - f64::from(lo) / scale).round_ties_even() as i64
        };
        Some(Self { ty, scale: scale as f32, zero_point })
    }

    /// Parameters that cover `[rmin, rmax]` with a power-of-two scale: the affine ones with their scale moved to the
    /// nearest position. The zero point stays that of the affine scale.
    pub fn power_of_two(rmin: f32, rmax: f32, ty: QuantType, symmetric: bool) -> Self {
        Self::affine(rmin, rmax, ty, symmetric).to_power_of_two()
    }

    /// The same with the scale moved to the nearest position.
    #[must_use]
    pub fn to_power_of_two(self) -> Self {
        Self { scale: Position::nearest(self.scale).scale(), ..self }
    }

    /// The position, if the scale is a power of two.
    pub fn position(&self) -> Option<Position> {
        Position::of(self.scale)
    }

    /// The integer for a constant. Signed types keep to their symmetric range, so that a stored weight is never the
    /// lowest value.
    pub fn quantize(&self, x: f32) -> i64 {
        let (lo, hi) = self.ty.symmetric_range();
        let rounded = match self.ty {
            // No QuantizeLinear makes these at run time, and f32 has too few bits for them.
            QuantType::Int32 => (f64::from(x) / f64::from(self.scale)).round_ties_even(),
            // Rounded in f32 as QuantizeLinear does.
            _ => f64::from((x / self.scale).round_ties_even()),
        };
        // In f64 the sum with the zero point cannot lose bits.
        let q = rounded + self.zero_point as f64;
        q.clamp(lo as f64, hi as f64) as i64
    }

    /// What an integer stands for: (q − zero_point) · scale.
    pub fn dequantize(&self, q: i64) -> f32 {
        (q - self.zero_point) as f32 * self.scale
    }

    /// The float that `x` becomes when it is stored as an integer.
    pub fn fake(&self, x: f32) -> f32 {
        self.dequantize(self.quantize(x))
    }

    /// Smallest and largest float that does not saturate at run time.
    pub fn representable(&self) -> (f32, f32) {
        let (lo, hi) = self.ty.full_range();
        (self.dequantize(lo), self.dequantize(hi))
    }

    /// The integers of a constant tensor.
    pub fn quantize_tensor(&self, values: &[f32], dims: &[usize]) -> Result<Tensor, GraphError> {
        let bytes: Vec<u8> = match self.ty {
            QuantType::Uint8 | QuantType::Int8 => values.iter().map(|v| self.quantize(*v) as u8).collect(),
            QuantType::Uint16 | QuantType::Int16 => {
                values.iter().flat_map(|v| (self.quantize(*v) as u16).to_le_bytes()).collect()
            }
            QuantType::Int32 => {
                values.iter().flat_map(|v| (self.quantize(*v) as i32).to_le_bytes()).collect()
            }
        };
        Tensor::from_raw(self.ty.data_type(), dims.to_vec(), bytes.into())
    }

    /// The zero point as the scalar that Q/DQ nodes read.
    pub fn zero_point_tensor(&self) -> Result<Tensor, GraphError> {
        let width = self.ty.data_type().bits().unwrap_or(8) / 8;
        let bytes = self.zero_point.to_le_bytes()[..width].to_vec();
        Tensor::from_raw(self.ty.data_type(), Vec::new(), bytes.into())
    }

    /// The scale as the scalar that Q/DQ nodes read.
    pub fn scale_tensor(&self) -> Tensor {
        Tensor::f32(&[], &[self.scale])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use QuantType::{Int8, Int16, Int32, Uint8, Uint16};

    fn affine(range: (f32, f32), ty: QuantType, symmetric: bool) -> (i64, f32) {
        let p = QParams::affine(range.0, range.1, ty, symmetric);
        (p.zero_point, p.scale)
    }

    fn power(range: (f32, f32), ty: QuantType, symmetric: bool) -> (i64, f32) {
        let p = QParams::power_of_two(range.0, range.1, ty, symmetric);
        (p.zero_point, p.scale)
    }

    #[test]
    fn affine_parameters_agree_with_known_vectors() {
        let r = (-1.0, 2.0);
        assert_eq!(affine(r, Uint8, true), (128, 0.015_686_275));
        assert_eq!(affine(r, Uint8, false), (85, 0.011_764_706));
        assert_eq!(affine(r, Int8, true), (0, 0.015_748_031));
        assert_eq!(affine(r, Int8, false), (-43, 0.011_764_706));
        assert_eq!(affine(r, Uint16, true), (32_768, 6.103_609e-5));
        assert_eq!(affine(r, Int16, true), (0, 6.103_702e-5));
        assert_eq!(affine((0.0, 6.0), Uint8, false), (0, 0.023_529_412));
        assert_eq!(affine((0.0, 6.0), Int8, false).0, -128);
    }

    #[test]
    fn power_of_two_parameters_agree_with_known_vectors() {
        let r = (-1.0, 2.0);
        assert_eq!(power(r, Uint8, true), (128, 1.0 / 64.0));
        assert_eq!(power(r, Uint8, false), (85, 1.0 / 64.0));
        assert_eq!(power(r, Int8, true), (0, 1.0 / 64.0));
        assert_eq!(power((0.0, 6.0), Uint8, false), (0, 1.0 / 32.0));
    }

    #[test]
    fn a_range_without_extent_gets_a_legal_zero_point() {
        assert_eq!(affine((0.0, 0.0), Uint8, true), (128, 1.0));
        assert_eq!(affine((0.0, 0.0), Int8, true), (0, 1.0));
        assert_eq!(affine((0.0, 0.0), Uint8, false), (0, 1.0));
        assert_eq!(power((-3.0, 3.0), Int32, true).0, 0);
    }

    #[test]
    fn every_position_survives_its_scale() {
        for p in -Position::LIMIT..=Position::LIMIT {
            let position = Position::new(p);
            assert_eq!(Position::of(position.scale()), Some(position), "{p}");
        }
        assert_eq!(Position::of(0.3), None);
    }

    #[test]
    fn constants_round_half_to_even_and_never_take_the_lowest_value() {
        let p = QParams { ty: Int8, scale: 0.5, zero_point: 0 };
        assert_eq!([0.25, 0.75, -0.25, -0.75].map(|x| p.quantize(x)), [0, 2, 0, -2]);
        assert_eq!([1e30, -1e30, f32::INFINITY].map(|x| p.quantize(x)), [127, -127, 127]);
        let u = QParams { ty: Uint8, scale: 1.0, zero_point: 128 };
        assert_eq!([-200.0, 0.0, 200.0].map(|x| u.quantize(x)), [0, 128, 255]);
    }
}
