//! Float16 models as float32 models.

mod common;

use common::{nodes, noise};
use shiftwise_engine::{Engine, Flow, PrepareOptions, embedded};
use shiftwise_graph::{
    Attribute, Builder, DataType, Graph, Model, Node, Tensor, TensorType, Value, ValueInfo, ValueType,
};
use shiftwise_preprocess::{Prepared, PreprocessConfig, prepare};

/// The bits of a number in one of the two types.
fn narrow(dtype: DataType, v: f32) -> u16 {
    match dtype {
        DataType::Float16 => half::f16::from_f32(v).to_bits(),
        _ => half::bf16::from_f32(v).to_bits(),
    }
}

fn tensor(dtype: DataType, dims: &[usize], values: &[f32]) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|v| narrow(dtype, *v).to_le_bytes()).collect();
    Tensor::from_raw(dtype, dims.to_vec(), bytes.into()).unwrap()
}

fn info(name: &str, dtype: DataType, dims: &[usize]) -> ValueInfo {
    ValueInfo { name: name.into(), ty: ValueType::Tensor(TensorType::fixed(dtype, dims)) }
}

/// A layer in half precision with everything that names a type, in a body too.
fn model(dtype: DataType) -> Model {
    let one = |v: f32| Attribute::Tensor(tensor(dtype, &[1], &[v]));
    let branch = |name: &str, factor: f32| {
        let nodes = vec![
            Node::new("Constant", "", &[], &["f"]).with("value", tensor(dtype, &[1], &[factor])),
            Node::new("Cast", "", &["f"], &["wide"]).with("to", 1i64),
            Node::new("Cast", "", &["wide"], &["g"]).with("to", i64::from(dtype as i32)),
            Node::new("Mul", "", &["c", "g"], &[name]),
        ];
        let outputs = vec![info(name, dtype, &[1, 3, 4, 4])];
        Attribute::Graph(Box::new(Graph::new(name, vec![], outputs, indexmap::IndexMap::new(), nodes)))
    };
    let condition = Tensor::from_raw(DataType::Bool, vec![], vec![1].into()).unwrap();
    let mut model = Builder::new()
        .input_info(info("x", dtype, &[1, 2, 4, 4]))
        .constant("w", tensor(dtype, &[3, 2, 1, 1], &noise(1, 6)))
        .constant("b", tensor(dtype, &[3], &noise(2, 3)))
        .constant("shape", Tensor::i64(&[1], &[1]))
        .constant("cond", condition)
        .node("Conv", &["x", "w", "b"], &["c"])
        .node_with(
            "If",
            &["cond"],
            &["i"],
            &[("then_branch", branch("t", 0.5)), ("else_branch", branch("e", 2.0))],
        )
        .node_with("ConstantOfShape", &["shape"], &["k"], &[("value", one(0.25))])
        .node("Add", &["i", "k"], &["y"])
        .build(&[], 13);
    let mut patch = shiftwise_graph::Patch::new();
    patch.set_boundary(model.graph.inputs().to_vec(), vec![info("y", dtype, &[1, 3, 4, 4])]);
    model.graph.apply("test", patch).unwrap();
    model
}

fn convert(model: &Model, optimize_model: bool) -> Prepared {
    let config =
        PreprocessConfig { convert_fp16_to_fp32: true, optimize_model, ..PreprocessConfig::default() };
    prepare(model.clone(), &config, &embedded()).unwrap()
}

fn run(model: &Model, x: Value) -> Vec<f32> {
    let session = embedded().prepare(model, &PrepareOptions::default()).unwrap();
    let results = session.run(&[("x".into(), x)], &mut |_, _| Flow::Continue).unwrap();
    match &results[0] {
        Value::F16(a) => a.iter().map(|v| v.to_f32()).collect(),
        Value::Bf16(a) => a.iter().map(|v| v.to_f32()).collect(),
        other => other.as_f32().unwrap().to_vec(),
    }
}

#[test]
fn half_precision_models_become_float32_and_compute_the_same_up_to_rounding() {
    for (dtype, digits) in [(DataType::Float16, 11), (DataType::Bfloat16, 8)] {
        let before = model(dtype);
        let x = tensor(dtype, &[1, 2, 4, 4], &noise(9, 32));
        let y = run(&before, Value::from_tensor(&x).unwrap());
        for optimize in [false, true] {
            let after = convert(&before, optimize);
            let graph = &after.model.graph;
            let boundary = graph.inputs().iter().chain(graph.outputs());
            for value in boundary {
                assert_eq!(value.ty.tensor().unwrap().dtype, DataType::Float, "{}", value.name);
            }
            assert!(graph.initializers().all(|(_, t)| t.dtype() != dtype));
            let z = run(&after.model, Value::f32(&[1, 2, 4, 4], x.to_f32().unwrap()));
            let step = 2.0 * 0.5f32.powi(digits);
            let size = z.iter().fold(0f32, |m, v| m.max(v.abs()));
            for (a, b) in y.iter().zip(&z) {
                assert!((a - b).abs() <= 3.0 * step * size, "{dtype}: {a} became {b}");
            }
            let report = after.rewrites.passes.iter().find(|p| p.pass == "convert_fp16_to_fp32").unwrap();
            assert!(report.applied.iter().any(|n| n.node == "input \"x\""), "{report:?}");
            assert!(after.rewrites.warnings.is_empty(), "{:?}", after.rewrites.warnings);
            if optimize {
                assert_eq!(nodes(&after.model, "Cast"), 0);
            }
        }
    }
}

#[test]
fn without_the_option_a_warning_says_what_to_set() {
    let after = prepare(model(DataType::Float16), &PreprocessConfig::default(), &embedded()).unwrap();
    let warnings = after.rewrites.warnings.join("\n");
    assert!(warnings.contains("set convert_fp16_to_fp32 = true"), "{warnings}");
    assert_eq!(after.model.graph.inputs()[0].ty.tensor().unwrap().dtype, DataType::Float16);
}

#[test]
fn float32_models_stay_and_the_report_says_so() {
    let plain = Builder::new().input("x", &[2]).node("Relu", &["x"], &["y"]).build(&[("y", &[2])], 13);
    let after = convert(&plain, true);
    assert_eq!(common::refusals(&after, "convert_fp16_to_fp32"), ["nothing in it is float16"]);
    assert_eq!(after.model.graph.inputs(), plain.graph.inputs());
}
