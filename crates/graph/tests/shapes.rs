//! Shapes of single operators, chains of shape arithmetic, and how inference degrades.

#![allow(missing_docs)]

mod common;

use indexmap::IndexMap;
use shiftwise_graph::{
    Attribute, DataType, Dim, Graph, Model, Node, ShapeIssueKind, Tensor, TensorType, ValueInfo, ValueType,
    infer_shapes,
};

/// Parses `float[N,3,?]`; the word alone means that the rank is unknown.
fn ty(text: &str) -> TensorType {
    let (dtype, dims) =
        text.split_once('[').map_or((text, None), |(t, d)| (t, Some(d.trim_end_matches(']'))));
    let dtype = (1..=23).filter_map(DataType::from_onnx).find(|t| t.to_string() == dtype).unwrap();
    let dim = |d: &str| match d {
        "?" => Dim::Unknown,
        d => d.parse().map_or_else(|_| Dim::Symbol(d.into()), Dim::Known),
    };
    TensorType { dtype, shape: dims.map(|d| d.split(',').filter(|d| !d.is_empty()).map(dim).collect()) }
}

fn value(name: &str, text: &str) -> ValueInfo {
    ValueInfo { name: name.into(), ty: ValueType::Tensor(ty(text)) }
}

/// A model with inputs `name: type`, int64 lists as constants, and outputs without declared types.
struct Net {
    inputs: Vec<ValueInfo>,
    constants: IndexMap<String, Tensor>,
    nodes: Vec<Node>,
    opset: i64,
}

impl Net {
    fn new(opset: i64, inputs: &[(&str, &str)]) -> Self {
        let inputs = inputs.iter().map(|(n, t)| value(n, t)).collect();
        Self { inputs, constants: IndexMap::new(), nodes: Vec::new(), opset }
    }

    fn ints(mut self, name: &str, values: &[i64]) -> Self {
        self.constants.insert(name.into(), Tensor::i64(&[values.len()], values));
        self
    }

    fn scalar(mut self, name: &str, value: i64) -> Self {
        self.constants.insert(name.into(), Tensor::i64(&[], &[value]));
        self
    }

    fn floats(mut self, name: &str, values: &[f32]) -> Self {
        self.constants.insert(name.into(), Tensor::f32(&[values.len()], values));
        self
    }

    fn node(mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute)]) -> Self {
        let mut node = Node::new(op, outputs[0], inputs, outputs);
        for (name, value) in attributes {
            node.attributes.insert((*name).into(), value.clone());
        }
        self.nodes.push(node);
        self
    }

    fn model(self, outputs: Vec<ValueInfo>) -> Model {
        let mut graph = Graph::new("net", self.inputs, outputs, self.constants, self.nodes);
        graph.sort();
        let model = Model::new(graph, self.opset);
        model.graph.check("test").unwrap();
        model
    }

    /// The inferred type of a tensor; nothing may be contradictory.
    #[track_caller]
    fn gives(self, tensor: &str, wanted: &str) -> Self {
        let mut model = Net {
            inputs: self.inputs.clone(),
            constants: self.constants.clone(),
            nodes: self.nodes.clone(),
            opset: self.opset,
        }
        .model(Vec::new());
        let report = infer_shapes(&mut model);
        let found = model.graph.tensor_type(tensor).map_or("nothing".into(), |t| t.to_string());
        assert_eq!(found, wanted, "{report:?}");
        assert!(report.issues.iter().all(|i| i.kind == ShapeIssueKind::Unknown), "{report:?}");
        self
    }

    /// The reason why something is contradictory.
    #[track_caller]
    fn contradicts(self, reason: &str) {
        let report = infer_shapes(&mut self.model(Vec::new()));
        let found = report.issues.iter().find(|i| i.kind == ShapeIssueKind::Contradiction);
        assert!(found.is_some_and(|i| i.reason.contains(reason)), "{report:?}");
    }
}

/// One node over inputs `a`, `b`, … of these types, making `y`.
fn op(opset: i64, op: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> Net {
    let names = ["a", "b", "c", "d"];
    let typed: Vec<(&str, &str)> = names.into_iter().zip(inputs.iter().copied()).collect();
    let used: Vec<&str> = typed.iter().map(|(n, _)| *n).collect();
    Net::new(opset, &typed).node(op, &used, &["y"], attributes)
}

fn ints(values: &[i64]) -> Attribute {
    values.to_vec().into()
}

#[test]
fn elementwise() {
    op(13, "Add", &["float[N,3,1]", "float[4]"], &[]).gives("y", "float[N,3,4]");
    op(13, "Add", &["float[N,3]", "float[M,3]"], &[]).gives("y", "float[?,3]");
    op(13, "Greater", &["float[N]", "float[]"], &[]).gives("y", "bool[N]");
    op(13, "Where", &["bool[N,1]", "float[1,5]", "float[]"], &[]).gives("y", "float[N,5]");
    op(13, "Max", &["float[2]", "float[1]", "float[3,1]"], &[]).gives("y", "float[3,2]");
    op(13, "Add", &["float[2]", "float[3]"], &[]).contradicts("do not broadcast: 2 against 3");
    op(13, "Add", &["float[2]", "int64[2]"], &[]).contradicts("element types float and int64");
    op(13, "Cast", &["float[N]"], &[("to", 6.into())]).gives("y", "int32[N]");
    op(13, "Cast", &["float"], &[("to", 6.into())]).gives("y", "int32[…]");
}

#[test]
fn convolutions() {
    let conv =
        |attributes: &[(&str, Attribute)]| op(13, "Conv", &["float[N,3,H,10]", "float[8,3,3,3]"], attributes);
    conv(&[]).gives("y", "float[N,8,?,8]");
    conv(&[("pads", ints(&[1, 1, 1, 1]))]).gives("y", "float[N,8,H,10]");
    conv(&[("pads", ints(&[1, 1, 1, 1])), ("strides", ints(&[2, 2]))]).gives("y", "float[N,8,?,5]");
    conv(&[("dilations", ints(&[2, 2])), ("pads", ints(&[2, 2, 2, 2]))]).gives("y", "float[N,8,H,10]");
    conv(&[("auto_pad", "SAME_UPPER".into()), ("strides", ints(&[1, 3]))]).gives("y", "float[N,8,H,4]");
    conv(&[("auto_pad", "VALID".into()), ("strides", ints(&[3, 3]))]).gives("y", "float[N,8,?,3]");
    conv(&[("dilations", ints(&[1, 6]))]).contradicts("a window over 13 does not fit into 10");
    conv(&[("strides", ints(&[0, 1]))]).contradicts("strides has the entry 0");
    conv(&[("group", 2.into())]).contradicts("3 channels but its weights take 3 in 2 groups");
    let transposed = |attributes: &[(&str, Attribute)]| {
        op(13, "ConvTranspose", &["float[N,8,5,5]", "float[8,4,3,3]"], attributes)
    };
    transposed(&[]).gives("y", "float[N,4,7,7]");
    transposed(&[("strides", ints(&[2, 2])), ("output_padding", ints(&[1, 0]))])
        .gives("y", "float[N,4,12,11]");
    transposed(&[("strides", ints(&[2, 2])), ("pads", ints(&[1, 1, 1, 1]))]).gives("y", "float[N,4,9,9]");
    transposed(&[("strides", ints(&[2, 2])), ("auto_pad", "SAME_LOWER".into())])
        .gives("y", "float[N,4,10,10]");
    transposed(&[("output_shape", ints(&[13, 14]))]).gives("y", "float[N,4,13,14]");
    transposed(&[("group", 2.into()), ("dilations", ints(&[2, 1]))]).gives("y", "float[N,8,9,7]");
}

#[test]
fn pooling() {
    let pool = |input: &str, attributes: &[(&str, Attribute)]| {
        let mut all = vec![("kernel_shape", ints(&[3]))];
        all.extend_from_slice(attributes);
        op(19, "MaxPool", &[input], &all)
    };
    pool("float[N,4,10]", &[("strides", ints(&[2]))]).gives("y", "float[N,4,4]");
    let ceil = ("ceil_mode", Attribute::Int(1));
    pool("float[N,4,10]", &[("strides", ints(&[2])), ceil.clone()]).gives("y", "float[N,4,5]");
    // A last window that would start in the trailing padding is dropped.
    pool("float[N,4,4]", &[("strides", ints(&[5])), ("pads", ints(&[0, 2])), ceil])
        .gives("y", "float[N,4,1]");
    op(13, "GlobalAveragePool", &["float[N,4,H,W]"], &[]).gives("y", "float[N,4,1,1]");
    Net::new(13, &[("x", "float[1,2,4,4]")])
        .node("MaxPool", &["x"], &["y", "at"], &[("kernel_shape", ints(&[2, 2]))])
        .gives("at", "int64[1,2,3,3]");
    op(13, "MaxPool", &["float[N,4,10]"], &[]).contradicts("kernel_shape is missing");
}

#[test]
fn matrix_products() {
    op(13, "MatMul", &["float[N,1,5,6]", "float[3,6,7]"], &[]).gives("y", "float[N,3,5,7]");
    op(13, "MatMul", &["float[6]", "float[2,6,7]"], &[]).gives("y", "float[2,7]");
    op(13, "MatMul", &["float[6]", "float[6]"], &[]).gives("y", "float[]");
    op(13, "MatMul", &["float[4,5]", "float[6,7]"], &[]).contradicts("cannot be multiplied");
    op(13, "Gemm", &["float[6,N]", "float[7,6]"], &[("transA", 1.into()), ("transB", 1.into())])
        .gives("y", "float[N,7]");
    op(13, "Einsum", &["float[N,4,5]", "float[N,6,5]"], &[("equation", "bij, bkj -> bik".into())])
        .gives("y", "float[N,4,6]");
}

#[test]
fn reshapes() {
    let reshape = |input: &str, target: &[i64]| {
        Net::new(14, &[("x", input)]).ints("s", target).node("Reshape", &["x", "s"], &["y"], &[])
    };
    reshape("float[N,4,6]", &[0, -1]).gives("y", "float[N,24]");
    reshape("float[N,4,6]", &[-1, 8, 3]).gives("y", "float[N,8,3]");
    reshape("float[N,4,6]", &[-1]).gives("y", "float[?]");
    reshape("float[2,4,6]", &[0, 3, -1]).gives("y", "float[2,3,8]");
    reshape("float[2,4,6]", &[7, -1]).contradicts("cannot take the shape");
    reshape("float[2,4,6]", &[2, 4, 5]).contradicts("cannot take the shape");
    reshape("float[2,3]", &[-1, -1]).contradicts("more than one -1");
    reshape("float[2]", &[2, 0]).contradicts("copies axis 1");
    op(13, "Flatten", &["float[N,4,1,6]"], &[]).gives("y", "float[N,24]");
    op(13, "Flatten", &["float[N,4,1,6]"], &[("axis", (-1).into())]).gives("y", "float[?,6]");
    op(11, "Squeeze", &["float[1,N,1]"], &[("axes", ints(&[-1]))]).gives("y", "float[1,N]");
    op(11, "Squeeze", &["float[1,3,1]"], &[]).gives("y", "float[3]");
    op(11, "Squeeze", &["float[1,N]"], &[]).gives("y", "float[…]");
    op(11, "Squeeze", &["float[2,1]"], &[("axes", ints(&[0]))]).contradicts("which is not 1");
    op(11, "Unsqueeze", &["float[N]"], &[("axes", ints(&[0, 2]))]).gives("y", "float[1,N,1]");
    Net::new(13, &[("x", "float[N]")])
        .ints("axes", &[-1])
        .node("Unsqueeze", &["x", "axes"], &["y"], &[])
        .gives("y", "float[N,1]");
    op(13, "Transpose", &["float[N,3,H,W]"], &[("perm", ints(&[0, 2, 3, 1]))]).gives("y", "float[N,H,W,3]");
    op(13, "Transpose", &["float[N,3,5]"], &[]).gives("y", "float[5,3,N]");
    op(13, "Transpose", &["float[2,3]"], &[("perm", ints(&[0, 0]))]).contradicts("axis 0 stands twice");
    let two = |op: &str, content: &[i64]| {
        Net::new(13, &[("x", "float[N,1]")]).ints("s", content).node(op, &["x", "s"], &["y"], &[])
    };
    two("Expand", &[3, 1, 4]).gives("y", "float[3,N,4]");
    two("Tile", &[1, 5]).gives("y", "float[N,5]");
    two("Tile", &[2, 1]).gives("y", "float[?,1]");
}

#[test]
fn slices() {
    let slice = |input: &str, starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]| {
        Net::new(13, &[("x", input)])
            .ints("starts", starts)
            .ints("ends", ends)
            .ints("axes", axes)
            .ints("steps", steps)
            .node("Slice", &["x", "starts", "ends", "axes", "steps"], &["y"], &[])
    };
    slice("float[N,10]", &[1], &[-1], &[1], &[3]).gives("y", "float[N,3]");
    slice("float[N,10]", &[-1], &[i64::MIN], &[-1], &[-2]).gives("y", "float[N,5]");
    slice("float[N,10]", &[0], &[i64::MAX], &[0], &[1]).gives("y", "float[N,10]");
    slice("float[N,10]", &[0], &[5], &[0], &[1]).gives("y", "float[?,10]");
    slice("float[N,10]", &[0], &[5], &[1], &[0]).contradicts("a step of 0");
    slice("float[N,10]", &[0], &[5], &[2], &[1]).contradicts("axis 2 is out of range");
    op(9, "Slice", &["float[4,10]"], &[("starts", ints(&[1])), ("ends", ints(&[3])), ("axes", ints(&[0]))])
        .gives("y", "float[2,10]");
    op(13, "Concat", &["float[N,3]", "float[N,4]"], &[("axis", 1.into())]).gives("y", "float[N,7]");
    op(13, "Concat", &["float[N,3]", "float[2,4]"], &[("axis", 1.into())]).gives("y", "float[2,7]");
    op(13, "Concat", &["float[N,3]", "float[M,3]"], &[("axis", 0.into())]).gives("y", "float[?,3]");
    op(13, "Concat", &["float[3,3]", "float[2,4]"], &[("axis", 1.into())]).contradicts("it joins");
    op(9, "Pad", &["float[N,4]"], &[("pads", ints(&[0, 1, 0, -2]))]).gives("y", "float[N,3]");
    op(13, "Gather", &["float[N,4,5]", "int64[2,M]"], &[("axis", 1.into())]).gives("y", "float[N,2,M,5]");
    let split = |outputs: &[&str], attributes: &[(&str, Attribute)]| {
        Net::new(18, &[("x", "float[N,7]")]).node("Split", &["x"], outputs, attributes)
    };
    let axis = ("axis", Attribute::Int(1));
    split(&["p", "q"], &[axis.clone(), ("num_outputs", 2.into())])
        .gives("p", "float[N,4]")
        .gives("q", "float[N,3]");
    split(&["p", "q"], &[axis.clone(), ("split", ints(&[2, 5]))]).gives("q", "float[N,5]");
    split(&["p", "q"], &[axis, ("split", ints(&[2, 6]))]).contradicts("add up to 8");
}

#[test]
fn reductions_and_selections() {
    op(13, "ReduceMean", &["float[N,3,4]"], &[("axes", ints(&[-1]))]).gives("y", "float[N,3,1]");
    op(13, "ReduceMean", &["float[N,3,4]"], &[("keepdims", 0.into())]).gives("y", "float[]");
    let reduce = |attributes: &[(&str, Attribute)]| {
        Net::new(18, &[("x", "float[N,3,4]")]).ints("axes", &[1]).node(
            "ReduceSum",
            &["x", "axes"],
            &["y"],
            attributes,
        )
    };
    reduce(&[("keepdims", 0.into())]).gives("y", "float[N,4]");
    op(18, "ReduceMax", &["float[N,3]"], &[("noop_with_empty_axes", 1.into())]).gives("y", "float[N,3]");
    op(18, "ReduceMax", &["float[N,3]", "int64[1]"], &[]).gives("y", "float[?,?]");
    op(13, "ArgMax", &["float[N,3]"], &[("axis", 1.into()), ("keepdims", 0.into())]).gives("y", "int64[N]");
    Net::new(13, &[("x", "float[N,9]")])
        .ints("k", &[4])
        .node("TopK", &["x", "k"], &["y", "at"], &[])
        .gives("y", "float[N,4]")
        .gives("at", "int64[N,4]");
    op(13, "NonMaxSuppression", &["float[1,9,4]", "float[1,1,9]"], &[]).gives("y", "int64[?,3]");
}

#[test]
fn resolutions() {
    let scales = |opset: i64, inputs: &[&str]| {
        Net::new(opset, &[("x", "float[N,4,5,5]")])
            .floats("scales", &[1.0, 1.0, 2.0, 1.5])
            .floats("none", &[])
            .node(if opset < 10 { "Upsample" } else { "Resize" }, inputs, &["y"], &[])
    };
    scales(9, &["x", "scales"]).gives("y", "float[N,4,10,7]");
    scales(10, &["x", "scales"]).gives("y", "float[N,4,10,7]");
    scales(13, &["x", "", "scales"]).gives("y", "float[N,4,10,7]");
    scales(11, &["x", "none", "scales"]).gives("y", "float[N,4,10,7]");
    Net::new(18, &[("x", "float[N,4,6,12]")])
        .ints("sizes", &[5, 6])
        .node(
            "Resize",
            &["x", "", "", "sizes"],
            &["y"],
            &[("axes", ints(&[2, 3])), ("keep_aspect_ratio_policy", "not_larger".into())],
        )
        .gives("y", "float[N,4,3,6]");
    op(13, "DepthToSpace", &["float[N,12,H,4]"], &[("blocksize", 2.into())]).gives("y", "float[N,3,?,8]");
    op(13, "SpaceToDepth", &["float[N,3,6,4]"], &[("blocksize", 2.into())]).gives("y", "float[N,12,3,2]");
    op(13, "DepthToSpace", &["float[N,10,3,4]"], &[("blocksize", 2.into())])
        .contradicts("not a multiple of 4");
}

#[test]
fn quantization() {
    op(13, "QuantizeLinear", &["float[N,3]", "float[]"], &[]).gives("y", "uint8[N,3]");
    op(13, "QuantizeLinear", &["float[N,3]", "float[]", "int8[]"], &[]).gives("y", "int8[N,3]");
    op(21, "QuantizeLinear", &["float[N,3]", "float[]"], &[("output_dtype", 5.into())])
        .gives("y", "int16[N,3]");
    op(13, "DequantizeLinear", &["int8[N,3]", "float[]", "int8[]"], &[]).gives("y", "float[N,3]");
    op(19, "DequantizeLinear", &["int8[N,3]", "float16[]", "int8[]"], &[]).gives("y", "float16[N,3]");
    let mut custom = op(13, "ExtendedQuantizeLinear", &["float[N,3]", "float[]", "int16[]"], &[]);
    custom.nodes[0].domain = "com.amd.quark".into();
    custom.gives("y", "int16[N,3]");
}

#[test]
fn recurrent_layers() {
    let lstm = |layout: i64, input: &str| {
        Net::new(14, &[("x", input), ("w", "float[2,20,3]"), ("r", "float[2,20,5]")]).node(
            "LSTM",
            &["x", "w", "r"],
            &["y", "h", "c"],
            &[("hidden_size", 5.into()), ("direction", "bidirectional".into()), ("layout", layout.into())],
        )
    };
    lstm(0, "float[T,N,3]").gives("y", "float[T,2,N,5]").gives("c", "float[2,N,5]");
    lstm(1, "float[N,T,3]").gives("y", "float[N,T,2,5]").gives("h", "float[N,2,5]");
}

/// What exporters write for `x.view(x.shape[0], -1, 2)`.
#[test]
fn shape_arithmetic_carries_names() {
    Net::new(13, &[("x", "float[batch,6,4]")])
        .scalar("zero", 0)
        .ints("first", &[0])
        .ints("rest", &[-1, 2])
        .node("Shape", &["x"], &["shape"], &[])
        .node("Gather", &["shape", "zero"], &["n"], &[])
        .node("Unsqueeze", &["n", "first"], &["list"], &[])
        .node("Concat", &["list", "rest"], &["target"], &[("axis", 0.into())])
        .node("Reshape", &["x", "target"], &["y"], &[])
        .gives("y", "float[batch,12,2]");
}

/// What exporters write for resizing to twice the size of another tensor.
#[test]
fn shape_arithmetic_computes_with_numbers() {
    Net::new(13, &[("x", "float[N,6,4,9]")])
        .ints("from", &[2])
        .ints("to", &[4])
        .ints("axis", &[0])
        .floats("two", &[2.0])
        .node("Shape", &["x"], &["shape"], &[])
        .node("Slice", &["shape", "from", "to", "axis"], &["space"], &[])
        .node("Slice", &["shape", "axis", "from", "axis"], &["lead"], &[])
        .node("Cast", &["space"], &["float"], &[("to", 1.into())])
        .node("Mul", &["float", "two"], &["twice"], &[])
        .node("Floor", &["twice"], &["whole"], &[])
        .node("Cast", &["whole"], &["sizes"], &[("to", 7.into())])
        .node("Concat", &["lead", "sizes"], &["target"], &[("axis", 0.into())])
        .node("Resize", &["x", "", "", "target"], &["y"], &[])
        .gives("y", "float[N,6,8,18]");
}

/// What exporters write for `expand(-1, 3, -1)`: entries of -1 become 1.
#[test]
fn shape_arithmetic_selects() {
    Net::new(13, &[("x", "float[N,1,4]")])
        .ints("asked", &[-1, 3, -1])
        .ints("rank", &[3])
        .ints("minus", &[-1])
        .node(
            "ConstantOfShape",
            &["rank"],
            &["ones"],
            &[("value", Attribute::Tensor(Tensor::i64(&[1], &[1])))],
        )
        .node("Mul", &["ones", "minus"], &["marks"], &[])
        .node("Equal", &["asked", "marks"], &["free"], &[])
        .node("Where", &["free", "ones", "asked"], &["target"], &[])
        .node("Expand", &["x", "target"], &["y"], &[])
        .gives("y", "float[N,3,4]");
}

#[test]
fn the_first_cause_is_reported_once() {
    let mut net = Net::new(13, &[("x", "float[N,3,8,8]")])
        .node("Relu", &["x"], &["before"], &[])
        .node("Mystery", &["before"], &["m"], &[])
        .node("Relu", &["m"], &["after"], &[])
        .node("Add", &["after", "before"], &["sum"], &[])
        .node("Shape", &["before"], &["fine"], &[]);
    net.nodes[1].domain = "custom".into();
    let mut model = net.model(vec![ValueInfo { name: "sum".into(), ty: ValueType::Other(None) }]);
    let report = infer_shapes(&mut model);
    assert_eq!(report.issues.len(), 1, "{report:?}");
    assert_eq!(report.issues[0].node, "custom.Mystery node \"m\"");
    assert_eq!((report.tensors, report.resolved), (5, 2));
    let affected: Vec<&str> = report.affected.keys().map(String::as_str).collect();
    assert_eq!(affected, ["after", "m", "sum"]);
    assert_eq!(report.cause("sum"), report.issues.first());
    assert_eq!(model.graph.tensor_type("fine").unwrap().to_string(), "int64[4]");
    assert!(model.graph.tensor_type("m").is_none());
}

#[test]
fn open_inputs_are_causes() {
    let net = Net::new(13, &[("x", "float[?,3]")]).node("Relu", &["x"], &["y"], &[]);
    let report = infer_shapes(&mut net.model(Vec::new()));
    assert_eq!(report.issues.len(), 1);
    assert_eq!(report.cause("y").unwrap().node, "input \"x\"");
}

/// A declared type stands in where inference knows nothing, and what follows goes on from it.
#[test]
fn declared_types_help() {
    let mut net = Net::new(13, &[("x", "float[N,3]")]).node("Mystery", &["x"], &["m"], &[]).node(
        "Relu",
        &["m"],
        &["y"],
        &[],
    );
    net.nodes[0].domain = "custom".into();
    let mut model = net.model(Vec::new());
    let mut patch = shiftwise_graph::Patch::new();
    patch.set_type("m", ty("int8[N,7]"));
    model.graph.apply("test", patch).unwrap();
    let report = infer_shapes(&mut model);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(model.graph.tensor_type("y").unwrap().to_string(), "int8[N,7]");
}

#[test]
fn contradicting_declarations_are_reported_and_lose() {
    for (declared, conflict) in [
        ("float[N,3]", false),
        ("float[?,3]", false),
        ("float[M,3]", false),
        ("float", false),
        ("float[N,4]", true),
        ("float[1,3]", true),
        ("float[N,3,1]", true),
        ("int8[N,3]", true),
    ] {
        let net = Net::new(13, &[("x", "float[N,3]")]).node("Relu", &["x"], &["r"], &[]).node(
            "Relu",
            &["r"],
            &["y"],
            &[],
        );
        let mut model = net.model(vec![value("y", declared)]);
        let mut patch = shiftwise_graph::Patch::new();
        patch.set_type("r", ty(declared));
        model.graph.apply("test", patch).unwrap();
        let report = infer_shapes(&mut model);
        assert_eq!(report.issues.len(), if conflict { 2 } else { 0 }, "{declared}: {report:?}");
        assert_eq!(model.graph.tensor_type("r"), Some(ty("float[N,3]")), "{declared}");
        assert_eq!(model.graph.outputs()[0], value("y", "float[N,3]"), "{declared}");
        assert_eq!(infer_shapes(&mut model).issues, [], "a second run finds nothing left");
    }
}

#[test]
fn branches_agree_or_not() {
    let mut model = common::small();
    assert!(infer_shapes(&mut model).is_clean());
    assert_eq!(model.graph.tensor_type("chosen").unwrap().to_string(), "float[1,4,6,6]");
    let body = |op: &str, made: &str| {
        let node = Node::new(op, made, &["x"], &[made]);
        let outputs = vec![ValueInfo { name: made.into(), ty: ValueType::Other(None) }];
        Attribute::Graph(Box::new(Graph::new(made, Vec::new(), outputs, IndexMap::new(), vec![node])))
    };
    let branches = [("then_branch", body("GlobalMaxPool", "p")), ("else_branch", body("Relu", "q"))];
    Net::new(13, &[("x", "float[N,3,4]"), ("c", "bool[]")])
        .node("If", &["c"], &["y"], &branches)
        .gives("y", "float[N,3,?]");
    let mut net = Net::new(13, &[("x", "float[N,3,4]")]).node("If", &["c"], &["y"], &branches);
    net.constants.insert("c".into(), Tensor::u8(&[], &[0]));
    net.gives("y", "float[N,3,4]");
}

/// The reference models whose shapes are all known, with the name of the batch at their outputs.
#[test]
fn reference_models_resolve() {
    for (name, tensors, output) in [
        ("mobilenet_v2.onnx", 152, "float[N,1000]"),
        ("squeezenet1_1.onnx", 65, "float[N,1000]"),
        ("resnet20_cifar10.onnx", 73, "float[N,10]"),
        ("ppocr_cls.onnx", 385, "float[N,2]"),
        ("yolox_nano.onnx", 369, "float[1,3549,85]"),
        ("stories260k.onnx", 268, "float[N,256,512]"),
        ("ultraface.onnx", 126, "float[1,4420,2]"),
        ("superres.onnx", 12, "float[batch_size,1,672,672]"),
    ] {
        let Some(path) = common::reference_model(name) else { continue };
        let mut model = Model::load(&path).unwrap();
        let report = infer_shapes(&mut model);
        assert!(report.is_clean(), "{name}: {report:?}");
        assert_eq!(report.tensors, tensors, "{name}");
        assert_eq!(model.graph.outputs()[0].ty.tensor().unwrap().to_string(), output, "{name}");
    }
}
