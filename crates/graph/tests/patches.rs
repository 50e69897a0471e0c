//! Random edits keep the indices as a rebuilt graph has them; refused patches change nothing.

#![allow(missing_docs)]

mod common;

use std::collections::BTreeMap;

use proptest::prelude::*;
use shiftwise_graph::{Builder, Graph, Model, Node, NodeId, Patch, Tensor, ValueInfo};

/// Who makes a tensor, and where it is read.
type Entry = (Option<String>, Vec<(String, Option<usize>)>);

/// Who makes each tensor, and where it is read, with nodes called by their names.
fn indices(graph: &Graph) -> BTreeMap<String, Entry> {
    let mut names: Vec<String> = Vec::new();
    for (_, node) in graph.nodes() {
        names.extend(node.inputs.iter().chain(&node.outputs).cloned());
        names.extend(node.subgraphs().flat_map(|(_, g)| g.captures()));
    }
    let called = |id: NodeId| graph.node(id).unwrap().name.clone();
    names
        .into_iter()
        .map(|name| {
            let producer = graph.producer(&name).map(|(_, n)| n.name.clone());
            let uses = graph.uses(&name).iter().map(|u| (called(u.node), u.input)).collect();
            (name, (producer, uses))
        })
        .collect()
}

fn rebuilt(graph: &Graph) -> Graph {
    let initializers = graph.initializers().map(|(k, v)| (k.to_string(), v.clone())).collect();
    let nodes = graph.nodes().map(|(_, n)| n.clone()).collect();
    Graph::new(&graph.name, graph.inputs().to_vec(), graph.outputs().to_vec(), initializers, nodes)
}

#[track_caller]
fn consistent(graph: &mut Graph) {
    graph.sort();
    graph.check("test").unwrap();
    assert_eq!(indices(graph), indices(&rebuilt(graph)));
    let order: Vec<String> = graph.nodes().map(|(_, n)| n.name.clone()).collect();
    graph.sort();
    assert_eq!(order, graph.nodes().map(|(_, n)| n.name.clone()).collect::<Vec<_>>(), "sorting is stable");
    for (_, node) in graph.nodes() {
        for input in &node.inputs {
            if let Some((_, producer)) = graph.producer(input) {
                let place = |name: &str| order.iter().position(|n| n == name);
                assert!(place(&producer.name) < place(&node.name), "producers come first");
            }
        }
    }
}

/// A random graph: each node reads tensors that exist before it.
fn graph(reads: &[(prop::sample::Index, prop::sample::Index)]) -> Model {
    let mut builder = Builder::new().input("x", &[4]).constant("c", Tensor::f32(&[4], &[1.0; 4]));
    let mut tensors = vec!["x".to_string(), "c".to_string()];
    for (i, (a, b)) in reads.iter().enumerate() {
        let made = format!("t{i}");
        let (a, b) = (&tensors[a.index(tensors.len())], &tensors[b.index(tensors.len())]);
        builder = builder.node("Add", &[a, b], &[&made]);
        tensors.push(made);
    }
    let last = tensors.last().unwrap().clone();
    builder.build(&[(&last, &[4])], 13)
}

#[derive(Clone, Debug)]
enum Edit {
    /// A new node between a node and one of its inputs.
    Insert(prop::sample::Index),
    /// A node out, its readers moved to what it read.
    Bypass(prop::sample::Index),
    /// A node in place of another, with another order of inputs.
    Replace(prop::sample::Index),
    /// Everybody who reads a node's output reads a copy.
    Copy(prop::sample::Index),
    /// Another name for an output.
    Rename(prop::sample::Index),
    Sort,
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Edit::Insert),
        at().prop_map(Edit::Bypass),
        at().prop_map(Edit::Replace),
        at().prop_map(Edit::Copy),
        at().prop_map(Edit::Rename),
        Just(Edit::Sort),
    ]
}

fn apply(graph: &mut Graph, edit: &Edit, number: usize) {
    let pick = |at: &prop::sample::Index| {
        let nodes: Vec<(NodeId, Node)> = graph.nodes().map(|(id, n)| (id, n.clone())).collect();
        nodes[at.index(nodes.len())].clone()
    };
    let fresh = format!("new{number}");
    let mut patch = Patch::new();
    match edit {
        Edit::Sort => return graph.sort(),
        Edit::Insert(at) => {
            let (id, node) = pick(at);
            patch.insert_before(id, Node::new("Relu", &fresh, &[&node.inputs[0]], &[&fresh]));
            patch.set_input(id, 0, &fresh);
        }
        Edit::Bypass(at) => {
            let (id, node) = pick(at);
            if graph.is_output(&node.outputs[0]) {
                return;
            }
            patch.redirect(&node.outputs[0], &node.inputs[0]).remove(id);
        }
        Edit::Replace(at) => {
            let (id, mut node) = pick(at);
            node.inputs.reverse();
            node.name.clone_from(&fresh);
            patch.replace(id, node);
        }
        Edit::Copy(at) => {
            let (_, node) = pick(at);
            patch.redirect(&node.outputs[0], &fresh);
            patch.insert(Node::new("Identity", &fresh, &[&node.outputs[0]], &[&fresh]));
        }
        Edit::Rename(at) => {
            let (id, node) = pick(at);
            if graph.is_output(&node.outputs[0]) {
                return;
            }
            patch.set_output(id, 0, &fresh).redirect(&node.outputs[0], &fresh);
        }
    }
    graph.apply("test", patch).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_edits_keep_indices(
        reads in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..12),
        edits in prop::collection::vec(edit(), 0..20),
    ) {
        let mut model = graph(&reads);
        for (number, edit) in edits.iter().enumerate() {
            apply(&mut model.graph, edit, number);
        }
        consistent(&mut model.graph);
        let again = Model::from_bytes(common::encode(&model)).unwrap();
        prop_assert_eq!(again.graph, model.graph);
    }

    #[test]
    fn sorting_a_shuffled_graph_finds_an_order(
        reads in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..12),
        keys in prop::collection::vec(any::<u32>(), 12),
    ) {
        let model = graph(&reads);
        let mut nodes: Vec<Node> = model.graph.nodes().map(|(_, n)| n.clone()).collect();
        let mut keyed: Vec<_> = nodes.drain(..).zip(keys).collect();
        keyed.sort_by_key(|(_, key)| *key);
        let initializers = model.graph.initializers().map(|(k, v)| (k.to_string(), v.clone())).collect();
        let mut graph = Graph::new(
            "shuffled",
            model.graph.inputs().to_vec(),
            model.graph.outputs().to_vec(),
            initializers,
            keyed.into_iter().map(|(n, _)| n).collect(),
        );
        consistent(&mut graph);
    }
}

#[test]
fn inserted_nodes_stand_before_their_anchor() {
    let mut model = common::small();
    let (id, _) = model.graph.producer("scaled").unwrap();
    let mut patch = Patch::new();
    patch.insert_before(id, Node::new("Identity", "first", &["x"], &["i"]));
    patch.insert_before(id, Node::new("Identity", "second", &["i"], &["j"]));
    model.graph.apply("test", patch).unwrap();
    model.graph.sort();
    let order: Vec<&str> = model.graph.nodes().map(|(_, n)| n.name.as_str()).collect();
    assert_eq!(order[..5], ["y", "r", "first", "second", "scaled"]);
}

#[test]
fn redirecting_reaches_into_subgraphs() {
    let mut model = common::small();
    let mut patch = Patch::new();
    patch.redirect("scaled", "r");
    model.graph.apply("test", patch).unwrap();
    assert!(model.graph.uses("scaled").is_empty());
    assert_eq!(model.graph.uses("r").iter().filter(|u| u.input.is_none()).count(), 2);
    consistent(&mut model.graph);
    // A name that means something else inside would silently be another tensor.
    let mut patch = Patch::new();
    patch.redirect("r", "then_out");
    let error = model.graph.apply("test", patch).unwrap_err().to_string();
    assert!(error.contains("captures \"r\" in a subgraph"), "{error}");
}

/// Every reason for refusal, on the small model; none may leave a trace.
#[test]
fn refused_patches_change_nothing() {
    let mut model = common::small();
    let id = |tensor: &str| model.graph.producer(tensor).unwrap().0;
    let (conv, relu, mul) = (id("y"), id("r"), id("scaled"));
    let mut removed = model.graph.clone();
    let mut patch = Patch::new();
    patch.insert(Node::new("Identity", "", &["x"], &["i"]));
    removed.apply("test", patch).unwrap();
    let absent = removed.producer("i").unwrap().0;
    let make = |name: &str| Node::new("Identity", "maker", &["x"], &[name]);
    let one = || Tensor::f32(&[], &[1.0]);
    // Something valid comes first, which must not stay.
    let nothing_known = shiftwise_graph::TensorType { dtype: shiftwise_graph::DataType::Float, shape: None };
    macro_rules! patch {
        ($($call:tt)*) => {{
            let mut patch = Patch::new();
            patch.set_attribute(conv, "group", 1).set_type("y", nothing_known.clone()).$($call)*;
            patch
        }};
    }
    let patches = [
        ("is not in the graph", patch!(remove(absent))),
        ("is not in the graph", patch!(insert_before(absent, make("i")))),
        ("is not in the graph", patch!(set_attribute(absent, "axis", 1))),
        ("is not in the graph", patch!(set_input(absent, 0, "x"))),
        ("has no output 1", patch!(set_output(conv, 1, "z"))),
        ("makes \"y\"", patch!(insert(make("y")))),
        ("makes \"x\"", patch!(insert(make("x")))),
        ("makes \"w\"", patch!(insert(make("w")))),
        ("makes \"i\"", patch!(insert(make("i")).insert(make("i")))),
        ("makes \"y\"", patch!(set_output(relu, 0, "y"))),
        ("makes \"z\"", patch!(set_output(relu, 0, "z").set_output(mul, 0, "z"))),
        ("makes \"y\"", patch!(replace(conv, make("y")).insert(make("y")))),
        ("makes \"n\"", patch!(set_initializer("n", one()).insert(make("n")))),
        ("initializer \"y\"", patch!(set_initializer("y", one()))),
        ("initializer \"x\"", patch!(set_initializer("x", one()))),
        ("input \"w\"", patch!(set_boundary(vec![ValueInfo::f32("w", &[1])], Vec::new()))),
    ];
    let before = (model.clone(), indices(&model.graph));
    for (reason, patch) in patches {
        let error = model.graph.apply("tester", patch).unwrap_err().to_string();
        assert!(error.contains("tester") && error.contains(reason), "{reason}: {error}");
        assert_eq!(model, before.0);
        assert_eq!(indices(&model.graph), before.1);
    }
}

#[test]
fn outputs_may_trade_names() {
    let mut model = common::small();
    let id = |tensor: &str| model.graph.producer(tensor).unwrap().0;
    let (conv, relu) = (id("y"), id("r"));
    let mut patch = Patch::new();
    patch.set_output(conv, 0, "r").set_output(relu, 0, "y").set_input(relu, 0, "r");
    let (mul, _) = model.graph.producer("scaled").unwrap();
    patch.set_input(mul, 0, "y");
    model.graph.apply("test", patch).unwrap();
    consistent(&mut model.graph);
    assert_eq!(model.graph.producer("r").unwrap().0, conv);
}

#[test]
fn an_initializer_may_take_the_place_of_a_node() {
    let mut model = common::small();
    let (id, _) = model.graph.producer("condition").unwrap();
    let mut patch = Patch::new();
    patch.remove(id).set_initializer("condition", Tensor::u8(&[], &[1])).remove_initializer("yes");
    model.graph.apply("test", patch).unwrap();
    consistent(&mut model.graph);
    assert!(model.graph.constant("condition").is_some() && model.graph.initializer("yes").is_none());
}
