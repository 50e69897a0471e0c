//! Sums and products with constants that were folded into weights compute what they did.

#![allow(missing_docs)]

mod common;

use common::{assert_declined, nodes, noise, operators, prepared};
use proptest::prelude::*;
use shiftwise_graph::{Attribute, Builder, DataType, Model, Tensor};
use shiftwise_preprocess::PreprocessConfig;

const PASS: &str = "fold_arithmetic";

/// A layer over 4 input channels that makes 6, in two groups where it has groups.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layer {
    Conv,
    ConvTranspose,
    Gemm,
    GemmTransposed,
    MatMul,
}

const LAYERS: [Layer; 5] =
    [Layer::Conv, Layer::ConvTranspose, Layer::Gemm, Layer::GemmTransposed, Layer::MatMul];

impl Layer {
    fn is_image(self) -> bool {
        matches!(self, Self::Conv | Self::ConvTranspose)
    }

    fn input(self) -> &'static [usize] {
        if self.is_image() { &[2, 4, 5, 5] } else { &[3, 4] }
    }

    fn output(self) -> &'static [usize] {
        match self {
            Self::Conv => &[2, 6, 3, 3],
            Self::ConvTranspose => &[2, 6, 7, 7],
            _ => &[3, 6],
        }
    }

    fn add(self, builder: Builder, x: &str, y: &str, bias: bool, more: &[(&str, Attribute)]) -> Builder {
        let (op, dims): (_, &[usize]) = match self {
            Self::Conv => ("Conv", &[6, 2, 3, 3]),
            Self::ConvTranspose => ("ConvTranspose", &[4, 3, 3, 3]),
            Self::Gemm => ("Gemm", &[4, 6]),
            Self::GemmTransposed => ("Gemm", &[6, 4]),
            Self::MatMul => ("MatMul", &[4, 6]),
        };
        let mut attributes: Vec<(&str, Attribute)> = match self {
            Self::Conv | Self::ConvTranspose => vec![("group", 2.into())],
            Self::Gemm => vec![("alpha", 0.5f32.into()), ("beta", 2.0f32.into())],
            Self::GemmTransposed => vec![("alpha", (-1.5f32).into()), ("transB", 1.into())],
            Self::MatMul => vec![],
        };
        attributes.extend(more.iter().cloned());
        let weight = Tensor::f32(dims, &noise(3, dims.iter().product()));
        let builder = builder.constant("fc.weight", weight);
        if bias && self != Self::MatMul {
            let builder = builder.constant("fc.bias", Tensor::f32(&[6], &noise(4, 6)));
            return builder.node_with(op, &[x, "fc.weight", "fc.bias"], &[y], &attributes);
        }
        builder.node_with(op, &[x, "fc.weight"], &[y], &attributes)
    }
}

/// A constant of one number, or of one for each channel, in a form that broadcasts like that.
fn constant(form: usize, channels: usize, is_image: bool, seed: u64) -> Tensor {
    let behind: &[usize] = if is_image { &[1, 1] } else { &[] };
    let ones: &[usize] = if is_image { &[1, 1, 1, 1] } else { &[1, 1] };
    let dims = match form {
        0 => vec![],
        1 => vec![1],
        2 => ones.to_vec(),
        3 => [&[channels], behind].concat(),
        _ => [&[1, channels], behind].concat(),
    };
    // Away from 0, by which some divide.
    let values =
        noise(seed, dims.iter().product()).into_iter().map(|v| if v < 0.0 { v - 0.5 } else { v + 0.5 });
    Tensor::f32(&dims, &values.collect::<Vec<_>>())
}

struct Case {
    layer: Layer,
    op: &'static str,
    behind: bool,
    reversed: bool,
    form: usize,
    bias: bool,
    seed: u64,
}

fn model(case: &Case) -> Model {
    let Case { layer, op, behind, reversed, form, bias, seed } = *case;
    let channels = if behind { 6 } else { 4 };
    let builder = Builder::new()
        .input("x", layer.input())
        .constant("k", constant(form, channels, layer.is_image(), seed));
    let operands = |x| if reversed { ["k", x] } else { [x, "k"] };
    let builder = if behind {
        layer.add(builder, "x", "h", bias, &[]).node(op, &operands("h"), &["y"])
    } else {
        layer.add(builder.node(op, &operands("x"), &["h"]), "h", "y", bias, &[])
    };
    builder.build(&[("y", layer.output())], 13)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_form_beside_every_layer_keeps_its_results(
        layer in prop::sample::select(&LAYERS[..]), op in prop::sample::select(&["Mul", "Div", "Add", "Sub"][..]),
        behind: bool, reversed: bool, form in 0usize..5, bias: bool, seed in 0u64..1000,
    ) {
        let after = prepared(&model(&Case { layer, op, behind, reversed, form, bias, seed }));
        // k/x is no scale, a transposed convolution sees its border, and a MatMul has no place for a shift.
        let shifts = op == "Add" || op == "Sub";
        let stays = (op == "Div" && reversed) || (shifts && !behind && matches!(layer, Layer::ConvTranspose | Layer::MatMul));
        prop_assert_eq!(after.model.graph.node_count(), if stays { 2 } else { 1 }, "{:?}", operators(&after.model));
    }
}

#[test]
fn decomposed_normalizations_fold_in_one_go() {
    let builder = Builder::new()
        .input("x", Layer::Conv.input())
        .constant("s", constant(3, 6, true, 1))
        .constant("t", constant(4, 6, true, 2));
    let builder = Layer::Conv.add(builder, "x", "a", false, &[]).node("Mul", &["a", "s"], &["b"]);
    let after = prepared(&builder.node("Add", &["b", "t"], &["y"]).build(&[("y", &[2, 6, 3, 3])], 13));
    assert_eq!(operators(&after.model), ["Conv"]);
    assert_eq!(after.rewrites.applied(PASS), 2);
    assert!(after.rewrites.summary().starts_with("folded 2 sums and products; 3 → 1 nodes"));
}

#[test]
fn a_sum_leaves_the_weights_as_they_are() {
    let case =
        Case { layer: Layer::Conv, op: "Add", behind: true, reversed: false, form: 3, bias: true, seed: 1 };
    let before = model(&case);
    let after = prepared(&before);
    assert_eq!(after.model.graph.initializer("fc.weight"), before.graph.initializer("fc.weight"));
    assert_ne!(after.model.graph.initializer("fc.bias"), before.graph.initializer("fc.bias"));
}

#[test]
fn shared_weights_are_copied() {
    let builder = Builder::new().input("x", Layer::Conv.input()).constant("k", constant(0, 6, true, 1));
    let builder = Layer::Conv.add(builder, "x", "a", true, &[]).node("Mul", &["a", "k"], &["y"]);
    let builder = builder.node("Neg", &["x"], &["n"]);
    let model = Layer::Conv
        .add(builder, "n", "z", true, &[])
        .build(&[("y", Layer::Conv.output()), ("z", Layer::Conv.output())], 13);
    let after = prepared(&model);
    assert_eq!(nodes(&after.model, "Mul"), 0);
    assert_eq!(after.model.graph.initializer("fc.weight"), model.graph.initializer("fc.weight"));
    assert!(after.model.graph.initializer("fc.weight_folded").is_some());
}

fn declined(model: &Model, reason: &str) {
    assert_declined(model, &PreprocessConfig::default(), PASS, reason);
}

/// A convolution with `op` and a constant behind it; `change` may spoil it.
fn spoiled(op: &str, constant: Tensor, change: impl FnOnce(Builder) -> Builder, extra: &[&str]) -> Model {
    let builder = Builder::new().input("x", Layer::Conv.input()).constant("k", constant);
    let builder = change(Layer::Conv.add(builder, "x", "h", false, &[])).node(op, &["h", "k"], &["y"]);
    let mut outputs = vec![("y", Layer::Conv.output())];
    outputs.extend(extra.iter().map(|name| (*name, Layer::Conv.output())));
    builder.build(&outputs, 13)
}

#[test]
fn what_cannot_be_folded_behind_is_left_with_its_reason() {
    let k = || constant(3, 6, true, 1);
    declined(&spoiled("Mul", k(), |b| b.node("Relu", &["h"], &["z"]), &["z"]), "\"h\" has 2 uses");
    declined(&spoiled("Mul", k(), |b| b, &["h"]), "\"h\" is an output of the graph");
    declined(&spoiled("Div", Tensor::f32(&[1], &[0.0]), |b| b, &[]), "divides by 0");
    let each = Tensor::f32(&[6, 3, 3], &noise(1, 54));
    declined(&spoiled("Add", each, |b| b, &[]), "not one number for each of 6 channels");
    let columns = Tensor::f32(&[3], &noise(1, 3));
    declined(&spoiled("Mul", columns, |b| b, &[]), "not one number for each of 6 channels");
    declined(
        &spoiled(
            "Mul",
            Tensor::f32(&[], &[1e38]),
            |b| b.constant("fc.weight", Tensor::f32(&[6, 2, 3, 3], &[1e3; 108])),
            &[],
        ),
        "float32 cannot hold",
    );
}

#[test]
fn constants_that_make_a_result_larger_are_left() {
    let builder = Builder::new().input("x", &[3, 4]).constant("k", Tensor::f32(&[1, 1, 6], &noise(1, 6)));
    let builder = Layer::Gemm.add(builder, "x", "h", false, &[]).node("Mul", &["h", "k"], &["y"]);
    declined(&builder.build(&[("y", &[1, 3, 6])], 13), "may add axes");

    // One channel becomes four.
    let builder = Builder::new().input("x", &[2, 1, 5, 5]).constant("k", constant(3, 4, true, 1));
    let builder = builder.node("Mul", &["x", "k"], &["h"]);
    let builder = Layer::Conv.add(builder, "h", "y", false, &[]);
    declined(&builder.build(&[("y", Layer::Conv.output())], 13), "not known to have 4 channels");
}

#[test]
fn a_shift_before_padding_is_left_and_a_scale_is_not() {
    for (op, left) in [("Sub", 1), ("Mul", 0)] {
        for pads in [("pads", vec![1i64; 4].into()), ("auto_pad", "SAME_UPPER".into())] {
            let builder =
                Builder::new().input("x", Layer::Conv.input()).constant("k", constant(3, 4, true, 1));
            let builder = builder.node(op, &["x", "k"], &["h"]);
            let model = Layer::Conv.add(builder, "h", "y", true, &[pads]).build(&[("y", &[2, 6, 5, 5])], 13);
            let after = prepared(&model);
            assert_eq!(nodes(&after.model, op), left);
            if left == 1 {
                declined(&model, "pads with zeros");
            }
        }
    }
}

#[test]
fn half_precision_is_left() {
    let half = |dims: &[usize]| {
        let n = dims.iter().product::<usize>();
        Tensor::from_raw(DataType::Float16, dims.to_vec(), [0x00, 0x3c].repeat(n).into()).unwrap()
    };
    let model = Builder::new()
        .input("x", &[2, 3])
        .constant("w", half(&[3, 2]))
        .constant("k", half(&[]))
        .node_with("Cast", &["x"], &["h"], &[("to", 10.into())])
        .node("MatMul", &["h", "w"], &["m"])
        .node("Mul", &["m", "k2"], &["n"])
        .constant("k2", Tensor::from_raw(DataType::Float16, vec![], vec![0x00, 0x40].into()).unwrap())
        .node_with("Cast", &["n"], &["y"], &[("to", 1.into())])
        .build(&[("y", &[2, 2])], 13);
    declined(&model, "float16, not float32");
}

#[test]
fn it_can_be_switched_off() {
    let case =
        Case { layer: Layer::Gemm, op: "Mul", behind: true, reversed: false, form: 0, bias: true, seed: 1 };
    let config = PreprocessConfig { fold_arithmetic: false, ..PreprocessConfig::default() };
    assert_eq!(nodes(&common::prepared_with(&model(&case), &config).model, "Mul"), 1);
}
