//! ONNX test data.
#![allow(missing_docs, clippy::print_stderr)]

mod common;

use std::process::Command;

use common::{Folder, floats, input, npy_f32};
use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use prost::Message;
use shiftwise_artifact::Fingerprint;
use shiftwise_graph::proto::TensorProto;
use shiftwise_graph::{DataType, Tensor, Value};

fn tensor(name: &str, tensor: &Tensor) -> Vec<u8> {
    tensor.to_proto(name).encode_to_vec()
}

fn of(dims: &[usize], first: f32) -> Tensor {
    let n = dims.iter().product::<usize>();
    Tensor::f32(dims, &(0..n).map(|i| first + i as f32).collect::<Vec<_>>())
}

#[test]
fn each_set_is_a_sample_in_the_order_of_numbers() {
    let folder = Folder::new();
    for i in [10, 2, 0] {
        folder.put(&format!("test_data_set_{i}/input_0.pb"), &tensor("", &of(&[1, 2, 2], i as f32)));
        folder.put(&format!("test_data_set_{i}/output_0.pb"), b"not read");
    }
    folder.put("model.onnx", b"not read");
    let data = folder.open(&floats(&[-1, 2, 2])).unwrap();
    let ids: Vec<&str> = (0..data.len()).map(|i| data.id(i)).collect();
    assert_eq!(ids, ["test_data_set_0", "test_data_set_2", "test_data_set_10"]);
    assert_eq!(data.load(2).unwrap().inputs[0].1, Value::f32(&[1, 2, 2], vec![10.0, 11.0, 12.0, 13.0]));
    let file = tensor("", &of(&[1, 2, 2], 2.0));
    assert_eq!(data.fingerprint(1).unwrap(), Fingerprint::of_bytes(&file));
    let data = folder.open_file("test_data_set_2", &floats(&[1, 2, 2])).unwrap();
    assert_eq!((data.len(), data.id(0)), (1, "test_data_set_2"));
    assert_eq!(data.load(0).unwrap().inputs[0].1.as_f32().unwrap()[0], 2.0);
}

#[test]
fn inputs_go_by_index_unless_names_match() {
    let folder = Folder::new();
    let put = |set: usize, names: [&str; 3]| {
        for (i, name) in names.into_iter().enumerate() {
            folder.put(&format!("test_data_set_{set}/input_{i}.pb"), &tensor(name, &of(&[1], i as f32)));
        }
    };
    put(0, ["", "", ""]);
    put(1, ["c", "a", "b"]);
    put(2, ["x", "a", "y"]);
    put(3, ["a", "b", "a"]);
    let inputs = ["a", "b", "c"].map(|name| input(name, DataType::Float, &[1]));
    let data = folder.open(&inputs).unwrap();
    let firsts = |i: usize| {
        let sample = data.load(i).unwrap();
        sample.inputs.iter().map(|(_, v)| v.as_f32().unwrap()[0]).collect::<Vec<_>>()
    };
    assert_eq!(firsts(0), [0.0, 1.0, 2.0]);
    assert_eq!(firsts(1), [1.0, 2.0, 0.0]);
    assert_eq!(firsts(2), [1.0, 0.0, 2.0]);
    let error = data.load(3).unwrap_err();
    assert!(error.is_bad_sample() && error.to_string().contains("input_0.pb"), "{error}");
    let error = folder.open(&inputs[..2]).unwrap_err().to_string();
    assert!(error.contains("input_2.pb") && error.contains("\"a\", \"b\""), "{error}");
    std::fs::remove_file(folder.path().join("test_data_set_1/input_1.pb")).unwrap();
    let error = folder.open(&inputs).unwrap_err().to_string();
    assert!(error.contains("test_data_set_1 has no input_1.pb") && error.contains("\"b\""), "{error}");
}

/// A value of two elements.
fn is<T: Clone>(a: T, b: T) -> Value
where
    Value: From<ArrayD<T>>,
{
    ArrayD::from_shape_vec(IxDyn(&[2]), vec![a, b]).unwrap().into()
}

#[test]
fn raw_and_typed_fields_of_every_type() {
    let ones = |dtype: DataType| TensorProto {
        dims: vec![2],
        data_type: Some(dtype as i32),
        ..TensorProto::default()
    };
    let small = |dtype, a, b| TensorProto { int32_data: vec![a, b], ..ones(dtype) };
    let half = |v: f32| i32::from(f16::from_f32(v).to_bits());
    let brain = |v: f32| i32::from(bf16::from_f32(v).to_bits());
    let cases = [
        (TensorProto { float_data: vec![1.5, -2.0], ..ones(DataType::Float) }, is(1.5_f32, -2.0)),
        (TensorProto { double_data: vec![1.5, -2.0], ..ones(DataType::Double) }, is(1.5_f64, -2.0)),
        (TensorProto { int64_data: vec![1 << 40, -2], ..ones(DataType::Int64) }, is(1_i64 << 40, -2)),
        (TensorProto { uint64_data: vec![u64::MAX, 2], ..ones(DataType::Uint64) }, is(u64::MAX, 2)),
        (TensorProto { uint64_data: vec![u32::MAX.into(), 2], ..ones(DataType::Uint32) }, is(u32::MAX, 2)),
        (small(DataType::Int32, i32::MIN, 7), is(i32::MIN, 7)),
        (small(DataType::Int16, -300, 7), is(-300_i16, 7)),
        (small(DataType::Int8, -3, 7), is(-3_i8, 7)),
        (small(DataType::Uint16, 65_535, 7), is(65_535_u16, 7)),
        (small(DataType::Uint8, 255, 7), is(255_u8, 7)),
        (small(DataType::Bool, 1, 0), is(true, false)),
        (small(DataType::Float16, half(0.5), half(-1.0)), is(f16::from_f32(0.5), f16::from_f32(-1.0))),
        (small(DataType::Bfloat16, brain(0.5), brain(-1.0)), is(bf16::from_f32(0.5), bf16::from_f32(-1.0))),
    ];
    for (typed, wanted) in cases {
        let raw = wanted.to_tensor().unwrap().to_proto("x");
        for message in [typed, raw] {
            let folder = Folder::new();
            folder.put("input_0.pb", &message.encode_to_vec());
            let data = folder.open(&[input("x", wanted.dtype(), &[2])]).unwrap();
            assert_eq!(data.load(0).unwrap().inputs[0].1, wanted);
        }
    }
}

#[test]
fn other_types_convert_as_arrays_do() {
    let convert = |tensor: &Tensor, target| {
        let folder = Folder::new();
        folder.put("input_0.pb", &tensor.to_proto("x").encode_to_vec());
        folder.open(&[input("x", target, &[1, 2])]).unwrap().load(0)
    };
    let ids = Tensor::i64(&[2], &[3, 4]);
    assert_eq!(convert(&ids, DataType::Float).unwrap().inputs[0].1, Value::f32(&[1, 2], vec![3.0, 4.0]));
    let brain = Value::from(ArrayD::from_elem(IxDyn(&[2]), bf16::from_f32(1.5))).to_tensor().unwrap();
    assert_eq!(convert(&brain, DataType::Float).unwrap().inputs[0].1, Value::f32(&[1, 2], vec![1.5; 2]));
    let error = convert(&of(&[2], 0.5), DataType::Int64).unwrap_err();
    assert!(error.is_bad_sample() && error.to_string().contains("float32"), "{error}");
}

#[test]
fn what_cannot_be_read_is_a_bad_sample() {
    let field = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8][..], content].concat();
    let sequence = [field(1, b"seq"), vec![0x10, 1], field(3, &tensor("", &of(&[1], 0.0)))].concat();
    let empty = [field(1, b""), vec![0x10, 1]].concat();
    let external = TensorProto { data_location: Some(1), ..of(&[1, 3], 0.0).to_proto("x") }.encode_to_vec();
    let strings = TensorProto {
        data_type: Some(DataType::String as i32),
        dims: vec![1, 3],
        string_data: vec!["a".into(); 3],
        ..TensorProto::default()
    }
    .encode_to_vec();
    let good = tensor("x", &of(&[1, 3], 0.0));
    let cases: [(&[u8], &str); 7] = [
        (&sequence, "sequence or an optional"),
        (&empty, "sequence or an optional"),
        (&external, "another file"),
        (&strings, "string"),
        (&good[..good.len() - 1], "no serialized tensor"),
        (b"", "element type"),
        (&tensor("x", &of(&[1, 4], 0.0)), "[1, 4]"),
    ];
    for (bytes, reason) in cases {
        let folder = Folder::new();
        folder.put("test_data_set_0/input_0.pb", bytes);
        let error = folder.open(&floats(&[1, 3])).unwrap().load(0).unwrap_err();
        assert!(error.is_bad_sample() && error.to_string().contains(reason), "{reason}: {error}");
    }
    let folder = Folder::new();
    folder.put("test_data_set_0/input_0.pb", &tensor("x", &of(&[2, 3], 0.0)));
    let error = folder.open(&floats(&[-1, 3])).unwrap().load(0).unwrap_err().to_string();
    assert!(error.contains("batch of one") && error.contains("--fix-dim"), "{error}");
}

#[test]
fn folders_that_are_not_clear() {
    let folder = Folder::new();
    folder.put("somewhere/input_0.pb", b"");
    let error = folder.open(&floats(&[1, 3])).unwrap_err().to_string();
    assert!(error.contains("1 .pb") && error.contains("test_data_set_0"), "{error}");
    folder.put("test_data_set_0/input_0.pb", b"");
    folder.put("input_0.pb", b"");
    let error = folder.open(&floats(&[1, 3])).unwrap_err().to_string();
    assert!(error.contains("keep one"), "{error}");
    folder.put("a.npy", &npy_f32(&[1, 3], &[0.0; 3]));
    let error = folder.open(&floats(&[1, 3])).unwrap_err().to_string();
    assert!(error.contains("1 .npy files and 2 files of ONNX test data"), "{error}");
}

#[test]
fn what_the_onnx_package_writes() {
    let Some(python) = std::env::var_os("SHIFTWISE_PYTHON") else {
        eprintln!("skipped: SHIFTWISE_PYTHON does not name a python with the onnx package");
        return;
    };
    let folder = Folder::new();
    let script = "
import os, sys, numpy as np
from onnx import numpy_helper, helper, TensorProto
for i in range(12):
    d = os.path.join(sys.argv[1], f'test_data_set_{i}')
    os.makedirs(d)
    put = lambda n, m: open(os.path.join(d, n), 'wb').write(m.SerializeToString())
    put('input_0.pb', numpy_helper.from_array(np.full((1, 2), i, np.int64), 'ids'))
    put('input_1.pb', helper.make_tensor('x', TensorProto.FLOAT16, (1, 3), [i, 0.5, -1.0]))
d = os.path.join(sys.argv[1], 'test_data_set_12')
os.makedirs(d)
put('input_0.pb', numpy_helper.from_list([np.zeros(2, np.float32)], 'ids'))
put('input_1.pb', numpy_helper.from_optional(np.zeros(3, np.float32), 'x'))
";
    assert!(Command::new(python).args(["-c", script]).arg(folder.path()).status().unwrap().success());
    let inputs = [input("ids", DataType::Int64, &[-1, 2]), input("x", DataType::Float16, &[-1, 3])];
    let data = folder.open(&inputs).unwrap();
    assert_eq!(data.len(), 13);
    for i in 0..12 {
        let sample = data.load(i).unwrap();
        assert_eq!(sample.inputs[0].1, Value::i64(&[1, 2], vec![i as i64; 2]));
        let row = vec![f16::from_f32(i as f32), f16::from_f32(0.5), f16::from_f32(-1.0)];
        assert_eq!(sample.inputs[1].1, ArrayD::from_shape_vec(IxDyn(&[1, 3]), row).unwrap().into());
    }
    let error = data.load(12).unwrap_err();
    assert!(error.is_bad_sample() && error.to_string().contains("sequence"), "{error}");
}
