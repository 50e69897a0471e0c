//! Products that became Gemm compute what they did.

#![allow(missing_docs)]

mod common;

use common::{assert_declined, nodes, noise, operators, prepared};
use proptest::prelude::*;
use shiftwise_graph::{Builder, Model, Tensor};
use shiftwise_preprocess::PreprocessConfig;

const PASS: &str = "fuse_gemm";
const TRANSPOSED: &str = "transposed_gemm";

/// [m, k]·[k, n] + a constant or an input of these dimensions.
fn sum(op: &str, [m, k, n]: [usize; 3], dims: &[usize], is_constant: bool, reversed: bool) -> Model {
    let count = dims.iter().product();
    let mut builder =
        Builder::new().input("x", &[m, k]).constant("w", Tensor::f32(&[k, n], &noise(1, k * n)));
    builder = if is_constant {
        builder.constant("c", Tensor::f32(dims, &noise(2, count)))
    } else {
        builder.input("c", dims)
    };
    let operands = if reversed { ["c", "h"] } else { ["h", "c"] };
    builder.node(op, &["x", "w"], &["h"]).node("Add", &operands, &["y"]).build(&[("y", &[m, n])], 13)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn sums_of_every_shape_keep_their_results(
        op in prop::sample::select(&["MatMul", "Gemm"][..]), m in 1usize..5, k in 1usize..4, n in 1usize..5, form in 0usize..6,
        is_constant: bool, reversed: bool,
    ) {
        let dims = [vec![], vec![1], vec![n], vec![1, n], vec![m, 1], vec![m, n]][form].clone();
        let after = prepared(&sum(op, [m, k, n], &dims, is_constant, reversed));
        prop_assert_eq!(operators(&after.model), ["Gemm"]);
    }

    /// Transposes before and behind a Gemm with flags of its own.
    #[test]
    fn transposes_keep_their_results(
        m in 1usize..5, k in 1usize..4, n in 1usize..5, flags in prop::array::uniform2(any::<bool>()),
        before in prop::array::uniform2(any::<bool>()), behind: bool,
    ) {
        let mut builder = Builder::new();
        let names = ["a", "b"];
        let mut operands = ["a", "b"];
        for (i, [rows, columns]) in [[m, k], [k, n]].into_iter().enumerate() {
            let dims = if flags[i] == before[i] { [rows, columns] } else { [columns, rows] };
            builder = builder.input(names[i], &dims);
            if before[i] {
                operands[i] = ["at", "bt"][i];
                builder = builder.node_with("Transpose", &[names[i]], &[operands[i]], &[("perm", vec![1i64, 0].into())]);
            }
        }
        let flags = [("transA", i64::from(flags[0]).into()), ("transB", i64::from(flags[1]).into()), ("alpha", 0.5f32.into())];
        let out = if behind { "h" } else { "y" };
        builder = builder.node_with("Gemm", &operands, &[out], &flags);
        if behind {
            builder = builder.node_with("Transpose", &["h"], &["y"], &[("perm", vec![1i64, 0].into())]);
        }
        let dims = if behind { [n, m] } else { [m, n] };
        let after = prepared(&builder.build(&[("y", &dims)], 13));
        prop_assert_eq!(operators(&after.model), ["Gemm"]);
    }
}

fn declined(model: &Model, reason: &str) {
    assert_declined(model, &PreprocessConfig::default(), PASS, reason);
}

#[test]
fn what_cannot_be_fused_is_left_with_its_reason() {
    let batches = Builder::new()
        .input("x", &[2, 3, 4])
        .constant("w", Tensor::f32(&[4, 5], &noise(1, 20)))
        .constant("c", Tensor::f32(&[5], &noise(2, 5)))
        .node("MatMul", &["x", "w"], &["h"])
        .node("Add", &["h", "c"], &["y"])
        .build(&[("y", &[2, 3, 5])], 13);
    declined(&batches, "\"x\" has rank 3, but Gemm multiplies matrices");

    let product = || {
        Builder::new().input("x", &[1, 4]).constant("w", Tensor::f32(&[4, 5], &noise(1, 20))).node(
            "MatMul",
            &["x", "w"],
            &["h"],
        )
    };
    let larger =
        product().constant("c", Tensor::f32(&[3, 5], &noise(2, 15))).node("Add", &["h", "c"], &["y"]);
    declined(&larger.build(&[("y", &[3, 5])], 13), "may make the result larger");
    let axes =
        product().constant("c", Tensor::f32(&[1, 1, 5], &noise(2, 5))).node("Add", &["h", "c"], &["y"]);
    declined(&axes.build(&[("y", &[1, 1, 5])], 13), "may make the result larger");
    let used = product().constant("c", Tensor::f32(&[5], &noise(2, 5))).node("Add", &["h", "c"], &["y"]);
    let used = used.node("Relu", &["h"], &["z"]).build(&[("y", &[1, 5]), ("z", &[1, 5])], 13);
    declined(&used, "\"h\" has 2 uses");
    let twice = product().node("Add", &["h", "h"], &["y"]).build(&[("y", &[1, 5])], 13);
    let after = prepared(&twice);
    assert!(common::refusals(&after, PASS)[0].contains("added to itself"));
}

#[test]
fn a_gemm_with_a_bias_is_not_fused_and_its_result_not_transposed() {
    let builder = || {
        Builder::new()
            .input("x", &[3, 4])
            .constant("w", Tensor::f32(&[4, 5], &noise(1, 20)))
            .input("b", &[5])
            .node("Gemm", &["x", "w", "b"], &["h"])
    };
    let perm = [("perm", vec![1i64, 0].into())];
    let model = builder().node_with("Transpose", &["h"], &["y"], &perm).build(&[("y", &[5, 3])], 13);
    assert_declined(&model, &PreprocessConfig::default(), TRANSPOSED, "would have to be transposed");
    let model = builder().input("c", &[5]).node("Add", &["h", "c"], &["y"]).build(&[("y", &[3, 5])], 13);
    assert_eq!(operators(&prepared(&model).model), ["Add", "Gemm"]);
}

#[test]
fn a_transpose_that_others_read_stays_for_them() {
    let model = Builder::new()
        .input("x", &[4, 3])
        .constant("w", Tensor::f32(&[4, 5], &noise(1, 20)))
        .node_with("Transpose", &["x"], &["t"], &[("perm", vec![1i64, 0].into())])
        .node("Relu", &["t"], &["z"])
        .node("Gemm", &["t", "w"], &["y"])
        .build(&[("y", &[3, 5]), ("z", &[3, 4])], 13);
    assert_eq!(operators(&prepared(&model).model), ["Gemm", "Relu", "Transpose"]);
    // Both operands of one Gemm are no others.
    let square = Builder::new()
        .input("x", &[3, 3])
        .node_with("Transpose", &["x"], &["t"], &[("perm", vec![1i64, 0].into())])
        .node("Gemm", &["t", "t"], &["y"])
        .build(&[("y", &[3, 3])], 13);
    assert_eq!(operators(&prepared(&square).model), ["Gemm"]);
}

#[test]
fn it_can_be_switched_off() {
    let config = PreprocessConfig { fuse_gemm: false, ..PreprocessConfig::default() };
    let model = sum("MatMul", [2, 3, 4], &[2, 4], true, false);
    assert_eq!(nodes(&common::prepared_with(&model, &config).model, "Gemm"), 0);
}
