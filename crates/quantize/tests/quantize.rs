//! From statistics to a model: what is absorbed, what scales are chosen, what stays the same.

#![allow(missing_docs)]

mod common;

use common::{SAMPLES, model, output, quantized, scale, statistics};
use shiftwise_quant::{QuantType, Side, WeightScaleError};
use shiftwise_quantize::{CalibrateMethod, QuantizeConfig, quantize};
use shiftwise_stage::ExitStatus;

#[test]
fn absorbing_a_dead_channel_leaves_the_function_and_frees_the_scales() {
    let treated = quantized(&QuantizeConfig::default());
    let plain = quantized(&QuantizeConfig { absorb_constant_channels: false, ..QuantizeConfig::default() });
    for i in 0..SAMPLES {
        let (before, after) = (output(&model(), i), output(&treated.float, i));
        let worst = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(worst < 1e-6, "sample {i}: {worst}");
    }
    let channels: Vec<(Side, usize)> =
        treated.report.absorbed.iter().flat_map(|a| &a.channels).map(|c| (c.side, c.channel)).collect();
    assert_eq!(channels, [(Side::Output, 1), (Side::Input, 1)]);
    assert!(scale(&treated, "w1") < scale(&plain, "w1") / 16.0);
    assert!(scale(&treated, "b1") < scale(&plain, "b1") / 100.0);
    assert!(plain.report.absorbed.is_empty());
}

#[test]
fn the_quantized_model_computes_nearly_the_same() {
    for activation_type in [QuantType::Uint8, QuantType::Int8] {
        for calibrate_method in [CalibrateMethod::MinMse, CalibrateMethod::NonOverflow] {
            let q =
                quantized(&QuantizeConfig { activation_type, calibrate_method, ..QuantizeConfig::default() });
            q.emitted.model.graph.check("test").unwrap();
            for i in 0..SAMPLES {
                let (float, quantized) = (output(&model(), i), output(&q.emitted.model, i));
                let metrics = shiftwise_quant::Comparison::of(&float, &quantized).metrics();
                assert!(metrics.sqnr > 25.0, "{activation_type} {calibrate_method:?}: {}", metrics.sqnr);
            }
            for t in &q.emitted.tensors {
                let position = t.position.expect("a power of two");
                assert_eq!(position.scale(), t.scale, "{}", t.tensor);
            }
        }
    }
}

#[test]
fn weights_that_multiply_nothing_do_not_decide_their_scale() {
    // Without absorption the dead input channel of the second convolution keeps its large weights.
    let with = |weight_scale_error| QuantizeConfig {
        absorb_constant_channels: false,
        weight_scale_error,
        ..QuantizeConfig::default()
    };
    let by_output = quantized(&with(WeightScaleError::Output));
    let by_weight = quantized(&with(WeightScaleError::Weight));
    assert!(scale(&by_output, "w2") < scale(&by_weight, "w2") / 16.0);
}

#[test]
fn a_tensor_without_statistics_is_named() {
    let model = model();
    let stats = statistics(&model, &[("x", 2), ("y", 1)]);
    let failure = quantize(&model, &stats, &QuantizeConfig::default()).unwrap_err();
    assert_eq!(failure.status, ExitStatus::Mismatch);
    assert!(failure.render().contains("\"r1\""), "{}", failure.render());
}
