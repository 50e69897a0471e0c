//! Power-of-two scales by least squared error over constants.

use crate::{Position, QParams, QuantType};

/// Positions tried around that of the covering scale: one coarser, itself, and three finer, coarsest first.
pub(crate) const OFFSETS: std::ops::RangeInclusive<i32> = -1..=3;

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
        let position = Position::new((base + offset).min(Position::FINEST));
        let candidate = QParams { scale: position.scale(), ..covering };
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
        let p = over_values(&[0.0; 4], QuantType::Uint8);
        assert_eq!(p.zero_point, 128);
        assert!(p.scale > 0.0 && p.scale.is_finite());
    }
}
