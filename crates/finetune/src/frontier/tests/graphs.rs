//! Small graphs with branches.

use shiftwise_graph::{Attribute, Builder, Graph, Model, Node, Patch, Tensor, ValueInfo};

use super::super::*;
use super::support::{check, compare, options, quantize, samples, walk, weights};

/// A residual addition with a convolution on its shortcut, a concatenation, and a classifier.
pub(super) fn branches() -> Model {
    let pads = [("pads", Attribute::from(vec![1i64, 1, 1, 1]))];
    let half = [("pads", Attribute::from(vec![1i64, 1, 1, 1])), ("strides", Attribute::from(vec![2i64, 2]))];
    let stride = [("strides", Attribute::from(vec![2i64, 2]))];
    Builder::new()
        .input("x", &[1, 3, 8, 8])
        .constant("w0", weights(&[8, 3, 3, 3], 0))
        .constant("b0", weights(&[8], 1))
        .constant("w1", weights(&[8, 8, 3, 3], 2))
        .constant("b1", weights(&[8], 3))
        .constant("w2", weights(&[8, 8, 1, 1], 4))
        .constant("w3", weights(&[4, 8, 1, 1], 5))
        .constant("b3", weights(&[4], 6))
        .constant("w4", weights(&[4, 8, 3, 3], 7))
        .constant("wg", weights(&[5, 8], 8))
        .constant("bg", weights(&[5], 9))
        .constant("aside", weights(&[2, 8, 1, 1], 10))
        .node_with("Conv", &["x", "w0", "b0"], &["c0"], &pads)
        .node("Relu", &["c0"], &["r0"])
        .node_with("Conv", &["r0", "w1", "b1"], &["c1"], &half)
        .node_with("Conv", &["r0", "w2"], &["c2"], &stride)
        .node("Add", &["c1", "c2"], &["a"])
        .node("Relu", &["a"], &["r"])
        .node("Conv", &["r", "w3", "b3"], &["c3"])
        .node_with("Conv", &["r", "w4"], &["c4"], &pads)
        .node("Sigmoid", &["c4"], &["s4"])
        .node("Concat", &["c3", "s4"], &["cat"])
        .node("GlobalAveragePool", &["cat"], &["p"])
        .node("Flatten", &["p"], &["f"])
        .node_with("Gemm", &["f", "wg", "bg"], &["y"], &[("transB", Attribute::from(1i64))])
        .node("Conv", &["r", "aside"], &["z"])
        .build(&[("y", &[1, 5]), ("z", &[1, 2, 4, 4])], 17)
        .with_concat_axis()
}

trait WithAxis {
    fn with_concat_axis(self) -> Self;
}

impl WithAxis for Model {
    fn with_concat_axis(mut self) -> Self {
        let id = self.graph.nodes().find(|(_, n)| n.is("Concat")).map(|(id, _)| id).unwrap();
        let mut patch = Patch::new();
        patch.set_attribute(id, "axis", 1i64);
        self.graph.apply("test", patch).unwrap();
        self
    }
}

#[test]
fn branches_are_walked_as_whole_runs_go() {
    let float = branches();
    check(&float, &samples(&float, 7));
}

#[test]
fn values_that_are_not_finite_do_not_stop_the_walk() {
    let float = branches();
    let mut samples = samples(&float, 4);
    let quantized = quantize(&float, &samples);
    let mut values = samples[1][0].1.as_f32().unwrap().to_vec();
    (values[5], values[100]) = (f32::NAN, f32::INFINITY);
    samples[1][0].1 = Value::f32(&[1, 3, 8, 8], values);
    let folder = tempfile::tempdir().unwrap();
    let engine = shiftwise_engine::embedded();
    let walked = walk(&engine, [&float, &quantized], &samples, options(&folder, 0, 2), 0, true);
    assert!(walked.pairs.values().any(|pairs| pairs[1].y.as_f32().unwrap().iter().any(|v| !v.is_finite())));
    compare(&engine, &float, &walked, &samples);
}

#[test]
fn other_engines_walk_as_well() {
    // Where there is no such library, there is nothing to compare.
    let Ok(engine) = shiftwise_engine::onnxruntime(&shiftwise_engine::OrtOptions::default()) else { return };
    let float = branches();
    let samples = samples(&float, 5);
    let quantized = quantize(&float, &samples);
    let folder = tempfile::tempdir().unwrap();
    let walked = walk(&engine, [&float, &quantized], &samples, options(&folder, 0, 2), 0, true);
    let ours =
        walk(&shiftwise_engine::embedded(), [&float, &quantized], &samples, options(&folder, 0, 2), 0, true);
    for (k, pairs) in &walked.pairs {
        // Sums in another order: outputs differ by rounding, and now and then a rounded input by a step.
        for (theirs, ours) in pairs.iter().zip(&ours.pairs[k]) {
            let values = |value: &Value| value.as_f32().unwrap().to_vec();
            let near = |(a, b): (f32, f32)| (a - b).abs() <= 1e-4 * (1.0 + b.abs());
            assert!(values(&theirs.y).into_iter().zip(values(&ours.y)).all(near), "output of layer {k}");
            let pairs = values(&theirs.x).into_iter().zip(values(&ours.x));
            let other = pairs.filter(|pair| !near(*pair)).count();
            assert!(other * 50 <= ours.x.len(), "{other} inputs of layer {k}");
        }
    }
}

#[test]
fn integers_wait_where_the_model_is_quantized() {
    let float = branches();
    let samples = samples(&float, 4);
    let quantized = quantize(&float, &samples);
    let (layers, skipped) = find_layers(&quantized, &float);
    assert_eq!(layers.len(), 7, "{skipped:?}");
    let shown: Vec<Vec<&str>> = layers.iter().map(|l| vec![l.input.as_str()]).collect();
    let schedule = schedule::Schedule::of(&quantized.graph, &shown);
    for (k, layer) in layers.iter().enumerate() {
        for name in schedule.advance(k).waiting {
            let (_, maker) = quantized.graph.producer(&name).expect("inputs are quantized at once");
            assert!(maker.is("QuantizeLinear"), "{name} waits in front of {}", layer.node);
        }
    }
}

#[test]
fn nodes_run_that_a_layer_depends_on_and_no_others() {
    let float = branches();
    let samples = samples(&float, 2);
    let quantized = quantize(&float, &samples);
    let folder = tempfile::tempdir().unwrap();
    let walked =
        walk(&shiftwise_engine::embedded(), [&float, &quantized], &samples, options(&folder, 0, 2), 0, false);
    let ran = |runs: &[u32], model: &Model| -> Vec<String> {
        let nodes = model.graph.nodes().zip(runs);
        nodes.filter(|(_, n)| **n == 1).map(|((_, node), _)| node.name.clone()).collect()
    };
    let all: Vec<String> = float.graph.nodes().map(|(_, n)| n.name.clone()).collect();
    assert_eq!(ran(&walked.runs[0], &float), all);
    // The quantized model stops in front of its last layers, and DequantizeLinear is repeated.
    let ran = ran(&walked.runs[1], &quantized);
    assert!(ran.iter().all(|n| !n.ends_with("DequantizeLinear") && n != "y" && n != "z"), "{ran:?}");
    assert!(ran.iter().any(|n| n == "c4") && ran.iter().any(|n| n == "cat"), "{ran:?}");
}

#[test]
fn what_bodies_capture_waits_for_them() {
    let branch = |name: &str, op: &str| {
        let out = format!("{op}_{name}");
        let node = Node::new(op, &out, &["r", "c0"], &[&out]);
        let output = ValueInfo::f32(&out, &[1, 2, 4, 4]);
        Attribute::Graph(Box::new(Graph::new(
            name,
            vec![],
            vec![output],
            indexmap::IndexMap::new(),
            vec![node],
        )))
    };
    let float = Builder::new()
        .input("x", &[1, 2, 4, 4])
        .constant("flag", Tensor::i64(&[], &[1]))
        .constant("limit", Tensor::f32(&[], &[0.1]))
        .constant("w0", weights(&[2, 2, 1, 1], 0))
        .constant("w1", weights(&[2, 2, 1, 1], 1))
        .constant("w2", weights(&[2, 2, 1, 1], 2))
        .node("Conv", &["x", "w0"], &["c0"])
        .node("Relu", &["c0"], &["r"])
        .node("Conv", &["r", "w1"], &["c1"])
        .node("ReduceMax", &["c1"], &["m"])
        .node("Squeeze", &["m"], &["s"])
        .node("Greater", &["s", "limit"], &["cond"])
        .node_with(
            "If",
            &["cond"],
            &["i"],
            &[("then_branch", branch("yes", "Add")), ("else_branch", branch("no", "Mul"))],
        )
        .node("Conv", &["i", "w2"], &["y"])
        .build(&[("y", &[1, 2, 4, 4])], 17);
    check(&float, &samples(&float, 5));
}

#[test]
fn sequences_of_rows_and_normalizations() {
    let float = Builder::new()
        .input("x", &[1, 6, 8])
        .constant("g", weights(&[8], 1))
        .constant("h", weights(&[8], 2))
        .constant("w0", weights(&[8, 16], 3))
        .constant("w1", weights(&[16, 8], 4))
        .constant("perm", Tensor::i64(&[3], &[0, 2, 1]))
        .node("LayerNormalization", &["x", "g", "h"], &["n"])
        .node("MatMul", &["n", "w0"], &["m0"])
        .node("Tanh", &["m0"], &["t"])
        .node("MatMul", &["t", "w1"], &["m1"])
        .node("Add", &["m1", "x"], &["a"])
        .node("MatMul", &["a", "w0b"], &["m2"])
        .node_with("Softmax", &["m2"], &["y"], &[("axis", Attribute::from(-1i64))])
        .constant("w0b", weights(&[8, 16], 5))
        .build(&[("y", &[1, 6, 16])], 17);
    check(&float, &samples(&float, 5));
}
