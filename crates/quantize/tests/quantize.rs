//! From statistics to a model: what is absorbed, what scales are chosen, what stays the same.

#![allow(missing_docs)]

use shiftwise_artifact::Fingerprint;
use shiftwise_artifact::stats::{Accumulator, Plan, Stats, TensorSpec};
use shiftwise_engine::{Engine, Flow, PrepareOptions, Watch, embedded};
use shiftwise_graph::{Builder, DataType, Model, Patch, Tensor, TensorType, Value};
use shiftwise_quant::{QuantType, Side, WeightScaleError};
use shiftwise_quantize::{CalibrateMethod, QuantizeConfig, Quantized, quantize};
use shiftwise_stage::ExitStatus;

const SAMPLES: u64 = 8;

/// Two convolutions with a Relu between. Channel 1 between them is dead: a huge negative bias, and huge weights that come
/// with it, as folding the normalization of a dead channel leaves them.
fn model() -> Model {
    let first = [0.5, -0.25, 40.0, 35.0, 0.3, 0.6];
    let mut second: Vec<f32> = (0..27).map(|i| ((i * 7 % 11) as f32 - 5.0) * 0.02).collect();
    second[9..18].fill(60.0);
    let mut model = Builder::new()
        .input("x", &[1, 2, 6, 6])
        .constant("w1", Tensor::f32(&[3, 2, 1, 1], &first))
        .constant("b1", Tensor::f32(&[3], &[0.1, -500.0, 0.2]))
        .constant("w2", Tensor::f32(&[1, 3, 3, 3], &second))
        .node("Conv", &["x", "w1", "b1"], &["c1"])
        .node("Relu", &["c1"], &["r1"])
        .node_with("Conv", &["r1", "w2"], &["y"], &[("pads", vec![1i64, 1, 1, 1].into())])
        .build(&[("y", &[1, 1, 6, 6])], 13);
    let mut patch = Patch::new();
    patch.set_type("c1", TensorType::fixed(DataType::Float, &[1, 3, 6, 6]));
    patch.set_type("r1", TensorType::fixed(DataType::Float, &[1, 3, 6, 6]));
    model.graph.apply("types", patch).unwrap();
    model
}

fn sample(i: u64) -> Value {
    let values = (0..72).map(|k| (((k * 31 + i as usize * 17) % 100) as f32) / 50.0 - 1.0).collect();
    Value::f32(&[1, 2, 6, 6], values)
}

/// Every tensor of the model by name, for one sample.
fn run(model: &Model, input: &Value) -> Vec<(String, Value)> {
    let session = embedded().prepare(model, &PrepareOptions::watching(Watch::All)).unwrap();
    let mut seen = vec![("x".to_owned(), input.clone())];
    session
        .run(&[("x".into(), input.clone())], &mut |id, value| {
            seen.push((session.watched()[id.index()].clone(), value.clone()));
            Flow::Continue
        })
        .unwrap();
    seen
}

fn statistics(model: &Model, tensors: &[(&str, i64)]) -> Stats {
    let specs: Vec<TensorSpec> = tensors
        .iter()
        .map(|(name, channels)| TensorSpec::channel_first(*name, &[1, *channels, 6, 6]))
        .collect();
    let mut accumulator = Accumulator::new(specs).unwrap();
    for i in 0..SAMPLES {
        accumulator.begin(&[i]).unwrap();
        for (name, value) in run(model, &sample(i)) {
            if let Some(tensor) = tensors.iter().position(|(t, _)| *t == name) {
                accumulator.observe(tensor, value.as_f32().unwrap(), 36).unwrap();
            }
        }
        accumulator.finish();
    }
    Stats::from_accumulators(&Plan::whole(Fingerprint::of_bytes(b"test"), SAMPLES), &[accumulator]).unwrap()
}

fn quantized(config: &QuantizeConfig) -> Quantized {
    let model = model();
    let stats = statistics(&model, &[("x", 2), ("r1", 3), ("y", 1)]);
    quantize(&model, &stats, config).unwrap()
}

fn output(model: &Model, i: u64) -> Vec<f32> {
    let tensors = run(model, &sample(i));
    tensors.iter().find(|(n, _)| n == "y").unwrap().1.as_f32().unwrap().to_vec()
}

fn scale(q: &Quantized, tensor: &str) -> f32 {
    q.emitted.tensors.iter().find(|t| t.tensor == tensor).unwrap().scale
}

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
