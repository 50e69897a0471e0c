//! Models in a newer operator set compute what they did; what cannot be said there is left, and named.

mod common;

use common::{assert_close, nodes, outputs};
use proptest::prelude::*;
use shiftwise_engine::embedded;
use shiftwise_graph::{Attribute, Builder, DataType, Graph, Model, Node, Tensor, ValueInfo};
use shiftwise_preprocess::{Prepared, PreprocessConfig, prepare};

fn config(to: i64) -> PreprocessConfig {
    PreprocessConfig { convert_opset_version: to, optimize_model: false, ..PreprocessConfig::default() }
}

fn converted(model: &Model, to: i64) -> Prepared {
    prepare(model.clone(), &config(to), &embedded()).unwrap()
}

/// Converts to every newer operator set, and compares. Gives the model in the newest one.
fn check(model: &Model) -> Model {
    let before = outputs(model);
    let mut last = model.clone();
    for to in model.opset()..=21 {
        let after = converted(model, to);
        assert_eq!(after.model.opset(), to, "{:?}", after.rewrites.warnings);
        for (x, y) in before.iter().zip(&outputs(&after.model)) {
            assert_close(x, y);
        }
        last = after.model;
    }
    last
}

fn one(
    op: &str,
    inputs: &[&str],
    attributes: &[(&str, Attribute)],
    from: &[usize],
    to: &[usize],
    opset: i64,
) -> Model {
    let mut all = vec!["x"];
    all.extend(inputs);
    constants(Builder::new().input("x", from))
        .node_with(op, &all, &["y"], attributes)
        .build(&[("y", to)], opset)
}

/// Constants of small graphs, by what they hold.
fn constants(b: Builder) -> Builder {
    b.constant("up", Tensor::f32(&[4], &[1.0, 1.0, 2.0, 2.0]))
        .constant("down", Tensor::f32(&[4], &[1.0, 1.0, 0.5, 0.5]))
        .constant("mixed", Tensor::f32(&[4], &[1.0, 1.0, 2.0, 0.5]))
        .constant("empty", Tensor::f32(&[0], &[]))
        .constant("sizes", Tensor::i64(&[4], &[1, 2, 5, 7]))
        .constant("rois", Tensor::f32(&[1, 4], &[0.0, 0.0, 3.0, 3.0]))
        .constant("batch", Tensor::i64(&[1], &[0]))
        .constant("grid", Tensor::f32(&[1, 2, 2, 2], &[-0.5, 0.1, 0.3, 0.7, -0.9, 0.2, 0.0, 0.4]))
        .constant("groups", Tensor::f32(&[2], &[0.5, 2.0]))
        .constant("offsets", Tensor::f32(&[2], &[0.25, -1.0]))
        .constant("places", Tensor::i64(&[1, 2], &[2, 0]))
        .constant("updates", Tensor::f32(&[1, 2], &[7.0, 8.0]))
        .constant("channel", Tensor::f32(&[2], &[1.5, 0.5]))
}

const IMAGE: &[usize] = &[1, 2, 4, 4];

fn text(v: &str) -> Attribute {
    v.into()
}

#[test]
fn limits_and_paddings_become_inputs() {
    let limits = [("min", (-0.25f32).into()), ("max", 0.5f32.into())];
    assert_eq!(
        check(&one("Clip", &[], &limits, &[3, 4], &[3, 4], 10)).graph.nodes().next().unwrap().1.inputs.len(),
        3
    );
    check(&one("Clip", &[], &limits[1..], &[3, 4], &[3, 4], 10));
    check(&one("Clip", &[], &[], &[3, 4], &[3, 4], 10));
    let pads = ("pads", vec![0i64, 1, 2, 0].into());
    check(&one("Pad", &[], &[pads.clone(), ("value", 0.5f32.into())], &[3, 4], &[5, 5], 10));
    check(&one("Pad", &[], &[pads, ("mode", text("reflect"))], &[3, 4], &[5, 5], 10));
    check(&one("Dropout", &[], &[("ratio", 0.3f32.into())], &[3, 4], &[3, 4], 10));
    check(&one("Scatter", &["places", "updates"], &[("axis", 1i64.into())], &[3, 4], &[3, 4], 10));
}

#[test]
fn images_are_resized_as_before() {
    for mode in ["nearest", "linear"] {
        let mode = [("mode", text(mode))];
        check(&one("Resize", &["up"], &mode, IMAGE, &[1, 2, 8, 8], 10));
        check(&one("Resize", &["down"], &mode, IMAGE, &[1, 2, 2, 2], 10));
        let newest = check(&one("Resize", &["empty", "empty", "sizes"], &mode, IMAGE, &[1, 2, 5, 7], 11));
        assert_eq!(newest.graph.nodes().next().unwrap().1.inputs, ["x", "", "", "sizes"]);
    }
    let crops = [("mode", text("linear")), ("coordinate_transformation_mode", text("align_corners"))];
    check(&one("Resize", &["empty", "up"], &crops, IMAGE, &[1, 2, 8, 8], 11));
}

#[test]
fn regions_and_grids_are_sampled_as_before() {
    let size =
        [("output_height", 2i64.into()), ("output_width", 2i64.into()), ("sampling_ratio", 2i64.into())];
    check(&one("RoiAlign", &["rois", "batch"], &size, IMAGE, &[1, 2, 2, 2], 10));
    for mode in ["bilinear", "nearest", "bicubic"] {
        check(&one("GridSample", &["grid"], &[("mode", text(mode))], IMAGE, &[1, 2, 2, 2], 16));
    }
}

#[test]
fn normalizations_keep_their_parameters() {
    let groups = [("num_groups", 2i64.into())];
    check(&one("GroupNormalization", &["groups", "offsets"], &groups, &[2, 6, 3], &[2, 6, 3], 18));
    let parameters = ["channel", "offsets", "offsets", "channel"];
    check(&one("BatchNormalization", &parameters, &[("epsilon", 0.1f32.into())], IMAGE, IMAGE, 10));
}

#[test]
fn averages_that_may_differ_are_refused() {
    let pool = |extent: usize, to: usize| {
        let attributes = [
            ("kernel_shape", vec![2i64, 2].into()),
            ("strides", vec![2i64, 2].into()),
            ("ceil_mode", 1i64.into()),
            ("count_include_pad", 1i64.into()),
        ];
        one("AveragePool", &[], &attributes, &[1, 1, extent, extent], &[1, 1, to, to], 11)
    };
    check(&pool(4, 2));
    refused(&pool(5, 3), 21, "ceil_mode lets windows reach beyond");
    assert_eq!(converted(&pool(5, 3), 18).model.opset(), 18);
}

fn refused(model: &Model, to: i64, reason: &str) {
    let after = converted(model, to);
    assert_eq!(
        after.model.graph.nodes().map(|(_, n)| n.clone()).collect::<Vec<_>>(),
        model.graph.nodes().map(|(_, n)| n.clone()).collect::<Vec<_>>()
    );
    assert_eq!(after.model.opset(), model.opset());
    let warnings = after.rewrites.warnings.join("\n");
    assert!(warnings.contains(reason) && warnings.contains("node \"y\""), "{warnings}");
    assert!(common::refusals(&after, "convert_opset_version")[0].contains(reason));
}

#[test]
fn what_cannot_be_said_is_refused_with_its_node() {
    let nearest = [("mode", text("nearest"))];
    refused(&one("Resize", &["mixed"], &nearest, IMAGE, &[1, 2, 8, 2], 10), 13, "enlarge and shrink");
    let old = [("coordinate_transformation_mode", text("tf_half_pixel_for_nn"))];
    refused(&one("Resize", &["empty", "up"], &old, IMAGE, &[1, 2, 8, 8], 11), 13, "tf_half_pixel_for_nn");
    let mut upsample = one("Upsample", &["up"], &nearest, IMAGE, &[1, 2, 8, 8], 10);
    upsample.opsets.insert(String::new(), 10);
    refused(&upsample, 13, "nothing converts Upsample");
}

#[test]
fn older_and_unknown_versions_are_usage_errors() {
    let model = one("Relu", &[], &[], &[2], &[2], 13);
    for (to, says) in [(11, "it has opset 13"), (99, "versions 10 to 21")] {
        let error = prepare(model.clone(), &config(to), &embedded()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(shiftwise_stage::Failure::from(error).status, shiftwise_stage::ExitStatus::Usage);
    }
}

#[test]
fn bodies_of_control_flow_are_converted() {
    let body = |name: &str, op: &str| {
        let nodes = vec![
            Node::new("Unsqueeze", "", &["x"], &["u"]).with("axes", vec![0i64]),
            Node::new(op, "", &["u"], &["r"]),
            Node::new("ReduceMean", "", &["r"], &[name]).with("axes", vec![0i64]).with("keepdims", 0i64),
        ];
        Graph::new(name, vec![], vec![ValueInfo::f32(name, &[3])], indexmap::IndexMap::new(), nodes)
    };
    let branches = [("then_branch", body("a", "Relu")), ("else_branch", body("b", "Neg"))];
    let attributes = branches.map(|(name, g)| (name, Attribute::Graph(Box::new(g))));
    let condition = Tensor::from_raw(DataType::Bool, vec![], vec![1].into()).unwrap();
    let model = Builder::new()
        .input("x", &[3])
        .constant("c", condition)
        .node_with("If", &["c"], &["y"], &attributes)
        .build(&[("y", &[3])], 11);
    let after = check(&model);
    let (_, node) = after.graph.nodes().next().unwrap();
    for (_, body) in node.subgraphs() {
        let attributes = body.nodes().flat_map(|(_, n)| n.attributes.keys()).cloned().collect::<Vec<_>>();
        assert_eq!(attributes, ["keepdims"]);
        assert_eq!(body.initializers().count(), 2);
    }
}

#[test]
fn a_transform_keeps_its_axis() {
    let model = Builder::new()
        .input("x", &[1, 4, 1])
        .node_with("DFT", &["x"], &["y"], &[("axis", 1i64.into())])
        .build(&[("y", &[1, 4, 2])], 17);
    check(&model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_of_softmax_are_those_of_before(
        op in prop::sample::select(vec!["Softmax", "LogSoftmax", "Hardmax"]), axis in -3i64..3,
        a in 1usize..3, b in 1usize..4, c in 1usize..4, opset in 10i64..13,
    ) {
        let shape = [a, b, c];
        let newest = check(&one(op, &[], &[("axis", axis.into())], &shape, &shape, opset));
        prop_assert_eq!(nodes(&newest, op), 1);
    }

    #[test]
    fn axes_and_sizes_become_inputs(
        op in prop::sample::select(vec![
            "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
            "ReduceLogSumExp",
        ]),
        axes in prop::sample::select(vec![None, Some(vec![0i64]), Some(vec![-1]), Some(vec![0, 2])]), keep: bool,
        opset in 10i64..18,
    ) {
        // Axes count from the end since opset 11.
        let axes = axes.filter(|a| opset > 10 || a.iter().all(|a| *a >= 0));
        let (from, rank) = ([2usize, 3, 4], 3i64);
        let gone = |i: usize| axes.as_ref().is_none_or(|a| a.iter().any(|a| (a + rank) % rank == i as i64));
        let to: Vec<usize> = (0..3).filter(|i| keep || !gone(*i)).map(|i| if gone(i) { 1 } else { from[i] }).collect();
        let mut attributes = vec![("keepdims", i64::from(keep).into())];
        attributes.extend(axes.clone().map(|a| ("axes", a.into())));
        check(&one(op, &[], &attributes, &from, &to, opset));
    }

    #[test]
    fn parts_stay_as_they_are(sizes in prop::option::of(Just(vec![1i64, 3])), opset in 11i64..20) {
        let mut builder = Builder::new().input("x", &[4, 3]).constant("sizes", Tensor::i64(&[2], &[1, 3]));
        let mut inputs = vec!["x"];
        let mut attributes = vec![];
        match &sizes {
            Some(sizes) if opset < 13 => attributes.push(("split", Attribute::from(sizes.clone()))),
            Some(_) => inputs.push("sizes"),
            None if opset >= 18 => attributes.push(("num_outputs", 2i64.into())),
            None => {}
        }
        builder = builder.node_with("Split", &inputs, &["p", "q"], &attributes);
        let (p, q) = if sizes.is_some() { (1, 3) } else { (2, 2) };
        check(&builder.build(&[("p", &[p, 3]), ("q", &[q, 3])], opset));
    }

    #[test]
    fn axes_of_one_element_come_and_go(axis in 0i64..3, opset in 10i64..13) {
        let mut to = vec![2usize, 3];
        to.insert(axis as usize, 1);
        let axes = [("axes", vec![axis].into())];
        let model = Builder::new()
            .input("x", &[2, 3])
            .node_with("Unsqueeze", &["x"], &["y"], &axes)
            .node_with("Squeeze", &["y"], &["z"], &axes)
            .build(&[("y", &to), ("z", &[2, 3])], opset);
        check(&model);
    }
}
