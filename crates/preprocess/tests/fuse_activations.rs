//! Activations that exporters wrote as several nodes.

mod common;

use common::{nodes, prepared, refusals};
use proptest::prelude::*;
use shiftwise_graph::{Builder, Model, Tensor};

fn scalar(v: f32) -> Tensor {
    Tensor::f32(&[], &[v])
}

/// A graph of nodes `op inputs -> output`, the input `x` and scalars that are called by what they are.
fn graph(lines: &[&str], opset: i64) -> Model {
    let mut b = Builder::new().input("x", &[3, 5]);
    let mut constants = Vec::new();
    for line in lines {
        let mut words = line.split(' ');
        let (output, op) = (words.next().unwrap(), words.next().unwrap());
        let inputs: Vec<&str> = words.collect();
        for input in &inputs {
            if let Ok(value) = input.parse::<f32>()
                && !constants.contains(input)
            {
                b = b.constant(input, scalar(value));
                constants.push(input);
            }
        }
        b = b.node(op, &inputs, &[output]);
    }
    b.build(&[("y", &[3, 5])], opset)
}

fn swapped(line: &str, swap: bool) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        [y, op @ ("Mul" | "Add" | "Max" | "Min"), a, b] if swap => format!("{y} {op} {b} {a}"),
        _ => line.into(),
    }
}

fn check(lines: &[&str], swap: u32, opset: i64) -> shiftwise_preprocess::Prepared {
    let lines: Vec<String> =
        lines.iter().enumerate().map(|(i, l)| swapped(l, swap & (1 << i) != 0)).collect();
    prepared(&graph(&lines.iter().map(String::as_str).collect::<Vec<_>>(), opset))
}

const ERF: [&[&str]; 3] = [
    &["z Div x 1.4142135", "e Erf z", "s Add e 1", "p Mul x s", "y Mul p 0.5"],
    &["z Mul x 0.70710677", "e Erf z", "s Add e 1", "h Mul s 0.5", "y Mul x h"],
    &["z Div x 1.4142", "e Erf z", "s Add e 1", "h Mul x 0.5", "y Mul h s"],
];

const TANH: [&[&str]; 4] = [
    &[
        "c Pow x 3",
        "k Mul c 0.044715",
        "u Add x k",
        "t Mul u 0.7978846",
        "e Tanh t",
        "s Add e 1",
        "h Mul x 0.5",
        "y Mul h s",
    ],
    &[
        "q Mul x x",
        "c Mul q x",
        "k Mul c 0.044715",
        "u Add x k",
        "t Mul u 0.7978846",
        "e Tanh t",
        "s Add e 1",
        "p Mul x s",
        "y Mul p 0.5",
    ],
    &[
        "a Mul x 0.7978846",
        "k Mul x 0.044715",
        "q Mul k x",
        "u Add q 1",
        "t Mul a u",
        "e Tanh t",
        "s Add e 1",
        "h Mul x 0.5",
        "y Mul h s",
    ],
    &[
        "q Pow x 2",
        "k Mul q 0.044715",
        "u Add k 1",
        "a Mul x 0.7978846",
        "t Mul a u",
        "e Tanh t",
        "s Add e 1",
        "h Mul s 0.5",
        "y Mul x h",
    ],
];

const HARD_SWISH: [&[&str]; 7] = [
    &["a Add x 3", "c Clip a 0 6", "p Mul x c", "y Div p 6"],
    &["a Add x 3", "c Clip a 0 6", "g Div c 6", "y Mul x g"],
    &["a Add x 3", "c Clip a 0 6", "g Mul c 0.16666667", "y Mul x g"],
    &["a Add x 3", "l Max a 0", "c Min l 6", "p Mul x c", "y Mul p 0.16666667"],
    &["a Add x 3", "l Min a 6", "c Max l 0", "p Mul x c", "y Div p 6"],
    &["a Add x 3", "l Relu a", "c Min l 6", "h Div x 6", "y Mul h c"],
    &["a Add x 3", "l Relu a", "c Clip l 0 6", "p Mul x c", "y Div p 6"],
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn gelu_by_erf_is_one_node(form in 0usize..3, swap in 0u32..256, newer: bool) {
        let after = check(ERF[form], swap, if newer { 20 } else { 13 });
        let (_, node) = after.model.graph.nodes().next().unwrap();
        prop_assert_eq!(after.model.graph.node_count(), 1);
        prop_assert_eq!(node.op_type.as_str(), "Gelu");
        prop_assert_eq!(node.domain.is_empty(), newer);
        prop_assert_eq!(after.model.opsets.contains_key("com.microsoft"), !newer);
    }

    #[test]
    fn gelu_by_tanh_is_one_node_of_opset_20(form in 0usize..4, swap in 0u32..256) {
        let after = check(TANH[form], swap, 13);
        prop_assert_eq!(after.model.graph.node_count(), 1);
        prop_assert_eq!(nodes(&after.model, "Gelu"), 1);
        prop_assert_eq!(after.model.opset(), 20);
    }

    #[test]
    fn hard_swish_is_two_nodes(form in 0usize..7, swap in 0u32..256) {
        let after = check(HARD_SWISH[form], swap, 13);
        prop_assert_eq!(after.model.graph.node_count(), 2);
        prop_assert_eq!(nodes(&after.model, "HardSigmoid"), 1);
        prop_assert_eq!(after.rewrites.recognized.len(), 1);
        prop_assert_eq!(after.rewrites.recognized[0].pattern, "HardSwish");
        prop_assert_eq!(after.rewrites.recognized[0].output.as_str(), "y");
    }

    #[test]
    fn sigmoid_is_one_node(form in 0usize..4, swap in 0u32..256) {
        let forms: [&[&str]; 4] = [
            &["n Neg x", "e Exp n", "s Add e 1", "y Div 1 s"],
            &["n Mul x -1", "e Exp n", "s Add e 1", "y Reciprocal s"],
            &["n Neg x", "e Exp n", "s Add e 1", "g Div 1 s", "y Mul x g"],
            &["n Neg x", "e Exp n", "s Add e 1", "y Div x s"],
        ];
        let after = check(forms[form], swap, 13);
        prop_assert_eq!(nodes(&after.model, "Sigmoid"), 1);
        let swish = usize::from(form > 1);
        prop_assert_eq!(after.model.graph.node_count(), 1 + swish);
        let recognized: Vec<&str> = after.rewrites.recognized.iter().map(|r| r.pattern).collect();
        prop_assert_eq!(recognized, vec!["Swish"; swish]);
    }
}

#[test]
fn a_hard_sigmoid_alone_is_one_node() {
    let after = check(&["a Add x 3", "c Clip a 0 6", "y Div c 6"], 0, 13);
    assert_eq!((after.model.graph.node_count(), nodes(&after.model, "HardSigmoid")), (1, 1));
    assert!(after.rewrites.recognized.is_empty());
}

#[test]
fn other_functions_are_left() {
    for lines in [
        &["a Add x 3", "c Clip a 0 5", "p Mul x c", "y Div p 6"][..],
        &["a Add x 2", "c Clip a 0 6", "p Mul x c", "y Div p 6"],
        &["z Div x 1.4142135", "e Erf z", "s Add e 1", "p Mul x s", "y Mul p 0.25"],
        &["z Div x 1.4142135", "e Erf z", "s Add e 2", "p Mul x s", "y Mul p 0.5"],
        &["n Neg x", "e Exp n", "s Add e 2", "y Div 1 s"],
        &["e Exp x", "s Add e 1", "y Div 1 s"],
    ] {
        assert_eq!(check(lines, 0, 13).model.graph.node_count(), lines.len(), "{lines:?}");
    }
}

#[test]
fn what_is_nearly_a_gelu_is_left_with_the_reason() {
    let after = check(&["z Div x 1.41", "e Erf z", "s Add e 1", "p Mul x s", "y Mul p 0.5"], 0, 13);
    let refused = refusals(&after, "fuse_gelu");
    assert!(refused[0].contains("is not that of Gelu to five digits"), "{refused:?}");
    assert_eq!(after.model.graph.node_count(), 5);
    let shared = &["z Div x 1.4142135", "e Erf z", "s Add e 1", "p Mul x s", "g Mul p 0.5", "y Add g e"];
    let after = check(shared, 0, 13);
    let refused = refusals(&after, "fuse_gelu");
    assert!(refused[0].contains("\"e\" inside of it is read by Add node \"y\" too"), "{refused:?}");
}
