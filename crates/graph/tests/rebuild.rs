//! Graphs that are rebuilt node by node, with bodies inside of bodies.

#![allow(missing_docs)]

use indexmap::IndexMap;
use shiftwise_graph::{
    Attribute, Builder, DataType, Graph, Model, Node, Rebuild, Rebuilt, Scope, Tensor, ValueInfo, ValueType,
};

fn body(output: &str, nodes: Vec<Node>) -> Attribute {
    Attribute::Graph(Box::new(Graph::new(
        output,
        vec![],
        vec![ValueInfo::f32(output, &[2])],
        IndexMap::new(),
        nodes,
    )))
}

/// `If` in `If`; the inner bodies read a constant of the main graph.
fn model() -> Model {
    let inner = Node::new("If", "inner", &["c"], &["i"])
        .with("then_branch", body("t", vec![Node::new("Mul", "deep", &["x", "k"], &["t"])]))
        .with("else_branch", body("e", vec![Node::new("Neg", "neg", &["x"], &["e"])]));
    let outer = [
        ("then_branch", body("o", vec![inner, Node::new("Relu", "relu", &["i"], &["o"])])),
        ("else_branch", body("p", vec![Node::new("Relu", "other", &["x"], &["p"])])),
    ];
    let condition = Tensor::from_raw(DataType::Bool, vec![], vec![1].into()).unwrap();
    Builder::new()
        .input("x", &[2])
        .constant("c", condition)
        .constant("k", Tensor::f32(&[2], &[2.0, 3.0]))
        .node_with("If", &["c"], &["y"], &outer)
        .build(&[("y", &[2])], 13)
}

/// Puts what is inside of bodies behind an addition of what their constants are.
#[derive(Default)]
struct Change {
    seen: Vec<String>,
    refuse: Option<&'static str>,
}

impl Rebuild for Change {
    fn node(&mut self, scope: &Scope<'_>, node: Node, new: &mut Rebuilt) -> Result<(), String> {
        self.seen.push(node.name.clone());
        if self.refuse == Some(node.name.as_str()) {
            return Err("not this one".into());
        }
        if node.is("Mul") {
            let constant = scope.constant("k").ok_or("k is out of sight")?.clone();
            assert_eq!(scope.tensor_type("x").unwrap().rank(), Some(1));
            let name = new.constant("k", constant);
            assert_eq!(name, "k_1");
            let between = new.fresh_name("t");
            new.node(Node::new("Add", "added", &["x", &name], &[&between]));
            new.node(Node { inputs: vec![between, "k".into()], ..node });
        } else {
            new.node(node);
        }
        Ok(())
    }

    fn value_type(&mut self, ty: &ValueType) -> ValueType {
        ty.clone()
    }
}

#[test]
fn every_node_is_seen_and_names_stay_free_of_clashes() {
    let model = model();
    let mut change = Change::default();
    let graph = model.graph.rebuilt(&mut change).unwrap();
    graph.check("test").unwrap();
    assert_eq!(change.seen, ["deep", "neg", "inner", "relu", "other", "y"]);
    assert_eq!((graph.inputs(), graph.outputs()), (model.graph.inputs(), model.graph.outputs()));
    let (_, outer) = graph.nodes().next().unwrap();
    let (_, then) = outer.subgraphs().next().unwrap();
    let (_, inner) = then.nodes().next().unwrap();
    let (_, deepest) = inner.subgraphs().next().unwrap();
    let nodes: Vec<&Node> = deepest.nodes().map(|(_, n)| n).collect();
    assert_eq!(nodes.len(), 2);
    assert_eq!(
        (nodes[0].inputs.as_slice(), nodes[0].outputs.as_slice()),
        (&["x".into(), "k_1".into()][..], &["t_1".into()][..])
    );
    assert_eq!(deepest.initializers().map(|(n, _)| n).collect::<Vec<_>>(), ["k_1"]);
    assert!(graph.initializer("k_1").is_none());
}

#[test]
fn a_node_that_cannot_be_rebuilt_is_named() {
    let note = model().graph.rebuilt(&mut Change { refuse: Some("neg"), ..Change::default() }).unwrap_err();
    assert_eq!((note.node.as_str(), note.what.as_str()), ("Neg node \"neg\"", "not this one"));
}

#[test]
fn without_a_change_the_graph_is_the_same() {
    struct Same;
    impl Rebuild for Same {
        fn node(&mut self, _: &Scope<'_>, node: Node, new: &mut Rebuilt) -> Result<(), String> {
            new.node(node);
            Ok(())
        }
    }
    let model = model();
    assert_eq!(model.graph.rebuilt(&mut Same).unwrap(), model.graph);
}
