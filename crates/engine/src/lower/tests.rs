use std::borrow::Cow;

use shiftwise_graph::{Builder, DataType, Model, Node, Patch, Tensor};

use super::*;

/// Quantization of `x` to `dtype` with these many scales, and back.
fn fake(dtype: DataType, scales: usize, opset: i64) -> Model {
    let bytes = vec![0; scales * dtype.bits().unwrap() / 8];
    let mut model = Builder::new()
        .input("x", &[3, 2])
        .constant("s", Tensor::f32(&[scales], &vec![0.5; scales]))
        .constant("z", Tensor::from_raw(dtype, vec![scales], bytes.into()).unwrap())
        .build(&[], opset);
    let mut patch = Patch::new();
    for (op, input, output) in [("ExtendedQuantizeLinear", "x", "q"), ("ExtendedDequantizeLinear", "q", "y")]
    {
        let node = Node::new(op, op, &[input, "s", "z"], &[output]);
        patch.insert(Node { domain: QUARK.into(), ..node });
    }
    model.graph.apply("test", patch).unwrap();
    model.graph.sort();
    model
}

fn nodes(model: &Model) -> Vec<&Node> {
    model.graph.nodes().map(|(_, n)| n).collect()
}

#[test]
fn a_model_without_custom_operators_is_not_copied() {
    let model = Builder::new().input("x", &[2]).node("Relu", &["x"], &["y"]).build(&[("y", &[2])], 13);
    let (lowered, refused) = lower(&model);
    assert!(matches!(lowered, Cow::Borrowed(_)) && refused.is_empty());
    assert!(matches!(watch(&model, &lowered, &Watch::All), Cow::Borrowed(Watch::All)));
}

#[test]
fn q_and_dq_stand_in_the_domain_that_knows_their_type_and_axis() {
    for (dtype, scales, opset, domain, axis) in [
        (DataType::Int8, 1, 9, MICROSOFT, None),
        (DataType::Int8, 1, 10, "", None),
        (DataType::Uint8, 3, 12, MICROSOFT, Some(0)),
        (DataType::Uint8, 3, 13, "", Some(0)),
        (DataType::Int16, 1, 20, MICROSOFT, None),
        (DataType::Uint16, 3, 20, MICROSOFT, Some(0)),
        (DataType::Int16, 1, 21, "", None),
        (DataType::Uint16, 3, 21, "", Some(0)),
    ] {
        let model = fake(dtype, scales, opset);
        let (lowered, refused) = lower(&model);
        assert_eq!(refused, []);
        let nodes = nodes(&lowered);
        let ops: Vec<&str> = nodes.iter().map(|n| n.op_type.as_str()).collect();
        assert_eq!(ops, ["QuantizeLinear", "DequantizeLinear"]);
        for (node, name) in nodes.iter().zip(["ExtendedQuantizeLinear", "ExtendedDequantizeLinear"]) {
            assert_eq!((node.domain.as_str(), node.int("axis")), (domain, axis), "{dtype} at opset {opset}");
            assert_eq!(node.name, name, "nodes keep their names");
        }
        assert_eq!(lowered.opsets.contains_key(MICROSOFT), domain == MICROSOFT);
        lowered.graph.check("lowering").unwrap();
    }
}

#[test]
fn every_added_name_is_new() {
    let mut model = fake(DataType::Uint32, 3, 13);
    let mut patch = Patch::new();
    // Names that the rewrite would give.
    patch.insert(Node::new("Neg", "q_rounded", &["x"], &["q_quotient"]));
    model.graph.apply("test", patch).unwrap();
    model.graph.sort();
    let (lowered, refused) = lower(&model);
    assert_eq!(refused, []);
    lowered.graph.check("lowering").unwrap();
    let mut names: Vec<&str> = nodes(&lowered).iter().map(|n| n.name.as_str()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
    for tensor in ["q", "y", "q_quotient"] {
        assert!(lowered.graph.producer(tensor).is_some(), "{tensor}");
    }
    let Cow::Owned(Watch::Named(shown)) = watch(&model, &lowered, &Watch::All) else {
        panic!("all are named")
    };
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), ["q", "q_quotient", "y"]);
}

#[test]
fn a_function_of_the_model_goes_before_an_operator() {
    let mut model = fake(DataType::Int8, 1, 13);
    let function = |name: &str| shiftwise_graph::proto::FunctionProto {
        name: name.into(),
        domain: QUARK.into(),
        ..Default::default()
    };
    model.functions = vec![function("ExtendedQuantizeLinear"), function("ExtendedDequantizeLinear")];
    assert!(matches!(lower(&model).0, Cow::Borrowed(_)));
}

#[test]
fn a_rank_that_is_not_known_is_asked_for() {
    let mut model = fake(DataType::Int32, 3, 13);
    let mut patch = Patch::new();
    patch.insert(Node { domain: "some.where".into(), ..Node::new("Unknown", "u", &["x"], &["v"]) });
    let (id, _) = model.graph.producer("q").unwrap();
    patch.set_input(id, 0, "v");
    model.graph.apply("test", patch).unwrap();
    model.graph.sort();
    let (_, refused) = lower(&model);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].why.contains("number of dimensions of \"v\""), "{}", refused[0].why);
}
