//! Folded batch normalizations compute what they did, and what cannot be folded is left with a reason.

mod common;

use common::{nodes, noise, outputs, prepared, refusals};
use proptest::prelude::*;
use shiftwise_graph::{Builder, DataType, Model, Tensor};

const PASS: &str = "fold_batch_norm";

fn shifted(values: Vec<f32>, by: f32) -> Vec<f32> {
    values.into_iter().map(|v| v + by).collect()
}

/// Adds the four constants of a normalization over `channels`, named `{prefix}.…`.
fn normalization(builder: Builder, prefix: &str, channels: usize, seed: u64) -> Builder {
    let of = |k: u64| noise(seed + k, channels);
    let constant = |values: Vec<f32>| Tensor::f32(&[channels], &values);
    builder
        .constant(&format!("{prefix}.gamma"), constant(of(1)))
        .constant(&format!("{prefix}.beta"), constant(of(2)))
        .constant(&format!("{prefix}.mean"), constant(of(3)))
        .constant(&format!("{prefix}.var"), constant(shifted(of(4), 1.01)))
}

fn batch_norm(builder: Builder, x: &str, y: &str, prefix: &str) -> Builder {
    let names = ["gamma", "beta", "mean", "var"].map(|p| format!("{prefix}.{p}"));
    let inputs = [x, &names[0], &names[1], &names[2], &names[3]];
    builder.node_with("BatchNormalization", &inputs, &[y], &[("epsilon", 1e-3f32.into())])
}

struct Case {
    transposed: bool,
    rank: usize,
    group: usize,
    /// Input channels of one group.
    rows: usize,
    /// Output channels of one group.
    columns: usize,
    kernel: usize,
    bias: bool,
    seed: u64,
}

/// One convolution with a normalization behind it.
fn conv(case: &Case) -> Model {
    let Case { transposed, rank, group, rows, columns, kernel, bias, seed } = *case;
    let (input, output) = (group * rows, group * columns);
    let mut dims = if transposed { vec![input, columns] } else { vec![output, rows] };
    dims.extend(std::iter::repeat_n(kernel, rank));
    let mut shape = vec![2, input];
    shape.extend(std::iter::repeat_n(5, rank));
    let mut result = vec![2, output];
    result.extend(std::iter::repeat_n(if transposed { 4 + kernel } else { 6 - kernel }, rank));
    let mut builder = Builder::new()
        .input("x", &shape)
        .constant("conv.weight", Tensor::f32(&dims, &noise(seed, dims.iter().product())));
    let mut inputs = vec!["x", "conv.weight"];
    if bias {
        builder = builder.constant("conv.b", Tensor::f32(&[output], &noise(seed + 9, output)));
        inputs.push("conv.b");
    }
    let op = if transposed { "ConvTranspose" } else { "Conv" };
    builder = builder.node_with(op, &inputs, &["conv"], &[("group", (group as i64).into())]);
    batch_norm(normalization(builder, "bn", output, seed + 20), "conv", "y", "bn")
        .build(&[("y", &result)], 13)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn convolutions_of_any_shape_keep_their_results(
        transposed: bool, rank in 1usize..=2, group in 1usize..=3, rows in 1usize..=3, columns in 1usize..=3,
        kernel in 1usize..=3, bias: bool, seed in 0u64..1000,
    ) {
        // The engine has transposed convolutions over two dimensions.
        let rank = if transposed { 2 } else { rank };
        let model = conv(&Case { transposed, rank, group, rows, columns, kernel, bias, seed });
        let after = prepared(&model);
        prop_assert_eq!(after.model.graph.node_count(), 1);
        prop_assert_eq!(after.model.graph.initializers().count(), 2);
        let bias_name = if bias { "conv.b" } else { "conv.bias" };
        prop_assert!(after.model.graph.initializer(bias_name).is_some());
    }

    #[test]
    fn products_of_any_form_keep_their_results(
        n in 2usize..=5, k in 1usize..=4, columns in 1usize..=5, transposed: bool, form in 0usize..4,
        alpha in -2.0f32..2.0, beta in -2.0f32..2.0, seed in 0u64..1000,
    ) {
        let dims = if transposed { [columns, k] } else { [k, columns] };
        let mut builder = Builder::new()
            .input("x", &[n, k])
            .constant("fc.kernel", Tensor::f32(&dims, &noise(seed, k * columns)));
        let mut inputs = vec!["x", "fc.kernel"];
        let bias_dims: [&[usize]; 4] = [&[], &[], &[columns], &[1, columns]];
        if form > 0 {
            let dims = bias_dims[form];
            builder = builder.constant("fc.b", Tensor::f32(dims, &noise(seed + 1, dims.iter().product())));
            inputs.push("fc.b");
        }
        let attributes = [("transB", i64::from(transposed).into()), ("alpha", alpha.into()), ("beta", beta.into())];
        let builder = builder.node_with("Gemm", &inputs, &["fc"], &attributes);
        let model = batch_norm(normalization(builder, "bn", columns, seed), "fc", "y", "bn").build(&[("y", &[n, columns])], 13);
        let after = prepared(&model);
        prop_assert_eq!(after.model.graph.node_count(), 1);
    }
}

#[test]
fn two_normalizations_in_a_row_both_fold() {
    let builder =
        Builder::new().input("x", &[1, 2, 4, 4]).constant("w", Tensor::f32(&[3, 2, 1, 1], &noise(1, 6)));
    let builder =
        normalization(normalization(builder, "a", 3, 5), "b", 3, 50).node("Conv", &["x", "w"], &["c"]);
    let model =
        batch_norm(batch_norm(builder, "c", "d", "a"), "d", "y", "b").build(&[("y", &[1, 3, 4, 4])], 11);
    let after = prepared(&model);
    assert_eq!(after.model.graph.node_count(), 1);
    assert_eq!(after.rewrites.applied(PASS), 2);
    assert!(after.rewrites.summary().starts_with("folded 2 batch normalizations"));
}

#[test]
fn shared_weights_are_copied_and_the_other_reader_keeps_its_own() {
    let builder = Builder::new()
        .input("x", &[1, 2, 4, 4])
        .constant("w", Tensor::f32(&[2, 2, 1, 1], &noise(1, 4)))
        .constant("b", Tensor::f32(&[2], &[1.0, 2.0]))
        .node("Conv", &["x", "w", "b"], &["p"])
        .node("Neg", &["x"], &["n"])
        .node("Conv", &["n", "w", "b"], &["q"]);
    let model = batch_norm(normalization(builder, "bn", 2, 5), "p", "y", "bn")
        .build(&[("y", &[1, 2, 4, 4]), ("q", &[1, 2, 4, 4])], 13);
    let after = prepared(&model);
    assert_eq!(nodes(&after.model, "BatchNormalization"), 0);
    assert_eq!(after.model.graph.initializer("w"), model.graph.initializer("w"));
    assert_eq!(after.model.graph.initializer("b"), model.graph.initializer("b"));
    assert!(after.model.graph.initializer("w_folded").is_some());
}

/// A convolution with a normalization; `change` may spoil it.
fn spoiled(change: impl FnOnce(Builder) -> Builder, extra: &[(&str, &[usize])]) -> Model {
    let builder =
        Builder::new().input("x", &[1, 2, 4, 4]).constant("w", Tensor::f32(&[2, 2, 1, 1], &noise(1, 4)));
    let builder = normalization(builder, "bn", 2, 5).node("Conv", &["x", "w"], &["c"]);
    let builder = batch_norm(change(builder), "c", "y", "bn");
    builder.build(&[&[("y", &[1, 2, 4, 4][..])], extra].concat(), 13)
}

fn assert_left(model: &Model, reason: &str) {
    let after = prepared(model);
    assert_eq!(nodes(&after.model, "BatchNormalization"), 1);
    let refused = refusals(&after, PASS);
    assert!(refused.len() == 1 && refused[0].contains(reason), "{refused:?} should say {reason:?}");
}

#[test]
fn what_cannot_be_folded_is_left_with_its_reason() {
    let image: &[usize] = &[1, 2, 4, 4];
    assert_left(&spoiled(|b| b.node("Relu", &["c"], &["z"]), &[("z", image)]), "has 2 uses");
    assert_left(&spoiled(|b| b, &[("c", image)]), "\"c\" is an output of the graph");
    let var = |v: f32| move |b: Builder| b.constant("bn.var", Tensor::f32(&[2], &[1.0, v]));
    assert_left(&spoiled(var(-0.5), &[]), "the variance of channel 1 plus epsilon is");
    let tiny = |b: Builder| {
        b.constant("bn.gamma", Tensor::f32(&[2], &[3e38, 1.0]))
            .constant("bn.var", Tensor::f32(&[2], &[0.0, 0.0]))
    };
    let after = common::try_prepare(&spoiled(tiny, &[])).unwrap();
    assert!(refusals(&after, PASS)[0].contains("float32 cannot hold"));
    let alone = normalization(Builder::new().input("x", image), "bn", 2, 5);
    assert_left(&batch_norm(alone, "x", "y", "bn").build(&[("y", image)], 13), "no preceding convolution");
}

#[test]
fn weights_that_are_computed_are_left() {
    let builder =
        normalization(Builder::new().input("x", &[1, 2, 4, 4]).input("w", &[2, 2, 1, 1]), "bn", 2, 5).node(
            "Conv",
            &["x", "w"],
            &["c"],
        );
    assert_left(
        &batch_norm(builder, "c", "y", "bn").build(&[("y", &[1, 2, 4, 4])], 13),
        "its weight \"w\" is not constant",
    );
}

#[test]
fn a_bias_for_each_row_of_a_product_is_left() {
    let builder = Builder::new()
        .input("x", &[3, 2])
        .constant("w", Tensor::f32(&[2, 4], &noise(1, 8)))
        .constant("b", Tensor::f32(&[3, 1], &[1.0, 2.0, 3.0]))
        .node("Gemm", &["x", "w", "b"], &["c"]);
    let model = batch_norm(normalization(builder, "bn", 4, 5), "c", "y", "bn").build(&[("y", &[3, 4])], 13);
    assert_left(&model, "is not one number for each of 4 channels");
}

#[test]
fn half_precision_is_left_as_it_is() {
    let half = |n: usize| Tensor::from_raw(DataType::Float16, vec![n], vec![0x3c; 2 * n].into()).unwrap();
    let mut builder =
        Builder::new().input("x", &[1, 2, 4, 4]).node_with("Cast", &["x"], &["h"], &[("to", 10.into())]);
    let weight = Tensor::from_raw(DataType::Float16, vec![2, 2, 1, 1], vec![0x2c; 8].into()).unwrap();
    for name in ["bn.gamma", "bn.beta", "bn.mean", "bn.var"] {
        builder = builder.constant(name, half(2));
    }
    let builder = builder.constant("w", weight).node("Conv", &["h", "w"], &["c"]);
    let builder = batch_norm(builder, "c", "n", "bn").node_with("Cast", &["n"], &["y"], &[("to", 1.into())]);
    let model = builder.build(&[("y", &[1, 2, 4, 4])], 13);
    assert_left(&model, "float16, not float32");
    assert_eq!(outputs(&model), outputs(&prepared(&model).model));
}

/// Layers of all kinds side by side, concatenated and normalized. With `shared`, both convolutions have one weight.
fn branches(axis: i64, shared: bool, change: impl FnOnce(Builder) -> Builder) -> Model {
    let mut builder = Builder::new()
        .input("x", &[2, 2, 4, 4])
        .constant("w", Tensor::f32(&[3, 2, 1, 1], &noise(1, 6)))
        .constant("v", Tensor::f32(&[3, 2, 1, 1], &noise(2, 6)))
        .constant("t", Tensor::f32(&[2, 1, 1, 1], &noise(3, 2)))
        .constant("b", Tensor::f32(&[3], &noise(4, 3)))
        .node("Neg", &["x"], &["n"])
        .node("Conv", &["x", "w", "b"], &["p"])
        .node("Conv", &["n", if shared { "w" } else { "v" }, "b"], &["q"])
        .node_with("ConvTranspose", &["x", "t"], &["r"], &[("group", 2.into())]);
    builder = builder.node_with("Concat", &["p", "q", "r"], &["c"], &[("axis", axis.into())]);
    let builder = change(normalization(builder, "bn", 8, 5));
    batch_norm(builder, "c", "y", "bn").build(&[("y", &[2, 8, 4, 4])], 13)
}

#[test]
fn each_branch_of_a_concat_gets_its_channels() {
    for (axis, shared) in [(1, false), (-3, false), (1, true)] {
        let after = prepared(&branches(axis, shared, |b| b));
        assert_eq!(nodes(&after.model, "BatchNormalization"), 0);
        assert_eq!(after.model.graph.node_count(), 5);
    }
}

#[test]
fn a_concat_that_is_not_all_layers_is_left_as_a_whole() {
    let model = branches(1, false, |b| b.node("Neg", &["x"], &["r2"]));
    let after = prepared(&model);
    assert_eq!(nodes(&after.model, "BatchNormalization"), 0, "unused readers do not count");

    let builder = Builder::new()
        .input("x", &[1, 2, 4, 4])
        .constant("w", Tensor::f32(&[2, 2, 1, 1], &noise(1, 4)))
        .node("Conv", &["x", "w"], &["p"])
        .node_with("Concat", &["p", "x"], &["c"], &[("axis", 1.into())]);
    let builder = batch_norm(normalization(builder, "bn", 4, 5), "c", "y", "bn");
    let model = builder.build(&[("y", &[1, 4, 4, 4])], 13);
    assert_left(&model, "its input \"x\" is not made by a convolution");
    assert_eq!(prepared(&model).model.graph.initializer("w"), model.graph.initializer("w"));

    let builder = Builder::new()
        .input("x", &[1, 2, 4, 4])
        .constant("w", Tensor::f32(&[2, 2, 1, 1], &noise(1, 4)))
        .node("Conv", &["x", "w"], &["p"])
        .node("Relu", &["x"], &["u"])
        .node("Conv", &["u", "w"], &["q"])
        .node_with("Concat", &["p", "q"], &["c"], &[("axis", 2.into())]);
    let builder = batch_norm(normalization(builder, "bn", 2, 5), "c", "y", "bn");
    assert_left(&builder.build(&[("y", &[1, 2, 8, 4])], 13), "joins along axis 2");
}

#[test]
fn a_product_without_bias_gets_one() {
    let builder = Builder::new()
        .input("x", &[3, 2])
        .constant("fc.weight", Tensor::f32(&[2, 4], &noise(1, 8)))
        .node("MatMul", &["x", "fc.weight"], &["c"]);
    let model = batch_norm(normalization(builder, "bn", 4, 5), "c", "y", "bn").build(&[("y", &[3, 4])], 13);
    let after = prepared(&model);
    assert_eq!(common::operators(&after.model), ["Gemm"]);
    assert!(after.model.graph.initializer("fc.bias").is_some());
}
