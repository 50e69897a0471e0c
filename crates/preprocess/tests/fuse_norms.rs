//! Normalizations that exporters wrote as several nodes compute what they did as one, and what cannot be one is left with a reason.

mod common;

use common::{nodes, noise, prepared, refusals};
use proptest::prelude::*;
use shiftwise_graph::{Builder, Model, Tensor};
use shiftwise_preprocess::{PreprocessConfig, prepare};

/// How a normalization is written down.
#[derive(Clone, Copy, Debug)]
struct Form {
    pooled: bool,
    squared_by_pow: bool,
    /// 0: d/s, 1: d·(1/s), 2: d·Reciprocal(s), 3: d·(v + e)^-0.5
    inverse: usize,
    /// 0: y·gamma + beta, 1: d·(r·gamma) + beta, 2: x·k + (beta − m·k), 3: neither, 4: gamma only
    affine: usize,
    swapped: bool,
    two_subs: bool,
    opset: i64,
}

fn forms() -> impl Strategy<Value = Form> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (flags, 0usize..4, 0usize..5, prop::sample::select(vec![11i64, 13, 17, 18])).prop_map(
        |((pooled, squared_by_pow, swapped, two_subs), inverse, affine, opset)| Form {
            pooled,
            squared_by_pow,
            inverse,
            affine,
            swapped,
            two_subs,
            opset,
        },
    )
}

fn scalar(v: f32) -> Tensor {
    Tensor::f32(&[], &[v])
}

/// A model `y = normalization(x)` over `axes`, gamma and beta of shape `parameters`.
fn model(form: Form, shape: &[usize], axes: &[i64], parameters: &[usize], seed: u64) -> Model {
    let n = parameters.iter().product();
    let mut b = Builder::new()
        .input("x", shape)
        .constant("gamma", Tensor::f32(parameters, &noise(seed, n)))
        .constant("beta", Tensor::f32(parameters, &noise(seed + 1, n)))
        .constant("epsilon", scalar(1e-3))
        .constant("two", scalar(2.0))
        .constant("one", scalar(1.0))
        .constant("half", scalar(-0.5))
        .constant("axes", Tensor::i64(&[axes.len()], axes));
    let mean = |b: Builder, x: &str, y: &str| {
        if form.pooled {
            b.node("GlobalAveragePool", &[x], &[y])
        } else if form.opset < 18 {
            b.node_with("ReduceMean", &[x], &[y], &[("axes", axes.to_vec().into())])
        } else {
            b.node("ReduceMean", &[x, "axes"], &[y])
        }
    };
    let two = |b: Builder, op: &str, p: &str, q: &str, y: &str| {
        if form.swapped { b.node(op, &[q, p], &[y]) } else { b.node(op, &[p, q], &[y]) }
    };
    b = mean(b, "x", "m").node("Sub", &["x", "m"], &["d"]);
    let other = if form.two_subs { "d2" } else { "d" };
    if form.two_subs {
        b = b.node("Sub", &["x", "m"], &["d2"]);
    }
    b = if form.squared_by_pow {
        b.node("Pow", &[other, "two"], &["q"])
    } else {
        b.node("Mul", &[other, other], &["q"])
    };
    b = two(mean(b, "q", "v"), "Add", "v", "epsilon", "a");
    let direct = form.inverse == 0 && !matches!(form.affine, 1 | 2);
    b = if form.inverse == 3 {
        b.node("Pow", &["a", "half"], &["r"])
    } else {
        b.node("Sqrt", &["a"], &["s"])
    };
    b = match form.inverse {
        3 => b,
        2 => b.node("Reciprocal", &["s"], &["r"]),
        _ if direct => b,
        _ => b.node("Div", &["one", "s"], &["r"]),
    };
    let plain = |b: Builder, y: &str| {
        if direct { b.node("Div", &["d", "s"], &[y]) } else { two(b, "Mul", "d", "r", y) }
    };
    b = match form.affine {
        0 => two(two(plain(b, "n"), "Mul", "n", "gamma", "g"), "Add", "g", "beta", "y"),
        1 => two(two(two(b, "Mul", "r", "gamma", "k"), "Mul", "d", "k", "g"), "Add", "g", "beta", "y"),
        2 => {
            let b = two(two(b, "Mul", "r", "gamma", "k"), "Mul", "x", "k", "xk");
            two(
                two(b, "Mul", "m", "k", "mk").node("Sub", &["beta", "mk"], &["rest"]),
                "Add",
                "xk",
                "rest",
                "y",
            )
        }
        3 => plain(b, "y"),
        _ => two(plain(b, "n"), "Mul", "n", "gamma", "y"),
    };
    b.build(&[("y", shape)], form.opset)
}

const FORM: Form = Form {
    pooled: false,
    squared_by_pow: true,
    inverse: 0,
    affine: 0,
    swapped: false,
    two_subs: false,
    opset: 17,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn instance_normalizations_of_any_form_are_one_node(
        form in forms(), n in 1usize..3, c in 1usize..4, h in 2usize..5, w in 2usize..5, short: bool, seed in 0u64..1000,
    ) {
        let parameters: &[usize] = if short { &[c, 1, 1] } else { &[1, c, 1, 1] };
        let after = prepared(&model(form, &[n, c, h, w], &[2, 3], parameters, seed));
        prop_assert_eq!(nodes(&after.model, "InstanceNormalization"), 1);
        prop_assert_eq!(after.model.graph.node_count(), 1);
        prop_assert_eq!(after.rewrites.applied("fuse_instance_norm"), 1);
        prop_assert_eq!(after.model.opset(), form.opset);
    }

    #[test]
    fn layer_normalizations_of_any_form_are_one_node(
        form in forms(), n in 1usize..3, t in 2usize..5, e in 2usize..6, two: bool, seed in 0u64..1000,
    ) {
        let form = Form { pooled: false, ..form };
        let (axes, parameters): (&[i64], &[usize]) = if two { (&[-2, -1], &[t, e]) } else { (&[-1], &[e]) };
        let after = prepared(&model(form, &[n, t, e], axes, parameters, seed));
        prop_assert_eq!(nodes(&after.model, "LayerNormalization"), 1);
        prop_assert_eq!(after.model.graph.node_count(), 1);
        prop_assert_eq!(after.model.opset(), form.opset.max(17));
    }

    #[test]
    fn l2_normalizations_of_any_form_are_one_node(
        form in 0usize..8, rows in 1usize..4, columns in 1usize..5, axis in -1i64..2, swapped: bool,
    ) {
        let after = prepared(&l2(form, rows, columns, axis, swapped, 1e-12));
        prop_assert_eq!(nodes(&after.model, "LpNormalization"), 1);
        prop_assert_eq!(after.model.graph.node_count(), 1);
    }
}

fn l2(form: usize, rows: usize, columns: usize, axis: i64, swapped: bool, epsilon: f32) -> Model {
    let axes = [("axes", vec![axis].into())];
    let mut b = Builder::new()
        .input("x", &[rows, columns])
        .constant("epsilon", scalar(epsilon))
        .constant("two", scalar(2.0))
        .constant("one", scalar(1.0))
        .constant("axis", Tensor::i64(&[1], &[axis]))
        .constant("shape", Tensor::i64(&[2], &[rows as i64, columns as i64]));
    let two = |b: Builder, op: &str, p: &str, q: &str, y: &str| {
        if swapped { b.node(op, &[q, p], &[y]) } else { b.node(op, &[p, q], &[y]) }
    };
    let norm = |b: Builder| b.node_with("ReduceL2", &["x"], &["n"], &axes);
    let square = |b: Builder| b.node("Mul", &["x", "x"], &["q"]).node("ReduceSum", &["q", "axis"], &["t"]);
    b = match form {
        0 => norm(b).node("Div", &["x", "n"], &["y"]),
        1 => norm(b).node("Clip", &["n", "epsilon"], &["c"]).node("Div", &["x", "c"], &["y"]),
        2 => norm(b).node("Clip", &["n", "epsilon"], &["c"]).node("Expand", &["c", "shape"], &["e"]).node(
            "Div",
            &["x", "e"],
            &["y"],
        ),
        3 => two(norm(b), "Max", "n", "epsilon", "c").node("Div", &["x", "c"], &["y"]),
        4 => two(norm(b), "Add", "n", "epsilon", "c").node("Div", &["x", "c"], &["y"]),
        5 => {
            let b = two(square(b), "Max", "t", "epsilon", "c").node("Sqrt", &["c"], &["s"]);
            two(b.node("Reciprocal", &["s"], &["r"]), "Mul", "x", "r", "y")
        }
        6 => {
            let b = b.node("Pow", &["x", "two"], &["q"]).node("ReduceSum", &["q", "axis"], &["t"]);
            let b = b.node("Sqrt", &["t"], &["s"]).node("Div", &["one", "s"], &["r"]);
            two(b, "Mul", "x", "r", "y")
        }
        _ => b
            .node_with(
                "ReduceSumSquare",
                &["x"],
                &["t"],
                &[("axes", vec![axis].into()), ("keepdims", 0i64.into())],
            )
            .node("Unsqueeze", &["t", "axis"], &["u"])
            .node("Sqrt", &["u"], &["s"])
            .node("Div", &["x", "s"], &["y"]),
    };
    b.build(&[("y", &[rows, columns])], 13)
}

fn assert_reason(model: &Model, pass: &str, reason: &str) {
    let after = prepared(model);
    let refused = refusals(&after, pass);
    assert!(refused.iter().any(|r| r.contains(reason)), "{refused:?} should say {reason:?}");
    assert_eq!(after.rewrites.applied(pass), 0);
}

#[test]
fn an_epsilon_that_matters_is_not_lost() {
    assert_reason(&l2(3, 2, 4, 1, false, 1e-3), "fuse_l2_norm", "LpNormalization has no epsilon");
    assert_reason(&l2(4, 2, 4, 1, false, 1e-6), "fuse_l2_norm", "is added to its norm");
}

#[test]
fn a_norm_over_several_axes_is_left() {
    let model = Builder::new()
        .input("x", &[2, 3, 4])
        .node_with("ReduceL2", &["x"], &["n"], &[("axes", vec![1, 2].into())])
        .node("Div", &["x", "n"], &["y"])
        .build(&[("y", &[2, 3, 4])], 13);
    assert_reason(&model, "fuse_l2_norm", "over axes [1, 2]");
}

#[test]
fn layer_normalization_needs_its_opset() {
    let old = model(Form { opset: 13, ..FORM }, &[2, 4], &[-1], &[4], 3);
    let config = PreprocessConfig { upgrade_opset: false, ..PreprocessConfig::default() };
    let after = prepare(old.clone(), &config, &shiftwise_engine::embedded()).unwrap();
    assert_eq!((after.model.opset(), nodes(&after.model, "LayerNormalization")), (13, 0));
    let refused = refusals(&after, "fuse_layer_norm");
    assert_eq!(
        refused,
        ["it needs opset 17, the model has 13: set upgrade_opset = true or convert_opset_version = 17"]
    );
    let after = prepared(&old);
    assert_eq!(after.model.opset(), 17);
    let report = after.rewrites.passes.iter().find(|p| p.pass == "convert_opset_version").unwrap();
    assert!(report.applied[0].what.starts_with("from opset 13 to 17, which a fusion needs"));
}

#[test]
fn without_a_pattern_the_opset_stays() {
    let model = Builder::new().input("x", &[2]).node("Relu", &["x"], &["y"]).build(&[("y", &[2])], 11);
    assert_eq!(prepared(&model).model.opset(), 11);
}

#[test]
fn a_mean_over_other_axes_is_left() {
    let channels = model(FORM, &[2, 3, 4], &[1], &[3, 1], 5);
    assert_reason(&channels, "fuse_layer_norm", "over axes [1], not over the last of 3");
}

#[test]
fn parameters_that_do_not_fit_stay_behind() {
    let rows = model(FORM, &[2, 3, 4], &[-1], &[3, 1], 5);
    let after = prepared(&rows);
    // Over the last axis with parameters of the second: an instance normalization.
    assert_eq!(nodes(&after.model, "InstanceNormalization"), 1);
    let rows = model(FORM, &[2, 3, 4, 5], &[-1], &[4, 1], 5);
    let after = prepared(&rows);
    assert_eq!(nodes(&after.model, "LayerNormalization"), 1);
    assert_eq!((nodes(&after.model, "Mul"), nodes(&after.model, "Add")), (1, 1));
}

#[test]
fn values_that_others_read_are_kept() {
    let mut parts = model(FORM, &[2, 4], &[-1], &[4], 3);
    let mut outputs = parts.graph.outputs().to_vec();
    outputs.push(shiftwise_graph::ValueInfo::f32("v", &[2, 1]));
    let mut patch = shiftwise_graph::Patch::new();
    patch.set_boundary(parts.graph.inputs().to_vec(), outputs);
    parts.graph.apply("test", patch).unwrap();
    assert_reason(&parts, "fuse_layer_norm", "\"v\" inside of it is an output of the graph");

    let mut parts = model(Form { pooled: true, ..FORM }, &[1, 2, 3, 3], &[2, 3], &[2, 1, 1], 3);
    let mut outputs = parts.graph.outputs().to_vec();
    outputs.push(shiftwise_graph::ValueInfo::f32("z", &[1, 2, 1, 1]));
    let mut patch = shiftwise_graph::Patch::new();
    patch.set_boundary(parts.graph.inputs().to_vec(), outputs);
    patch.insert(shiftwise_graph::Node::new("Relu", "again", &["m"], &["z"]));
    parts.graph.apply("test", patch).unwrap();
    parts.graph.sort();
    assert_reason(&parts, "fuse_instance_norm", "\"m\" inside of it is read by Relu node \"again\" too");
}

#[test]
fn each_fusion_can_be_turned_off() {
    let off = PreprocessConfig {
        fuse_instance_norm: false,
        fuse_l2_norm: false,
        fuse_layer_norm: false,
        ..PreprocessConfig::default()
    };
    for parts in [
        model(Form { pooled: true, ..FORM }, &[1, 2, 3, 3], &[2, 3], &[2, 1, 1], 3),
        model(FORM, &[2, 4], &[-1], &[4], 3),
        l2(0, 2, 3, 1, false, 0.0),
    ] {
        let after = prepare(parts.clone(), &off, &shiftwise_engine::embedded()).unwrap();
        assert_eq!(after.model.graph.node_count(), parts.graph.node_count());
    }
}
