//! Constants, identities and dead code: structure, names and results.

mod common;

use common::{nodes, noise, prepared, refusals, try_prepare};
use proptest::prelude::*;
use shiftwise_engine::embedded;
use shiftwise_graph::{Attribute, Builder, DataType, Graph, Model, Node, Tensor, ValueInfo};
use shiftwise_preprocess::{PreprocessConfig, prepare};

const IDENTITY: &str = "remove_identity";
const FOLDING: &str = "constant_folding";

fn attribute(tensor: Tensor) -> (&'static str, Attribute) {
    ("value", tensor.into())
}

#[test]
fn constants_become_initializers_under_their_names() {
    let model = Builder::new()
        .input("x", &[1, 3])
        .node_with("Constant", &[], &["a"], &[attribute(Tensor::f32(&[3], &[1.0, 2.0, 3.0]))])
        .node_with("Constant", &[], &["b"], &[("value_float", 0.25f32.into())])
        .node_with("Constant", &[], &["c"], &[("value_floats", vec![1.0f32, -1.0, 0.5].into())])
        .node("Add", &["x", "a"], &["p"])
        .node("Mul", &["p", "b"], &["q"])
        .node("Add", &["q", "c"], &["y"])
        .build(&[("y", &[1, 3])], 13);
    let after = prepared(&model);
    let names: Vec<&str> = after.model.graph.initializers().map(|(n, _)| n).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(after.model.graph.initializer("b").unwrap().scalar_f32(), Some(0.25));
    assert_eq!(after.model.graph.node_count(), 3);
    assert!(after.rewrites.summary().contains("removed 3 Constant nodes; 6 → 3 nodes"));
}

#[test]
fn shape_arithmetic_folds_away() {
    let model = Builder::new()
        .input("x", &[2, 3, 4])
        .constant("zero", Tensor::i64(&[1], &[0]))
        .constant("one", Tensor::i64(&[1], &[1]))
        .constant("rest", Tensor::i64(&[1], &[-1]))
        .node("Shape", &["x"], &["shape"])
        .node("Slice", &["shape", "zero", "one"], &["batch"])
        .node_with("Concat", &["batch", "rest"], &["target"], &[("axis", 0.into())])
        .node("Reshape", &["x", "target"], &["y"])
        .build(&[("y", &[2, 12])], 13);
    let after = prepared(&model);
    assert_eq!(after.model.graph.node_count(), 1);
    assert_eq!(after.model.graph.initializer("target").unwrap().to_i64().unwrap(), [2, -1]);
    assert!(after.rewrites.shapes.is_clean());
}

#[test]
fn results_that_blow_up_are_not_stored() {
    let model = Builder::new()
        .input("x", &[1])
        .constant("dims", Tensor::i64(&[2], &[4096, 4096]))
        .node("ConstantOfShape", &["dims"], &["zeros"])
        .node_with("ReduceMax", &["zeros"], &["most"], &[("keepdims", 0.into())])
        .node("Add", &["x", "most"], &["y"])
        .build(&[("y", &[1])], 13);
    let after = try_prepare(&model).unwrap();
    assert_eq!(nodes(&after.model, "ConstantOfShape"), 1);
    let refused = refusals(&after, FOLDING);
    assert_eq!(refused, ["its result would take 67108864 bytes, more than the 16 that it is computed from"]);
}

/// x → Relu → `node` → Relu → y, and the same with `node` making the output itself.
fn around(node: &Node, constants: &[(&str, Tensor)], dims: &[usize]) -> [Model; 2] {
    [true, false].map(|relu| {
        let mut node = node.clone();
        node.inputs[0] = "before".into();
        node.outputs[0] = if relu { "after" } else { "y" }.into();
        let mut nodes = vec![Node::new("Relu", "first", &["x"], &["before"]), node];
        if relu {
            nodes.push(Node::new("Neg", "last", &["after"], &["y"]));
        }
        let initializers = constants.iter().map(|(n, t)| ((*n).to_owned(), t.clone())).collect();
        let io = |name: &str| vec![ValueInfo::f32(name, dims)];
        Model::new(Graph::new("g", io("x"), io("y"), initializers, nodes), 13)
    })
}

fn assert_removed(node: &Node, constants: &[(&str, Tensor)], dims: &[usize], removed: bool) {
    for model in around(node, constants, dims) {
        let after = prepared(&model);
        assert_eq!(nodes(&after.model, &node.op_type), usize::from(!removed), "{node:?}");
        let others = model.graph.node_count() - 1;
        assert_eq!(after.model.graph.node_count(), others + usize::from(!removed));
    }
}

#[test]
fn nodes_that_do_nothing_go() {
    let dims = &[2, 3, 4];
    let node = |op: &str, more: &[&str]| Node::new(op, "n", &[&[""], more].concat(), &["?"]);
    let i = |v: &[i64]| Tensor::i64(&[v.len()], v);
    let gone = |n: &Node, c: &[(&str, Tensor)]| assert_removed(n, c, dims, true);
    gone(&node("Identity", &[]), &[]);
    gone(&node("Dropout", &[]), &[]);
    gone(&node("Cast", &[]).with("to", 1), &[]);
    gone(&node("Concat", &[]).with("axis", 1), &[]);
    gone(&node("Transpose", &[]).with("perm", vec![0i64, 1, 2]), &[]);
    gone(&node("Reshape", &["s"]), &[("s", i(&[0, -1, 4]))]);
    gone(&node("Pad", &["p"]), &[("p", i(&[0; 6]))]);
    gone(&node("Slice", &["a", "b"]), &[("a", i(&[0, -9])), ("b", i(&[2, i64::MAX]))]);

    let kept = |n: &Node, c: &[(&str, Tensor)]| {
        let model = &around(n, c, dims)[0];
        let after = try_prepare(model).unwrap();
        assert_eq!(nodes(&after.model, &n.op_type), 1, "{n:?}");
    };
    kept(&node("Transpose", &[]).with("perm", vec![0i64, 2, 1]), &[]);
    kept(&node("Transpose", &[]), &[]);
    kept(&node("Reshape", &["s"]), &[("s", i(&[0, 4, -1]))]);
    kept(&node("Pad", &["p"]), &[("p", i(&[0, 0, 0, 0, 0, 1]))]);
    kept(&node("Slice", &["a", "b"]), &[("a", i(&[0])), ("b", i(&[1]))]);
    kept(
        &node("Slice", &["a", "b", "c", "d"]),
        &[("a", i(&[0])), ("b", i(&[9])), ("c", i(&[0])), ("d", i(&[2]))],
    );
    kept(&node("Cast", &[]).with("to", i64::from(DataType::Double as i32)), &[]);
}

#[test]
fn dropout_that_trains_or_shows_its_mask_stays() {
    let training = Builder::new()
        .input("x", &[4])
        .constant("ratio", Tensor::f32(&[], &[0.5]))
        .constant("on", Tensor::from_raw(DataType::Bool, vec![], vec![1].into()).unwrap())
        .node("Dropout", &["x", "ratio", "on"], &["d"])
        .node("Relu", &["d"], &["y"])
        .build(&[("y", &[4])], 13);
    // Engines may refuse to train: then the model is refused before any pass.
    if let Ok(after) = try_prepare(&training) {
        assert_eq!(refusals(&after, IDENTITY), ["its training_mode is true"]);
    }
    let masked = Builder::new()
        .input("x", &[4])
        .node("Dropout", &["x"], &["d", "mask"])
        .node_with("Cast", &["mask"], &["m"], &[("to", 1.into())])
        .node("Mul", &["d", "m"], &["y"])
        .build(&[("y", &[4])], 13);
    if let Ok(after) = try_prepare(&masked) {
        assert_eq!(refusals(&after, IDENTITY), ["its mask \"mask\" is used"]);
    }
}

#[test]
fn an_identity_between_two_outer_names_stays() {
    let model = Builder::new().input("x", &[4]).node("Identity", &["x"], &["y"]).build(&[("y", &[4])], 13);
    let after = prepared(&model);
    assert_eq!(nodes(&after.model, "Identity"), 1);
    assert!(refusals(&after, IDENTITY)[0].contains("both names are needed"));

    let two = Builder::new()
        .input("x", &[4])
        .node("Relu", &["x"], &["a"])
        .node("Identity", &["a"], &["b"])
        .build(&[("a", &[4]), ("b", &[4])], 13);
    assert_eq!(nodes(&prepared(&two).model, "Identity"), 1);
}

#[test]
fn names_that_subgraphs_capture_stay() {
    let body = |op: &str| {
        let out = vec![ValueInfo::f32("r", &[4])];
        Graph::new(op, vec![], out, indexmap::IndexMap::new(), vec![Node::new(op, "in", &["seen"], &["r"])])
    };
    let choose = Node::new("If", "if", &["flag"], &["y"])
        .with("then_branch", graph(body("Relu")))
        .with("else_branch", graph(body("Neg")));
    let flag = ValueInfo {
        name: "flag".into(),
        ty: shiftwise_graph::ValueType::Tensor(shiftwise_graph::TensorType::fixed(DataType::Bool, &[])),
    };
    let chain = vec![
        Node::new("Abs", "abs", &["x"], &["a"]),
        Node::new("Identity", "id", &["a"], &["seen"]),
        Node::new("Abs", "dead", &["a"], &["nobody"]),
        choose,
    ];
    let inputs = vec![ValueInfo::f32("x", &[4]), flag];
    let model = Model::new(
        Graph::new("g", inputs, vec![ValueInfo::f32("y", &[4])], indexmap::IndexMap::new(), chain),
        13,
    );
    let after = try_prepare(&model).unwrap();
    assert!(after.rewrites.warnings.is_empty(), "{:?}", after.rewrites.warnings);
    let kept: Vec<(&str, &str)> =
        after.model.graph.nodes().map(|(_, n)| (n.op_type.as_str(), n.outputs[0].as_str())).collect();
    assert_eq!(kept, [("Abs", "seen"), ("If", "y")]);
}

fn graph(graph: Graph) -> Attribute {
    Attribute::Graph(Box::new(graph))
}

#[test]
fn options_switch_passes_off() {
    let model = Builder::new()
        .input("x", &[4])
        .constant("c", Tensor::f32(&[4], &noise(1, 4)))
        .node("Neg", &["c"], &["n"])
        .node("Identity", &["x"], &["i"])
        .node("Add", &["i", "n"], &["y"])
        .build(&[("y", &[4])], 13);
    let with = |config: PreprocessConfig| prepare(model.clone(), &config, &embedded()).unwrap().model;
    let count = |m: &Model| (nodes(m, "Neg"), nodes(m, "Identity"));
    let all = PreprocessConfig::default();
    assert_eq!(count(&with(all.clone())), (0, 0));
    assert_eq!(count(&with(PreprocessConfig { constant_folding: false, ..all.clone() })), (1, 0));
    assert_eq!(count(&with(PreprocessConfig { remove_identity: false, ..all.clone() })), (0, 1));
    assert_eq!(count(&with(PreprocessConfig { optimize_model: false, ..all })), (1, 1));
}

#[test]
fn preparing_twice_changes_nothing_more() {
    let model = Builder::new()
        .input("x", &[2, 3, 4])
        .constant("s", Tensor::i64(&[3], &[0, 0, -1]))
        .node("Reshape", &["x", "s"], &["r"])
        .node("Relu", &["r"], &["y"])
        .build(&[("y", &[2, 3, 4])], 13);
    let once = prepared(&model);
    let twice = prepared(&once.model);
    assert_eq!(once.model, twice.model);
    assert!(twice.rewrites.summary().starts_with("changed nothing"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A chain of reshapes, transposes, pads and slices, some of which do nothing, on an input and on a constant.
    #[test]
    fn chains_keep_their_results(steps in prop::collection::vec((0usize..6, 0usize..6), 1..7), seed in 0u64..100) {
        let mut dims = vec![2usize, 3, 4];
        let constant = Tensor::f32(&dims, &noise(seed, 24));
        let mut b = Builder::new().input("x", &dims).constant("k", constant);
        let (mut a, mut c) = ("x".to_owned(), "k".to_owned());
        for (i, (op, how)) in steps.iter().enumerate() {
            let param = format!("p{i}");
            let (na, nc) = (format!("a{i}"), format!("c{i}"));
            let list = |v: &[i64]| Tensor::i64(&[v.len()], v);
            let perm = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][*how];
            let mut attributes: Vec<(&str, Attribute)> = Vec::new();
            let mut more: Vec<String> = Vec::new();
            let op = match op {
                0 => {
                    attributes.push(("perm", perm.to_vec().into()));
                    dims = perm.iter().map(|p| dims[*p as usize]).collect();
                    "Transpose"
                }
                1 => {
                    if how % 2 == 0 { dims.swap(1, 2); }
                    b = b.constant(&param, list(&[dims[0] as i64, -1, dims[2] as i64]));
                    more.push(param);
                    "Reshape"
                }
                2 => {
                    let pad = (how % 2) as i64;
                    b = b.constant(&param, list(&[0, 0, 0, 0, 0, pad]));
                    more.push(param);
                    dims[2] += pad as usize;
                    "Pad"
                }
                3 => {
                    let end = (dims[1] - usize::from(how % 2 == 1 && dims[1] > 1)) as i64;
                    let (start, axis) = (format!("s{i}"), format!("x{i}"));
                    b = b.constant(&param, list(&[end])).constant(&start, list(&[0])).constant(&axis, list(&[-2]));
                    more.extend([start, param, axis]);
                    dims[1] = end as usize;
                    "Slice"
                }
                4 => "Identity",
                _ => "Neg",
            };
            for (from, to) in [(&a, &na), (&c, &nc)] {
                let inputs: Vec<&str> = std::iter::once(from).chain(&more).map(String::as_str).collect();
                b = b.node_with(op, &inputs, &[to], &attributes);
            }
            (a, c) = (na, nc);
        }
        let model = b.node("Add", &[&a, &c], &["y"]).build(&[("y", &dims)], 13);
        let after = prepared(&model);
        prop_assert!(after.rewrites.shapes.is_clean());
        let of_constants = after.model.graph.nodes().filter(|(_, n)| n.inputs.iter().all(|i| after.model.graph.initializer(i).is_some()));
        prop_assert_eq!(of_constants.count(), 0);
        prop_assert_eq!(nodes(&after.model, "Identity"), 0);
    }
}
