//! What cannot be computed is an error that names the node, never a panic.
#![allow(missing_docs)]

use shiftwise_engine::{Engine, Flow, PrepareOptions, embedded};
use shiftwise_graph::{Attribute, Builder, Tensor, Value};

type Attributes<'a> = &'a [(&'a str, Attribute)];

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

fn tensor(value: &Value) -> Tensor {
    value.to_tensor().unwrap()
}

/// The message of a node on an input of a shape, with further constant inputs.
fn refusal(op: &str, shape: &[usize], constants: &[Value], attributes: Attributes<'_>, opset: i64) -> String {
    let mut builder = Builder::new().input("x", shape);
    let names: Vec<String> = (0..constants.len()).map(|i| format!("c{i}")).collect();
    for (name, value) in names.iter().zip(constants) {
        builder = builder.constant(name, tensor(value));
    }
    let mut inputs = vec!["x"];
    inputs.extend(names.iter().map(String::as_str));
    let model = builder.node_with(op, &inputs, &["culprit"], attributes).build(&[("culprit", &[])], opset);
    let session = match embedded().prepare(&model, &PrepareOptions::default()) {
        Ok(session) => session,
        Err(e) => return e.to_string(),
    };
    let x = Value::f32(shape, vec![0.5; shape.iter().product()]);
    session.run(&[("x".to_string(), x)], &mut |_, _| Flow::Continue).expect_err(op).to_string()
}

fn zeros(shape: &[usize]) -> Value {
    Value::f32(shape, vec![0.0; shape.iter().product()])
}

/// Operator, shape of its first input, other inputs, attributes, opset.
type Case = (&'static str, &'static [usize], Vec<Value>, Vec<(&'static str, Attribute)>, i64);

#[test]
fn what_does_not_fit_is_named() {
    let kernel = ("kernel_shape", ints(&[3, 3]));
    let cases: Vec<Case> = vec![
        ("MaxPool", &[1, 2, 2, 2], vec![], vec![kernel.clone()], 17),
        ("MaxPool", &[4], vec![], vec![kernel.clone()], 17),
        ("MaxPool", &[1, 1, 4, 4], vec![], vec![], 17),
        ("AveragePool", &[1, 1, 4, 4, 4, 4], vec![], vec![("kernel_shape", ints(&[2, 2, 2, 2]))], 17),
        ("AveragePool", &[1, 1, 4, 4], vec![], vec![("kernel_shape", ints(&[0, 2]))], 17),
        ("LpPool", &[1, 1, 4, 4], vec![], vec![kernel.clone(), ("p", Attribute::Int(0))], 17),
        ("Conv", &[1, 2, 3, 3, 3], vec![zeros(&[1, 3, 2, 2, 2])], vec![], 17),
        ("Conv", &[1, 2, 3, 3, 3], vec![zeros(&[1, 2, 2, 2])], vec![], 17),
        ("Conv", &[1, 2, 3, 3, 3], vec![zeros(&[1, 2, 4, 1, 1])], vec![], 17),
        ("ConvTranspose", &[1, 2, 3], vec![zeros(&[2, 1, 2])], vec![("pads", ints(&[9, 9]))], 17),
        ("Resize", &[1, 2], vec![zeros(&[0]), zeros(&[2])], vec![], 17),
        ("Resize", &[1, 2], vec![zeros(&[0]), zeros(&[3])], vec![], 17),
        ("GridSample", &[1, 1, 2, 2], vec![zeros(&[2, 3, 3, 2])], vec![], 17),
        ("GridSample", &[1, 1, 0, 2], vec![zeros(&[1, 3, 3, 2])], vec![], 17),
        ("NonMaxSuppression", &[1, 3, 4], vec![zeros(&[1, 1, 2])], vec![], 17),
        ("RoiAlign", &[1, 1, 2, 2], vec![zeros(&[1, 4]), Value::i64(&[1], vec![7])], vec![], 17),
        (
            "GroupNormalization",
            &[1, 3, 2],
            vec![zeros(&[2]), zeros(&[2])],
            vec![("num_groups", Attribute::Int(2))],
            21,
        ),
        ("Pad", &[2, 2], vec![Value::i64(&[3], vec![1, 1, 1])], vec![], 17),
        ("QuantizeLinear", &[2, 3], vec![zeros(&[4])], vec![], 17),
        ("QuantizeLinear", &[2, 3], vec![zeros(&[2, 2])], vec![("block_size", Attribute::Int(1))], 21),
        ("MatMulInteger", &[2, 3], vec![zeros(&[3, 2])], vec![], 17),
        ("DeformConv", &[1, 1, 3, 3], vec![zeros(&[1, 1, 2, 2]), zeros(&[1, 7, 2, 2])], vec![], 19),
        ("Col2Im", &[1, 5, 4], vec![Value::i64(&[2], vec![4, 4]), Value::i64(&[2], vec![2, 2])], vec![], 18),
        ("MaxUnpool", &[1, 1, 2, 2], vec![Value::i64(&[1, 1, 2, 2], vec![0, 1, 2, 99])], vec![kernel], 17),
    ];
    for (op, shape, constants, attributes, opset) in cases {
        let message = refusal(op, shape, &constants, &attributes, opset);
        assert!(message.contains("culprit"), "{op}: {message}");
    }
}
