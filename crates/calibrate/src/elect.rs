//! The power-of-two position that one sample elects for each integer type.

use shiftwise_artifact::stats::Elected;
use shiftwise_kernels::histogram::{CANDIDATES, Front, Grids};
use shiftwise_quant::{Position, QParams, QuantType};

/// In the order of [`Elected`].
const TYPES: [QuantType; 4] = [QuantType::Uint8, QuantType::Int8, QuantType::Uint16, QuantType::Int16];

/// The position of the symmetric grid with the least squared error over the values that `front` holds, of five around the
/// covering one; ties go to the coarser step. `range` bounds the values. `None` for a range without extent.
pub(crate) fn elect(front: &Front, range: (f32, f32)) -> Elected {
    let covering = TYPES.map(|ty| covering(range, ty));
    // Where one type has a position, all have, but at the end of what float32 can hold.
    let grids = std::array::from_fn(|i| grids(covering[i].unwrap_or_default(), TYPES[i]));
    if covering == [None; 4] {
        return Elected::default();
    }
    let errors: [[f64; CANDIDATES]; 4] = front.squared_errors(range, &grids);
    std::array::from_fn(|i| {
        covering[i]?;
        let mut least = f64::INFINITY;
        let mut elected = None;
        for (position, error) in grids[i].positions.into_iter().zip(errors[i]) {
            if error < least {
                (least, elected) = (error, Some(position));
            }
        }
        elected.and_then(|position| i8::try_from(position).ok())
    })
}

fn covering((min, max): (f32, f32), ty: QuantType) -> Option<i32> {
    let (lo, hi) = ty.symmetric_range();
    let extent = 2.0 * f64::from(max.max(-min).min(f32::MAX / 2.0));
    if extent / ((hi - lo) as f64) < f64::from(f32::MIN_POSITIVE) {
        return None;
    }
    QParams::power_of_two(min, max, ty, true).position().map(Position::get)
}

fn grids(covering: i32, ty: QuantType) -> Grids {
    let positions =
        std::array::from_fn(|i| Position::new((covering + i as i32 - 1).min(Position::FINEST)).get());
    match ty {
        QuantType::Uint8 => Grids { positions, bits: 7, more_below: true },
        QuantType::Uint16 => Grids { positions, bits: 15, more_below: true },
        QuantType::Int16 | QuantType::Int32 => Grids { positions, bits: 15, more_below: false },
        QuantType::Int8 => Grids { positions, bits: 7, more_below: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shiftwise_artifact::Fingerprint;
    use shiftwise_artifact::stats::{Accumulator, Plan, Stats, TensorSpec};
    use shiftwise_quant::calibration::{Method, MseMode, ScaleKind, Target, choose};

    fn range_of(values: &[f32]) -> (f32, f32) {
        values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), v| (lo.min(*v), hi.max(*v)))
    }

    fn elected(values: &[f32]) -> Elected {
        let mut front = Front::default();
        front.observe(values, values.len(), |_, _| {});
        elect(&front, range_of(values))
    }

    /// What the quantizer chooses from the histogram of the one sample.
    fn chosen(values: &[f32]) -> Elected {
        let mut accumulator = Accumulator::new(vec![TensorSpec::flat("t", &[-1])]).unwrap();
        accumulator.begin(&[0]).unwrap();
        accumulator.observe(0, values, 1).unwrap();
        accumulator.finish();
        let stats = Stats::from_accumulators(&Plan::whole(Fingerprint::of_bytes(b"test"), 1), &[accumulator])
            .unwrap();
        let method = Method::MinMse { mode: MseMode::All };
        TYPES.map(|ty| {
            let target = Target { symmetric: true, ..Target::new(ty, ScaleKind::PowerOfTwo) };
            let params = choose(stats.tensor("t").unwrap(), &method, target).unwrap().params;
            params.position().and_then(|p| i8::try_from(p.get()).ok())
        })
    }

    /// Sum of squared errors of the values themselves.
    fn error(values: &[f32], ty: QuantType, position: i8) -> f64 {
        let step = f64::from(-i32::from(position)).exp2();
        let (lo, hi) = ty.symmetric_range();
        let zero = ty.symmetric_zero_point();
        let square = |v: &f32| {
            let q = (f64::from(*v) / step).round_ties_even().clamp((lo - zero) as f64, (hi - zero) as f64);
            (f64::from(*v) - q * step).powi(2)
        };
        values.iter().map(square).sum()
    }

    fn distributions() -> impl Strategy<Value = Vec<f32>> {
        let scale = (-12_i32..12).prop_map(|e| (e as f32).exp2());
        let shape = prop_oneof![
            // About normal, half of one, uniform, with rare large values, and with one constant.
            Just((|x: f32, y: f32| (x + y) * 0.7) as fn(f32, f32) -> f32),
            Just((|x: f32, y: f32| (x + y).max(0.0)) as fn(f32, f32) -> f32),
            Just((|x: f32, _: f32| x) as fn(f32, f32) -> f32),
            Just((|x: f32, y: f32| x * x * x / (1.05 - y.abs())) as fn(f32, f32) -> f32),
            Just((|x: f32, y: f32| if y > 0.0 { 0.6 } else { x }) as fn(f32, f32) -> f32),
        ];
        let pairs = prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 2000..4000);
        (pairs, shape, scale)
            .prop_map(|(pairs, shape, scale)| pairs.into_iter().map(|(x, y)| scale * shape(x, y)).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn samples_elect_what_their_histogram_and_their_values_choose(values in distributions()) {
            let (elected, chosen) = (elected(&values), chosen(&values));
            for (i, ty) in TYPES.into_iter().enumerate() {
                let (elected, chosen) = (elected[i].unwrap(), chosen[i].unwrap());
                let cost = |position| error(&values, ty, position);
                // Where two are alike, rounding decides.
                prop_assert!(elected == chosen || (cost(elected) / cost(chosen) - 1.0).abs() < 1e-3, "{ty:?} {elected} {chosen}");
                let best = (chosen - 5..chosen + 5).map(cost).fold(f64::INFINITY, f64::min);
                prop_assert!(cost(elected) <= best * 1.02, "{ty:?} {elected}: {} {best}", cost(elected));
            }
        }
    }

    #[test]
    fn an_election_without_extent_is_not_held() {
        assert_eq!(elected(&[0.0; 10]), [None; 4]);
        assert_eq!(elected(&[1e-44; 10]), [None; 4]);
        assert!(elected(&[1e-30, 1e30]).iter().all(Option::is_some));
    }
}
