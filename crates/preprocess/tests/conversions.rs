//! Operators that were converted to those of NPUs compute what they did.

#![allow(missing_docs)]

mod common;

use common::{assert_declined, nodes, noise, operators, prepared_with};
use proptest::prelude::*;
use shiftwise_graph::{Attribute, Builder, Model, Tensor};
use shiftwise_preprocess::PreprocessConfig;

fn all() -> PreprocessConfig {
    PreprocessConfig {
        convert_bn_to_conv: true,
        convert_reduce_mean_to_global_avg_pool: true,
        split_large_kernel_pool: true,
        convert_split_to_slice: true,
        ..PreprocessConfig::default()
    }
}

fn declined(model: &Model, pass: &str, reason: &str) {
    assert_declined(model, &all(), pass, reason);
}

fn batch_norm(dims: &[usize], epsilon: Option<f32>, variance: f32) -> Model {
    let c = dims[1];
    let of = |seed: u64| Tensor::f32(&[c], &noise(seed, c));
    let attributes: Vec<(&str, Attribute)> = epsilon.into_iter().map(|e| ("epsilon", e.into())).collect();
    Builder::new()
        .input("x", dims)
        .constant("g", of(1))
        .constant("b", of(2))
        .constant("m", of(3))
        .constant("v", Tensor::f32(&[c], &vec![variance; c]))
        .node_with("BatchNormalization", &["x", "g", "b", "m", "v"], &["y"], &attributes)
        .build(&[("y", dims)], 13)
}

/// Splits [n] of an axis in parts.
fn split(dims: &[usize], axis: Option<i64>, sizes: Option<&[i64]>, parts: &[usize], opset: i64) -> Model {
    let mut attributes: Vec<(&str, Attribute)> = axis.into_iter().map(|a| ("axis", a.into())).collect();
    let mut builder = Builder::new().input("x", dims);
    let mut inputs = vec!["x"];
    match sizes {
        Some(sizes) if opset < 13 => attributes.push(("split", sizes.to_vec().into())),
        Some(sizes) => {
            builder = builder.constant("sizes", Tensor::i64(&[sizes.len()], sizes));
            inputs.push("sizes");
        }
        None if opset >= 18 => attributes.push(("num_outputs", (parts.len() as i64).into())),
        None => {}
    }
    let names: Vec<String> = (0..parts.len()).map(|i| format!("y{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let at = axis.unwrap_or(0).rem_euclid(dims.len() as i64) as usize;
    let shapes: Vec<Vec<usize>> =
        parts.iter().map(|n| [&dims[..at], &[*n], &dims[at + 1..]].concat()).collect();
    let outputs: Vec<(&str, &[usize])> =
        names.iter().copied().zip(shapes.iter().map(Vec::as_slice)).collect();
    builder.node_with("Split", &inputs, &names, &attributes).build(&outputs, opset)
}

fn mean(dims: &[usize], axes: &[i64], keep: Option<i64>, opset: i64) -> Model {
    let mut attributes: Vec<(&str, Attribute)> = keep.into_iter().map(|k| ("keepdims", k.into())).collect();
    let mut builder = Builder::new().input("x", dims);
    let mut inputs = vec!["x"];
    if opset < 18 {
        attributes.push(("axes", axes.to_vec().into()));
    } else {
        builder = builder.constant("axes", Tensor::i64(&[axes.len()], axes));
        inputs.push("axes");
    }
    let is_gone = |i: usize| axes.iter().any(|a| a.rem_euclid(dims.len() as i64) as usize == i);
    let kept = keep != Some(0);
    let out: Vec<usize> = dims
        .iter()
        .enumerate()
        .filter(|(i, _)| kept || !is_gone(*i))
        .map(|(i, d)| if is_gone(i) { 1 } else { *d })
        .collect();
    builder.node_with("ReduceMean", &inputs, &["y"], &attributes).build(&[("y", &out)], opset)
}

fn global_pool(dims: &[usize]) -> Model {
    let out: Vec<usize> = dims.iter().enumerate().map(|(i, d)| if i < 2 { *d } else { 1 }).collect();
    Builder::new().input("x", dims).node("GlobalAveragePool", &["x"], &["y"]).build(&[("y", &out)], 13)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn normalizations_become_convolutions(
        n in 1usize..3, c in 1usize..6, spatial in prop::collection::vec(1usize..5, 1..3), epsilon in prop::option::of(1e-6f32..1e-2),
        variance in 0.0f32..2.0,
    ) {
        // A variance of 0 leaves epsilon alone below the root.
        let dims = [vec![n, c], spatial].concat();
        let after = prepared_with(&batch_norm(&dims, epsilon, variance), &all());
        prop_assert_eq!(operators(&after.model), ["Conv"]);
        let (_, conv) = after.model.graph.nodes().next().unwrap();
        prop_assert_eq!(&conv.inputs[1..], ["yweights", "ybias"]);
        prop_assert_eq!(conv.int("group"), Some(c as i64));
    }

    #[test]
    fn means_become_poolings(
        n in 1usize..3, c in 1usize..4, h in 1usize..6, w in 1usize..6, swapped: bool, negative in prop::array::uniform2(any::<bool>()),
        keep in prop::sample::select(&[None, Some(0), Some(1)][..]), opset in prop::sample::select(&[11i64, 13, 18][..]),
    ) {
        let mut axes = [2, 3].map(|a: i64| if negative[a as usize - 2] { a - 4 } else { a });
        if swapped {
            axes.reverse();
        }
        let after = prepared_with(&mean(&[n, c, h, w], &axes, keep, opset), &all());
        let expected: &[&str] = if keep == Some(0) { &["Flatten", "GlobalAveragePool"] } else { &["GlobalAveragePool"] };
        prop_assert_eq!(operators(&after.model), expected);
    }

    #[test]
    fn large_poolings_are_split(h in 1usize..40, w in 1usize..40) {
        let after = prepared_with(&global_pool(&[1, 2, h, w]), &all());
        let factor = |d: usize| (1..=d).filter(|f| f * f <= d && d.is_multiple_of(*f)).max().unwrap();
        let first = factor(h) * factor(w);
        let splits = h * w > 512 && first > 1 && h * w / first <= 512;
        prop_assert_eq!(nodes(&after.model, "AveragePool"), usize::from(splits));
        if splits {
            let (_, pool) = after.model.graph.producer("x_Split").unwrap();
            prop_assert_eq!(pool.ints("kernel_shape").unwrap(), [factor(h) as i64, factor(w) as i64]);
        }
    }

    #[test]
    fn splits_become_slices(
        sizes in prop::collection::vec(1usize..4, 1..5), before in 1usize..3, behind in 1usize..3, axis in 0usize..3, negative: bool,
        opset in prop::sample::select(&[11i64, 13, 18][..]),
    ) {
        let total = sizes.iter().sum();
        let mut dims = vec![before, behind];
        dims.insert(axis, total);
        let given = axis as i64 - if negative { 3 } else { 0 };
        let list: Vec<i64> = sizes.iter().map(|n| *n as i64).collect();
        let model = split(&dims, (given != 0).then_some(given), Some(&list), &sizes, opset);
        let after = prepared_with(&model, &all());
        prop_assert_eq!(nodes(&after.model, "Split"), 0);
    }

    #[test]
    fn splits_without_sizes_become_slices(
        size in 1usize..5, parts in 1usize..5, short in 0usize..4, opset in prop::sample::select(&[11i64, 13, 18][..]),
    ) {
        let mut sizes = vec![size; parts];
        if opset >= 18 {
            sizes[parts - 1] -= short.min(size - 1).min(parts - 1);
        }
        let n = sizes.iter().sum();
        let after = prepared_with(&split(&[n, 2], None, None, &sizes, opset), &all());
        prop_assert_eq!(nodes(&after.model, "Split"), 0);
    }
}

#[test]
fn slices_are_called_by_output_and_number() {
    let after = prepared_with(&split(&[2, 5], Some(-1), Some(&[2, 3]), &[2, 3], 13), &all());
    let graph = &after.model.graph;
    let (_, slice) = graph.producer("y1").unwrap();
    assert_eq!(slice.name, "y1_1");
    assert_eq!(slice.inputs, ["x", "y1_starts_1", "y1_ends_1", "y1_axes_1", "y1_steps_1"]);
    let ints = |name: &str| graph.initializer(name).unwrap().to_i64().unwrap();
    assert_eq!([ints("y1_starts_1"), ints("y1_ends_1"), ints("y1_axes_1")], [[2], [5], [-1]]);
}

#[test]
fn splits_that_cannot_be_converted_do_not_keep_others() {
    let model = Builder::new()
        .input("x", &[4, 6])
        .input_info(shiftwise_graph::ValueInfo {
            name: "sizes".into(),
            ty: shiftwise_graph::ValueType::Tensor(shiftwise_graph::TensorType::fixed(
                shiftwise_graph::DataType::Int64,
                &[2],
            )),
        })
        .node("Split", &["x", "sizes"], &["a", "b"])
        .node_with("Split", &["x"], &["c", "d"], &[("axis", 1.into())])
        .build(&[("a", &[2, 6]), ("b", &[2, 6]), ("c", &[4, 3]), ("d", &[4, 3])], 13);
    let after = shiftwise_preprocess::prepare(model, &all(), &shiftwise_engine::embedded()).unwrap();
    assert_eq!((nodes(&after.model, "Split"), nodes(&after.model, "Slice")), (1, 2));
    assert_eq!(common::refusals(&after, "split_to_slice"), ["its sizes \"sizes\" are not constant"]);
}

#[test]
fn what_cannot_be_converted_is_left_with_its_reason() {
    declined(&batch_norm(&[3, 4], None, 1.0), "batch_norm_to_conv", "its input has rank 2");
    declined(&mean(&[2, 3, 4], &[2], None, 13), "reduce_mean_to_pool", "its input has rank 3");
    declined(
        &mean(&[2, 3, 4, 5], &[3], None, 13),
        "reduce_mean_to_pool",
        "not over exactly the spatial ones",
    );
    declined(
        &mean(&[2, 3, 4, 5], &[1, 2, 3], None, 13),
        "reduce_mean_to_pool",
        "not over exactly the spatial ones",
    );
    declined(&global_pool(&[1, 2, 23, 29]), "split_pool", "have no divisors but themselves");
    // A prime extent stays whole in the second pooling.
    declined(&global_pool(&[1, 2, 4, 613]), "split_pool", "the second pooling would be over [2, 613]");
    declined(&global_pool(&[1, 1, 1024, 1024]), "split_pool", "the first pooling would be over [32, 32]");
}

#[test]
fn they_are_off_by_themselves() {
    let model = split(&[4, 2], None, None, &[2, 2], 13);
    assert_eq!(nodes(&common::prepared(&model).model, "Split"), 1);
    assert_eq!(
        nodes(&common::prepared(&batch_norm(&[1, 2, 3, 3], None, 1.0)).model, "BatchNormalization"),
        1
    );
}
