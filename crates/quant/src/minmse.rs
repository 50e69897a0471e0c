//! Power-of-two scales by least squared error, over histograms and over raw constants.

use crate::{Position, QParams, QuantType};

/// A histogram bin: values spread evenly over `width` around `center`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Middle of the bin.
    pub center: f64,
    /// Extent of the bin.
    pub width: f64,
    /// How many values fell into it.
    pub count: u64,
}

/// Positions tried around that of the covering scale: one coarser, itself, and three finer, coarsest first.
const OFFSETS: std::ops::RangeInclusive<i32> = -1..=3;

/// The symmetric power-of-two parameters with the least squared error over a histogram; ties go to the coarser scale.
///
/// The covering position p₀ comes from `[min, max]`; candidates are p₀ − 1 … p₀ + 3. The error of a candidate is
/// Σ count · ((c − ĉ)² + w² / 12), exact as long as no bin straddles a rounding boundary, which float-bit bins never do
/// for 8-bit types.
pub fn over_bins(bins: &[Bin], min: f32, max: f32, ty: QuantType) -> QParams {
    let covering = QParams::power_of_two(min, max, ty, true);
    best(covering, OFFSETS, |candidate| {
        let (lo, hi) = ty.symmetric_range();
        let (scale, zero_point) = (f64::from(candidate.scale), candidate.zero_point as f64);
        let (lo, hi) = ((lo as f64 - zero_point) * scale, (hi as f64 - zero_point) * scale);
        bins.iter()
            .map(|b| {
                let rounded = ((b.center / scale).round_ties_even() * scale).clamp(lo, hi);
                let error = b.center - rounded;
                b.count as f64 * (error * error + b.width * b.width / 12.0)
            })
            .sum()
    })
}

/// The symmetric power-of-two parameters with the least squared error over constants; ties go to the coarser scale.
pub fn over_values(values: &[f32], ty: QuantType) -> QParams {
    let covering = covering(values, ty);
    best(covering, OFFSETS, |candidate| values.iter().map(|v| squared_error(candidate, *v)).sum())
}

/// Power-of-two parameters from the extremes of constants alone.
pub fn covering(values: &[f32], ty: QuantType) -> QParams {
    let (min, max) = values.iter().fold((0f32, 0f32), |(lo, hi), v| (lo.min(*v), hi.max(*v)));
    QParams::power_of_two(min, max, ty, true)
}

/// Squared error of one constant.
pub(crate) fn squared_error(params: &QParams, value: f32) -> f64 {
    let error = f64::from(value) - f64::from(params.fake(value));
    error * error
}

/// The candidate around `covering` with the strictly smallest error, coarsest first.
pub(crate) fn best(
    covering: QParams,
    offsets: impl IntoIterator<Item = i32>,
    error: impl Fn(&QParams) -> f64,
) -> QParams {
    let base = Position::nearest(covering.scale).get();
    let mut best = covering;
    let mut least = f64::INFINITY;
    for offset in offsets {
        let candidate = QParams { scale: Position::new(base + offset).scale(), ..covering };
        let e = error(&candidate);
        if e < least {
            (best, least) = (candidate, e);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f32; 6] = [0.3, -0.7, 1.9, -2.2, 0.01, 5.3];

    #[test]
    fn constants_agree_with_known_vectors() {
        let p = over_values(&X, QuantType::Int8);
        assert_eq!((p.scale, p.zero_point), (1.0 / 16.0, 0));
        assert_eq!(X.map(|x| p.quantize(x)), [5, -11, 30, -35, 0, 85]);
        let p = over_values(&X, QuantType::Uint8);
        assert_eq!((p.scale, p.zero_point), (1.0 / 16.0, 128));
    }

    #[test]
    fn a_tensor_of_zeros_gets_a_legal_scale() {
        assert_eq!(over_values(&[0.0; 4], QuantType::Int8).zero_point, 0);
        let p = over_bins(&[Bin { center: 0.0, width: 0.0, count: 9 }], 0.0, 0.0, QuantType::Uint8);
        assert_eq!(p.zero_point, 128);
        assert!(p.scale > 0.0 && p.scale.is_finite());
    }
}
