//! Equalized models compute what they did; ranges become equal, or as equal as statistics allow, and the rest says why it stays.

mod common;

use common::{assert_close, nodes, noise, outputs, refusals};
use proptest::prelude::*;
use shiftwise_artifact::Fingerprint;
use shiftwise_artifact::stats::{Accumulator, Plan, Stats, TensorSpec};
use shiftwise_engine::{Engine, Flow, PrepareOptions, Watch, embedded};
use shiftwise_graph::{Builder, Model, Tensor, Value};
use shiftwise_preprocess::{Prepared, PreprocessConfig, prepare, prepare_with};

const CROSS_LAYER: &str = "cross_layer_equalization";
const RANGE_SAFE: &str = "range_safe_equalization";

fn equalized_with(model: &Model, set: impl FnOnce(&mut PreprocessConfig)) -> Prepared {
    let mut config = PreprocessConfig { include_cle: true, ..PreprocessConfig::default() };
    set(&mut config);
    prepare(model.clone(), &config, &embedded()).unwrap()
}

/// Equalizes, and checks that the outputs are what they were.
fn equalized(model: &Model, set: impl FnOnce(&mut PreprocessConfig)) -> Prepared {
    let after = equalized_with(model, set);
    for (x, y) in outputs(model).iter().zip(&outputs(&after.model)) {
        assert_close(x, y);
    }
    after
}

/// Every range counts, and biases do not; other passes leave what stands between layers.
fn plain(config: &mut PreprocessConfig) {
    (config.fold_arithmetic, config.merge_duplicates) = (false, false);
    (config.cle_scale_append_bias, config.cle_scale_use_threshold) = (false, false);
}

fn values(model: &Model, name: &str) -> Vec<f32> {
    model.graph.initializer(name).unwrap_or_else(|| panic!("no {name}")).to_f32().unwrap()
}

/// The largest magnitude of each of `n` rows.
fn rows(values: &[f32], n: usize) -> Vec<f32> {
    values.chunks(values.len() / n).map(|row| row.iter().fold(0f32, |m, v| m.max(v.abs()))).collect()
}

/// Weights whose rows have very different ranges.
fn uneven(seed: u64, dims: &[usize]) -> Tensor {
    let n: usize = dims.iter().product();
    let row = n / dims[0];
    let values = noise(seed, n).into_iter().enumerate();
    Tensor::f32(dims, &values.map(|(i, v)| v * ((i / row * 7 % 11) as f32 - 5.0).exp2()).collect::<Vec<_>>())
}

/// Convolution, depthwise convolution and convolution, with `between` them.
fn mobile(channels: usize, between: &[&str], bias: bool, seed: u64) -> Model {
    let mut builder = Builder::new().input("x", &[1, 2, 6, 6]);
    let mut tensor = "x".to_owned();
    let layers =
        [("a", [channels, 2, 1, 1], 1), ("d", [channels, 1, 3, 3], channels), ("p", [3, channels, 1, 1], 1)];
    for (i, (name, dims, group)) in layers.into_iter().enumerate() {
        let [w, b] = ["w", "b"].map(|part| format!("{name}.{part}"));
        builder = builder.constant(&w, uneven(seed + i as u64, &dims));
        let mut inputs = vec![tensor.as_str(), &w];
        if bias {
            builder = builder.constant(&b, Tensor::f32(&[dims[0]], &noise(seed + 7 + i as u64, dims[0])));
            inputs.push(&b);
        }
        let pads = if name == "d" { vec![1i64; 4] } else { vec![0; 4] };
        let attributes = [("group", (group as i64).into()), ("pads", pads.into())];
        builder = builder.node_with("Conv", &inputs, &[name], &attributes);
        tensor = name.into();
        if name == "p" {
            break;
        }
        for op in between {
            let next = format!("{tensor}.{op}");
            builder = builder.node(op, &[&tensor], &[&next]);
            tensor = next;
        }
    }
    let side = if between.contains(&"GlobalAveragePool") { 1 } else { 6 };
    builder.build(&[("p", &[1, 3, side, side])], 13)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn models_compute_what_they_did(
        channels in 1usize..=6, leaky: bool, bias: bool, append: bool, threshold: bool, steps in -1i64..=3, seed in 0u64..1000,
    ) {
        let model = mobile(channels, &[if leaky { "LeakyRelu" } else { "Relu" }], bias, seed);
        let after = equalized(&model, |config| {
            config.cle_steps = steps;
            config.cle_scale_append_bias = append;
            config.cle_scale_use_threshold = threshold;
        });
        prop_assert_eq!(after.model.graph.node_count(), model.graph.node_count());
        if steps == 0 {
            prop_assert_eq!(after.rewrites.applied(CROSS_LAYER), 0);
        }
    }

    #[test]
    fn ranges_of_a_pair_become_equal(channels in 1usize..=6, transposed: bool, seed in 0u64..1000) {
        let dims = if transposed { [3, channels] } else { [channels, 3] };
        let model = Builder::new()
            .input("x", &[2, 4])
            .constant("w0", uneven(seed, &[channels, 4]))
            .constant("w1", uneven(seed + 1, &dims))
            .node_with("Gemm", &["x", "w0"], &["h"], &[("transB", 1.into())])
            .node("Relu", &["h"], &["r"])
            .node_with("Gemm", &["r", "w1"], &["y"], &[("transB", i64::from(transposed).into())])
            .build(&[("y", &[2, 3])], 13);
        let after = equalized(&model, plain).model;
        let made = rows(&values(&after, "w0"), channels);
        let mut reads = values(&after, "w1");
        if transposed {
            reads = (0..channels * 3).map(|i| reads[i % 3 * channels + i / 3]).collect();
        }
        for (r0, r1) in made.iter().zip(rows(&reads, channels)) {
            prop_assert!((r0 / r1 - 1.0).abs() < 1e-5, "{} {}", r0, r1);
        }
    }

    #[test]
    fn range_safe_models_compute_what_they_did_on_their_samples(
        channels in 1usize..=6, pooled: bool, bias: bool, bound in 1usize..=4, seed in 0u64..1000,
    ) {
        let between: &[&str] = if pooled { &["Relu", "GlobalAveragePool"] } else { &["Relu"] };
        let model = clipped(&mobile(channels, between, bias, seed), 0.0, bound as f32);
        let (stats, before) = collected(&model);
        let after = safe(&model, &stats);
        let (_, now) = collected(&after.model);
        for (x, y) in before.iter().zip(&now) {
            assert_close(x, y);
        }
        for layer in &after.rewrites.equalized {
            prop_assert!(layer.error_after < layer.error_before, "{:?}", layer);
        }
    }
}

/// The model with each Relu as a Clip.
fn clipped(model: &Model, lo: f32, hi: f32) -> Model {
    let mut model = model.clone();
    let mut patch = shiftwise_graph::Patch::new();
    patch.set_initializer("lo", Tensor::f32(&[], &[lo])).set_initializer("hi", Tensor::f32(&[1], &[hi]));
    for (id, node) in model.graph.nodes().filter(|(_, n)| n.is("Relu")) {
        let mut clip = node.clone();
        (clip.op_type, clip.inputs) = ("Clip".into(), vec![clip.inputs[0].clone(), "lo".into(), "hi".into()]);
        patch.replace(id, clip);
    }
    model.graph.apply("test", patch).unwrap();
    model.graph.sort();
    shiftwise_graph::infer_shapes(&mut model);
    model
}

/// Statistics of every tensor over a few samples, and the outputs.
fn collected(model: &Model) -> (Stats, Vec<Value>) {
    const SAMPLES: u64 = 4;
    let session = embedded().prepare(model, &PrepareOptions::watching(Watch::All)).unwrap();
    let info = &session.inputs()[0];
    let dims = info.ty.tensor().unwrap().fixed_dims().unwrap();
    let shape = |name: &str| {
        model
            .graph
            .tensor_type(name)
            .and_then(|ty| ty.fixed_dims())
            .unwrap_or_else(|| panic!("shape of {name}"))
    };
    let names: Vec<String> =
        std::iter::once(info.name.clone()).chain(session.watched().iter().cloned()).collect();
    let specs: Vec<TensorSpec> = names
        .iter()
        .map(|name| {
            TensorSpec::channel_first(name, &shape(name).iter().map(|n| *n as i64).collect::<Vec<_>>())
        })
        .collect();
    let mut accumulator = Accumulator::new(specs).unwrap();
    let mut results = Vec::new();
    for sample in 0..SAMPLES {
        accumulator.begin(&[sample]).unwrap();
        let x = Value::f32(&dims, noise(100 + sample, dims.iter().product()));
        let mut observe = |tensor: usize, value: &Value| {
            let inner = value.shape()[2.min(value.shape().len())..].iter().product();
            accumulator.observe(tensor, value.as_f32().unwrap(), inner).unwrap();
        };
        observe(0, &x);
        let feeds = [(info.name.clone(), x)];
        let made = session.run(&feeds, &mut |id, value| {
            observe(id.index() + 1, value);
            Flow::Continue
        });
        results.extend(made.unwrap());
        accumulator.finish();
    }
    let plan = Plan::whole(Fingerprint::of_bytes(b"test"), SAMPLES);
    (Stats::from_accumulators(&plan, &[accumulator]).unwrap(), results)
}

fn safe(model: &Model, stats: &Stats) -> Prepared {
    prepare_with(model.clone(), &PreprocessConfig::default(), &embedded(), Some(stats)).unwrap()
}

#[test]
fn factors_are_those_of_the_formula() {
    // Ranges 4 and 1, and 1/4 and 1: √(4 · 1/4) is 1, so the first channel goes down by 4, and the second stays.
    let model = Builder::new()
        .input("x", &[1, 1])
        .constant("w0", Tensor::f32(&[1, 2], &[-4.0, 1.0]))
        .constant("b0", Tensor::f32(&[2], &[8.0, 0.5]))
        .constant("w1", Tensor::f32(&[2, 1], &[0.25, -1.0]))
        .node("Gemm", &["x", "w0", "b0"], &["h"])
        .node("Relu", &["h"], &["r"])
        .node("Gemm", &["r", "w1"], &["y"])
        .build(&[("y", &[1, 1])], 13);
    let after = equalized(&model, plain).model;
    assert_eq!(values(&after, "w0"), [-1.0, 1.0]);
    assert_eq!(values(&after, "b0"), [2.0, 0.5]);
    assert_eq!(values(&after, "w1"), [1.0, -1.0]);

    // With biases the first range is that of 8/2 = 4, and 4 all the same; the second 1. With a threshold of 2.5 the second stays.
    let after = equalized(&model, |config| config.cle_weight_threshold = 2.5).model;
    assert_eq!(values(&after, "w0"), [-1.0, 1.0]);
}

#[test]
fn triples_around_a_depthwise_layer_get_one_range() {
    let model = mobile(5, &["Relu"], true, 3);
    let after = equalized(&model, |config| {
        plain(config);
        config.cle_steps = -1;
    });
    assert_eq!(after.rewrites.applied(CROSS_LAYER), 2);
    let pointwise = values(&after.model, "p.w");
    let reads: Vec<f32> = (0..15).map(|i| pointwise[i % 3 * 5 + i / 3]).collect();
    let ranges =
        [rows(&values(&after.model, "a.w"), 5), rows(&values(&after.model, "d.w"), 5), rows(&reads, 5)];
    for ((a, d), p) in ranges[0].iter().zip(&ranges[1]).zip(&ranges[2]) {
        assert!((a / d - 1.0).abs() < 1e-4 && (d / p - 1.0).abs() < 1e-4, "{a} {d} {p}");
    }
}

#[test]
fn shared_weights_are_copied() {
    let model = Builder::new()
        .input("x", &[1, 2])
        .constant("w0", uneven(1, &[2, 2]))
        .constant("w1", uneven(2, &[2, 2]))
        .node("Gemm", &["x", "w0"], &["h"])
        .node("Relu", &["h"], &["r"])
        .node("Gemm", &["r", "w1"], &["y"])
        .node("Gemm", &["x", "w0"], &["z"])
        .build(&[("y", &[1, 2]), ("z", &[1, 2])], 13);
    let after = equalized(&model, plain).model;
    assert_eq!(after.graph.initializer("w0"), model.graph.initializer("w0"));
    assert_ne!(values(&after, "w0_of_h"), values(&model, "w0"));
}

/// Two convolutions with something between.
fn pair(between: impl FnOnce(Builder) -> Builder) -> Model {
    let builder = Builder::new()
        .input("x", &[1, 2, 6, 6])
        .constant("w0", uneven(1, &[2, 2, 1, 1]))
        .constant("w1", uneven(2, &[2, 2, 1, 1]))
        .constant("two", Tensor::f32(&[], &[2.0]))
        .node("Conv", &["x", "w0"], &["h"]);
    let builder = between(builder).node("Conv", &["r", "w1"], &["y"]);
    let mut model = builder.build(&[("y", &[1, 2, 6, 6])], 13);
    shiftwise_graph::infer_shapes(&mut model);
    model
}

#[track_caller]
fn assert_declined(model: &Model, reason: &str) {
    let after = equalized(model, plain);
    assert_eq!(after.rewrites.applied(CROSS_LAYER), 0);
    let refused = refusals(&after, CROSS_LAYER);
    assert!(refused.iter().any(|r| r.contains(reason)), "{refused:?} should say {reason:?}");
}

#[test]
fn what_does_not_scale_stops_a_pair() {
    let padded = |value: f32, pads: [i64; 8]| {
        pair(|b| {
            let b =
                b.constant("pads", Tensor::i64(&[8], &pads)).constant("value", Tensor::f32(&[], &[value]));
            b.node("Pad", &["h", "pads", "value"], &["r"])
        })
    };
    assert_declined(&padded(1.0, [0, 0, 1, 0, 0, 0, -1, 0]), "pads with another constant than zero");
    assert_declined(&padded(0.0, [0, 1, 0, 0, 0, -1, 0, 0]), "may pad channels");
    assert_eq!(equalized(&padded(0.0, [0, 0, 1, 0, 0, 0, -1, 0]), plain).rewrites.applied(CROSS_LAYER), 1);
    let mean = |axes: Vec<i64>| {
        let reduce = |b: Builder| b.node_with("ReduceMean", &["h"], &["r"], &[("axes", axes.into())]);
        let mut model = pair(reduce);
        shiftwise_graph::infer_shapes(&mut model);
        model
    };
    assert_eq!(equalized(&mean(vec![-1, 2]), plain).rewrites.applied(CROSS_LAYER), 1);
    assert_declined(&pair(|b| b.node("Sigmoid", &["h"], &["r"])), "Sigmoid node \"r\" stands behind it");
    assert_declined(&pair(|b| b.node("Add", &["two", "h"], &["r"])), "as another input than the first");
    let relu = pair(|b| b.node("Relu", &["h"], &["r"]));
    assert_declined(&clipped(&relu, 0.0, 6.0), "does not scale with its input");
}

#[test]
fn clip_from_0_to_6_becomes_relu_where_that_is_asked_for() {
    let model = clipped(&pair(|b| b.node("Relu", &["h"], &["r"])), 0.0, 6.0);
    let after = equalized_with(&model, |config| {
        plain(config);
        config.replace_clip6_relu = true;
    });
    assert_eq!((nodes(&after.model, "Relu"), nodes(&after.model, "Clip")), (1, 0));
    assert_eq!(after.rewrites.applied(CROSS_LAYER), 1);
    assert!(after.rewrites.warnings.iter().any(|w| w.contains("computes something else")));

    let other = clipped(&pair(|b| b.node("Relu", &["h"], &["r"])), 0.0, 5.0);
    let after = equalized_with(&other, |config| config.replace_clip6_relu = true);
    assert_eq!(refusals(&after, "replace_clip6_relu"), ["it clips to 0 … 5, not to 0 … 6"]);

    let alone = PreprocessConfig { replace_clip6_relu: true, ..PreprocessConfig::default() };
    let after = prepare(model, &alone, &embedded()).unwrap();
    assert_eq!(nodes(&after.model, "Clip"), 1);
    assert!(after.rewrites.warnings.iter().any(|w| w.contains("nothing without include_cle")));
}

#[test]
fn the_first_convolution_is_equalized_against_normalizations() {
    let norm = |b: Builder, x: &str, y: &str, n: usize| {
        let mut names = vec![x.to_owned()];
        let mut b = b;
        for (i, part) in ["gamma", "beta", "mean", "var"].iter().enumerate() {
            let name = format!("{y}.{part}");
            let values = noise(i as u64 + 30, n).iter().map(|v| v.abs() + 0.1).collect::<Vec<_>>();
            b = b.constant(&name, Tensor::f32(&[n], &values));
            names.push(name);
        }
        b.node("BatchNormalization", &names.iter().map(String::as_str).collect::<Vec<_>>(), &[y])
    };
    let builder = Builder::new()
        .input("x", &[1, 2, 4, 4])
        .constant("w", uneven(4, &[3, 2, 1, 1]))
        .node("Conv", &["x", "w"], &["c"])
        .node("Relu", &["c"], &["r"])
        .node_with("MaxPool", &["r"], &["m"], &[("kernel_shape", vec![1i64, 1].into())])
        .node_with("Concat", &["x", "m"], &["k"], &[("axis", 1.into())]);
    let builder = norm(norm(builder, "m", "y", 3), "k", "z", 5);
    let model = builder.build(&[("y", &[1, 3, 4, 4]), ("z", &[1, 5, 4, 4])], 13);
    let after = equalized(&model, |_| {});
    assert_eq!(after.rewrites.applied("stem_equalization"), 1);
    let ranges = rows(&values(&after.model, "w"), 3);
    let before = rows(&values(&model, "w"), 3);
    let most = before.iter().fold(0f32, |m, r| m.max(*r));
    for (r, b) in ranges.iter().zip(before) {
        assert!((r - most.min(16.0 * b)).abs() < 1e-6, "{r} {b}");
    }

    let elsewhere = norm(
        Builder::new()
            .input("x", &[1, 2, 4, 4])
            .constant("w", uneven(4, &[3, 2, 1, 1]))
            .node("Conv", &["x", "w"], &["c"])
            .node("Sigmoid", &["c"], &["s"]),
        "s",
        "y",
        3,
    );
    let after = equalized(&elsewhere.build(&[("y", &[1, 3, 4, 4])], 13), |_| {});
    assert_eq!(refusals(&after, "stem_equalization"), ["Sigmoid node \"s\" stands behind it"]);
}

#[test]
fn a_channel_that_is_clipped_keeps_its_scale() {
    let model = clipped(&mobile(6, &["Relu"], false, 5), 0.0, 4.0);
    let (stats, _) = collected(&model);
    let after = safe(&model, &stats);
    let saturated =
        stats.tensor("a.Relu").unwrap().channel_maxs().iter().map(|m| *m >= 4.0).collect::<Vec<_>>();
    assert!(saturated.contains(&true) && saturated.contains(&false), "{saturated:?}");
    let (before, now) = (values(&model, "a.w"), values(&after.model, "a.w"));
    for (channel, saturated) in saturated.into_iter().enumerate() {
        let at = 2 * channel..2 * channel + 2;
        assert!(!saturated || before[at.clone()] == now[at], "channel {channel}");
    }
    assert!(!after.rewrites.equalized.is_empty());
}

#[test]
fn statistics_without_the_channels_are_a_reason() {
    let model = clipped(&mobile(3, &["Relu"], true, 5), 0.0, 1.0);
    let stats = Stats::from_values("x", &[1.0]).unwrap();
    let refused = refusals(&safe(&model, &stats), RANGE_SAFE);
    assert!(
        refused.iter().any(|r| r.contains("3 channels of \"a.Relu\": collect them with --all")),
        "{refused:?}"
    );
}
