//! Finetuning chooses the scale of what a layer reads by what the layer makes of it.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use serde_json::Value;
use shiftwise_graph::{Builder, Model, Tensor, Weights};
use shiftwise_tests::{run, scratch};

/// Two channels of which the first is fifty times as large, and hardly counts in what comes out.
fn network() -> Model {
    Builder::new()
        .input("x", &[1, 2, 12, 12])
        .constant("w0", Tensor::f32(&[2, 2, 1, 1], &[50.0, 0.0, 0.0, 1.0]))
        .constant("b0", Tensor::f32(&[2], &[0.0, 0.1]))
        .node("Conv", &["x", "w0", "b0"], &["c0"])
        .node("Relu", &["c0"], &["a0"])
        .constant("w1", Tensor::f32(&[2, 2, 1, 1], &[0.0005, 1.0, -0.0005, 0.5]))
        .constant("b1", Tensor::f32(&[2], &[0.1, -0.1]))
        .node("Conv", &["a0", "w1", "b1"], &["y"])
        .build(&[("y", &[1, 2, 12, 12])], 17)
}

fn json(dir: &Path, file: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.join(file)).expect("a file of the artifact")).expect("JSON")
}

#[test]
fn a_scale_that_hides_what_counts_is_moved() {
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("model.onnx"), network().encode(&Weights::Inline).unwrap().model).unwrap();
    let stage = |program: &str, words: &[&str]| {
        let argument = |word: &&str| match word.strip_prefix('@') {
            Some(name) => path(name).into(),
            None => OsString::from(word),
        };
        run(program, words.iter().map(argument).collect::<Vec<_>>())
    };
    let data = ["--data", "random", "--samples", "30"];
    let with = |words: &[&'static str]| [words, &data[..]].concat();
    let _ = stage("shiftwise-preprocess", &["@model.onnx", "-o", "@prepared"]).ok();
    let _ = stage("shiftwise-calibrate", &with(&["collect", "@prepared", "-o", "@stats"])).ok();
    let _ = stage("shiftwise-quantize", &["@prepared", "--stats", "@stats", "-o", "@quantized"]).ok();
    let _ = stage("shiftwise-npu-check", &["@quantized", "--fix", "-o", "@adjusted"]).ok();
    let _ = stage("shiftwise-finetune", &with(&["@adjusted", "-o", "@tuned"])).ok();
    let keep = ["@adjusted", "-o", "@kept", "--set", "finetune_input_scales=false"];
    let _ = stage("shiftwise-finetune", &with(&keep)).ok();

    let layers = json(&path("tuned"), "finetune.json")["layers"].clone();
    let moved = layers[1]["input_moved"].as_array().expect("the second layer's input moves").clone();
    assert!(moved[1].as_i64() > moved[0].as_i64(), "{moved:?}");
    let kept = json(&path("kept"), "finetune.json")["layers"].clone();
    assert!(kept[1].get("input_moved").is_none(), "{kept}");
    let error = |layers: &Value| layers[1]["after"]["held_out"].as_f64().expect("an error");
    assert!(error(&layers) < error(&kept) / 2.0, "{layers} against {kept}");

    // The list of tensors says what the model has, and the limits hold.
    let tensors = json(&path("tuned"), "tensors.json")["tensors"].clone();
    let named = |t: &&Value| t["tensor"] == "a0";
    let entry = tensors.as_array().and_then(|all| all.iter().find(named)).expect("an entry of a0");
    assert_eq!(entry["position"], moved[1], "{entry}");
    let model = Model::load(&path("tuned/model.onnx")).expect("a model");
    let scale = model.graph.constant(entry["scale_name"].as_str().unwrap()).and_then(Tensor::scalar_f32);
    assert_eq!(scale.map(f64::from), entry["scale"].as_f64());
    let _ = stage("shiftwise-npu-check", &["@tuned", "--strict"]).ok();
    // What the program says the layers lose is what the whole model loses.
    let _ = stage("shiftwise-evaluate", &with(&["@prepared", "@kept", "@tuned", "-o", "@evaluation"])).ok();
    let report = json(&path("evaluation"), "report.json");
    let sqnr = |i: usize| report["models"][i]["outputs"][0]["sqnr"]["mean"].as_f64().expect("a ratio");
    assert!(sqnr(1) > sqnr(0) + 3.0, "{} after {}", sqnr(1), sqnr(0));
}
