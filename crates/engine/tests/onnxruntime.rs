//! ONNX Runtime as an engine: against the embedded one, under every limit of memory, from several threads.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeSet;

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use shiftwise_engine::{
    Engine, EngineError, Fidelity, Flow, OnnxRuntime, OrtOptions, PrepareOptions, Provider, Session,
    TensorId, Watch, embedded, onnxruntime,
};
use shiftwise_graph::{
    Attribute, Builder, DataType, Dim, Model, Node, Tensor, TensorType, Value, ValueInfo, ValueType,
};

fn with(providers: &[&str], fidelity: Fidelity) -> Option<Result<OnnxRuntime, String>> {
    let providers = providers.iter().map(|p| p.parse().unwrap()).collect();
    Some(
        onnxruntime(&OrtOptions::new(Some(common::package(&common::python()?)), providers, fidelity))
            .map_err(|e| e.to_string()),
    )
}

fn engine() -> Option<OnnxRuntime> {
    Some(with(&[], Fidelity::FakeQuant)?.unwrap())
}

fn prepare(engine: &dyn Engine, model: &Model, options: &PrepareOptions) -> Box<dyn Session> {
    engine.prepare(model, options).unwrap()
}

type Seen = Vec<(String, Value)>;

/// What a run shows, in order, and what it gives.
fn observe(session: &dyn Session, feeds: &[(String, Value)]) -> (Seen, Vec<Value>) {
    let mut seen = Vec::new();
    let results = session.run(feeds, &mut |id, value| {
        seen.push((session.watched()[id.index()].clone(), value.clone()));
        Flow::Continue
    });
    (seen, results.unwrap())
}

fn wave(shape: &[usize], phase: f32) -> Value {
    let count: usize = shape.iter().product();
    Value::f32(shape, (0..count).map(|i| (i as f32 * 0.37 + phase).sin()).collect())
}

fn weights(dims: &[usize]) -> Tensor {
    Tensor::f32(dims, wave(dims, 0.5).as_f32().unwrap())
}

/// Two branches, a constant node that both read, a tensor that lives long, an output in the middle.
fn branches() -> Model {
    let mut shape = Node::new("Constant", "c", &[], &["half"]);
    shape.attributes.insert("value".into(), Attribute::Tensor(Tensor::f32(&[1], &[0.5])));
    let mut model = Builder::new()
        .input("x", &[2, 3, 16, 16])
        .constant("w0", weights(&[8, 3, 3, 3]))
        .constant("w1", weights(&[8, 8, 3, 3]))
        .node_with("Conv", &["x", "w0"], &["a"], &[("pads", Attribute::Ints(vec![1; 4]))])
        .node("Relu", &["a"], &["b"])
        .node_with("Conv", &["b", "w1"], &["c"], &[("pads", Attribute::Ints(vec![1; 4]))])
        .node("Mul", &["c", "half"], &["d"])
        .node("Add", &["d", "b"], &["e"])
        .node("Mul", &["e", "half"], &["f"])
        .node("Sigmoid", &["f"], &["g"])
        .node("Add", &["g", "a"], &["y"])
        .build(&[("y", &[2, 8, 16, 16]), ("d", &[2, 8, 16, 16])], 13);
    let mut patch = shiftwise_graph::Patch::new();
    patch.insert(shape);
    model.graph.apply("test", patch).unwrap();
    model.graph.sort();
    model
}

/// The same for any number of samples.
fn any_batch(model: &Model) -> Model {
    let mut model = model.clone();
    let shape = Some(vec![Dim::Symbol("N".into()), Dim::Known(3), Dim::Known(16), Dim::Known(16)]);
    let ty = ValueType::Tensor(TensorType { dtype: DataType::Float, shape });
    let outputs =
        model.graph.outputs().iter().map(|o| ValueInfo { name: o.name.clone(), ty: ValueType::Other(None) });
    let outputs = outputs.collect();
    let mut patch = shiftwise_graph::Patch::new();
    patch.set_boundary(vec![ValueInfo { name: "x".into(), ty }], outputs);
    model.graph.apply("test", patch).unwrap();
    model
}

const LIMITS: [Option<u64>; 6] = [None, Some(1), Some(20_000), Some(40_000), Some(70_000), Some(u64::MAX)];

#[test]
fn engines_agree_on_every_tensor() {
    let Some(engine) = engine() else { return };
    let model = branches();
    let feeds = [("x".to_owned(), wave(&[2, 3, 16, 16], 0.0))];
    let options = PrepareOptions::watching(Watch::All);
    let (ours, results) = observe(prepare(&embedded(), &model, &options).as_ref(), &feeds);
    let (theirs, outputs) = observe(prepare(&engine, &model, &options).as_ref(), &feeds);
    let names = |seen: &Seen| seen.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    for ((name, a), (_, b)) in ours.iter().zip(&theirs) {
        assert!(common::difference(a, b) < 1e-6, "{name}");
    }
    for (a, b) in results.iter().zip(&outputs) {
        assert!(common::difference(a, b) < 1e-6);
    }
}

#[test]
fn each_tensor_is_seen_once_with_the_same_bits_under_any_limit() {
    let Some(engine) = engine() else { return };
    for (model, batch) in [(branches(), 2), (any_batch(&branches()), 2), (any_batch(&branches()), 5)] {
        let feeds = [("x".to_owned(), wave(&[batch, 3, 16, 16], 0.0))];
        for watch in [Watch::All, Watch::Named(["y", "c", "a", "f"].map(String::from).into())] {
            let of = |limit| {
                let options = PrepareOptions::watching(watch.clone()).with_max_live_bytes(limit);
                observe(prepare(&engine, &model, &options).as_ref(), &feeds)
            };
            let (seen, results) = of(None);
            let names: BTreeSet<&String> = seen.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), seen.len(), "each once");
            let count = if watch == Watch::All { 8 } else { 4 };
            assert_eq!(seen.len(), count);
            for limit in LIMITS {
                assert_eq!(of(limit), (seen.clone(), results.clone()), "limit {limit:?}");
            }
        }
    }
}

#[test]
fn a_session_with_a_limit_takes_other_shapes_later() {
    let Some(engine) = engine() else { return };
    let model = any_batch(&branches());
    let options = PrepareOptions::watching(Watch::All).with_max_live_bytes(Some(30_000));
    let session = prepare(&engine, &model, &options);
    let free = prepare(&engine, &model, &PrepareOptions::watching(Watch::All));
    for batch in [1, 4, 2] {
        let feeds = [("x".to_owned(), wave(&[batch, 3, 16, 16], batch as f32))];
        assert_eq!(observe(session.as_ref(), &feeds), observe(free.as_ref(), &feeds), "batch {batch}");
    }
}

#[test]
fn concurrent_runs_give_the_same_bits() {
    let Some(engine) = engine() else { return };
    let model = branches();
    let options = PrepareOptions::watching(Watch::All).with_max_live_bytes(Some(40_000));
    let session = prepare(&engine, &model, &options);
    let feeds: Vec<_> = (0..4).map(|i| [("x".to_owned(), wave(&[2, 3, 16, 16], i as f32))]).collect();
    let alone: Vec<_> = feeds.iter().map(|f| observe(session.as_ref(), f)).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (session, feeds, alone) = (&session, &feeds, &alone);
            scope.spawn(move || {
                for i in 0..12 {
                    let i = (i + thread) % feeds.len();
                    assert_eq!(observe(session.as_ref(), &feeds[i]), alone[i]);
                }
            });
        }
    });
}

#[test]
fn a_run_ends_where_the_visitor_says() {
    let Some(engine) = engine() else { return };
    let session =
        prepare(&engine, &branches(), &PrepareOptions::watching(Watch::All).with_max_live_bytes(Some(1)));
    let feeds = [("x".to_owned(), wave(&[2, 3, 16, 16], 0.0))];
    let mut seen = Vec::new();
    let results = session.run(&feeds, &mut |id, _| {
        seen.push(id);
        if id == TensorId(2) { Flow::Stop } else { Flow::Continue }
    });
    assert!(results.unwrap().is_empty());
    assert_eq!(seen, [TensorId(0), TensorId(1), TensorId(2)]);
    assert_eq!(observe(session.as_ref(), &feeds).0.len(), 8, "the session is as good as before");
}

#[test]
fn values_of_every_type_come_back_as_they_went_in() {
    fn array<T: Clone>(a: T, b: T) -> ArrayD<T> {
        ArrayD::from_shape_vec(IxDyn(&[1, 3]), vec![a.clone(), b, a]).unwrap()
    }
    let Some(engine) = engine() else { return };
    let values: Vec<Value> = vec![
        array(1.5f32, -2.25).into(),
        array(1.5f64, -2.25).into(),
        array(f16::from_f32(0.1), f16::NEG_ONE).into(),
        array(bf16::from_f32(0.1), bf16::NEG_ONE).into(),
        array(i64::MIN, 7).into(),
        array(i32::MIN, 7).into(),
        array(i16::MIN, 7).into(),
        array(i8::MIN, 7).into(),
        array(u64::MAX, 7).into(),
        array(u32::MAX, 7).into(),
        array(u16::MAX, 7).into(),
        array(u8::MAX, 7).into(),
        array(true, false).into(),
        ArrayD::from_elem(IxDyn(&[]), 3.0f32).into(),
        ArrayD::from_elem(IxDyn(&[2, 0]), 3i64).into(),
    ];
    for value in values {
        let info = |name: &str| {
            let ty = TensorType::fixed(value.dtype(), value.shape());
            ValueInfo { name: name.into(), ty: ValueType::Tensor(ty) }
        };
        let nodes =
            vec![Node::new("Identity", "i", &["x"], &["m"]), Node::new("Identity", "j", &["m"], &["y"])];
        let graph = shiftwise_graph::Graph::new(
            "t",
            vec![info("x")],
            vec![info("y")],
            indexmap::IndexMap::default(),
            nodes,
        );
        for limit in [None, Some(1)] {
            let options = PrepareOptions::watching(Watch::All).with_max_live_bytes(limit);
            let session = prepare(&engine, &Model::new(graph.clone(), 16), &options);
            let (seen, results) = observe(session.as_ref(), &[("x".into(), value.clone())]);
            assert_eq!(seen, [("m".to_owned(), value.clone()), ("y".to_owned(), value.clone())]);
            assert_eq!(results, std::slice::from_ref(&value));
        }
    }
}

#[test]
fn inputs_and_constants_may_be_outputs() {
    let Some(engine) = engine() else { return };
    let mut model = Builder::new()
        .input("x", &[2])
        .constant("k", Tensor::f32(&[2], &[3.0, 4.0]))
        .node("Add", &["x", "k"], &["s"])
        .build(&[("s", &[2])], 13);
    let mut patch = shiftwise_graph::Patch::new();
    let outputs = ["k", "s", "x", "s"].map(|n| ValueInfo::f32(n, &[2])).to_vec();
    patch.set_boundary(model.graph.inputs().to_vec(), outputs);
    model.graph.apply("test", patch).unwrap();
    let session = prepare(&engine, &model, &PrepareOptions::default());
    let results = observe(session.as_ref(), &[("x".into(), Value::f32(&[2], vec![1.0, 2.0]))]).1;
    let floats: Vec<&[f32]> = results.iter().map(|r| r.as_f32().unwrap()).collect();
    assert_eq!(floats, [[3.0, 4.0], [4.0, 6.0], [1.0, 2.0], [4.0, 6.0]]);
}

/// Convolution between Q/DQ nodes, as quantizers emit it.
fn quantized() -> Model {
    let scale = |b: Builder, name: &str, s: f32| {
        b.constant(&format!("{name}_s"), Tensor::f32(&[], &[s]))
            .constant(&format!("{name}_z"), Tensor::i8(&[], &[0]))
    };
    let w: Vec<i8> = (0..8 * 3 * 9).map(|i| ((i * 37) % 251 - 125) as i8).collect();
    let mut b = Builder::new().input("x", &[1, 3, 12, 12]).constant("wq", Tensor::i8(&[8, 3, 3, 3], &w));
    for (name, s) in [("x", 1.0 / 64.0), ("w", 1.0 / 256.0), ("y", 1.0 / 8.0)] {
        b = scale(b, name, s);
    }
    b.node("QuantizeLinear", &["x", "x_s", "x_z"], &["xq"])
        .node("DequantizeLinear", &["xq", "x_s", "x_z"], &["xd"])
        .node("DequantizeLinear", &["wq", "w_s", "w_z"], &["wd"])
        .node("Conv", &["xd", "wd"], &["c"])
        .node("QuantizeLinear", &["c", "y_s", "y_z"], &["yq"])
        .node("DequantizeLinear", &["yq", "y_s", "y_z"], &["y"])
        .build(&[("y", &[1, 8, 10, 10])], 13)
}

#[test]
fn fidelities_are_told_apart() {
    let (Some(exact), Some(deploy)) = (engine(), with(&[], Fidelity::Deploy)) else { return };
    let deploy = deploy.unwrap();
    assert!(exact.name().ends_with("(cpu, fake-quant)") && deploy.name().ends_with("(cpu, deploy)"));
    assert!(exact.name().starts_with(&format!("onnxruntime {}", exact.version())));
    let model = quantized();
    let feeds = [("x".to_owned(), wave(&[1, 3, 12, 12], 0.0))];
    let run =
        |engine: &dyn Engine| observe(prepare(engine, &model, &PrepareOptions::default()).as_ref(), &feeds).1;
    // Every value is a multiple of the scale, and sums of these are exact in float.
    assert_eq!(run(&exact), run(&embedded()));
    let error = common::difference(&run(&deploy)[0], &run(&exact)[0]);
    assert!(error < 0.02, "integer kernels round once more at most: {error}");
    let watching = PrepareOptions::watching(Watch::All);
    assert!(deploy.prepare(&model, &watching).is_ok());
    let refused = deploy.prepare(&model, &watching.with_max_live_bytes(Some(1))).err().unwrap().to_string();
    assert!(refused.contains("deploy") && refused.contains("memory"), "{refused}");
}

#[test]
fn providers_are_those_of_the_library() {
    let Some(cuda) = with(&["cuda", "cpu"], Fidelity::FakeQuant) else { return };
    let available = engine().unwrap().providers();
    assert!(available.contains(&"cpu".to_owned()));
    if !available.contains(&"cuda".to_owned()) {
        let error = cuda.unwrap_err();
        assert!(error.contains("\"cuda\"") && error.contains("cpu"), "{error}");
    }
    assert!(with(&["nonesuch"], Fidelity::FakeQuant).unwrap().unwrap_err().contains("nonesuch"));
    assert!(
        with(&["cpu", "CPUExecutionProvider"], Fidelity::FakeQuant).unwrap().unwrap_err().contains("twice")
    );
    if available.contains(&"azure".to_owned()) {
        // It takes no node of its own, so all run on the processor, or, where that is not allowed, none.
        let both = with(&["azure", "cpu"], Fidelity::FakeQuant).unwrap().unwrap();
        assert!(both.name().contains("(azure+cpu, fake-quant)"), "{}", both.name());
        assert!(both.prepare(&branches(), &PrepareOptions::default()).is_ok());
        let alone = with(&["azure"], Fidelity::FakeQuant).unwrap().unwrap();
        let error = alone.prepare(&branches(), &PrepareOptions::default()).err().unwrap().to_string();
        assert!(error.contains("CPU"), "{error}");
    }
    assert!(Provider::known().count() > 15);
}

#[test]
fn wrong_feeds_and_failing_nodes_are_named() {
    let Some(engine) = engine() else { return };
    let session = prepare(&engine, &branches(), &PrepareOptions::default());
    let run = |feeds: &[(String, Value)]| session.run(feeds, &mut |_, _| Flow::Continue).unwrap_err();
    assert!(matches!(run(&[]), EngineError::Feed { .. }));
    assert!(matches!(run(&[("x".into(), wave(&[1, 3, 16, 16], 0.0))]), EngineError::Feed { .. }));
    let model = Builder::new()
        .input("x", &[2])
        .constant("i", Tensor::i64(&[1], &[7]))
        .node("Gather", &["x", "i"], &["y"])
        .build(&[("y", &[1])], 13);
    let session = prepare(&engine, &model, &PrepareOptions::default());
    let error = session.run(&[("x".into(), wave(&[2], 0.0))], &mut |_, _| Flow::Continue).unwrap_err();
    let EngineError::Node { node, reason } = error else { panic!("{error}") };
    assert!(node.contains("Gather") && node.contains('y'), "{node}");
    assert!(reason.contains("bound"), "{reason}");
}

#[test]
fn models_that_cannot_be_loaded_name_their_nodes() {
    let Some(engine) = engine() else { return };
    let odd = Builder::new().input("x", &[2]).node("Frobnicate", &["x"], &["y"]).build(&[("y", &[2])], 13);
    let error = engine.prepare(&odd, &PrepareOptions::default()).err().unwrap();
    let EngineError::Unsupported { nodes, .. } = &error else { panic!("{error}") };
    assert_eq!(nodes[0].op, "Frobnicate");
    let watch = |name: &str| {
        let options = PrepareOptions::watching(Watch::Named([name.to_owned()].into()));
        engine.prepare(&branches(), &options).err().unwrap()
    };
    assert!(matches!(watch("nothing"), EngineError::UnknownTensor { .. }));
    assert!(matches!(watch("x"), EngineError::NotComputed { .. }));
}

#[test]
fn custom_operators_are_listed() {
    let (Some(engine), Some(path)) = (engine(), common::model("superres_custom_ops.onnx")) else { return };
    let model = Model::load(&path).unwrap();
    let error = engine.prepare(&model, &PrepareOptions::default()).err().unwrap().to_string();
    assert!(error.contains("DecodeImage") && error.contains("EncodeImage"), "{error}");
}

#[test]
fn reference_models_run_alike_in_one_pass_and_in_many() {
    let Some(engine) = engine() else { return };
    for (name, limit) in
        [("resnet20_cifar10.onnx", 100_000), ("mobilenet_v2.onnx", 3_000_000), ("silero_vad.onnx", 1)]
    {
        let Some(path) = common::model(name) else { continue };
        let model = Model::load(&path).unwrap();
        let feeds: Vec<(String, Value)> = model
            .graph
            .inputs()
            .iter()
            .map(|input| {
                let ty = input.ty.tensor().unwrap();
                let shape: Vec<usize> = ty
                    .shape
                    .as_ref()
                    .unwrap()
                    .iter()
                    .map(|d| d.known().filter(|n| *n > 0).unwrap_or(1))
                    .collect();
                let value = match ty.dtype {
                    DataType::Int64 => ArrayD::from_elem(IxDyn(&shape), 16_000i64).into(),
                    _ if name.starts_with("silero") && shape.len() == 2 => wave(&[1, 512], 0.0),
                    _ => wave(&shape, 0.0),
                };
                (input.name.clone(), value)
            })
            .collect();
        let of = |limit| {
            let options = PrepareOptions::watching(Watch::All).with_max_live_bytes(limit);
            observe(prepare(&engine, &model, &options).as_ref(), &feeds)
        };
        let (seen, results) = of(None);
        assert!(seen.len() > 3);
        let (again, outputs) = of(Some(limit));
        assert_eq!(seen.len(), again.len(), "{name}");
        for (a, b) in seen.iter().zip(&again) {
            assert!(a.0 == b.0 && bits(&a.1) == bits(&b.1), "{name}: {} differs", a.0);
        }
        assert_eq!(
            results.iter().map(bits).collect::<Vec<_>>(),
            outputs.iter().map(bits).collect::<Vec<_>>()
        );
    }
}

/// So that NaN equals itself.
fn bits(value: &Value) -> (Vec<usize>, Vec<u8>) {
    (value.shape().to_vec(), value.to_bytes())
}
