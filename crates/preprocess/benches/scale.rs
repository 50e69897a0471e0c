//! Time per node of the whole work on a model, at 5,000, 50,000 and 500,000 nodes: it must grow with the number of nodes, not faster.
//!
//! `cargo bench -p shiftwise-preprocess` prints one line for each kind of graph.

#![allow(missing_docs)]
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use shiftwise_engine::embedded;
use shiftwise_graph::{Attribute, Builder, Model, Tensor, Weights};
use shiftwise_preprocess::{PreprocessConfig, prepare};

const LENGTHS: [usize; 3] = [5_000, 50_000, 500_000];
/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs of which the fastest counts.
const RUNS: usize = 3;

/// A graph of about this many nodes.
type Make = fn(usize) -> Model;

const KINDS: [(&str, Make); 5] = [
    ("Conv, BatchNormalization, Relu in a chain, constants shared", convolutions),
    ("one constant read by every node of a chain", one_constant),
    ("one tensor read by every node", wide),
    ("as many outputs as nodes, behind nodes that do nothing", outputs),
    ("shape arithmetic before every Reshape", shapes),
];

fn main() {
    println!("{:60}{:>9}{:>10}{:>7}{:>11}{:>7}", "us a node", "5,000", "50,000", "ratio", "500,000", "ratio");
    for (name, make) in KINDS {
        let [few, many, most] = LENGTHS.map(|length| {
            let (time, nodes) = time(make, length);
            time.as_secs_f64() * 1e6 / nodes as f64
        });
        // Of the whole times, of which the second is for ten times the nodes.
        let [first, second] = [many / few, most / many].map(|ratio| 10.0 * ratio);
        println!("{name:60}{few:>9.2}{many:>10.2}{first:>7.1}{most:>11.2}{second:>7.1}");
    }
}

/// The shortest time of reading, preparing and encoding, and the number of nodes.
fn time(make: Make, length: usize) -> (Duration, usize) {
    let model = make(length);
    let nodes = model.graph.node_count();
    let bytes: Bytes = model.encode(&Weights::Inline).unwrap().model.into();
    drop(model);
    let run = || {
        let begin = Instant::now();
        let model = Model::from_bytes(bytes.clone()).unwrap();
        let prepared = prepare(model, &PreprocessConfig::default(), &embedded()).unwrap();
        let encoded = prepared.model.encode(&Weights::Inline).unwrap();
        let taken = begin.elapsed();
        assert!(!encoded.model.is_empty());
        taken
    };
    ((0..RUNS).map(|_| run()).min().unwrap(), nodes)
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

fn convolutions(length: usize) -> Model {
    let mut builder =
        Builder::new().input("t0", &[1, 2, 4, 4]).constant("w", Tensor::f32(&[2, 2, 1, 1], &[0.5; 4]));
    for name in ["gamma", "beta", "mean", "var"] {
        builder = builder.constant(name, Tensor::f32(&[2], &[0.5, 1.0]));
    }
    let count = length / 3;
    for i in 0..count {
        let [x, c, b] = ["t", "c", "b"].map(|stem| format!("{stem}{i}"));
        let y = format!("t{}", i + 1);
        builder = builder
            .node_with("Conv", &[&x, "w"], &[&c], &[("kernel_shape", ints(&[1, 1]))])
            .node("BatchNormalization", &[&c, "gamma", "beta", "mean", "var"], &[&b])
            .node("Relu", &[&b], &[&y]);
    }
    builder.build(&[(&format!("t{count}"), &[1, 2, 4, 4])], 13)
}

fn one_constant(length: usize) -> Model {
    let mut builder = Builder::new().input("t0", &[1, 8]).constant("one", Tensor::f32(&[1], &[1.5]));
    for i in 0..length {
        // A third of the nodes do nothing, so that readers of the constant go while others stay.
        let op = ["Add", "Mul", "Dropout"][i % 3];
        let inputs: &[&str] = if i % 3 == 2 { &[&format!("t{i}")] } else { &[&format!("t{i}"), "one"] };
        builder = builder.node(op, inputs, &[&format!("t{}", i + 1)]);
    }
    builder.build(&[(&format!("t{length}"), &[1, 8])], 13)
}

fn wide(length: usize) -> Model {
    let mut builder = Builder::new().input("x", &[1, 8]);
    let count = length / 3;
    let mut names = Vec::new();
    for i in 0..count {
        builder = builder
            .node("Identity", &["x"], &[&format!("same{i}")])
            .node("Relu", &[&format!("same{i}")], &[&format!("r{i}")])
            .node("Sigmoid", &["x"], &[&format!("unused{i}")]);
        names.push(format!("r{i}"));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    builder.node("Sum", &names, &["y"]).build(&[("y", &[1, 8])], 13)
}

fn outputs(length: usize) -> Model {
    let mut builder = Builder::new().input("x", &[1, 8]);
    let count = length / 2;
    let mut names = Vec::new();
    for i in 0..count {
        builder = builder.node("Relu", &["x"], &[&format!("r{i}")]).node(
            "Identity",
            &[&format!("r{i}")],
            &[&format!("y{i}")],
        );
        names.push(format!("y{i}"));
    }
    let shape: &[usize] = &[1, 8];
    let outputs: Vec<(&str, &[usize])> = names.iter().map(|name| (name.as_str(), shape)).collect();
    builder.build(&outputs, 13)
}

fn shapes(length: usize) -> Model {
    let mut builder = Builder::new()
        .input("t0", &[1, 8])
        .constant("zero", Tensor::i64(&[1], &[0]))
        .constant("rest", Tensor::i64(&[1], &[-1]));
    let count = length / 5;
    for i in 0..count {
        let [x, s, g, c, y] = ["t", "s", "g", "c", "u"].map(|stem| format!("{stem}{i}"));
        builder = builder
            .node("Shape", &[&x], &[&s])
            .node("Gather", &[&s, "zero"], &[&g])
            .node_with("Concat", &[&g, "rest"], &[&c], &[("axis", Attribute::Int(0))])
            .node("Reshape", &[&x, &c], &[&y])
            .node("Relu", &[&y], &[&format!("t{}", i + 1)]);
    }
    builder.build(&[(&format!("t{count}"), &[1, 8])], 13)
}
