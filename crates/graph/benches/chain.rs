//! Long chains: loading, patching and sorting must take time in proportion to the number of nodes.

#![allow(missing_docs)]

use bytes::Bytes;
use divan::Bencher;
use shiftwise_graph::{Builder, Model, Node, Outcome, Patch, Rule, Tensor, Weights, infer_shapes, run_rule};

const LENGTHS: [usize; 3] = [5_000, 50_000, 100_000];

fn main() {
    divan::main();
}

/// Additions of one shared constant, one after the other.
fn chain(length: usize) -> Bytes {
    let mut builder = Builder::new().input("t0", &[1, 8]).constant("one", Tensor::f32(&[1], &[1.0]));
    for i in 0..length {
        builder = if i % 100 == 0 {
            builder.node("Add", &[&format!("t{i}"), "one"], &[&format!("t{}", i + 1)])
        } else {
            builder.node("Relu", &[&format!("t{i}")], &[&format!("t{}", i + 1)])
        };
    }
    let model = builder.build(&[(&format!("t{length}"), &[1, 8])], 13);
    model.encode(&Weights::Inline).unwrap().model.into()
}

/// Replaces each node by a Sigmoid before it and the node itself.
struct Double;

impl Rule for Double {
    fn name(&self) -> &'static str {
        "double"
    }

    fn visit(&mut self, model: &Model, id: shiftwise_graph::NodeId, node: &Node) -> Outcome {
        let between = model.graph.fresh_name(&format!("{}_between", node.inputs[0]));
        let mut patch = Patch::new();
        let mut changed = node.clone();
        changed.inputs[0].clone_from(&between);
        patch.insert_before(id, Node::new("Sigmoid", "", &[&node.inputs[0]], &[&between]));
        patch.replace(id, changed);
        Outcome::rewrite(patch, "doubled")
    }
}

#[divan::bench(args = LENGTHS, sample_count = 5)]
fn load(bencher: Bencher, length: usize) {
    let bytes = chain(length);
    bencher.bench(|| Model::from_bytes(bytes.clone()).unwrap());
}

#[divan::bench(args = LENGTHS, sample_count = 5)]
fn patch_each_node(bencher: Bencher, length: usize) {
    let model = Model::from_bytes(chain(length)).unwrap();
    bencher.with_inputs(|| model.clone()).bench_values(|mut model| {
        let report = run_rule(&mut model, &mut Double).unwrap();
        assert_eq!(report.applied.len(), length);
        model
    });
}

#[divan::bench(args = LENGTHS, sample_count = 5)]
fn infer(bencher: Bencher, length: usize) {
    let model = Model::from_bytes(chain(length)).unwrap();
    bencher.with_inputs(|| model.clone()).bench_values(|mut model| {
        assert!(infer_shapes(&mut model).is_clean());
        model
    });
}
