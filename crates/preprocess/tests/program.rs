//! The program from outside: exit codes, messages, files.

#![allow(missing_docs)]

mod common;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use common::noise;
use shiftwise_artifact::atomic;
use shiftwise_graph::{
    Builder, DataType, Dim, Model, Node, Tensor, TensorType, ValueInfo, ValueType, Weights,
};
use tempfile::TempDir;

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, model: &Model) -> PathBuf {
        let path = self.path(name);
        atomic::write(&path, &model.encode(&Weights::Inline).unwrap().model).unwrap();
        path
    }

    /// Names of everything there, hidden or not.
    fn entries(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Runs, and gives the exit code and what people see.
    fn run(&self, model: &Path, more: &[&str]) -> (i32, String) {
        let output = Command::new(assert_cmd::cargo::cargo_bin!("shiftwise-preprocess"))
            .arg(model)
            .arg("-o")
            .arg(self.path("out"))
            .args(more)
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

/// A convolution with a normalization, on images of which these dimensions are known.
fn model(dims: &[Dim; 4]) -> Model {
    let ty = ValueType::Tensor(TensorType { dtype: DataType::Float, shape: Some(dims.to_vec()) });
    let channels = |v: f32| Tensor::f32(&[3], &[v; 3]);
    Builder::new()
        .input_info(ValueInfo { name: "image".into(), ty })
        .constant("w", Tensor::f32(&[3, 2, 1, 1], &noise(1, 6)))
        .constant("gamma", channels(0.5))
        .constant("beta", channels(0.1))
        .constant("mean", channels(0.2))
        .constant("var", channels(2.0))
        .node("Conv", &["image", "w"], &["c"])
        .node("BatchNormalization", &["c", "gamma", "beta", "mean", "var"], &["y"])
        .build(&[("y", &[1, 3, 8, 8])], 13)
}

fn named(name: &str) -> Dim {
    Dim::Symbol(name.into())
}

fn plain() -> Model {
    model(&[named("N"), Dim::Known(2), Dim::Known(8), Dim::Known(8)])
}

#[test]
fn a_model_is_prepared_and_then_up_to_date() {
    let place = Place::new();
    let path = place.write("m.onnx", &plain());
    let (code, said) = place.run(&path, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("folded 1 batch normalization; 2 → 1 nodes"), "{said}");
    let out = place.path("out");
    let written = Model::load(&out.join("model.onnx")).unwrap();
    assert_eq!(written.graph.node_count(), 1);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("rewrites.json")).unwrap()).unwrap();
    assert_eq!(report["nodes_after"], 1);
    assert!(report["passes"].as_array().unwrap().iter().any(|p| p["pass"] == "fold_batch_norm"));

    let before = std::fs::metadata(out.join("model.onnx")).unwrap().modified().unwrap();
    let (code, said) = place.run(&path, &[]);
    assert_eq!((code, said.starts_with("up to date")), (0, true), "{said}");
    assert_eq!(std::fs::metadata(out.join("model.onnx")).unwrap().modified().unwrap(), before);
}

#[test]
fn another_configuration_needs_force() {
    let place = Place::new();
    let path = place.write("m.onnx", &plain());
    assert_eq!(place.run(&path, &[]).0, 0);
    let (code, said) = place.run(&path, &["--set", "fold_batch_norm=false"]);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("fold_batch_norm") && said.contains("--force"), "{said}");
    let (code, said) = place.run(&path, &["--set", "fold_batch_norm=false", "--force"]);
    assert_eq!(code, 0, "{said}");
    let written = Model::load(&place.path("out").join("model.onnx")).unwrap();
    // What is not folded becomes a convolution of its own.
    assert_eq!(common::operators(&written), ["Conv", "Conv"]);
}

#[test]
fn files_that_are_no_models_are_named() {
    let place = Place::new();
    let whole = plain().encode(&Weights::Inline).unwrap().model;
    let path = place.path("m.onnx");
    atomic::write(&path, &whole[..whole.len() / 2]).unwrap();
    let (code, said) = place.run(&path, &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("m.onnx"), "{said}");
    let (code, said) = place.run(&place.path("missing.onnx"), &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("missing.onnx"), "{said}");
    assert_eq!(place.entries(), ["m.onnx"]);
}

#[test]
fn unknown_options_and_dimensions_are_usage_errors() {
    let place = Place::new();
    let path = place.write("m.onnx", &plain());
    for wrong in [
        &["--no-such-flag"][..],
        &["--set", "fold_batchnorms=true"],
        &["--set", "convert_opset_version=12"],
        &["--set", "convert_opset_version=30"],
        &["--fix-dim", "N"],
        &["--fix-dim", "N=0"],
        &["--fix-dim", "M=1"],
        &["--fix-dim", "N=1", "--fix-dim", "N=2"],
        &["--set", "fix_shapes.image=[1,2,8]"],
        &["--set", "fix_shapes.other=[1,2,8,8]"],
    ] {
        let (code, said) = place.run(&path, wrong);
        assert_eq!(code, 2, "{wrong:?}: {said}");
    }
    assert_eq!(place.entries(), ["m.onnx"]);
}

#[test]
fn dynamic_dimensions_are_named_with_the_flag_that_fixes_them() {
    let place = Place::new();
    let path = place.write("m.onnx", &model(&[named("N"), Dim::Known(2), named("height"), Dim::Unknown]));
    let (code, said) = place.run(&path, &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("dimension 2 of input \"image\" is dynamic (named \"height\")"), "{said}");
    assert!(said.contains("--fix-dim height=N --fix-dim 'image[3]=N'"), "{said}");
    assert_eq!(place.entries(), ["m.onnx"]);

    let (code, said) = place.run(&path, &["--fix-dim", "height=8", "--fix-dim", "image[3]=8"]);
    assert_eq!(code, 0, "{said}");
    let written = Model::load(&place.path("out").join("model.onnx")).unwrap();
    let ty = written.graph.tensor_type("y").unwrap();
    assert_eq!(ty.shape.unwrap(), [named("N"), Dim::Known(3), Dim::Known(8), Dim::Known(8)]);
}

#[test]
fn shapes_are_fixed_by_input_too() {
    let place = Place::new();
    let path = place.write("m.onnx", &model(&[named("N"), Dim::Known(2), named("H"), Dim::Unknown]));
    let (code, said) = place.run(&path, &["--set", "fix_shapes.image=[4, 0, 8, 8]"]);
    assert_eq!(code, 0, "{said}");
    let written = Model::load(&place.path("out").join("model.onnx")).unwrap();
    assert_eq!(written.graph.tensor_type("y").unwrap().fixed_dims().unwrap(), [4, 3, 8, 8]);
}

#[test]
fn models_that_cannot_be_processed_are_refused_with_what_to_do() {
    let place = Place::new();
    let mut old = plain();
    old.opsets.insert(String::new(), 9);
    let (code, said) = place.run(&place.write("old.onnx", &old), &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("opset is 9") && said.contains("version_converter"), "{said}");

    let scale = || Tensor::f32(&[], &[0.5]);
    let quantized = Builder::new()
        .input("x", &[4])
        .constant("s", scale())
        .constant("z", Tensor::i8(&[], &[0]))
        .node("QuantizeLinear", &["x", "s", "z"], &["q"])
        .node("DequantizeLinear", &["q", "s", "z"], &["y"])
        .build(&[("y", &[4])], 13);
    let (code, said) = place.run(&place.write("q.onnx", &quantized), &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("QuantizeLinear node \"q\""), "{said}");

    let custom = Node { domain: "my.domain".into(), ..Node::new("Decode", "decode", &["x"], &["y"]) };
    let graph = shiftwise_graph::Graph::new(
        "g",
        vec![ValueInfo::f32("x", &[4])],
        vec![ValueInfo::f32("y", &[4])],
        indexmap::IndexMap::new(),
        vec![custom],
    );
    let mut custom = Model::new(graph, 13);
    custom.opsets.insert("my.domain".into(), 1);
    let (code, said) = place.run(&place.write("custom.onnx", &custom), &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("my.domain.Decode node \"decode\""), "{said}");
    assert_eq!(place.entries(), ["custom.onnx", "old.onnx", "q.onnx"]);
}

#[test]
fn weights_go_beside_the_model_when_asked() {
    let place = Place::new();
    let path = place.write("m.onnx", &plain());
    let more = ["--set", "use_external_data_format=true", "--set", "external_data_threshold=16"];
    let (code, said) = place.run(&path, &more);
    assert_eq!(code, 0, "{said}");
    assert!(place.path("out").join("model.onnx.data").is_file());
    let written = Model::load(&place.path("out").join("model.onnx")).unwrap();
    assert_eq!(written.graph.initializer("w").unwrap().dims(), [3, 2, 1, 1]);
}

#[test]
fn the_configuration_can_be_printed() {
    let place = Place::new();
    let output = Command::new(assert_cmd::cargo::cargo_bin!("shiftwise-preprocess"))
        .args(["m.onnx", "-o", "out", "--fix-dim", "batch=1", "--print-config"])
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("[fix_dim]\nbatch = 1"), "{text}");
}
