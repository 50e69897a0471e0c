//! Every method, type and form of scale, from statistics to a model that runs.

#![allow(missing_docs)]

mod common;

use common::{SAMPLES, model, output, quantized, scale, statistics_with};
use shiftwise_quant::{Comparison, QuantType, Role};
use shiftwise_quantize::{
    CalibrateMethod, FloatMode, Pof2Mode, QuantizeConfig, Quantized, WeightCalibrateMethod, quantize,
};
use shiftwise_stage::ExitStatus;

const METHODS: [CalibrateMethod; 6] = [
    CalibrateMethod::MinMse,
    CalibrateMethod::NonOverflow,
    CalibrateMethod::MinMax,
    CalibrateMethod::Percentile,
    CalibrateMethod::LayerwisePercentile,
    CalibrateMethod::Entropy,
];

fn sqnr(q: &Quantized) -> f64 {
    let (mut float, mut quantized) = (Vec::new(), Vec::new());
    for i in 0..SAMPLES {
        float.extend(output(&model(), i));
        quantized.extend(output(&q.emitted.model, i));
    }
    Comparison::of(&float, &quantized).metrics().sqnr
}

#[test]
fn every_method_gives_a_model_that_computes_nearly_the_same() {
    for power_of_two_scale in [true, false] {
        for activation_symmetric in [true, false] {
            for calibrate_method in METHODS {
                for (activation_type, wanted) in [
                    (QuantType::Uint8, 25.0),
                    (QuantType::Int8, 25.0),
                    (QuantType::Uint16, 30.0),
                    (QuantType::Int16, 30.0),
                ] {
                    let config = QuantizeConfig {
                        activation_type,
                        activation_symmetric,
                        power_of_two_scale,
                        calibrate_method,
                        ..QuantizeConfig::default()
                    };
                    let q = quantized(&config);
                    q.emitted.model.graph.check("test").unwrap();
                    let sqnr = sqnr(&q);
                    assert!(sqnr > wanted, "{config:?}: {sqnr}");
                    for t in &q.emitted.tensors {
                        assert_eq!(t.position.is_some(), power_of_two_scale, "{}", t.tensor);
                        assert!(!t.method.is_empty());
                    }
                }
            }
        }
    }
}

#[test]
fn sixteen_bits_are_written_as_the_operator_set_has_them() {
    let q = quantized(&QuantizeConfig { activation_type: QuantType::Int16, ..QuantizeConfig::default() });
    assert_eq!(q.emitted.model.opsets.get("com.microsoft"), Some(&1));
    for (_, node) in q.emitted.model.graph.nodes().filter(|(_, n)| n.op_type.ends_with("quantizeLinear")) {
        let constant = node.input(0).is_some_and(|t| q.emitted.model.graph.initializer(t).is_some());
        assert_eq!(node.domain, if constant { "" } else { "com.microsoft" }, "{}", node.label());
    }
    let eight = quantized(&QuantizeConfig::default());
    assert!(!eight.emitted.model.opsets.contains_key("com.microsoft"));
}

#[test]
fn biases_of_float_scales_have_the_scale_of_the_products() {
    let config = QuantizeConfig { power_of_two_scale: false, ..QuantizeConfig::default() };
    let q = quantized(&config);
    let bias = q.emitted.tensors.iter().find(|t| t.tensor == "b1").unwrap();
    assert_eq!((bias.role, bias.ty, bias.zero_point), (Role::Bias, QuantType::Int32, 0));
    assert_eq!(bias.scale, scale(&q, "x") * scale(&q, "w1"));
    let integers = q.emitted.model.graph.initializer("b1_quantized").unwrap().to_i64().unwrap();
    let floats = q.float.graph.initializer("b1").unwrap().to_f32().unwrap();
    for (q, b) in integers.iter().zip(&floats) {
        assert!((*q as f64 * f64::from(bias.scale) - f64::from(*b)).abs() <= f64::from(bias.scale) * 0.5001);
    }
    let weight = q.emitted.tensors.iter().find(|t| t.tensor == "w1").unwrap();
    assert_eq!((weight.ty, weight.zero_point, weight.method.as_str()), (QuantType::Int8, 0, "minmax"));

    let own = quantized(&QuantizeConfig { int32_bias: Some(false), ..config });
    assert_eq!(own.emitted.tensors.iter().find(|t| t.tensor == "b1").unwrap().ty, QuantType::Int8);
    let powers = quantized(&QuantizeConfig { int32_bias: Some(true), ..QuantizeConfig::default() });
    assert_eq!(scale(&powers, "b1"), scale(&powers, "x") * scale(&powers, "w1"));
}

#[test]
fn float_scales_of_weights_by_least_squared_error() {
    for mode in [FloatMode::Percentile, FloatMode::HistCenter, FloatMode::All] {
        let config = QuantizeConfig {
            power_of_two_scale: false,
            weight_calibrate_method: Some(WeightCalibrateMethod::MinMse),
            min_mse_mode_float_scale: Some(mode),
            ..QuantizeConfig::default()
        };
        let q = quantized(&config);
        let record = q.emitted.tensors.iter().find(|t| t.tensor == "w2").unwrap();
        assert!(record.method.starts_with("minmse "), "{}", record.method);
        assert!(sqnr(&q) > 10.0, "{mode:?}: {}", sqnr(&q));
    }
}

#[test]
fn samples_vote_where_they_were_asked() {
    let tensors = [("x", 2), ("r1", 3), ("y", 1)];
    let config =
        QuantizeConfig { min_mse_mode_pof2_scale: Some(Pof2Mode::MostCommon), ..QuantizeConfig::default() };
    let asked = statistics_with(&model(), &tensors, |i| [Some(if i < 5 { 4 } else { 6 }), None, None, None]);
    let q = quantize(&model(), &asked, &config).unwrap();
    assert_eq!(scale(&q, "x"), 1.0 / 16.0);
    let x = q.emitted.tensors.iter().find(|t| t.tensor == "x").unwrap();
    assert_eq!(x.method, "minmse most_common 5/8");

    let int8 = QuantizeConfig { activation_type: QuantType::Int8, ..config };
    let failure = quantize(&model(), &asked, &int8).unwrap_err();
    assert_eq!(failure.status, ExitStatus::Mismatch);
    let text = failure.render();
    assert!(text.contains("collect") && text.contains("\"x\""), "{text}");
}

#[test]
fn the_method_and_its_parameter_are_on_record() {
    let with = |change: fn(&mut QuantizeConfig)| {
        let mut config = QuantizeConfig::default();
        change(&mut config);
        let q = quantized(&config);
        q.emitted.tensors.iter().find(|t| t.tensor == "r1").unwrap().method.clone()
    };
    assert_eq!(with(|_| ()), "minmse");
    let percentile = |c: &mut QuantizeConfig| {
        c.calibrate_method = CalibrateMethod::Percentile;
        c.percentile = Some(99.5);
    };
    assert_eq!(with(percentile), "percentile 99.5");
    let average = |c: &mut QuantizeConfig| {
        c.calibrate_method = CalibrateMethod::MinMax;
        c.calib_moving_average = true;
    };
    assert_eq!(with(average), "moving average");
    let entropy = |c: &mut QuantizeConfig| {
        c.calibrate_method = CalibrateMethod::Entropy;
        c.num_bins = Some(256);
        c.num_quantized_bins = Some(64);
    };
    assert_eq!(with(entropy), "entropy 256/64");
}
