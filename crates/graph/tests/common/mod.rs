//! What several test files share.

#![allow(dead_code, clippy::print_stderr)]

use std::path::PathBuf;

use bytes::Bytes;
use shiftwise_graph::{Attribute, Builder, Graph, Model, Node, Tensor, ValueInfo, Weights};

/// The reference models, where they are there.
pub(crate) fn reference_models() -> Vec<PathBuf> {
    let data = std::env::var_os("SHIFTWISE_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let folder = data.join("models");
    let mut models: Vec<PathBuf> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .collect();
    models.sort();
    if models.is_empty() {
        eprintln!("skipped: no reference models in {}", folder.display());
    }
    models
}

/// Path of one reference model, where it is there.
pub(crate) fn reference_model(name: &str) -> Option<PathBuf> {
    reference_models().into_iter().find(|p| p.file_name().is_some_and(|n| n == name))
}

/// A model with weights of several types, an If with captures, and shape arithmetic.
pub(crate) fn small() -> Model {
    let body = |op: &str, made: &str| {
        let nodes = vec![Node::new(op, &format!("{made}_node"), &["scaled"], &[made])];
        let outputs = vec![ValueInfo::f32(made, &[1, 4, 6, 6])];
        Graph::new(made, Vec::new(), outputs, indexmap::IndexMap::new(), nodes)
    };
    let weights: Vec<f32> = (0..4 * 3 * 3 * 3).map(|i| i as f32 * 0.01).collect();
    Builder::new()
        .input("x", &[1, 3, 8, 8])
        .constant("w", Tensor::f32(&[4, 3, 3, 3], &weights))
        .constant("b", Tensor::f32(&[4], &[0.1, 0.2, 0.3, 0.4]))
        .constant("two", Tensor::f32(&[], &[2.0]))
        .constant("yes", Tensor::i64(&[1], &[1]))
        .constant("flat", Tensor::i64(&[2], &[0, -1]))
        .node_with("Conv", &["x", "w", "b"], &["y"], &[("kernel_shape", vec![3, 3].into())])
        .node("Relu", &["y"], &["r"])
        .node("Mul", &["r", "two"], &["scaled"])
        .node_with("Cast", &["yes"], &["condition"], &[("to", 9.into())])
        .node_with(
            "If",
            &["condition"],
            &["chosen"],
            &[
                ("then_branch", Attribute::Graph(Box::new(body("Sigmoid", "then_out")))),
                ("else_branch", Attribute::Graph(Box::new(body("Tanh", "else_out")))),
            ],
        )
        .node("Reshape", &["chosen", "flat"], &["out"])
        .build(&[("out", &[1, 144])], 13)
}

/// A model as the bytes of a file.
pub(crate) fn encode(model: &Model) -> Bytes {
    model.encode(&Weights::Inline).unwrap().model.into()
}
