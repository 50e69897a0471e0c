//! The consistency check names what is wrong, where, and after which pass.

#![allow(missing_docs)]

mod common;

use indexmap::IndexMap;
use prost::Message;
use shiftwise_graph::proto::{ModelProto, ValueInfoProto};
use shiftwise_graph::{
    Attribute, Builder, Graph, GraphError, Model, Node, NodeId, Outcome, Patch, Rule, Shared, Tensor,
    ValueInfo, run_rule,
};

fn graph(nodes: Vec<Node>) -> Graph {
    let mut graph = Graph::new(
        "g",
        vec![ValueInfo::f32("x", &[1])],
        vec![ValueInfo::f32("y", &[1])],
        IndexMap::from([("c".to_string(), Tensor::f32(&[1], &[1.0]))]),
        nodes,
    );
    graph.sort();
    graph
}

#[track_caller]
fn found(graph: &Graph, subject: &str, reason: &str) {
    let error = graph.check("some pass").unwrap_err();
    assert!(matches!(error, GraphError::Inconsistent { .. }));
    let text = error.to_string();
    assert!(text.contains("some pass") && text.contains(subject) && text.contains(reason), "{text}");
}

#[test]
fn two_producers() {
    let nodes = vec![Node::new("Relu", "one", &["x"], &["y"]), Node::new("Relu", "two", &["x"], &["y"])];
    found(&graph(nodes), "Relu node \"one\"", "makes \"y\", and so does Relu node \"two\"");
    found(&graph(vec![Node::new("Relu", "one", &["x"], &["c"])]), "Relu node \"one\"", "makes \"c\"");
}

#[test]
fn missing_tensors() {
    found(
        &graph(vec![Node::new("Relu", "n", &["z"], &["y"])]),
        "Relu node \"n\"",
        "\"z\", which nothing makes",
    );
    found(&graph(vec![Node::new("Relu", "n", &["x"], &["z"])]), "output \"y\"", "nothing makes it");
}

#[test]
fn cycles() {
    let nodes = vec![
        Node::new("Add", "a", &["x", "q"], &["p"]),
        Node::new("Relu", "b", &["p"], &["q"]),
        Node::new("Relu", "c", &["q"], &["y"]),
    ];
    found(&graph(nodes), "Add node \"a\"", "cycle");
    found(&graph(vec![Node::new("Add", "self", &["x", "y"], &["y"])]), "Add node \"self\"", "cycle");
}

#[test]
fn nodes_without_names_are_called_by_what_they_make() {
    found(&graph(vec![Node::new("Relu", "", &["z"], &["y"])]), "Relu node that makes \"y\"", "nothing makes");
}

/// Before format version 4, initializers had to be inputs too.
#[test]
fn initializers_among_the_inputs_are_constants() {
    let mut message = ModelProto::decode(common::encode(&common::small())).unwrap();
    message.ir_version = Some(3);
    let inputs = &mut message.graph.as_mut().unwrap().input;
    let ty = inputs[0].r#type.clone();
    for name in ["w", "b"] {
        inputs.push(ValueInfoProto { name: name.into(), r#type: ty.clone(), ..Default::default() });
    }
    let model = Model::from_bytes(message.encode_to_vec().into()).unwrap();
    assert_eq!(model.graph.inputs().iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["x"]);
    assert!(model.graph.constant("w").is_some());
    model.graph.check("test").unwrap();
}

#[test]
fn what_subgraphs_capture_counts_as_used() {
    let model = common::small();
    let uses = model.graph.uses("scaled");
    assert_eq!(uses.len(), 2, "one for each branch");
    assert!(uses.iter().all(|u| u.input.is_none()));
    assert_eq!(model.graph.consumers("scaled").count(), 1);
    assert_eq!(model.graph.sole_consumer("scaled").unwrap_err(), Shared::Captured("scaled".into()));
    assert_eq!(model.graph.sole_consumer("out").unwrap_err(), Shared::GraphOutput("out".into()));
    assert_eq!(model.graph.sole_consumer("y").unwrap().1.op_type, "Relu");
    assert_eq!(model.graph.sole_consumer("nothing").unwrap_err(), Shared::Unused("nothing".into()));
}

#[test]
fn several_uses_are_shared() {
    let model = Builder::new()
        .input("x", &[1])
        .node("Relu", &["x"], &["r"])
        .node("Add", &["r", "r"], &["y"])
        .build(&[("y", &[1])], 13);
    assert_eq!(model.graph.sole_consumer("r").unwrap_err(), Shared::SeveralUses("r".into(), 2));
}

#[test]
fn removing_what_a_subgraph_captures_is_found() {
    let mut model = common::small();
    let (id, _) = model.graph.producer("scaled").unwrap();
    let mut patch = Patch::new();
    patch.remove(id);
    model.graph.apply("some pass", patch).unwrap();
    model.graph.sort();
    found(&model.graph, "If node \"chosen\"", "\"scaled\", which nothing makes");
}

#[test]
fn captures_reach_through_nested_subgraphs() {
    let body = |nodes, made: &str| {
        let outputs = vec![ValueInfo::f32(made, &[1])];
        Attribute::Graph(Box::new(Graph::new("body", Vec::new(), outputs, IndexMap::new(), nodes)))
    };
    let inner = || body(vec![Node::new("Relu", "deep", &["r"], &["inner"])], "inner");
    let outer = |made: &str| {
        let node = Node::new("If", "nested", &["c"], &[made]);
        body(vec![node.with("then_branch", inner()).with("else_branch", inner())], made)
    };
    let graph = graph(vec![
        Node::new("If", "top", &["c"], &["y"])
            .with("then_branch", outer("a"))
            .with("else_branch", outer("b")),
        Node::new("Relu", "relu", &["x"], &["r"]),
    ]);
    graph.check("test").unwrap();
    // Sorting put the captured tensor's producer first.
    assert_eq!(graph.nodes().next().unwrap().1.name, "relu");
    assert_eq!(graph.uses("r").len(), 2);
    assert_eq!(graph.sole_consumer("r").unwrap_err(), Shared::Captured("r".into()));
}

/// Removes every Relu without caring who reads it.
struct Careless;

impl Rule for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }

    fn visit(&mut self, _: &Model, id: NodeId, node: &Node) -> Outcome {
        if !node.is("Relu") {
            return Outcome::NoMatch;
        }
        let mut patch = Patch::new();
        patch.remove(id);
        Outcome::rewrite(patch, "removed")
    }
}

#[test]
fn a_rule_that_breaks_the_graph_is_named() {
    let error = run_rule(&mut common::small(), &mut Careless).unwrap_err().to_string();
    assert!(error.contains("careless") && error.contains("Mul node \"scaled\""), "{error}");
}

/// Does what it should not.
struct Liar {
    requires: Result<(), String>,
    renames_output: bool,
    ensures: Result<(), String>,
}

impl Rule for Liar {
    fn name(&self) -> &'static str {
        "liar"
    }

    fn requires(&self, _: &Model) -> Result<(), String> {
        self.requires.clone()
    }

    fn visit(&mut self, model: &Model, _: NodeId, _: &Node) -> Outcome {
        if !self.renames_output {
            return Outcome::Refused("no wish".into());
        }
        let mut patch = Patch::new();
        patch.set_boundary(model.graph.inputs().to_vec(), Vec::new());
        Outcome::rewrite(patch, "nothing comes out")
    }

    fn ensures(&self, _: &Model, _: &Node) -> Result<(), String> {
        self.ensures.clone()
    }
}

#[test]
fn rules_are_held_to_their_contract() {
    let model = || Builder::new().input("x", &[1]).node("Relu", &["x"], &["y"]).build(&[("y", &[1])], 13);
    let mut rule =
        Liar { requires: Err("not today".into()), renames_output: true, ensures: Err("never".into()) };
    let report = run_rule(&mut model(), &mut rule).unwrap();
    assert_eq!((report.applied.len(), report.refused[0].node.as_str()), (0, "graph"));
    assert_eq!(report.refused[0].what, "not today");

    rule.requires = Ok(());
    let text = run_rule(&mut model(), &mut rule).unwrap_err().to_string();
    assert!(text.contains("liar") && text.contains("changed its inputs or outputs"), "{text}");

    // What it declined, it need not ensure.
    rule.renames_output = false;
    assert_eq!(run_rule(&mut model(), &mut rule).unwrap().refused.len(), 1);
}
