//! Finetuning chooses the scale of what a layer reads by what the layer makes of it.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use shiftwise_graph::{Builder, Model, Tensor, Weights};
use shiftwise_tests::{run, scratch};
use tempfile::TempDir;

/// Two channels of which the first is fifty times as large, and hardly counts in what comes out.
fn network() -> Builder {
    Builder::new()
        .input("x", &[1, 2, 12, 12])
        .constant("w0", Tensor::f32(&[2, 2, 1, 1], &[50.0, 0.0, 0.0, 1.0]))
        .constant("b0", Tensor::f32(&[2], &[0.0, 0.1]))
        .node("Conv", &["x", "w0", "b0"], &["c0"])
        .node("Relu", &["c0"], &["a0"])
        .constant("w1", Tensor::f32(&[2, 2, 1, 1], &[0.0005, 1.0, -0.0005, 0.5]))
        .constant("b1", Tensor::f32(&[2], &[0.1, -0.1]))
        .node("Conv", &["a0", "w1", "b1"], &["y"])
}

/// The stages on a model, in a folder; `@name` among their arguments is a path in it.
struct Stages(TempDir);

impl Stages {
    /// Everything up to the adjusted model, with options for quantize.
    fn adjusted(model: &Model, quantize: &[&str]) -> Self {
        let stages = Self(scratch());
        fs::write(stages.path("model.onnx"), model.encode(&Weights::Inline).unwrap().model).unwrap();
        stages.run("preprocess", &["@model.onnx", "-o", "@prepared"]);
        stages.run("calibrate", &[&["collect", "@prepared", "-o", "@stats"], DATA].concat());
        stages.run("quantize", &[&["@prepared", "--stats", "@stats", "-o", "@quantized"], quantize].concat());
        stages.run("npu-check", &["@quantized", "--fix", "-o", "@adjusted"]);
        stages
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, stage: &str, words: &[&str]) {
        let argument = |word: &&str| match word.strip_prefix('@') {
            Some(name) => self.path(name).into(),
            None => OsString::from(word),
        };
        let _ = run(&format!("shiftwise-{stage}"), words.iter().map(argument).collect::<Vec<_>>()).ok();
    }

    /// What finetuning says of each layer.
    fn finetuned(&self, to: &str, options: &[&str]) -> Value {
        self.run("finetune", &[&["@adjusted", "-o", &format!("@{to}")], DATA, options].concat());
        self.json(to, "finetune.json")["layers"].clone()
    }

    fn json(&self, artifact: &str, file: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(artifact).join(file)).expect("a file of the artifact"))
            .expect("JSON")
    }
}

const DATA: &[&str] = &["--data", "random", "--samples", "30"];

#[test]
fn a_scale_that_hides_what_counts_is_moved() {
    let stages = Stages::adjusted(&network().build(&[("y", &[1, 2, 12, 12])], 17), &[]);
    let layers = stages.finetuned("tuned", &[]);
    let moved = layers[1]["input_moved"].as_array().expect("the second layer's input moves").clone();
    assert!(moved[1].as_i64() > moved[0].as_i64(), "{moved:?}");
    let kept = stages.finetuned("kept", &["--set", "finetune_input_scales=false"]);
    assert!(kept[1].get("input_moved").is_none(), "{kept}");
    let error = |layers: &Value| layers[1]["after"]["held_out"].as_f64().expect("an error");
    assert!(error(&layers) < error(&kept) / 2.0, "{layers} against {kept}");

    // The list of tensors says what the model has, and the limits hold.
    let tensors = stages.json("tuned", "tensors.json")["tensors"].clone();
    let named = |t: &&Value| t["tensor"] == "a0";
    let entry = tensors.as_array().and_then(|all| all.iter().find(named)).expect("an entry of a0");
    assert_eq!(entry["position"], moved[1], "{entry}");
    let model = Model::load(&stages.path("tuned/model.onnx")).expect("a model");
    let scale = model.graph.constant(entry["scale_name"].as_str().unwrap()).and_then(Tensor::scalar_f32);
    assert_eq!(scale.map(f64::from), entry["scale"].as_f64());
    stages.run("npu-check", &["@tuned", "--strict"]);
    // What the program says the layers lose is what the whole model loses.
    stages.run("evaluate", &[&["@prepared", "@kept", "@tuned", "-o", "@evaluation"], DATA].concat());
    let report = stages.json("evaluation", "report.json");
    let sqnr = |i: usize| report["models"][i]["outputs"][0]["sqnr"]["mean"].as_f64().expect("a ratio");
    assert!(sqnr(1) > sqnr(0) + 3.0, "{} after {}", sqnr(1), sqnr(0));
}

#[test]
fn a_scale_that_others_hang_on_stays() {
    // A 32-bit bias has the product of the scales of input and weights.
    let stages =
        Stages::adjusted(&network().build(&[("y", &[1, 2, 12, 12])], 17), &["--set", "int32_bias=true"]);
    let layers = stages.finetuned("tuned", &[]);
    assert!(layers[1].get("input_moved").is_none(), "{layers}");

    // Another layer that reads it, and is not tuned, could not follow.
    let other = Tensor::f32(&[2, 2, 1, 1], &[0.001, -0.8, 0.0004, 0.3]);
    let twice = network().constant("w2", other).node("Conv", &["a0", "w2"], &["z"]);
    let stages = Stages::adjusted(&twice.build(&[("y", &[1, 2, 12, 12]), ("z", &[1, 2, 12, 12])], 17), &[]);
    let both = stages.finetuned("both", &[]);
    assert!(both.as_array().unwrap().iter().any(|l| l.get("input_moved").is_some()), "{both}");
    let one = stages.finetuned("one", &["--set", "finetune_layers=[\"y\"]"]);
    assert!(one.as_array().unwrap().iter().all(|l| l.get("input_moved").is_none()), "{one}");
}
