//! A model, its statistics, and what is quantized with them.
#![allow(dead_code, reason = "each test file takes its part of the module")]

use shiftwise_artifact::Fingerprint;
use shiftwise_artifact::stats::{Accumulator, Elected, Plan, Stats, TensorSpec};
use shiftwise_engine::{Engine, Flow, PrepareOptions, Watch, embedded};
use shiftwise_graph::{Builder, DataType, Model, Patch, Tensor, TensorType, Value};
use shiftwise_quantize::{QuantizeConfig, Quantized, quantize};

pub(crate) const SAMPLES: u64 = 8;

/// Two convolutions with a Relu between. Channel 1 between them is dead: a huge negative bias, and huge weights that come
/// with it, as folding the normalization of a dead channel leaves them.
pub(crate) fn model() -> Model {
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

pub(crate) fn sample(i: u64) -> Value {
    let values = (0..72).map(|k| (((k * 31 + i as usize * 17) % 100) as f32) / 50.0 - 1.0).collect();
    Value::f32(&[1, 2, 6, 6], values)
}

/// Every tensor of the model by name, for one sample.
pub(crate) fn run(model: &Model, input: &Value) -> Vec<(String, Value)> {
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

pub(crate) fn statistics(model: &Model, tensors: &[(&str, i64)]) -> Stats {
    statistics_with(model, tensors, |_| Elected::default())
}

/// With what each sample elects for every tensor.
pub(crate) fn statistics_with(
    model: &Model,
    tensors: &[(&str, i64)],
    elected: impl Fn(u64) -> Elected,
) -> Stats {
    let specs: Vec<TensorSpec> = tensors
        .iter()
        .map(|(name, channels)| TensorSpec::channel_first(*name, &[1, *channels, 6, 6]))
        .collect();
    let mut accumulator = Accumulator::new(specs).unwrap();
    for i in 0..SAMPLES {
        accumulator.begin(&[i]).unwrap();
        for (name, value) in run(model, &sample(i)) {
            if let Some(tensor) = tensors.iter().position(|(t, _)| *t == name) {
                accumulator.observe_with(tensor, value.as_f32().unwrap(), 36, elected(i)).unwrap();
            }
        }
        accumulator.finish();
    }
    Stats::from_accumulators(&Plan::whole(Fingerprint::of_bytes(b"test"), SAMPLES), &[accumulator]).unwrap()
}

pub(crate) fn quantized(config: &QuantizeConfig) -> Quantized {
    let model = model();
    let stats = statistics(&model, &[("x", 2), ("r1", 3), ("y", 1)]);
    quantize(&model, &stats, config).unwrap()
}

pub(crate) fn output(model: &Model, i: u64) -> Vec<f32> {
    let tensors = run(model, &sample(i));
    tensors.iter().find(|(n, _)| n == "y").unwrap().1.as_f32().unwrap().to_vec()
}

pub(crate) fn scale(q: &Quantized, tensor: &str) -> f32 {
    q.emitted.tensors.iter().find(|t| t.tensor == tensor).unwrap().scale
}
