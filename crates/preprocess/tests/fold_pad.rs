//! Padding that was folded into convolutions and poolings computes what it did.

#![allow(missing_docs)]

mod common;

use common::{assert_declined, nodes, noise, operators, prepared};
use proptest::prelude::*;
use shiftwise_graph::{Attribute, Builder, Model, Tensor};
use shiftwise_preprocess::PreprocessConfig;

const PASS: &str = "fold_pad";

struct Case<'a> {
    op: &'a str,
    pads: [i64; 8],
    value: Option<f32>,
    /// What makes the input not negative.
    relu: bool,
    own: Vec<i64>,
    attributes: Vec<(&'a str, Attribute)>,
}

impl Default for Case<'_> {
    fn default() -> Self {
        let pads = [0, 0, 1, 0, 0, 0, 2, 1];
        Self { op: "Conv", pads, value: None, relu: false, own: vec![0; 4], attributes: vec![] }
    }
}

/// [2, 3, 6, 5] → Relu or Neg → Pad → an operator with a kernel of 3×3.
fn model(case: &Case) -> Model {
    let mut builder = Builder::new()
        .input("x", &[2, 3, 6, 5])
        .constant("pads", Tensor::i64(&[8], &case.pads))
        .node(if case.relu { "Relu" } else { "Neg" }, &["x"], &["h"]);
    let mut inputs = vec!["h", "pads"];
    if let Some(value) = case.value {
        builder = builder.constant("value", Tensor::f32(&[], &[value]));
        inputs.push("value");
    }
    builder = builder.node("Pad", &inputs, &["p"]);
    let mut attributes = case.attributes.clone();
    if !case.own.is_empty() {
        attributes.push(("pads", case.own.clone().into()));
    }
    let extent = |axis: usize, n: i64| {
        let own = |i: usize| case.own.get(i).copied().unwrap_or(0);
        (n + case.pads[2 + axis] + case.pads[6 + axis] + own(axis) + own(2 + axis) - 2) as usize
    };
    let channels = (3 + case.pads[1] + case.pads[5]) as usize;
    let (h, w) = (extent(0, 6), extent(1, 5));
    if case.op == "Conv" {
        let dims = [4, channels, 3, 3];
        let builder = builder.constant("w", Tensor::f32(&dims, &noise(3, dims.iter().product())));
        return builder
            .node_with("Conv", &["p", "w"], &["y"], &attributes)
            .build(&[("y", &[2, 4, h, w])], 13);
    }
    attributes.push(("kernel_shape", vec![3i64, 3].into()));
    builder.node_with(case.op, &["p"], &["y"], &attributes).build(&[("y", &[2, channels, h, w])], 13)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn pads_of_any_size_keep_their_results(
        op in prop::sample::select(&["Conv", "AveragePool", "MaxPool"][..]), pads in prop::array::uniform4(0i64..3),
        own in prop::array::uniform4(0i64..3), counts: bool, relu: bool, infinite: bool,
    ) {
        let is_max = op == "MaxPool";
        let attributes = if op == "AveragePool" { vec![("count_include_pad", i64::from(counts).into())] } else { vec![] };
        let [a, b, c, d] = pads;
        let case = Case {
            op,
            pads: [0, 0, a, b, 0, 0, c, d],
            value: (is_max && infinite).then_some(f32::NEG_INFINITY),
            relu,
            own: own.to_vec(),
            attributes,
        };
        let after = prepared(&model(&case));
        let nothing = pads == [0; 4];
        let small = pads.iter().zip(&own).all(|(p, q)| p + q < 3);
        let folds = match op {
            "Conv" => true,
            "AveragePool" => small && (counts || own == [0; 4]),
            _ => small && (infinite || relu),
        };
        prop_assert_eq!(nodes(&after.model, "Pad"), usize::from(!folds && !nothing));
    }
}

fn declined(case: &Case, reason: &str) {
    assert_declined(&model(case), &PreprocessConfig::default(), PASS, reason);
}

#[test]
fn what_cannot_be_folded_is_left_with_its_reason() {
    declined(
        &Case { pads: [0, 1, 0, 0, 0, 0, 0, 0], ..Case::default() },
        "pads axis 1, which is not spatial",
    );
    declined(&Case { pads: [0, 0, 1, 0, 0, 0, -1, 0], ..Case::default() }, "one of its pads is -1");
    declined(&Case { value: Some(0.5), ..Case::default() }, "it pads with 0, not 0.5");
    declined(&Case { op: "AveragePool", value: Some(0.5), ..Case::default() }, "it pads with 0, not 0.5");
    declined(
        &Case { op: "AveragePool", own: vec![1; 4], pads: [0, 0, 1, 1, 0, 0, 1, 1], ..Case::default() },
        "does not count its own pads",
    );
    declined(&Case { op: "MaxPool", ..Case::default() }, "may be negative");
    declined(&Case { op: "MaxPool", relu: true, value: Some(0.5), ..Case::default() }, "not 0.5");
    declined(
        &Case { op: "MaxPool", relu: true, pads: [0, 0, 3, 0, 0, 0, 0, 0], ..Case::default() },
        "no larger than its pads",
    );
    let automatic = vec![("auto_pad", "SAME_UPPER".into())];
    let case = Case { own: vec![], attributes: automatic, ..Case::default() };
    // Its declared output is not that of the model, which is not run here.
    let after = common::try_prepare(&model(&case)).unwrap();
    assert!(common::refusals(&after, PASS)[0].contains("its auto_pad is SAME_UPPER"));
    let ceil = vec![("ceil_mode", 1.into()), ("strides", vec![1i64, 1].into())];
    declined(&Case { op: "AveragePool", attributes: ceil, ..Case::default() }, "its ceil_mode is on");
}

#[test]
fn other_modes_and_readers_are_left() {
    let builder = |mode: &str| {
        Builder::new()
            .input("x", &[1, 2, 4, 4])
            .constant("pads", Tensor::i64(&[8], &[0, 0, 1, 1, 0, 0, 1, 1]))
            .constant("w", Tensor::f32(&[2, 2, 3, 3], &noise(1, 36)))
            .node_with("Pad", &["x", "pads"], &["p"], &[("mode", mode.into())])
            .node("Conv", &["p", "w"], &["y"])
    };
    let model = builder("reflect").build(&[("y", &[1, 2, 4, 4])], 13);
    assert_declined(&model, &PreprocessConfig::default(), PASS, "its mode is reflect");
    let model = builder("constant")
        .node("Relu", &["p"], &["z"])
        .build(&[("y", &[1, 2, 4, 4]), ("z", &[1, 2, 6, 6])], 13);
    assert_declined(&model, &PreprocessConfig::default(), PASS, "\"p\" has 2 uses");
    let computed = Builder::new()
        .input("x", &[1, 2, 4, 4])
        .input("v", &[])
        .constant("pads", Tensor::i64(&[8], &[0, 0, 1, 1, 0, 0, 1, 1]))
        .constant("w", Tensor::f32(&[2, 2, 3, 3], &noise(1, 36)))
        .node("Pad", &["x", "pads", "v"], &["p"])
        .node("Conv", &["p", "w"], &["y"])
        .build(&[("y", &[1, 2, 4, 4])], 13);
    assert_declined(&computed, &PreprocessConfig::default(), PASS, "its value \"v\" is not a constant float");
}

#[test]
fn axes_may_be_named() {
    let model = Builder::new()
        .input("x", &[1, 2, 4, 4])
        .constant("pads", Tensor::i64(&[2], &[1, 2]))
        .constant("axes", Tensor::i64(&[1], &[-1]))
        .constant("w", Tensor::f32(&[2, 2, 3, 3], &noise(1, 36)))
        .node("Pad", &["x", "pads", "", "axes"], &["p"])
        .node_with("Conv", &["p", "w"], &["y"], &[("auto_pad", "VALID".into())])
        .build(&[("y", &[1, 2, 2, 5])], 18);
    let after = prepared(&model);
    assert_eq!(operators(&after.model), ["Conv"]);
    let (_, conv) = after.model.graph.nodes().next().unwrap();
    assert_eq!(conv.ints("pads"), Some(&[0, 1, 0, 2][..]));
}

#[test]
fn it_can_be_switched_off() {
    let config = PreprocessConfig { fold_pad: false, ..PreprocessConfig::default() };
    assert_eq!(nodes(&common::prepared_with(&model(&Case::default()), &config).model, "Pad"), 1);
}
