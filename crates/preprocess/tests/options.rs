//! Steps that are skipped or added, and the forms in which models come.

#![allow(missing_docs)]

mod common;

use common::{assert_close, noise, outputs};
use indexmap::IndexMap;
use shiftwise_engine::embedded;
use shiftwise_graph::{
    Attribute, Builder, DataType, Dim, Graph, Model, Node, Tensor, TensorType, ValueInfo, ValueType, Weights,
};
use shiftwise_preprocess::{Prepared, PreprocessConfig, prepare};

fn with(model: &Model, change: impl FnOnce(&mut PreprocessConfig)) -> Prepared {
    let mut config = PreprocessConfig::default();
    change(&mut config);
    prepare(model.clone(), &config, &embedded()).unwrap()
}

fn value(name: &str, dims: &[Dim]) -> ValueInfo {
    let ty = TensorType { dtype: DataType::Float, shape: Some(dims.to_vec()) };
    ValueInfo { name: name.into(), ty: ValueType::Tensor(ty) }
}

fn named(name: &str) -> Dim {
    Dim::Symbol(name.into())
}

fn shape_of(model: &Model, tensor: &str) -> Option<Vec<Dim>> {
    model.graph.tensor_type(tensor)?.shape
}

/// A batch that shape arithmetic keeps, and something to remove.
fn arithmetic() -> Model {
    Builder::new()
        .input_info(value("x", &[named("N"), Dim::Known(2), Dim::Known(6)]))
        .constant("zero", Tensor::i64(&[1], &[0]))
        .constant("rest", Tensor::i64(&[1], &[12]))
        .node("Shape", &["x"], &["s"])
        .node("Gather", &["s", "zero"], &["n"])
        .node_with("Concat", &["n", "rest"], &["to"], &[("axis", Attribute::Int(0))])
        .node("Reshape", &["x", "to"], &["flat"])
        .node("Identity", &["flat"], &["same"])
        .node("Relu", &["same"], &["y"])
        .build(&[("y", &[1, 12])], 13)
}

#[test]
fn each_kind_of_inference_can_be_skipped() {
    let model = arithmetic();
    let flat = |p: &Prepared| shape_of(&p.model, "flat");
    let full = with(&model, |_| {});
    assert_eq!(flat(&full), Some(vec![named("N"), Dim::Known(12)]));
    assert!(full.rewrites.shapes.is_clean());

    // Each operator by itself: what the arithmetic says is not known.
    let single = with(&model, |c| c.skip_symbolic_shape = true);
    assert_eq!(flat(&single), Some(vec![Dim::Unknown; 2]));
    assert!(!single.rewrites.shapes.is_clean() && single.rewrites.shapes.cause("flat").is_some());

    // What the rewrites knew stays.
    let symbolic = with(&model, |c| c.skip_onnx_shape = true);
    assert_eq!(flat(&symbolic), flat(&full));
    let only = with(&model, |c| (c.skip_onnx_shape, c.skip_optimization) = (true, true));
    assert_eq!(flat(&only), flat(&full));
    assert_eq!(only.model.graph.node_count(), 6);

    let none = with(&model, |c| (c.skip_onnx_shape, c.skip_symbolic_shape) = (true, true));
    assert_eq!(none.model.graph.types().count(), 0);
    assert_eq!(none.rewrites.shapes.tensors - none.rewrites.shapes.resolved, 4);
    assert!(
        none.rewrites.warnings.iter().any(|w| w.contains("4 of 5 tensors")),
        "{:?}",
        none.rewrites.warnings
    );
}

#[test]
fn rewrites_can_be_skipped_with_and_without_conversions() {
    let model = Builder::new()
        .input("x", &[1, 3, 8, 8])
        .node("Identity", &["x"], &["i"])
        .node("Relu", &["i"], &["y"])
        .build(&[("y", &[1, 3, 8, 8])], 13);
    let all = |c: &mut PreprocessConfig| c.convert_nchw_to_nhwc = true;
    assert_eq!(with(&model, all).model.graph.inputs()[0], ValueInfo::f32("x", &[1, 8, 8, 3]));
    let converted = with(&model, |c| (c.convert_nchw_to_nhwc, c.skip_optimization) = (true, true));
    assert_eq!(converted.model.graph.inputs()[0], ValueInfo::f32("x", &[1, 8, 8, 3]));
    assert_eq!(converted.model.graph.node_count(), 4);
    let nothing = with(&model, |c| (c.convert_nchw_to_nhwc, c.skip_preprocess) = (true, true));
    assert_eq!(nothing.model.graph.inputs(), model.graph.inputs());
    assert_eq!(nothing.model.graph.node_count(), 2);
}

#[test]
fn a_channels_last_model_computes_the_same() {
    let model = Builder::new()
        .input("x", &[1, 3, 6, 5])
        .constant("w", Tensor::f32(&[4, 3, 3, 3], &noise(3, 108)))
        .node("Conv", &["x", "w"], &["c"])
        .node("Relu", &["c"], &["y"])
        .build(&[("y", &[1, 4, 4, 3])], 13);
    let turned = with(&model, |c| c.convert_nchw_to_nhwc = true).model;
    assert_eq!(turned.graph.outputs()[0], ValueInfo::f32("y_transpose", &[1, 4, 3, 4]));
    let run = |model: &Model, x: shiftwise_graph::Value| {
        use shiftwise_engine::{Engine, Flow, PrepareOptions};
        let session = embedded().prepare(model, &PrepareOptions::default()).unwrap();
        session.run(&[("x".into(), x)], &mut |_, _| Flow::Continue).unwrap().remove(0)
    };
    let x = shiftwise_graph::Value::f32(&[1, 3, 6, 5], noise(9, 90));
    let wanted = run(&model, x.clone()).permuted(&[0, 2, 3, 1]);
    assert_close(&wanted, &run(&turned, x.permuted(&[0, 2, 3, 1])));
}

#[test]
fn dimensions_that_must_be_equal_are_merged() {
    let model = || {
        Builder::new()
            .input_info(value("a", &[named("N"), Dim::Known(4)]))
            .input_info(value("b", &[named("M"), Dim::Known(4)]))
            .input_info(value("c", &[named("A"), named("W")]))
            .constant("k", Tensor::f32(&[1, 7], &[1.0; 7]))
            .node("Add", &["a", "b"], &["ab"])
            .node("Relu", &["c"], &["rc"])
            .node("Add", &["rc", "k"], &["ck"])
            .node_with("Concat", &["ab", "ck"], &["y"], &[("axis", Attribute::Int(1))])
            .build(&[("y", &[1, 11])], 13)
    };
    let merged = with(&model(), |c| c.auto_merge = true);
    let n = named("N");
    for (tensor, wanted) in [
        ("ab", [n.clone(), Dim::Known(4)]),
        ("b", [n.clone(), Dim::Known(4)]),
        ("c", [n.clone(), Dim::Known(7)]),
    ] {
        assert_eq!(shape_of(&merged.model, tensor).unwrap(), wanted, "{tensor}");
    }
    assert_eq!(shape_of(&merged.model, "y").unwrap(), [n, Dim::Known(11)]);
    assert!(merged.rewrites.shapes.is_clean(), "{:?}", merged.rewrites.shapes);
    assert_eq!(merged.rewrites.applied("merge_dimensions"), 3);

    // Without, a dimension that is not the batch must be fixed, and what broadcasts has no extent.
    assert!(prepare(model(), &PreprocessConfig::default(), &embedded()).is_err());
    let fixed = with(&model(), |c| c.fix_dim.extend([("W".into(), 7)]));
    assert_eq!(shape_of(&fixed.model, "ab").unwrap()[0], Dim::Unknown);
}

#[test]
fn what_counts_as_the_end_can_be_said() {
    let model = Builder::new()
        .input_info(value("x", &[named("N"), Dim::Known(4)]))
        .constant("from", Tensor::i64(&[1], &[0]))
        .constant("to", Tensor::i64(&[1], &[1000]))
        .node("Slice", &["x", "from", "to", "from"], &["s"])
        .node("Relu", &["s"], &["y"])
        .build(&[("y", &[1, 4])], 13);
    assert_eq!(shape_of(&with(&model, |_| {}).model, "s").unwrap()[0], Dim::Unknown);
    assert_eq!(shape_of(&with(&model, |c| c.int_max = 1000).model, "s").unwrap()[0], named("N"));
    assert_eq!(shape_of(&with(&model, |c| c.int_max = 1001).model, "s").unwrap()[0], Dim::Unknown);
}

#[test]
fn the_rank_of_unknown_outputs_can_be_guessed() {
    let graph = |nodes| {
        Graph::new(
            "g",
            vec![value("x", &[Dim::Known(1), Dim::Known(4)])],
            vec![value("y", &[])],
            IndexMap::new(),
            nodes,
        )
    };
    let nodes =
        vec![Node::new("QuickGelu", "gelu", &["x"], &["g"]), Node::new("Relu", "relu", &["g"], &["y"])];
    let mut graph = graph(nodes);
    graph.sort();
    let mut model = Model::new(graph, 13);
    let first = model.graph.nodes().next().unwrap().0;
    let mut patch = shiftwise_graph::Patch::new();
    let mut node = Node::new("QuickGelu", "gelu", &["x"], &["g"]);
    node.domain = "com.microsoft".into();
    patch.replace(first, node);
    patch.set_boundary(
        model.graph.inputs().to_vec(),
        vec![ValueInfo { name: "y".into(), ty: ValueType::Other(None) }],
    );
    model.graph.apply("test", patch).unwrap();
    model.graph.sort();
    model.opsets.insert("com.microsoft".into(), 1);
    let rank = |model: &Model| shape_of(model, "y").map(|s| s.len());
    assert_eq!(rank(&with(&model, |_| {}).model), None);
    let guessed = with(&model, |c| c.guess_output_rank = true);
    assert_eq!(shape_of(&guessed.model, "y").unwrap(), [Dim::Unknown, Dim::Unknown]);
    assert!(guessed.rewrites.shapes.issues.iter().any(|i| i.node.contains("gelu")));
}

#[test]
fn shared_constants_are_copied_on_request() {
    let model = Builder::new()
        .input("x", &[1, 2, 4, 4])
        .constant("w", Tensor::f32(&[2, 2, 1, 1], &noise(1, 4)))
        .constant("b", Tensor::f32(&[2], &noise(2, 2)))
        .node("Conv", &["x", "w", "b"], &["c"])
        .node("Relu", &["c"], &["r"])
        .node("Conv", &["r", "w", "b"], &["y"])
        .build(&[("y", &[1, 2, 4, 4])], 13);
    let names = |p: &Prepared| p.model.graph.initializers().map(|(n, _)| n.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&with(&model, |_| {})), ["w", "b"]);
    let biases = with(&model, |c| c.copy_bias_init = Some(Vec::new()));
    assert_eq!(names(&biases), ["w", "b", "duplicated_b_1"]);
    let all = with(&model, |c| c.copy_shared_init = Some(vec!["Conv".into()]));
    assert_eq!(names(&all), ["w", "b", "duplicated_w_1", "duplicated_b_1"]);
    assert_eq!(names(&with(&model, |c| c.copy_shared_init = Some(vec!["Gemm".into()]))), ["w", "b"]);
    assert_close(&outputs(&model)[0], &outputs(&all.model)[0]);
}

/// Every constant listed as an input, as version 3 of the format wants it; weights in a Constant node; a weight that two layers
/// share, one of which has a normalization.
#[test]
fn old_files_with_constants_among_their_inputs_are_read() {
    let channels = |v: f32| Tensor::f32(&[2], &[v, 2.0 * v]);
    let weight = Tensor::f32(&[2, 2, 1, 1], &noise(4, 4));
    let mut model = Builder::new()
        .input("x", &[1, 2, 3, 3])
        .constant("w", Tensor::f32(&[2, 2, 1, 1], &noise(1, 4)))
        .constant("gamma", channels(0.5))
        .constant("beta", channels(0.1))
        .constant("mean", channels(0.2))
        .constant("var", channels(2.0))
        .node_with("Constant", &[], &["v"], &[("value", Attribute::Tensor(weight))])
        .node("Conv", &["x", "w"], &["c"])
        .node("BatchNormalization", &["c", "gamma", "beta", "mean", "var"], &["n"])
        .node("Conv", &["n", "w"], &["d"])
        .node("Conv", &["d", "v"], &["y"])
        .build(&[("y", &[1, 2, 3, 3])], 13);
    model.ir_version = 3;
    let wanted = outputs(&model).remove(0);
    let mut message = message(&model);
    let graph = message.graph.as_mut().unwrap();
    for tensor in &graph.initializer {
        let dims: Vec<usize> = tensor.dims.iter().map(|d| *d as usize).collect();
        let declared = Builder::new().input(&tensor.name, &dims).build(&[], 13);
        let declared = self::message(&declared).graph.unwrap().input.remove(0);
        graph.input.push(declared);
    }
    let old = Model::from_bytes(prost::Message::encode_to_vec(&message).into()).unwrap();
    assert_eq!(old.ir_version, 3);
    let after = with(&old, |_| {}).model;
    assert!(after.ir_version >= 4);
    let written = self::message(&after).graph.unwrap();
    assert_eq!(written.input.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["x"]);
    assert_eq!(after.graph.node_count(), 3);
    assert!(after.graph.initializer("v").is_some());
    // The layer without a normalization keeps the weights that it had.
    assert_eq!(after.graph.initializer("w"), old.graph.initializer("w"));
    assert_close(&wanted, &outputs(&after).remove(0));
}

fn message(model: &Model) -> shiftwise_graph::proto::ModelProto {
    let bytes = model.encode(&Weights::Inline).unwrap().model;
    prost::Message::decode(bytes.as_slice()).unwrap()
}

#[test]
fn bodies_of_branches_are_left_as_they_are() {
    let body = |made: &str, op: &str| {
        let constants = IndexMap::from([(format!("{made}_k"), Tensor::f32(&[2], &[1.0, 2.0]))]);
        let same = format!("{made}_same");
        let nodes = vec![
            Node::new("Identity", "", &["inner"], &[&same]),
            Node::new(op, "", &[&same, &format!("{made}_k")], &[made]),
        ];
        Attribute::Graph(Box::new(Graph::new(
            "body",
            Vec::new(),
            vec![ValueInfo::f32(made, &[2])],
            constants,
            nodes,
        )))
    };
    let model = Builder::new()
        .input("x", &[2])
        .input_info(ValueInfo {
            name: "which".into(),
            ty: ValueType::Tensor(TensorType { dtype: DataType::Bool, shape: Some(Vec::new()) }),
        })
        .node("Relu", &["x"], &["inner"])
        .node_with(
            "If",
            &["which"],
            &["chosen"],
            &[("then_branch", body("t", "Add")), ("else_branch", body("e", "Mul"))],
        )
        .node("Identity", &["chosen"], &["same"])
        .node("Relu", &["same"], &["y"])
        .build(&[("y", &[2])], 13);
    let after = with(&model, |c| c.copy_shared_init = Some(Vec::new())).model;
    assert_eq!(after.graph.node_count(), 3);
    assert_eq!(bodies(&after, "If"), bodies(&model, "If"));
}

/// The bodies of the one node of an operator, as they are written.
fn bodies(model: &Model, op: &str) -> Vec<Vec<u8>> {
    let node = message(model).graph.unwrap().node.into_iter().find(|n| n.op_type == op).unwrap();
    node.attribute.iter().map(prost::Message::encode_to_vec).collect()
}

#[test]
fn bodies_of_loops_are_left_as_they_are() {
    let scalar = |name: &str, dtype| ValueInfo {
        name: name.into(),
        ty: ValueType::Tensor(TensorType { dtype, shape: Some(Vec::new()) }),
    };
    // It reads a tensor of the graph, and does what passes would take out of the graph itself.
    let nodes = vec![
        Node::new("Identity", "", &["go"], &["on"]),
        Node::new("Identity", "", &["outer"], &["same"]),
        Node::new("Mul", "", &["state", "k"], &["grown"]),
        Node::new("Add", "", &["grown", "same"], &["next"]),
    ];
    let body = Graph::new(
        "body",
        vec![scalar("i", DataType::Int64), scalar("go", DataType::Bool), ValueInfo::f32("state", &[2])],
        vec![scalar("on", DataType::Bool), ValueInfo::f32("next", &[2])],
        IndexMap::from([("k".into(), Tensor::f32(&[2], &[1.0, 1.0]))]),
        nodes,
    );
    let model = Builder::new()
        .input("x", &[2])
        .constant("times", Tensor::i64(&[], &[3]))
        .node("Identity", &["x"], &["same_x"])
        .node("Relu", &["same_x"], &["outer"])
        .node_with("Loop", &["times", "", "outer"], &["last"], &[("body", Attribute::Graph(Box::new(body)))])
        .node("Identity", &["last"], &["same_last"])
        .node("Relu", &["same_last"], &["y"])
        .build(&[("y", &[2])], 13);
    let after = with(&model, |c| c.copy_shared_init = Some(Vec::new())).model;
    assert_eq!(after.graph.node_count(), 3);
    assert_eq!(bodies(&after, "Loop"), bodies(&model, "Loop"));
    for (x, y) in outputs(&model).iter().zip(&outputs(&after)) {
        assert_close(x, y);
    }
}
