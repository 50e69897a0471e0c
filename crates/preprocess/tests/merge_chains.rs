//! Chains that were merged, and duplicates, compute what they did.

#![allow(missing_docs)]

mod common;

use common::{assert_declined, nodes, operators, prepared};
use proptest::prelude::*;
use shiftwise_graph::{Attribute, Builder, DataType, Dim, Model, Tensor, TensorType, ValueInfo, ValueType};
use shiftwise_preprocess::PreprocessConfig;

fn declined(model: &Model, pass: &str, reason: &str) {
    assert_declined(model, &PreprocessConfig::default(), pass, reason);
}

fn transposes(perms: &[Vec<i64>], dims: &[usize]) -> Model {
    let mut builder = Builder::new().input("x", dims).node("Neg", &["x"], &["t0"]);
    let mut dims = dims.to_vec();
    for (i, perm) in perms.iter().enumerate() {
        let (from, to) = (format!("t{i}"), format!("t{}", i + 1));
        builder = builder.node_with("Transpose", &[&from], &[&to], &[("perm", perm.clone().into())]);
        dims = perm.iter().map(|p| dims[*p as usize]).collect();
    }
    let last = format!("t{}", perms.len());
    builder.node("Neg", &[&last], &["y"]).build(&[("y", &dims)], 13)
}

fn permutation() -> impl Strategy<Value = Vec<i64>> {
    Just(vec![0i64, 1, 2, 3]).prop_shuffle()
}

/// What gives the same elements another shape: a Reshape, Flatten, Squeeze or Unsqueeze, chosen by a number.
fn reshape(mut builder: Builder, i: usize, how: usize, dims: &mut Vec<usize>, opset: i64) -> Builder {
    let (from, to, param) = (format!("r{i}"), format!("r{}", i + 1), format!("p{i}"));
    let list = |v: &[i64]| Tensor::i64(&[v.len()], v);
    let mut attributes: Vec<(&str, Attribute)> = Vec::new();
    let mut inputs = vec![from];
    let mut axes = |builder: Builder, axis: i64| {
        if opset < 13 {
            attributes.push(("axes", vec![axis].into()));
            return builder;
        }
        inputs.push(param.clone());
        builder.constant(&param, list(&[axis]))
    };
    let count: usize = dims.iter().product();
    let op = match how % 6 {
        0 => {
            let axis = how % (dims.len() + 1);
            dims.insert(axis, 1);
            builder = axes(builder, axis as i64);
            "Unsqueeze"
        }
        1 => {
            dims.insert(dims.len(), 1);
            builder = axes(builder, -1);
            "Unsqueeze"
        }
        2 if dims.contains(&1) => {
            let axis = dims.iter().position(|d| *d == 1).unwrap();
            let given = axis as i64 - if (how / 6).is_multiple_of(2) { dims.len() as i64 } else { 0 };
            dims.remove(axis);
            builder = axes(builder, given);
            "Squeeze"
        }
        3 => {
            let axis = how % (dims.len() + 1);
            let first: usize = dims[..axis].iter().product();
            *dims = vec![first, count / first];
            attributes.push(("axis", (axis as i64).into()));
            "Flatten"
        }
        4 => {
            // 0 copies from the tensor before.
            *dims = vec![dims[0], count / dims[0]];
            builder = builder.constant(&param, list(&[0, -1]));
            inputs.push(param);
            "Reshape"
        }
        _ => {
            *dims = vec![2, count / 2];
            builder = builder.constant(&param, list(&[2, -1]));
            inputs.push(param);
            "Reshape"
        }
    };
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    builder.node_with(op, &inputs, &[&to], &attributes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn transposes_become_one_or_none(perms in prop::collection::vec(permutation(), 1..5)) {
        let after = prepared(&transposes(&perms, &[2, 3, 4, 5]));
        let whole = perms.iter().fold(vec![0i64, 1, 2, 3], |all, perm| perm.iter().map(|p| all[*p as usize]).collect());
        prop_assert_eq!(nodes(&after.model, "Transpose"), usize::from(whole != [0, 1, 2, 3]));
    }

    #[test]
    fn reshapes_become_one_or_none(steps in prop::collection::vec(0usize..60, 2..6), opset in 11i64..=17) {
        let mut dims = vec![2, 3, 4];
        let mut builder = Builder::new().input("x", &dims).node("Neg", &["x"], &["r0"]);
        for (i, how) in steps.iter().enumerate() {
            builder = reshape(builder, i, *how, &mut dims, opset);
        }
        let last = format!("r{}", steps.len());
        let after = prepared(&builder.node("Neg", &[&last], &["y"]).build(&[("y", &dims)], opset));
        prop_assert!(after.model.graph.node_count() <= 3, "{:?}", operators(&after.model));
    }

    #[test]
    fn casts_keep_their_results(types in prop::collection::vec(prop::sample::select(&[1i64, 2, 3, 5, 6, 7, 9, 10, 11][..]), 1..5)) {
        let mut builder = Builder::new().input("x", &[3, 7]).constant("k", Tensor::f32(&[], &[100.0]));
        // Not negative, as what is cast to unsigned integers must fit.
        builder = builder.node("Mul", &["x", "k"], &["m"]).node("Abs", &["m"], &["t0"]);
        for (i, to) in types.iter().enumerate() {
            builder = builder.node_with("Cast", &[&format!("t{i}")], &[&format!("t{}", i + 1)], &[("to", (*to).into())]);
        }
        let last = format!("t{}", types.len());
        let model = builder.node_with("Cast", &[&last], &["c"], &[("to", 1.into())]).node("Neg", &["c"], &["y"]);
        prepared(&model.build(&[("y", &[3, 7])], 13));
    }

    #[test]
    fn clips_keep_their_results(
        bounds in prop::collection::vec((prop::option::of(-8i8..8), prop::option::of(-8i8..8)), 2..5), opset in 10i64..=13,
    ) {
        let mut builder = Builder::new().input("x", &[5, 40]);
        let mut from = "x".to_owned();
        for (i, (low, high)) in bounds.iter().enumerate() {
            let to = format!("t{i}");
            let value = |v: i8| f32::from(v) / 8.0;
            if (low, high) == (&Some(0), &None) {
                builder = builder.node("Relu", &[&from], &[&to]);
            } else if opset < 11 {
                let named = [("min", *low), ("max", *high)];
                let attributes: Vec<(&str, Attribute)> =
                    named.into_iter().filter_map(|(what, v)| Some((what, value(v?).into()))).collect();
                builder = builder.node_with("Clip", &[&from], &[&to], &attributes);
            } else {
                let mut inputs = vec![from.clone()];
                for (what, bound) in [("min", low), ("max", high)] {
                    inputs.push(bound.map_or_else(String::new, |_| format!("{to}.{what}")));
                    if let Some(v) = bound {
                        builder = builder.constant(&format!("{to}.{what}"), Tensor::f32(&[], &[value(*v)]));
                    }
                }
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                builder = builder.node("Clip", &inputs, &[&to]);
            }
            from = to;
        }
        let in_order = bounds.iter().all(|(low, high)| low.zip(*high).is_none_or(|(low, high)| low <= high));
        let after = prepared(&builder.node("Neg", &[&from], &["y"]).build(&[("y", &[5, 40])], opset));
        prop_assert!(!in_order || after.model.graph.node_count() == 2, "{:?}", operators(&after.model));
    }

    /// Random graphs of few operators over few tensors have many duplicates.
    #[test]
    fn duplicates_keep_their_results(steps in prop::collection::vec((0usize..4, 0usize..100, 0usize..100), 2..14)) {
        let mut builder = Builder::new().input("x", &[3, 3]);
        let mut tensors = vec!["x".to_owned()];
        for (i, (op, a, b)) in steps.iter().enumerate() {
            let (a, b) = (tensors[a % tensors.len()].clone(), tensors[b % tensors.len()].clone());
            let y = format!("t{i}");
            builder = match op {
                0 => builder.node("Neg", &[&a], &[&y]),
                1 => builder.node("Add", &[&a, &b], &[&y]),
                2 => builder.node_with("LeakyRelu", &[&a], &[&y], &[("alpha", 0.25f32.into())]),
                _ => builder.node_with("LeakyRelu", &[&a], &[&y], &[("alpha", 0.5f32.into())]),
            };
            tensors.push(y);
        }
        let last: Vec<&String> = tensors.iter().skip(1).rev().take(3).collect();
        let outputs: Vec<(&str, &[usize])> = last.iter().map(|t| (t.as_str(), &[3usize, 3][..])).collect();
        let after = prepared(&builder.build(&outputs, 13));
        let graph = &after.model.graph;
        let mut seen = Vec::new();
        for (_, node) in graph.nodes() {
            let outer = graph.is_output(&node.outputs[0]);
            let key = (node.op_type.clone(), node.inputs.clone(), node.attributes.clone());
            let twins = seen.iter().filter(|(k, _)| *k == key).count();
            prop_assert!(twins == 0 || outer, "{} is there {} times", node.label(), twins + 1);
            seen.push((key, outer));
        }
    }
}

#[test]
fn a_transpose_that_others_read_stays() {
    let perm = [("perm", vec![1i64, 2, 0].into())];
    let back = [("perm", vec![2i64, 0, 1].into())];
    let builder = |second: &[(&str, Attribute)]| {
        Builder::new()
            .input("x", &[2, 3, 4])
            .node_with("Transpose", &["x"], &["t"], &perm)
            .node("Neg", &["t"], &["z"])
            .node_with("Transpose", &["t"], &["u"], second)
            .node("Neg", &["u"], &["y"])
    };
    let model = builder(&perm).build(&[("y", &[4, 2, 3]), ("z", &[3, 4, 2])], 13);
    declined(&model, "merge_transposes", "\"t\" has 2 uses");
    let model = builder(&back).build(&[("y", &[2, 3, 4]), ("z", &[3, 4, 2])], 13);
    assert_eq!(nodes(&prepared(&model).model, "Transpose"), 1);
}

#[test]
fn names_of_outputs_stay() {
    // Both ends are seen from outside, so that something must stand between them.
    let model = Builder::new()
        .input("x", &[2, 3])
        .node("Transpose", &["x"], &["t"])
        .node("Transpose", &["t"], &["y"])
        .build(&[("y", &[2, 3])], 13);
    let after = prepared(&model);
    assert!(common::refusals(&after, "merge_transposes")[0].contains("both names are needed"));
}

fn dynamic(dims: &[Option<usize>]) -> ValueInfo {
    let dim = |d: &Option<usize>| d.map_or_else(|| Dim::Symbol("N".into()), Dim::Known);
    let shape = Some(dims.iter().map(dim).collect());
    ValueInfo { name: "x".into(), ty: ValueType::Tensor(TensorType { dtype: DataType::Float, shape }) }
}

#[test]
fn targets_that_are_computed_from_the_batch_are_constants() {
    let model = Builder::new()
        .input_info(dynamic(&[None, Some(3), Some(4)]))
        .constant("zero", Tensor::i64(&[1], &[0]))
        .constant("one", Tensor::i64(&[1], &[1]))
        .constant("rest", Tensor::i64(&[1], &[12]))
        .node("Shape", &["x"], &["shape"])
        .node("Slice", &["shape", "zero", "one"], &["batch"])
        .node_with("Concat", &["batch", "rest"], &["target"], &[("axis", 0.into())])
        .node("Reshape", &["x", "target"], &["r"])
        .node("Relu", &["r"], &["y"])
        .build(&[("y", &[1, 12])], 13);
    let after = common::try_prepare(&model).unwrap();
    assert_eq!(operators(&after.model), ["Relu", "Reshape"]);
    assert_eq!(after.model.graph.initializer("r_shape").unwrap().to_i64().unwrap(), [0, 12]);
    assert_eq!(after.rewrites.applied("resolve_reshapes"), 1);
}

#[test]
fn targets_that_say_too_little_stay() {
    // Rows of one dynamic extent are regrouped by another.
    let model = Builder::new()
        .input_info(dynamic(&[None, Some(3), Some(4)]))
        .constant("ends", Tensor::i64(&[1], &[-1]))
        .constant("zero", Tensor::i64(&[1], &[0]))
        .constant("one", Tensor::i64(&[1], &[1]))
        .constant("three", Tensor::i64(&[1], &[3]))
        .node("Shape", &["x"], &["shape"])
        .node("Slice", &["shape", "zero", "one"], &["batch"])
        .node_with("Concat", &["three", "batch", "ends"], &["target"], &[("axis", 0.into())])
        .node("Reshape", &["x", "target"], &["r"])
        .node("Relu", &["r"], &["y"])
        .build(&[("y", &[3, 1, 4])], 13);
    let after = common::try_prepare(&model).unwrap();
    let refused = common::refusals(&after, "resolve_reshapes");
    assert!(refused.is_empty() || refused[0].contains("not known"), "{refused:?}");
}

#[test]
fn a_reshape_that_others_read_stays() {
    let model = Builder::new()
        .input("x", &[2, 3, 4])
        .constant("s", Tensor::i64(&[2], &[6, 4]))
        .constant("t", Tensor::i64(&[2], &[3, 8]))
        .node("Reshape", &["x", "s"], &["r"])
        .node("Neg", &["r"], &["z"])
        .node("Reshape", &["r", "t"], &["y"])
        .build(&[("y", &[3, 8]), ("z", &[6, 4])], 13);
    declined(&model, "merge_reshapes", "\"r\" has 2 uses");
}

#[test]
fn casts_that_lose_something_stay() {
    let casts = |types: &[i64]| {
        let mut builder = Builder::new().input("x", &[3, 5]).node("Neg", &["x"], &["t0"]);
        for (i, to) in types.iter().enumerate() {
            builder = builder.node_with(
                "Cast",
                &[&format!("t{i}")],
                &[&format!("t{}", i + 1)],
                &[("to", (*to).into())],
            );
        }
        builder.node("Neg", &[&format!("t{}", types.len())], &["y"]).build(&[("y", &[3, 5])], 13)
    };
    // float32 → double → float32 loses nothing, and float16 between does.
    assert_eq!(nodes(&prepared(&casts(&[11, 1])).model, "Cast"), 0);
    declined(&casts(&[10, 1]), "merge_casts", "a cast from float to float16 may change numbers");
    assert_eq!(nodes(&prepared(&casts(&[10, 11, 1])).model, "Cast"), 2);
    declined(&casts(&[7, 1]), "merge_casts", "a cast from float to int64 may change numbers");
}

#[test]
fn the_shape_of_a_cast_is_that_of_what_is_cast() {
    let model = Builder::new()
        .input_info(dynamic(&[None, Some(3)]))
        .node_with("Cast", &["x"], &["c"], &[("to", 7.into())])
        .node("Shape", &["c"], &["s"])
        .node_with("Cast", &["s"], &["y"], &[("to", 1.into())])
        .build(&[("y", &[2])], 13);
    let after = common::try_prepare(&model).unwrap();
    assert_eq!(nodes(&after.model, "Cast"), 1);
    assert_eq!(after.rewrites.applied("merge_casts"), 1);
}

#[test]
fn clips_with_odd_bounds_stay() {
    let two = |low: f32, high: f32| {
        Builder::new()
            .input("x", &[4])
            .constant("low", Tensor::f32(&[], &[low]))
            .constant("high", Tensor::f32(&[], &[high]))
            .node("Relu", &["x"], &["r"])
            .node("Clip", &["r", "low", "high"], &["c"])
            .node("Neg", &["c"], &["y"])
            .build(&[("y", &[4])], 13)
    };
    assert_eq!(operators(&prepared(&two(-1.0, 0.5)).model), ["Clip", "Neg"]);
    declined(&two(0.5, -0.5), "merge_clips", "has bounds 0.5 and -0.5");
    let computed = Builder::new()
        .input("x", &[4])
        .input("low", &[])
        .node("Relu", &["x"], &["r"])
        .node("Clip", &["r", "low"], &["c"])
        .node("Neg", &["c"], &["y"])
        .build(&[("y", &[4])], 13);
    declined(&computed, "merge_clips", "\"low\" of Clip node \"c\" is not one constant");
}

#[test]
fn detours_of_arithmetic_go() {
    let model = Builder::new()
        .input("x", &[3, 4])
        .input("v", &[3, 4])
        .constant("one", Tensor::f32(&[1], &[1.0]))
        .node("Exp", &["x"], &["e"])
        .node("Div", &["one", "e"], &["i"])
        .node("Mul", &["v", "i"], &["m"])
        .node("Greater", &["x", "v"], &["g"])
        .node("Not", &["g"], &["n"])
        .node("Where", &["n", "m", "v"], &["y"])
        .build(&[("y", &[3, 4])], 13);
    let after = prepared(&model);
    assert_eq!(operators(&after.model), ["Div", "Exp", "Greater", "Where"]);

    let shared = Builder::new()
        .input("x", &[3, 4])
        .constant("one", Tensor::f32(&[], &[1.0]))
        .node("Exp", &["x"], &["e"])
        .node("Div", &["one", "e"], &["i"])
        .node("Mul", &["x", "i"], &["y"])
        .node("Neg", &["i"], &["z"])
        .build(&[("y", &[3, 4]), ("z", &[3, 4])], 13);
    declined(&shared, "merge_arithmetic", "\"i\" has 2 uses");
}

#[test]
fn what_adds_nothing_goes_and_what_broadcasts_stays() {
    let with = |op: &str, operands: [&str; 2], k: Tensor, dims: &[usize]| {
        Builder::new()
            .input("v", &[2, 3])
            .constant("k", k)
            .node("Neg", &["v"], &["x"])
            .node(op, &operands, &["h"])
            .node("Neg", &["h"], &["y"])
            .build(&[("y", dims)], 13)
    };
    let zeros = |dims: &[usize]| Tensor::f32(dims, &vec![0.0; dims.iter().product()]);
    let ones = |dims: &[usize]| Tensor::f32(dims, &vec![1.0; dims.iter().product()]);
    let count = |m: &Model| prepared(m).model.graph.node_count();
    assert_eq!(count(&with("Add", ["x", "k"], zeros(&[]), &[2, 3])), 2);
    assert_eq!(count(&with("Add", ["k", "x"], zeros(&[3]), &[2, 3])), 2);
    assert_eq!(count(&with("Sub", ["x", "k"], zeros(&[2, 3]), &[2, 3])), 2);
    assert_eq!(count(&with("Mul", ["k", "x"], ones(&[1, 1]), &[2, 3])), 2);
    assert_eq!(count(&with("Div", ["x", "k"], ones(&[1]), &[2, 3])), 2);
    assert_eq!(count(&with("Sub", ["k", "x"], zeros(&[]), &[2, 3])), 3);
    assert_eq!(count(&with("Div", ["k", "x"], ones(&[]), &[2, 3])), 3);
    assert_eq!(count(&with("Add", ["x", "k"], ones(&[]), &[2, 3])), 3);
    assert_eq!(count(&with("Add", ["x", "k"], zeros(&[1, 1, 1]), &[1, 2, 3])), 3);
    assert_eq!(count(&with("Mul", ["x", "k"], ones(&[4, 2, 3]), &[4, 2, 3])), 3);
    let expand = |to: &[i64], dims: &[usize]| with("Expand", ["x", "k"], Tensor::i64(&[to.len()], to), dims);
    assert_eq!(count(&expand(&[1, 3], &[2, 3])), 2);
    assert_eq!(count(&expand(&[2, 2, 3], &[2, 2, 3])), 3);
}

#[test]
fn two_outputs_that_are_equal_stay_two() {
    let model = Builder::new()
        .input("x", &[4])
        .node("Neg", &["x"], &["y"])
        .node("Neg", &["x"], &["z"])
        .build(&[("y", &[4]), ("z", &[4])], 13);
    declined(&model, "merge_duplicates", "are both needed");
}

#[test]
fn they_can_be_switched_off() {
    let config =
        PreprocessConfig { merge_chains: false, merge_duplicates: false, ..PreprocessConfig::default() };
    let model = transposes(&[vec![1, 0, 2, 3], vec![1, 0, 2, 3]], &[2, 3, 4, 5]);
    assert_eq!(common::prepared_with(&model, &config).model.graph.node_count(), 4);
}
