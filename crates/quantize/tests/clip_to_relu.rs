//! Clip that became Relu: where nothing else changes, and where something does, in numbers.

#![allow(missing_docs)]

use shiftwise_artifact::Fingerprint;
use shiftwise_artifact::stats::{Accumulator, Elected, Plan, Stats, TensorSpec};
use shiftwise_engine::{Engine, Flow, PrepareOptions, embedded};
use shiftwise_graph::{Attribute, Builder, Model, Tensor, Value};
use shiftwise_quant::QuantType;
use shiftwise_quantize::{CalibrateMethod, ClipToRelu, QuantizeConfig, Quantized, quantize};

const N: usize = 64;

fn sample() -> Vec<f32> {
    (0..N).map(|i| i as f32 / 4.0 - 8.0).collect()
}

/// How the limits are written.
#[derive(Clone, Copy, Debug)]
enum Limits {
    Attributes,
    Scalars,
    OfOneElement,
    Constants,
    Identities,
}

/// `y = Clip(x + 0)`, in an Add so that there is something before it.
fn model(min: Option<f32>, max: Option<f32>, limits: Limits) -> Model {
    let mut b = Builder::new().input("x", &[1, N]).constant("zero", Tensor::f32(&[1], &[0.0])).node(
        "Add",
        &["x", "zero"],
        &["a"],
    );
    let mut inputs = vec!["a"];
    let mut attributes: Vec<(&str, Attribute)> = Vec::new();
    for (name, inner, value) in [("min", "min_of", min), ("max", "max_of", max)] {
        let Some(value) = value else {
            inputs.push("");
            continue;
        };
        let dims: &[usize] = if matches!(limits, Limits::OfOneElement) { &[1] } else { &[] };
        let tensor = Tensor::f32(dims, &[value]);
        b = match limits {
            Limits::Attributes => {
                attributes.push((name, value.into()));
                b
            }
            Limits::Scalars | Limits::OfOneElement => b.constant(name, tensor),
            Limits::Constants => b.node_with("Constant", &[], &[name], &[("value", tensor.into())]),
            Limits::Identities => b.constant(inner, tensor).node("Identity", &[inner], &[name]),
        };
        if !matches!(limits, Limits::Attributes) {
            inputs.push(name);
        }
    }
    let opset = if matches!(limits, Limits::Attributes) { 10 } else { 13 };
    let inputs = if opset == 10 { vec!["a"] } else { inputs };
    b.node_with("Clip", &inputs, &["y"], &attributes).build(&[("y", &[1, N])], opset)
}

fn run(model: &Model) -> Vec<f32> {
    let session = embedded().prepare(model, &PrepareOptions::default()).unwrap();
    let feeds = [("x".to_owned(), Value::f32(&[1, N], sample()))];
    session.run(&feeds, &mut |_, _| Flow::Continue).unwrap()[0].as_f32().unwrap().to_vec()
}

fn quantized(model: &Model, top: f32, config: &QuantizeConfig) -> Quantized {
    let mut model = model.clone();
    shiftwise_graph::infer_shapes(&mut model);
    let names = ["x", "a", "y"];
    let specs: Vec<TensorSpec> = names.iter().map(|n| TensorSpec::flat(*n, &[1, N as i64])).collect();
    let mut accumulator = Accumulator::new(specs).unwrap();
    accumulator.begin(&[0]).unwrap();
    for (tensor, _) in names.iter().enumerate() {
        let values: Vec<f32> =
            sample().iter().map(|v| if tensor == 2 { v.clamp(0.0, top) } else { *v }).collect();
        accumulator.observe_with(tensor, &values, N, Elected::default()).unwrap();
    }
    accumulator.finish();
    let plan = Plan::whole(Fingerprint::of_bytes(b"test"), 1);
    quantize(&model, &Stats::from_accumulators(&plan, &[accumulator]).unwrap(), config).unwrap()
}

fn config(convert_clip_to_relu: bool) -> QuantizeConfig {
    QuantizeConfig { convert_clip_to_relu, ..QuantizeConfig::default() }
}

fn count(model: &Model, op: &str) -> usize {
    model.graph.nodes().filter(|(_, n)| n.is(op)).count()
}

fn only(q: &Quantized) -> &ClipToRelu {
    assert_eq!(q.report.clip_to_relu.len(), 1);
    &q.report.clip_to_relu[0]
}

#[test]
fn off_by_default() {
    let q = quantized(&model(Some(0.0), Some(6.0), Limits::Scalars), 6.0, &QuantizeConfig::default());
    assert_eq!((count(&q.emitted.model, "Clip"), q.report.clip_to_relu.len()), (1, 0));
}

#[test]
fn limits_of_every_form_are_read_and_the_float_model_keeps_its_clip() {
    use Limits::{Attributes, Constants, Identities, OfOneElement, Scalars};
    for limits in [Attributes, Scalars, OfOneElement, Constants, Identities] {
        let q = quantized(&model(Some(0.0), Some(6.0), limits), 6.0, &config(true));
        assert_eq!((count(&q.emitted.model, "Clip"), count(&q.emitted.model, "Relu")), (0, 1), "{limits:?}");
        assert_eq!(count(&q.float, "Clip"), 1);
        assert_eq!((only(&q).max, only(&q).declined.as_deref()), (Some(6.0), None));
        assert!(q.emitted.model.graph.initializer("max").is_none());
        q.emitted.model.graph.check("test").unwrap();
    }
}

#[test]
fn where_the_largest_value_is_not_above_the_limit_nothing_changes() {
    let unsigned = |convert| QuantizeConfig {
        activation_symmetric: false,
        activation_type: QuantType::Uint8,
        power_of_two_scale: false,
        calibrate_method: CalibrateMethod::MinMax,
        ..config(convert)
    };
    let parts = model(Some(0.0), Some(6.0), Limits::Scalars);
    let (relu, clip) = (quantized(&parts, 6.0, &unsigned(true)), quantized(&parts, 6.0, &unsigned(false)));
    let largest = only(&relu).largest.unwrap();
    assert!((largest - 6.0).abs() < 1e-5, "{largest}");
    assert_eq!(run(&relu.emitted.model), run(&clip.emitted.model));
}

#[test]
fn where_it_is_above_values_between_become_possible() {
    let parts = model(Some(0.0), Some(6.0), Limits::Scalars);
    let (relu, clip) = (quantized(&parts, 6.0, &config(true)), quantized(&parts, 6.0, &config(false)));
    let largest = only(&relu).largest.unwrap();
    assert!(largest > 6.0);
    let (relu, clip) = (run(&relu.emitted.model), run(&clip.emitted.model));
    for (x, (r, c)) in sample().iter().zip(relu.iter().zip(&clip)) {
        if *x <= 5.9 {
            assert_eq!(r, c, "at {x}");
        } else if *x > 6.2 {
            assert!((r - x.min(largest)).abs() < 0.1 && *c <= 6.0, "at {x}: {r}, {c}");
        }
    }
}

#[test]
fn other_clips_stay_with_their_reason() {
    let reason = |min, max| {
        let q = quantized(&model(min, max, Limits::Scalars), 6.0, &config(true));
        assert_eq!(count(&q.emitted.model, "Clip"), 1);
        only(&q).declined.clone().unwrap()
    };
    assert_eq!(reason(Some(1.0), Some(6.0)), "its lower limit is 1, and that of Relu is 0");
    assert_eq!(reason(Some(-1.0), Some(6.0)), "its lower limit is -1, and that of Relu is 0");
    assert_eq!(reason(None, Some(6.0)), "it has no lower limit");
    let plain = QuantizeConfig {
        placement: shiftwise_quant::PlacementOptions {
            nodes_to_exclude: vec!["y".into()],
            ..Default::default()
        },
        ..config(true)
    };
    let q = quantized(&model(Some(0.0), Some(6.0), Limits::Scalars), 6.0, &plain);
    assert!(only(&q).declined.as_deref().unwrap().contains("is not quantized"), "{:?}", only(&q));
}
