//! What holds for every method and every histogram.

#![allow(missing_docs)]

use proptest::collection::vec;
use proptest::prelude::*;
use shiftwise_artifact::Fingerprint;
use shiftwise_artifact::stats::{Accumulator, Plan, Stats, TensorSpec};
use shiftwise_quant::QuantType;
use shiftwise_quant::calibration::{
    CalibrationError, ErrorMetric, Method, MseMode, ScaleKind, Target, WeightMethod, choose, float_weight,
    survey,
};

const TYPES: [QuantType; 4] = [QuantType::Uint8, QuantType::Int8, QuantType::Uint16, QuantType::Int16];

fn methods() -> Vec<Method> {
    let candidates = vec![50.0, 99.0, 100.0];
    vec![
        Method::MinMax,
        Method::MovingAverage,
        Method::NonOverflow,
        Method::Percentile { percentile: 100.0 },
        Method::Percentile { percentile: 99.999 },
        Method::Percentile { percentile: 30.0 },
        Method::LayerwisePercentile { candidates: candidates.clone(), metric: ErrorMetric::Mae },
        Method::LayerwisePercentile { candidates, metric: ErrorMetric::Mse },
        Method::Entropy { bins: 128, quantized_bins: 128 },
        Method::Entropy { bins: 63, quantized_bins: 7 },
        Method::MinMse { mode: MseMode::All },
        Method::MinMse { mode: MseMode::MostCommon },
        Method::MinMse { mode: MseMode::Percentile(90.0) },
    ]
}

fn targets() -> impl Iterator<Item = Target> {
    TYPES.into_iter().flat_map(|ty| {
        [ScaleKind::PowerOfTwo, ScaleKind::Float].into_iter().flat_map(move |scale| {
            [(true, None), (true, Some(false)), (false, None), (false, Some(true)), (false, Some(false))]
                .map(|(symmetric, symmetric_range)| Target { ty, scale, symmetric, symmetric_range })
        })
    })
}

fn statistics(samples: &[Vec<f32>]) -> Stats {
    let mut accumulator = Accumulator::new(vec![TensorSpec::flat("t", &[-1])]).unwrap();
    for (i, sample) in samples.iter().enumerate() {
        accumulator.begin(&[i as u64]).unwrap();
        accumulator.observe(0, sample, 1).unwrap();
        accumulator.finish();
    }
    let plan = Plan::whole(Fingerprint::of_bytes(b"t"), samples.len() as u64);
    Stats::from_accumulators(&plan, &[accumulator]).unwrap()
}

/// Values as they should not be.
fn odd() -> impl Strategy<Value = Vec<f32>> {
    let bits = any::<u32>().prop_map(f32::from_bits);
    let value = prop_oneof![
        bits.clone(),
        (0..1u32 << 23).prop_map(f32::from_bits),
        (0.9f32..=1.0).prop_map(|x| x * f32::MAX),
        Just(f32::MIN_POSITIVE),
        Just(0.0),
        Just(-0.0),
        Just(f32::NAN),
        Just(f32::NEG_INFINITY),
        -1.0f32..1.0,
    ];
    prop_oneof![
        vec(value.clone(), 0..40),
        (value.clone(), 1..40usize).prop_map(|(x, n)| vec![x; n]),
        vec(bits.prop_map(|x| -x.abs()), 1..40),
        vec((0..1u32 << 23).prop_map(f32::from_bits), 1..40),
        vec((0.9f32..=1.0).prop_map(|x| x * f32::MIN), 1..40),
        (vec(-1e-3f32..1e-3, 1..200), value).prop_map(|(mut bulk, outlier)| {
            bulk.push(outlier);
            bulk
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_method_gives_a_degenerate_scale(samples in vec(odd(), 1..4)) {
        let stats = statistics(&samples);
        let view = stats.tensor("t").unwrap();
        for method in methods() {
            for target in targets() {
                let choice = match choose(view, &method, target) {
                    Ok(choice) => choice,
                    Err(CalibrationError::NoAverage) => {
                        prop_assert_eq!(&method, &Method::MovingAverage);
                        continue;
                    }
                    Err(CalibrationError::NoVotes | CalibrationError::NotVotedOn(_)) => {
                        prop_assert_eq!(&method, &Method::MinMse { mode: MseMode::MostCommon });
                        continue;
                    }
                    Err(CalibrationError::NotForFloat) => {
                        prop_assert_eq!(target.scale, ScaleKind::Float);
                        continue;
                    }
                    Err(e) => return Err(TestCaseError::fail(e.to_string())),
                };
                let p = choice.params;
                let (lo, hi) = target.ty.full_range();
                prop_assert!(p.scale > 0.0 && p.scale.is_normal(), "{:?} {:?}: {:?}", method, target, choice);
                prop_assert!((lo..=hi).contains(&p.zero_point), "{:?} {:?}: {:?}", method, target, choice);
                prop_assert_eq!(p.ty, target.ty);
                prop_assert!(!target.symmetric || p.zero_point == p.ty.symmetric_zero_point());
                prop_assert!(target.scale == ScaleKind::Float || p.position().is_some());
                let (a, b) = choice.range;
                prop_assert!(a.is_finite() && b.is_finite() && a <= b, "{:?} {:?}: {:?}", method, target, choice);
            }
        }
        for ty in TYPES {
            prop_assert!(survey(view, ty).iter().all(|(_, c)| c.params.scale.is_normal()));
        }
    }

    #[test]
    fn no_constant_gets_a_degenerate_scale(values in odd()) {
        for method in
            [WeightMethod::MinMax, WeightMethod::MinMsePercentile, WeightMethod::MinMseHistCenter, WeightMethod::MinMseAll]
        {
            let p = float_weight(&values, QuantType::Int8, method);
            prop_assert!(p.scale > 0.0 && p.scale.is_normal() && p.zero_point == 0, "{:?}: {:?}", method, p);
        }
        let p = shiftwise_quant::minmse::over_values(&values, QuantType::Int8);
        prop_assert!(p.scale > 0.0 && p.scale.is_normal() && p.zero_point == 0, "{:?}", p);
    }

    /// Infinities and NaNs change nothing.
    #[test]
    fn values_that_are_not_finite_do_not_decide(bulk in vec(-8.0f32..8.0, 1..60)) {
        let mut tainted = bulk.clone();
        tainted.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        let (clean, tainted) = (statistics(&[bulk]), statistics(&[tainted]));
        let (clean, tainted) = (clean.tensor("t").unwrap(), tainted.tensor("t").unwrap());
        for method in methods() {
            for target in targets() {
                prop_assert_eq!(choose(clean, &method, target), choose(tainted, &method, target));
            }
        }
    }
}

#[test]
fn tensors_without_extent_say_so() {
    for values in [vec![], vec![0.0, -0.0], vec![f32::NAN, f32::INFINITY], vec![1e-44, -1e-45]] {
        let stats = statistics(std::slice::from_ref(&values));
        for method in methods().into_iter().filter(|m| *m != Method::MinMse { mode: MseMode::MostCommon }) {
            for ty in TYPES {
                let target = Target::new(ty, ScaleKind::PowerOfTwo);
                let choice = choose(stats.tensor("t").unwrap(), &method, target).unwrap();
                assert_eq!(
                    (choice.params.scale, choice.note.as_str()),
                    (1.0, "no extent"),
                    "{values:?} {method:?}"
                );
                assert_eq!(choice.params.zero_point, ty.symmetric_zero_point());
            }
        }
    }
}

#[test]
fn a_percentile_that_is_zero_leaves_the_observed_range() {
    let mut values = vec![0.0; 1000];
    values.push(3.0);
    let stats = statistics(&[values]);
    let method = Method::Percentile { percentile: 99.0 };
    let target = Target::new(QuantType::Uint8, ScaleKind::Float);
    let choice = choose(stats.tensor("t").unwrap(), &method, target).unwrap();
    assert_eq!(choice.range, (0.0, 3.0));
    assert_eq!(choice.note, "observed range, as percentile 99 has no extent");
}
