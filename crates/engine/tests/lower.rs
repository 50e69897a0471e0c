//! Custom quantization operators give the bits of their formulas.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::LazyLock;

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use proptest::prelude::*;
use shiftwise_engine::{
    Embedded, Engine, Fidelity, Flow, OnnxRuntime, OrtOptions, PrepareOptions, Watch, embedded, onnxruntime,
};
use shiftwise_graph::{
    Attribute, DataType, Dim, Graph, Model, Node, Tensor, TensorType, Value, ValueInfo, ValueType,
};
use shiftwise_kernels::block::bfp::{self, Bfp, Method};
use shiftwise_kernels::block::mx::{self, Element, Mx};
use shiftwise_kernels::block::{Axis, Rounding};

const QUARK: &str = "com.amd.quark";
const VITIS: &str = "com.vai.quantize";

fn node(domain: &str, op: &str, inputs: &[&str], outputs: &[&str]) -> Node {
    Node { domain: domain.into(), ..Node::new(op, outputs[0], inputs, outputs) }
}

fn info(name: &str, dtype: DataType, dims: Option<&[usize]>) -> ValueInfo {
    let shape = dims.map(|d| d.iter().map(|d| Dim::Known(*d)).collect());
    ValueInfo { name: name.into(), ty: ValueType::Tensor(TensorType { dtype, shape }) }
}

/// A model from a float input `x` to the outputs of these names and types.
fn model(
    dims: &[usize],
    constants: &[(&str, Tensor)],
    nodes: Vec<Node>,
    outputs: &[(&str, DataType)],
    opset: i64,
) -> Model {
    let constants = constants.iter().map(|(n, t)| ((*n).to_string(), t.clone())).collect();
    let outputs = outputs.iter().map(|(name, dtype)| info(name, *dtype, None)).collect();
    let graph = Graph::new("tested", vec![ValueInfo::f32("x", dims)], outputs, constants, nodes);
    let mut model = Model::new(graph, opset);
    for domain in [QUARK, VITIS] {
        model.opsets.insert(domain.into(), 1);
    }
    model
}

/// ONNX Runtime, where the interpreter for tests has it.
fn onnx_runtime() -> Option<&'static OnnxRuntime> {
    static ENGINE: LazyLock<Option<OnnxRuntime>> = LazyLock::new(|| {
        let script = "import onnxruntime; print(onnxruntime.__path__[0])";
        let output = Command::new(common::python()?).args(["-c", script]).output().unwrap();
        let package = String::from_utf8(output.stdout).unwrap().trim().into();
        Some(onnxruntime(&OrtOptions::new(Some(package), Vec::new(), Fidelity::FakeQuant)).unwrap())
    });
    ENGINE.as_ref()
}

fn engines() -> Vec<&'static dyn Engine> {
    static EMBEDDED: LazyLock<Embedded> = LazyLock::new(embedded);
    let mut engines: Vec<&dyn Engine> = vec![&*EMBEDDED];
    engines.extend(onnx_runtime().map(|e| e as &dyn Engine));
    engines
}

fn run_on(engine: &dyn Engine, model: &Model, x: &[f32], dims: &[usize]) -> Vec<Value> {
    let session = engine.prepare(model, &PrepareOptions::default()).unwrap();
    session.run(&[("x".into(), Value::f32(dims, x.to_vec()))], &mut |_, _| Flow::Continue).unwrap()
}

/// What the embedded engine gives, and ONNX Runtime bit for bit too.
fn run(model: &Model, x: &[f32], dims: &[usize]) -> Vec<Value> {
    let results = run_on(&embedded(), model, x, dims);
    if let Some(engine) = onnx_runtime() {
        for (a, b) in results.iter().zip(run_on(engine, model, x, dims)) {
            let equal = match (a.as_f32(), b.as_f32()) {
                (Some(a), Some(b)) => bits(a) == bits(b),
                _ => defined_bytes(a) == defined_bytes(&b),
            };
            assert!(equal, "the embedded engine gives {a:?}, ONNX Runtime {b:?}");
        }
    }
    results
}

/// What the embedded engine gives; ONNX Runtime adds up in another order, and may be this far off.
fn run_near(model: &Model, x: &[f32], dims: &[usize], tolerance: f32) -> Vec<Value> {
    let results = run_on(&embedded(), model, x, dims);
    if let Some(engine) = onnx_runtime() {
        for (a, b) in results.iter().zip(run_on(engine, model, x, dims)) {
            for (a, b) in floats(a).iter().zip(floats(&b)) {
                assert!((a - b).abs() <= tolerance, "the embedded engine gives {a}, ONNX Runtime {b}");
            }
        }
    }
    results
}

/// The bytes of a value, every NaN the same one.
fn defined_bytes(value: &Value) -> (DataType, Vec<usize>, Vec<u8>) {
    let value = match value {
        Value::F16(a) => Value::F16(a.mapv(|v| if v.is_nan() { f16::NAN } else { v })),
        Value::Bf16(a) => Value::Bf16(a.mapv(|v| if v.is_nan() { bf16::NAN } else { v })),
        other => other.clone(),
    };
    (value.dtype(), value.shape().to_vec(), value.to_bytes())
}

fn floats(value: &Value) -> &[f32] {
    value.as_f32().unwrap_or_else(|| panic!("{}", value.dtype()))
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() }).collect()
}

/// Integers of a type as a tensor.
fn integers(dtype: DataType, dims: &[usize], values: &[i64]) -> Tensor {
    let size = dtype.bits().unwrap() / 8;
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()[..size].to_vec()).collect();
    Tensor::from_raw(dtype, dims.to_vec(), bytes.into()).unwrap()
}

/// Values at, beside and far from the rounding boundaries of a scale.
fn samples(scale: f32) -> Vec<f32> {
    let mut x: Vec<f32> = (-40..40).map(|k| k as f32 * 0.5 * scale).collect();
    x.extend((0..300).map(|i| (i as f32 * 0.7).sin() * 300.0 * scale));
    for huge in [127.5, 128.5, 255.5, 32767.5, 65535.5, 2_147_483_648.0, 4_294_967_296.0, 1e20, 3e38] {
        x.extend([huge * scale, -huge * scale]);
    }
    x.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-45]);
    x
}

const INTEGERS: [(DataType, i64, i64); 6] = [
    (DataType::Int8, -128, 127),
    (DataType::Uint8, 0, 255),
    (DataType::Int16, -32768, 32767),
    (DataType::Uint16, 0, 65535),
    (DataType::Int32, -(1 << 31), (1 << 31) - 1),
    (DataType::Uint32, 0, (1 << 32) - 1),
];

/// `clip(round_half_even(x / s) + z)` and `float(q − z) · s`.
fn defined(x: f32, s: f32, z: i64, lo: i64, hi: i64) -> (i64, f32) {
    let rounded = (x / s).round_ties_even();
    let q = if rounded.is_nan() { lo } else { (rounded as i64).saturating_add(z).clamp(lo, hi) };
    (q, (q - z) as f32 * s)
}

fn as_integers(value: &Value) -> Vec<i64> {
    value.to_tensor().unwrap().to_i64().unwrap()
}

#[test]
fn integers_of_one_scale_are_as_defined() {
    for opset in [12, 13, 17, 21] {
        for (domain, q, dq) in [
            (QUARK, "ExtendedQuantizeLinear", "ExtendedDequantizeLinear"),
            (VITIS, "VitisQuantizeLinear", "VitisDequantizeLinear"),
        ] {
            for (dtype, lo, hi) in INTEGERS {
                for (scale, zero) in [(0.25, 0), (0.3, lo + 7), (0.01, hi), (3.0, i64::midpoint(lo, hi))] {
                    for scale_dims in [&[][..], &[1]] {
                        let x = samples(scale);
                        let model = model(
                            &[x.len()],
                            &[
                                ("s", Tensor::f32(scale_dims, &[scale])),
                                ("z", integers(dtype, scale_dims, &[zero])),
                            ],
                            vec![
                                node(domain, q, &["x", "s", "z"], &["q"]),
                                node(domain, dq, &["q", "s", "z"], &["y"]),
                            ],
                            &[("q", dtype), ("y", DataType::Float)],
                            opset,
                        );
                        let result = run(&model, &x, &[x.len()]);
                        let want: Vec<(i64, f32)> =
                            x.iter().map(|x| defined(*x, scale, zero, lo, hi)).collect();
                        let what = format!("{dtype}, scale {scale}, zero point {zero}, opset {opset}");
                        assert_eq!(result[0].dtype(), dtype, "{what}");
                        assert_eq!(
                            as_integers(&result[0]),
                            want.iter().map(|w| w.0).collect::<Vec<_>>(),
                            "{what}"
                        );
                        let y: Vec<f32> = want.iter().map(|w| w.1).collect();
                        assert_eq!(bits(floats(&result[1])), bits(&y), "{what}");
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn fake_quantization_is_idempotent_and_near(
        x in prop::collection::vec(-100.0_f32..100.0, 1..50),
        (dtype, lo, hi) in prop::sample::select(INTEGERS.to_vec()),
        scale in 0.001_f32..1.0,
        place in 0.0..1.0_f64,
    ) {
        let zero = lo + ((hi - lo) as f64 * place) as i64;
        let model = model(
            &[x.len()],
            &[("s", Tensor::f32(&[], &[scale])), ("z", integers(dtype, &[], &[zero]))],
            vec![
                node(QUARK, "ExtendedQuantizeLinear", &["x", "s", "z"], &["q"]),
                node(QUARK, "ExtendedDequantizeLinear", &["q", "s", "z"], &["y"]),
            ],
            &[("y", DataType::Float)],
            13,
        );
        let once = run(&model, &x, &[x.len()]);
        let once = floats(&once[0]);
        let twice = run(&model, once, &[x.len()]);
        prop_assert_eq!(bits(floats(&twice[0])), bits(once));
        for (x, y) in x.iter().zip(once) {
            let (q, _) = defined(*x, scale, zero, lo, hi);
            if lo < q && q < hi {
                // Where the grid is nearly as fine as the numbers are, the result's own rounding adds to the cell.
                let cell = scale * 0.5 * 1.001 + x.abs() * f32::EPSILON;
                prop_assert!((x - y).abs() <= cell, "{x} gives {y}");
            }
        }
    }
}

/// The element at `place` of a list along an axis of a shape.
fn channel(place: usize, dims: &[usize], axis: usize) -> usize {
    place / dims[axis + 1..].iter().product::<usize>() % dims[axis]
}

#[test]
fn integers_with_an_axis_are_as_defined() {
    let dims = [2, 3, 4];
    let x: Vec<f32> = (0..24).map(|i| (i as f32 * 1.3).sin() * 40.0).collect();
    for opset in [12, 13, 21] {
        for (dtype, lo, hi) in INTEGERS {
            for (axis, attribute) in
                [(0, None), (0, Some(0)), (1, Some(1)), (2, Some(2)), (1, Some(-2)), (2, Some(-1))]
            {
                let scales: Vec<f32> = (0..dims[axis]).map(|c| 0.1 + c as f32 * 0.37).collect();
                let zeros: Vec<i64> = (0..dims[axis] as i64).map(|c| i64::midpoint(lo, hi) + c * 3).collect();
                let with = |n: Node| match attribute {
                    Some(axis) => n.with("axis", axis),
                    None => n,
                };
                let model = model(
                    &dims,
                    &[
                        ("s", Tensor::f32(&[dims[axis]], &scales)),
                        ("z", integers(dtype, &[dims[axis]], &zeros)),
                    ],
                    // The rank of r is only known by inference.
                    vec![
                        Node::new("Neg", "r", &["x"], &["r"]),
                        with(node(QUARK, "ExtendedQuantizeLinear", &["r", "s", "z"], &["q"])),
                        with(node(QUARK, "ExtendedDequantizeLinear", &["q", "s", "z"], &["y"])),
                    ],
                    &[("q", dtype), ("y", DataType::Float)],
                    opset,
                );
                let result = run(&model, &x, &dims);
                let want: Vec<(i64, f32)> = x
                    .iter()
                    .enumerate()
                    .map(|(i, x)| {
                        let c = channel(i, &dims, axis);
                        defined(-x, scales[c], zeros[c], lo, hi)
                    })
                    .collect();
                let what = format!("{dtype}, axis {attribute:?}, opset {opset}");
                assert_eq!(as_integers(&result[0]), want.iter().map(|w| w.0).collect::<Vec<_>>(), "{what}");
                let y: Vec<f32> = want.iter().map(|w| w.1).collect();
                assert_eq!(bits(floats(&result[1])), bits(&y), "{what}");
            }
        }
    }
}

#[test]
fn biases_of_32_bits_dequantize() {
    for (zero_dims, zero) in [(Some(&[][..]), 0), (Some(&[1][..]), 0), (Some(&[][..]), 5), (None, 0)] {
        let mut constants =
            vec![("b", Tensor::i32(&[3], &[i32::MAX, -7, 12])), ("s", Tensor::f32(&[1], &[0.125]))];
        let mut inputs = vec!["b", "s"];
        if let Some(dims) = zero_dims {
            constants.push(("z", Tensor::i32(dims, &[zero])));
            inputs.push("z");
        }
        let nodes = vec![
            node(QUARK, "ExtendedDequantizeLinear", &inputs, &["d"]),
            Node::new("Add", "y", &["x", "d"], &["y"]),
        ];
        let model = model(&[3], &constants, nodes, &[("y", DataType::Float)], 13);
        let result = run(&model, &[0.0; 3], &[3]);
        let want = [i32::MAX, -7, 12].map(|q| (i64::from(q) - i64::from(zero)) as f32 * 0.125);
        assert_eq!(floats(&result[0]), want);
    }
}

#[test]
fn float16_is_limited_and_rounded() {
    let x = [1.0, 1.000_5, -65519.0, 1e6, -1e6, f32::INFINITY, f32::NAN, 6e-8, 1e-9, -0.0];
    for opset in [10, 13, 21] {
        let model = model(
            &[x.len()],
            // Ignored both ways.
            &[("s", Tensor::f32(&[], &[0.5])), ("z", integers(DataType::Float16, &[], &[0x3c00]))],
            vec![
                node(QUARK, "ExtendedQuantizeLinear", &["x", "s", "z"], &["q"]),
                node(QUARK, "ExtendedDequantizeLinear", &["q", "s", "z"], &["y"]),
            ],
            &[("q", DataType::Float16), ("y", DataType::Float)],
            opset,
        );
        let result = run(&model, &x, &[x.len()]);
        let want: Vec<f16> = x.iter().map(|v| f16::from_f32(v.clamp(-65504.0, 65504.0))).collect();
        let Value::F16(q) = &result[0] else { panic!("{}", result[0].dtype()) };
        let same = q.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()));
        assert!(same, "{q} {want:?}");
        assert_eq!(bits(floats(&result[1])), bits(&want.iter().map(|v| v.to_f32()).collect::<Vec<_>>()));
    }
}

#[test]
fn bfloat16_is_scaled_shifted_and_rounded() {
    let x: Vec<f32> =
        (0..200).map(|i| (i as f32 * 0.31).sin() * 10.0).chain([f32::MAX, f32::NAN, 1e-42]).collect();
    for (scale, zero) in [(1.0_f32, 0.0_f32), (0.3, 0.0), (1.0, 2.0), (0.7, -1.5)] {
        let zero16 = bf16::from_f32(zero);
        let model = model(
            &[x.len()],
            &[
                ("s", Tensor::f32(&[], &[scale])),
                ("z", integers(DataType::Bfloat16, &[], &[zero16.to_bits().into()])),
            ],
            vec![
                node(VITIS, "VitisQuantizeLinear", &["x", "s", "z"], &["q"]),
                node(VITIS, "VitisDequantizeLinear", &["q", "s", "z"], &["y"]),
            ],
            &[("q", DataType::Bfloat16), ("y", DataType::Float)],
            17,
        );
        let result = run(&model, &x, &[x.len()]);
        let q: Vec<bf16> = x.iter().map(|x| bf16::from_f32(x / scale + zero16.to_f32())).collect();
        assert_eq!(result[0].dtype(), DataType::Bfloat16);
        let y: Vec<f32> = q.iter().map(|q| (q.to_f32() - zero16.to_f32()) * scale).collect();
        assert_eq!(bits(floats(&result[1])), bits(&y), "{scale} {zero}");
    }
}

#[test]
fn fix_neuron_is_power_of_two_fake_quantization() {
    for opset in [9, 13, 21] {
        for width in [2_i64, 4, 8, 12, 16] {
            for position in [-3_i64, 0, 5, 20] {
                let scale = 2.0_f32.powi(-position as i32);
                let x = samples(scale);
                let fix =
                    node(VITIS, "FixNeuron", &["x"], &["y"]).with("bit_width", width).with("pos", position);
                let model = model(&[x.len()], &[], vec![fix], &[("y", DataType::Float)], opset);
                let top = 1_i64 << (width - 1);
                let want: Vec<f32> = x.iter().map(|x| defined(*x, scale, 0, -top, top - 1).1).collect();
                assert_eq!(
                    bits(floats(&run(&model, &x, &[x.len()])[0])),
                    bits(&want),
                    "{width} {position} {opset}"
                );
            }
        }
    }
}

#[test]
fn instance_normalization_rounds_to_bfloat16() {
    let dims = [1, 2, 3];
    let x: Vec<f32> = (0..6).map(|i| (i as f32 * 1.7).cos()).collect();
    let constants = [("g", Tensor::f32(&[2], &[1.234, 0.777])), ("b", Tensor::f32(&[2], &[0.1, -0.3]))];
    let of = |domain, op| {
        let n = node(domain, op, &["x", "g", "b"], &["y"]).with("epsilon", 0.01_f32);
        model(&dims, &constants, vec![n], &[("y", DataType::Float)], 17)
    };
    let narrow = |v: &[f32]| v.iter().map(|v| bf16::from_f32(*v).to_f32()).collect::<Vec<_>>();
    let rounded = constants.clone().map(|(n, t)| (n, Tensor::f32(&[2], &narrow(&t.to_f32().unwrap()))));
    let plain = Node::new("InstanceNormalization", "y", &["x", "g", "b"], &["y"]).with("epsilon", 0.01_f32);
    let plain = model(&dims, &rounded, vec![plain], &[("y", DataType::Float)], 17);
    let want = narrow(floats(&run_on(&embedded(), &plain, &narrow(&x), &dims)[0]));
    for (domain, op) in [(QUARK, "ExtendedInstanceNormalization"), (VITIS, "VitisInstanceNormalization")] {
        assert_eq!(bits(floats(&run_near(&of(domain, op), &x, &dims, 0.01)[0])), bits(&want));
    }
}

#[test]
fn an_extended_lstm_is_an_lstm() {
    let wave = |dims: &[usize]| {
        let values: Vec<f32> = (0..dims.iter().product()).map(|i: usize| (i as f32 * 0.37).sin()).collect();
        Tensor::f32(dims, &values)
    };
    let constants = [("w", wave(&[1, 16, 3])), ("r", wave(&[1, 16, 4])), ("b", wave(&[1, 32]))];
    let x: Vec<f32> = (0..30).map(|i| (i as f32).cos()).collect();
    let of = |domain, op| {
        let n = node(domain, op, &["x", "w", "r", "b"], &["y", "h"]).with("hidden_size", 4);
        let outputs = [("y", DataType::Float), ("h", DataType::Float)];
        run_near(&model(&[5, 2, 3], &constants, vec![n], &outputs, 14), &x, &[5, 2, 3], 1e-5)
    };
    assert_eq!(of(QUARK, "ExtendedLSTM"), of("", "LSTM"));
}

#[test]
fn block_formats_are_computed_along_their_axis() {
    let dims = [2, 6, 5];
    let x: Vec<f32> = (0..60).map(|i| (i as f32 * 0.83).sin() * (1 << (i % 7)) as f32).collect();
    let plain = |op: &str, domain: &str, attributes: &[(&str, Attribute)]| {
        let mut n = node(domain, op, &["x"], &["y"]);
        n.attributes.extend(attributes.iter().map(|(k, v)| ((*k).to_string(), v.clone())));
        let result = run(&model(&dims, &[], vec![n], &[("y", DataType::Float)], 17), &x, &dims);
        floats(&result[0]).to_vec()
    };
    let format = |method, block, rounding, from_bf16, mantissa_bits| Bfp {
        method,
        mantissa_bits,
        block,
        rounding,
        from_bf16,
    };
    let by_kernel = |axis, format: &Bfp| {
        let mut y = x.clone();
        bfp::fake_quantize(&mut y, Axis::of(&dims, axis), format);
        y
    };
    let default = format(Method::Plain, 8, Rounding::HalfAway, false, 7);
    for (domain, op) in [(QUARK, "BFPQuantizeDequantize"), (VITIS, "BFPFixNeuron")] {
        assert_eq!(plain(op, domain, &[]), by_kernel(1, &default));
        let attributes = [
            ("bfp_method", "to_bfp".into()),
            ("axis", (-1).into()),
            ("bit_width", 14.into()),
            ("block_size", 3.into()),
            ("rounding_mode", 2.into()),
            ("convert_to_bfloat_before_bfp", 1.into()),
            ("use_compiler_version_cpu_kernel", 1.into()),
        ];
        let want = by_kernel(2, &format(Method::Compiler, 3, Rounding::HalfEven, true, 5));
        assert_eq!(plain(op, domain, &attributes), want);
        let attributes = [
            ("bfp_method", "to_bfp_prime".into()),
            ("axis", 0.into()),
            ("bit_width", 13.into()),
            ("block_size", 4.into()),
            ("sub_block_size", 2.into()),
            ("sub_block_shift_bits", 2.into()),
            ("rounding_mode", 1.into()),
        ];
        let method = Method::Microexponents { part: 2, shift_bits: 2 };
        assert_eq!(
            plain(op, domain, &attributes),
            by_kernel(0, &format(method, 4, Rounding::HalfUp, false, 4))
        );
    }
    for (name, element) in [
        ("fp8_e5m2", Element::Fp8E5M2),
        ("fp8_e4m3", Element::Fp8E4M3),
        ("fp6_e3m2", Element::Fp6E3M2),
        ("fp6_e2m3", Element::Fp6E2M3),
        ("fp4_e2m1", Element::Fp4E2M1),
        ("int8", Element::Int8),
    ] {
        for (domain, op) in [(QUARK, "MXQuantizeDequantize"), (VITIS, "MXFixNeuron")] {
            let attributes = [
                ("element_dtype", name.into()),
                ("rounding_mode", 2.into()),
                ("axis", 2.into()),
                ("block_size", 4.into()),
            ];
            let mut want = x.clone();
            let format = Mx { element, block: 4, rounding: Rounding::HalfEven };
            mx::fake_quantize(&mut want, Axis::of(&dims, 2), &format);
            assert_eq!(plain(op, domain, &attributes), want, "{name}");
        }
    }
}

#[test]
fn block_formats_of_one_dimension_have_no_choice_of_axis() {
    let bfp = || vec![node(QUARK, "BFPQuantizeDequantize", &["x"], &["y"]).with("rounding_mode", 2)];
    let of = |dims: &[usize], x: &[f32]| {
        run(&model(dims, &[], bfp(), &[("y", DataType::Float)], 17), x, dims).remove(0)
    };
    assert_eq!(floats(&of(&[3], &[1.0, 0.01, 0.02])), [1.0, 0.015_625, 0.015_625]);
    assert_eq!(floats(&of(&[1], &[0.123_456])), [0.123_456]);
    assert_eq!(floats(&of(&[], &[0.123_456])), [0.123_456]);
    let session = embedded()
        .prepare(&model(&[2, 2], &[], bfp(), &[("y", DataType::Float)], 17), &PrepareOptions::default());
    assert!(session.is_ok());
}

#[test]
fn only_tensors_of_the_model_are_shown() {
    let nodes = vec![
        node(QUARK, "ExtendedQuantizeLinear", &["x", "s", "z"], &["q"]),
        node(QUARK, "ExtendedDequantizeLinear", &["q", "s", "z"], &["q_quotient"]),
        node(VITIS, "FixNeuron", &["q_quotient"], &["y"]).with("pos", 4),
    ];
    let constants = [("s", Tensor::f32(&[], &[0.5])), ("z", integers(DataType::Uint32, &[], &[7]))];
    let model = model(&[2], &constants, nodes, &[("y", DataType::Float)], 13);
    let named = Watch::Named(BTreeSet::from(["q_quotient".to_string()]));
    for (engine, watch) in engines().into_iter().flat_map(|e| [(e, Watch::All), (e, named.clone())]) {
        let session = engine.prepare(&model, &PrepareOptions::watching(watch.clone())).unwrap();
        let mut seen = Vec::new();
        let x = Value::f32(&[2], vec![1.1, -2.6]);
        let result = session
            .run(&[("x".into(), x)], &mut |id, v| {
                seen.push((session.watched()[id.index()].clone(), v.dtype()));
                Flow::Continue
            })
            .unwrap();
        assert_eq!(floats(&result[0]), [1.0, -2.5]);
        let f32_of = |name: &str| (name.to_string(), DataType::Float);
        if watch == Watch::All {
            assert_eq!(seen, [("q".into(), DataType::Uint32), f32_of("q_quotient"), f32_of("y")]);
        } else {
            assert_eq!(seen, [f32_of("q_quotient")]);
        }
    }
}

#[test]
fn bodies_are_lowered_too() {
    let branch = |zero: &str, op: &str| {
        let nodes = vec![
            node(QUARK, "ExtendedQuantizeLinear", &["x", "s", zero], &[&format!("{op}_q")]),
            node(QUARK, "ExtendedDequantizeLinear", &[&format!("{op}_q"), "s", zero], &[&format!("{op}_d")]),
            node("", op, &[&format!("{op}_d")], &[&format!("{op}_y")]),
        ];
        let output = info(&format!("{op}_y"), DataType::Float, None);
        Attribute::Graph(Box::new(Graph::new(op, vec![], vec![output], indexmap::IndexMap::default(), nodes)))
    };
    let of = |taken: bool| {
        let constants = [
            ("s", Tensor::f32(&[], &[0.5])),
            ("narrow", integers(DataType::Int16, &[], &[0])),
            ("wide", integers(DataType::Int32, &[], &[3])),
            ("c", Tensor::from_raw(DataType::Bool, vec![], vec![u8::from(taken)].into()).unwrap()),
        ];
        let choose = Node::new("If", "choose", &["c"], &["y"])
            .with("then_branch", branch("narrow", "Neg"))
            .with("else_branch", branch("wide", "Abs"));
        let model = model(&[2], &constants, vec![choose], &[("y", DataType::Float)], 17);
        assert_eq!(embedded().unsupported(&model), []);
        run(&model, &[20000.4, -1.3], &[2]).remove(0)
    };
    assert_eq!(floats(&of(true)), [-16383.5, 1.5]);
    assert_eq!(floats(&of(false)), [20000.5, 1.5]);
}

#[test]
fn what_has_no_equivalent_is_refused_by_name() {
    let refused = |n: Node, constants: &[(&str, Tensor)], opset: i64| {
        let model = model(&[2, 2], constants, vec![n], &[("y", DataType::Float)], opset);
        let errors: Vec<String> = engines()
            .iter()
            .map(|e| e.prepare(&model, &PrepareOptions::default()).err().unwrap().to_string())
            .collect();
        for error in &errors {
            assert!(error.contains("node \"y\"") && error.contains("1 of its nodes"), "{error}");
        }
        errors
    };
    let s = ("s", Tensor::f32(&[], &[0.5]));
    let says = |errors: Vec<String>, what: &str| {
        for error in errors {
            assert!(error.contains(what), "{error}");
        }
    };
    let mx = node(QUARK, "MXQuantizeDequantize", &["x"], &["y"]);
    says(refused(mx.clone().with("element_dtype", "fp5_e3m1"), &[], 17), "fp5_e3m1");
    says(refused(mx.clone().with("element_dtype", 3), &[], 17), "not text");
    says(refused(mx.clone().with("rounding_mode", 3), &[], 17), "rounding_mode is 3");
    says(refused(mx.with("block_size", 0), &[], 17), "block_size is 0");
    let bfp = node(VITIS, "BFPFixNeuron", &["x"], &["y"]);
    says(refused(bfp.clone().with("bfp_method", "to_pfb"), &[], 17), "to_pfb");
    says(refused(bfp.clone().with("bit_width", 9), &[], 17), "bit_width is 9");
    says(refused(bfp.with("shift", 1), &[], 17), "attribute shift is not known");
    says(refused(node(VITIS, "FixNeuron", &["x"], &["y"]), &[], 17), "pos");
    let q = node(QUARK, "ExtendedQuantizeLinear", &["x", "s", "z"], &["y"]);
    let z = |dtype| ("z", integers(dtype, &[], &[0]));
    says(refused(q.clone(), &[s.clone(), z(DataType::Int64)], 17), "int64");
    says(refused(q.clone(), &[s.clone(), z(DataType::Int32)], 10), "opset 11");
    says(refused(q.clone(), &[s, z(DataType::Bfloat16)], 12), "opset 13");
    let scales = ("s", Tensor::f32(&[2], &[0.5, 0.25]));
    says(refused(q.with("axis", 2), &[scales, z(DataType::Uint32)], 17), "axis 2 does not exist");
}

#[test]
fn an_axis_that_does_not_exist_is_an_error_of_the_run() {
    let mx = node(QUARK, "MXQuantizeDequantize", &["x"], &["y"]).with("axis", 2);
    let model = model(&[2, 2], &[], vec![mx], &[("y", DataType::Float)], 17);
    let session = embedded().prepare(&model, &PrepareOptions::default()).unwrap();
    let x = Value::from(ArrayD::from_elem(IxDyn(&[2, 2]), 1.5_f32));
    let error = session.run(&[("x".into(), x)], &mut |_, _| Flow::Continue).unwrap_err().to_string();
    assert!(error.contains("node \"y\"") && error.contains("axis 2"), "{error}");
}
