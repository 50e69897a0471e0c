//! What is found, and what is not and why.

use shiftwise_graph::{Attribute, Builder, Node, Patch, Tensor};

use super::super::behind::Behind;
use super::super::op::LayerOp;
use super::super::*;
use super::graphs::branches;
use super::support::{quantize, samples, weights};
use crate::layer::{Activation, Op, Window};

#[test]
fn layers_of_a_model_with_their_counterparts() {
    let float = branches();
    let quantized = quantize(&float, &samples(&float, 2));
    let (layers, skipped) = find_layers(&quantized, &float);
    assert!(skipped.is_empty(), "{skipped:?}");
    let nodes: Vec<&str> = layers.iter().map(|l| l.node.as_str()).collect();
    assert_eq!(nodes, ["c0", "c1", "c2", "c3", "c4", "y", "z"]);
    let first = &layers[0];
    assert_eq!(first.input, "x_DequantizeLinear_Output");
    assert_eq!(first.input_integers.as_deref(), Some("x_QuantizeLinear_Output"));
    assert_eq!((first.weight.integers.as_str(), first.weight.scale.as_str()), ("w0_quantized", "w0_scale"));
    assert!(matches!(&first.bias, Some(Bias::Quantized(b)) if b.integers == "b0_quantized"));
    assert_eq!((first.float_weight.as_str(), first.float_bias.as_deref()), ("w0", Some("b0")));
    assert_eq!((first.float_input.as_str(), first.float_output.as_str()), ("x", "c0"));
    assert_eq!(first.activation(&[1, 8, 8, 8]), Ok(Activation::Relu));
    assert!(first.is_output_quantized);
    let window = Window { groups: 1, kernel: [3, 3], stride: [2, 2], dilation: [1, 1], pads: [1, 1, 1, 1] };
    assert_eq!(layers[1].op(&[1, 8, 8, 8]), Ok(Op::Conv(window)));
    assert_eq!(layers[5].op(&[1, 8]), Ok(Op::Gemm { transposed: true, alpha: 1.0, beta: 1.0 }));
    assert!(layers[1].op(&[1, 8]).is_err());
    // Outputs of the graph are renamed in the quantized model.
    assert_eq!((layers[5].output.as_str(), layers[5].float_output.as_str()), ("y_QuantizeLinear_Input", "y"));
}

#[test]
fn nodes_that_are_no_layers_have_a_reason() {
    let float = Builder::new()
        .input("x", &[1, 4])
        .constant("w", weights(&[4, 4], 1))
        .constant("v", weights(&[4, 4], 2))
        .constant("u", weights(&[4, 4], 3))
        .node("MatMul", &["x", "w"], &["a"])
        .node("MatMul", &["a", "w"], &["b"])
        .node("MatMul", &["b", "v"], &["c"])
        .node("MatMul", &["c", "u"], &["y"])
        .build(&[("y", &[1, 4])], 17);
    let quantized = quantize(&float, &samples(&float, 2));
    let mut other = float.clone();
    let mut patch = Patch::new();
    patch.set_initializer("v", weights(&[4, 8], 2));
    let id = other.graph.producer("y").unwrap().0;
    patch.remove(id).insert(Node::new("MatMul", "renamed", &["c", "u"], &["y2"]));
    other.graph.apply("test", patch).unwrap();
    let (layers, skipped) = find_layers(&quantized, &other);
    assert!(layers.is_empty());
    let reasons: Vec<String> = skipped.iter().map(|s| format!("{}: {}", s.node, s.reason)).collect();
    assert!(reasons[0].contains("a: its weights are shared"), "{reasons:?}");
    assert!(reasons[1].contains("b: its weights are shared"), "{reasons:?}");
    assert!(reasons[2].contains("[4, 8] in the float model"), "{reasons:?}");
    assert!(reasons[3].contains("no node of its name"), "{reasons:?}");
    let (_, skipped) = find_layers(&float, &float);
    assert!(
        skipped.iter().all(|s| s.reason.contains("not a constant behind DequantizeLinear")),
        "{skipped:?}"
    );
}

#[test]
fn padding_is_resolved_for_the_size() {
    let node = |op: &str, attributes: &[(&str, Attribute)]| {
        let mut node = Node::new(op, "n", &["x", "w"], &["y"]);
        node.attributes.extend(attributes.iter().map(|(k, v)| ((*k).to_string(), v.clone())));
        node
    };
    let two = || ("strides", Attribute::from(vec![2i64, 2]));
    let pads =
        |attributes: &[(&str, Attribute)]| match LayerOp::parse(&node("Conv", attributes), &[4, 2, 3, 3])
            .unwrap()
            .resolve(&[1, 2, 8, 7])
        {
            Ok(Op::Conv(window)) => window.pads,
            other => panic!("{other:?}"),
        };
    assert_eq!(pads(&[("auto_pad", "SAME_UPPER".into()), two()]), [0, 1, 1, 1]);
    assert_eq!(pads(&[("auto_pad", "SAME_LOWER".into()), two()]), [1, 1, 0, 1]);
    assert_eq!(pads(&[("auto_pad", "VALID".into()), two()]), [0; 4]);
    assert_eq!(pads(&[("pads", vec![1i64, 2, 3, 4].into())]), [1, 2, 3, 4]);
    // A size of 8 in two steps gives 16 with SAME; taps give 17.
    let transposed = |attributes: &[(&str, Attribute)]| match LayerOp::parse(
        &node("ConvTranspose", attributes),
        &[2, 4, 3, 3],
    )
    .unwrap()
    .resolve(&[1, 2, 8, 7])
    {
        Ok(Op::ConvTranspose(window, padding)) => (window.pads, padding),
        other => panic!("{other:?}"),
    };
    assert_eq!(transposed(&[("auto_pad", "SAME_UPPER".into()), two()]), ([0, 0, 1, 1], [0, 0]));
    let shape = ("output_shape", Attribute::from(vec![18i64, 15]));
    assert_eq!(transposed(&[shape, two()]), ([0; 4], [1, 0]));
    let line = LayerOp::parse(&node("Conv", &[("pads", vec![1i64, 2].into())]), &[4, 2, 3]).unwrap();
    let Ok(Op::Conv(window)) = line.resolve(&[1, 2, 9]) else { panic!("a convolution") };
    assert_eq!((window.kernel, window.pads), ([1, 3], [0, 1, 0, 2]));
    for (wrong, why) in [
        (node("Conv", &[("pads", vec![-1i64, 0, 0, 0].into())]), "pads"),
        (node("Conv", &[("group", 0i64.into())]), "group"),
        (node("Conv", &[("auto_pad", "MAYBE".into())]), "MAYBE"),
        (node("Conv", &[("kernel_shape", vec![5i64, 5].into())]), "kernel_shape"),
    ] {
        assert!(LayerOp::parse(&wrong, &[4, 2, 3, 3]).unwrap_err().contains(why));
    }
    assert!(LayerOp::parse(&node("Conv", &[]), &[4, 2, 3, 3, 3]).unwrap_err().contains("3 dimensions"));
}

#[test]
fn activations_with_their_parameters() {
    let read = |op: &str, extra: &[&str], attributes: &[(&str, Attribute)], rank: usize| {
        let mut inputs = vec!["x"];
        inputs.extend(extra);
        let model = Builder::new()
            .input("x", &[1, 2, 3, 3])
            .constant("two", Tensor::f32(&[2, 1, 1], &[0.1, 0.2]))
            .constant("zero", Tensor::f32(&[], &[0.0]))
            .constant("six", Tensor::f32(&[], &[6.0]))
            .node_with(op, &inputs, &["y"], attributes)
            .build(&[("y", &[1, 2, 3, 3])], 17);
        let (_, node) = model.graph.producer("y").unwrap();
        Behind::parse(&model.graph, 17, node, "x").map(|behind| behind.resolve(rank))
    };
    assert_eq!(read("PRelu", &["two"], &[], 4), Some(Ok(Activation::PRelu(vec![0.1, 0.2]))));
    assert!(read("PRelu", &["two"], &[], 5).is_some_and(|r| r.is_err()));
    assert_eq!(read("PRelu", &["zero"], &[], 2), Some(Ok(Activation::PRelu(vec![0.0]))));
    assert_eq!(read("Clip", &["zero", "six"], &[], 4), Some(Ok(Activation::Clip(0.0, 6.0))));
    assert_eq!(read("Clip", &["zero"], &[], 4), Some(Ok(Activation::Clip(0.0, f32::INFINITY))));
    assert_eq!(read("LeakyRelu", &[], &[], 4), Some(Ok(Activation::LeakyRelu(0.01))));
    assert_eq!(read("Softmax", &[], &[], 4), Some(Ok(Activation::Softmax(3))));
    assert_eq!(read("Gelu", &[], &[("approximate", "tanh".into())], 4), Some(Ok(Activation::Gelu(true))));
    assert_eq!(read("Abs", &[], &[], 4), None);
}
