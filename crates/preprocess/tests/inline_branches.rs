//! Branches that are always taken compute what they did as a part of the graph.

#![allow(missing_docs)]

mod common;

use common::{nodes, noise, operators, prepared, prepared_with};
use proptest::prelude::*;
use shiftwise_graph::{Attribute, Builder, DataType, Graph, Model, Node, Tensor, ValueInfo};
use shiftwise_preprocess::PreprocessConfig;

const DIMS: &[usize] = &[2, 3];

fn flag(value: bool) -> Tensor {
    Tensor::from_raw(DataType::Bool, vec![], vec![u8::from(value)].into()).unwrap()
}

/// A body that makes `output`.
fn body(output: &str, constants: &[(&str, f32)], nodes: Vec<Node>) -> Attribute {
    let initializers =
        constants.iter().map(|(name, v)| ((*name).to_owned(), Tensor::f32(&[], &[*v]))).collect();
    Attribute::Graph(Box::new(Graph::new(
        "body",
        vec![],
        vec![ValueInfo::f32(output, DIMS)],
        initializers,
        nodes,
    )))
}

fn choose(builder: Builder, condition: &str, output: &str, branches: [Attribute; 2]) -> Builder {
    let [yes, no] = branches;
    builder.node_with("If", &[condition], &[output], &[("then_branch", yes), ("else_branch", no)])
}

/// y = x·k + h, or −x, where everything in the branch is called by `prefix`.
fn branches(prefix: &str) -> [Attribute; 2] {
    let [k, m, s] = ["k", "m", "s"].map(|name| format!("{prefix}{name}"));
    let yes = vec![Node::new("Mul", "", &["x", &k], &[&m]), Node::new("Add", "", &[&m, "h"], &[&s])];
    [body(&s, &[(&k, 0.5)], yes), body(&s, &[], vec![Node::new("Neg", "", &["x"], &[&s])])]
}

fn start() -> Builder {
    Builder::new().input("x", DIMS).constant("yes", flag(true)).constant("no", flag(false)).node(
        "Exp",
        &["x"],
        &["h"],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Several of them one after the other, whose names clash or not, with or without something behind.
    #[test]
    fn constant_conditions_keep_their_results(
        choices in prop::collection::vec((any::<bool>(), 0usize..3), 1..4), behind: bool,
    ) {
        let mut builder = start();
        let mut outputs = Vec::new();
        for (i, (taken, prefix)) in choices.iter().enumerate() {
            let y = format!("y{i}");
            let z = format!("z{i}");
            let made = if behind { &z } else { &y };
            builder = choose(builder, if *taken { "yes" } else { "no" }, made, branches(["", "a.", "b."][*prefix]));
            if behind {
                builder = builder.node("Sin", &[&z], &[&y]);
            }
            outputs.push(y);
        }
        let outputs: Vec<(&str, &[usize])> = outputs.iter().map(|y| (y.as_str(), DIMS)).collect();
        let config = PreprocessConfig { merge_duplicates: false, ..PreprocessConfig::default() };
        let after = prepared_with(&builder.build(&outputs, 13), &config);
        prop_assert_eq!(nodes(&after.model, "If"), 0);
        let of = |taken: bool| choices.iter().filter(|(t, _)| *t == taken).count();
        prop_assert_eq!(nodes(&after.model, "Add"), of(true));
        prop_assert_eq!(nodes(&after.model, "Neg"), of(false));
        prop_assert_eq!(nodes(&after.model, "Identity"), 0);
    }
}

#[test]
fn branches_in_branches_and_what_they_read_follow() {
    let inner = choose(Builder::new(), "yes", "s", branches("deep."));
    let inner = inner.build(&[], 13);
    let nested: Vec<Node> = inner.graph.nodes().map(|(_, n)| n.clone()).collect();
    let [_, no] = branches("");
    let model = choose(start(), "yes", "y", [body("s", &[], nested), no]).build(&[("y", DIMS)], 13);
    assert_eq!(operators(&prepared(&model).model), ["Add", "Exp", "Mul"]);
}

#[test]
fn a_branch_may_return_what_is_outside() {
    let outside = || body("h", &[], vec![]);
    let model = choose(start(), "yes", "z", [outside(), outside()]).node("Sin", &["z"], &["y"]);
    assert_eq!(operators(&prepared(&model.build(&[("y", DIMS)], 13)).model), ["Exp", "Sin"]);
}

#[test]
fn conditions_that_are_computed_stay() {
    let model = start()
        .constant("c", Tensor::f32(&[2, 3], &noise(1, 6)))
        .node_with("ReduceSum", &["x"], &["sum"], &[("keepdims", 0.into())])
        .constant("zero", Tensor::f32(&[], &[0.0]))
        .node("Greater", &["sum", "zero"], &["positive"]);
    let model: Model = choose(model, "positive", "y", branches("")).build(&[("y", DIMS)], 13);
    assert_eq!(nodes(&prepared(&model).model, "If"), 1);
}

#[test]
fn names_that_an_inner_body_reads_are_not_changed() {
    // `m` is there twice: outside, and in the branch, where a body that stays reads it.
    let [yes, no] = [("Sin", "p"), ("Cos", "q")]
        .map(|(op, name)| body(name, &[], vec![Node::new(op, "", &["m"], &[name])]));
    let nested = Node::new("If", "", &["positive"], &["s"]).with("then_branch", yes).with("else_branch", no);
    let branch = body("s", &[], vec![Node::new("Neg", "", &["x"], &["m"]), nested]);
    let [_, other] = branches("");
    let model = choose(start(), "yes", "y", [branch, other])
        .constant("zero", Tensor::f32(&[], &[0.0]))
        .node_with("ReduceSum", &["x"], &["sum"], &[("keepdims", 0.into())])
        .node("Greater", &["sum", "zero"], &["positive"])
        .node("Tan", &["x"], &["m"])
        .build(&[("y", DIMS), ("m", DIMS)], 13);
    let after = common::try_prepare(&model).unwrap();
    assert_eq!(nodes(&after.model, "If"), 1);
    let refused = common::refusals(&after, "inline_branches");
    assert!(
        refused.len() == 1 && refused[0].contains("\"m\" of its branch is read by a body in it"),
        "{refused:?}"
    );
}
