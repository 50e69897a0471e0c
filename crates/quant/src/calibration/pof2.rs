//! Positions by least squared error.

use std::collections::BTreeMap;

use super::error::{self, ErrorMetric};
use super::histogram::Histogram;
use super::{Target, percentile};
use crate::minmse::{OFFSETS, best};
use crate::{Position, QParams, QuantType};

/// The position with the least squared error, of five around the covering one; ties go to the coarser scale. The zero point stays
/// that of the covering scale.
pub(super) fn all(histogram: &Histogram, target: Target) -> QParams {
    let (min, max) = histogram.range;
    let covering = QParams::power_of_two(min, max, target.ty, target.symmetric);
    best(covering, OFFSETS, |candidate| {
        error::total(histogram, candidate, target.symmetric, ErrorMetric::Mse)
    })
}

/// The same over the values that the percentile range holds: the others count neither for the error nor for the candidates.
pub(super) fn percentile(histogram: &Histogram, percent: f64, target: Target) -> Option<QParams> {
    let (lo, hi) = percentile::range(histogram, percent, target.symmetric);
    // The range widened to contain zero: what lies between it and zero is rounded all the same.
    let inside = histogram.within(lo.min(0.0), hi.max(0.0));
    target.params(inside.range).map(|_| all(&inside, target))
}

/// Symmetric parameters at the position that most samples elected, and by how many; ties go to the smallest scale. `None` without
/// votes.
///
/// `votes` maps positions to the number of samples in which that position had the least squared error.
pub fn most_common(votes: &BTreeMap<i32, u64>, ty: QuantType) -> Option<(QParams, u64)> {
    // Ascending positions: the last of equals has the smallest scale.
    let (position, count) = votes.iter().filter(|(_, n)| **n > 0).max_by_key(|(_, n)| **n)?;
    Some((QParams::at(ty, Position::new((*position).min(Position::FINEST))), *count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{ScaleKind, testing::with_histogram};

    #[test]
    fn known_vectors() {
        let x = [0.3, -0.7, 1.9, -2.2, 0.01, 5.3];
        let of = |ty, symmetric| {
            let mut found = None;
            with_histogram(&[&x], |h| {
                found = Some(all(h, Target { symmetric, ..Target::new(ty, ScaleKind::PowerOfTwo) }));
            });
            found.map(|p: QParams| (p.zero_point, 1.0 / p.scale)).unwrap()
        };
        assert_eq!(of(QuantType::Int8, true), (0, 16.0));
        assert_eq!(of(QuantType::Uint8, true), (128, 16.0));
        assert_eq!(of(QuantType::Uint8, false), (75, 32.0));
    }

    #[test]
    fn values_outside_of_the_percentile_do_not_count() {
        let mut values: Vec<f32> = (0..2000).map(|i| (i as f32 / 1000.0) - 1.0).collect();
        values.push(60.0);
        let target = Target::new(QuantType::Int8, ScaleKind::PowerOfTwo);
        with_histogram(&[&values], |h| {
            let inner = percentile(h, 99.9, target).unwrap();
            assert_eq!(inner.scale, 1.0 / 128.0);
            assert!(all(h, target).scale > 0.1);
            assert_eq!(percentile(h, 100.0, target).unwrap(), all(h, target));
        });
    }

    #[test]
    fn the_most_common_position_wins_and_ties_go_to_the_finest() {
        let elected = |votes: &[(i32, u64)]| {
            let votes = votes.iter().copied().collect();
            most_common(&votes, QuantType::Int8).map(|(p, n)| (p.position().unwrap().get(), n))
        };
        assert_eq!(elected(&[(3, 2), (4, 5), (5, 1)]), Some((4, 5)));
        assert_eq!(elected(&[(3, 5), (4, 5), (5, 1)]), Some((4, 5)));
        assert_eq!(elected(&[(3, 0)]), None);
    }
}
