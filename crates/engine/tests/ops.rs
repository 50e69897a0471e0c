//! Every operator against ONNX Runtime.
#![allow(missing_docs)]

mod common;

use std::path::Path;

use shiftwise_engine::{Engine, Flow, PrepareOptions, embedded};
use shiftwise_graph::{Model, Value};

/// What goes wrong with one case, if anything.
fn check(folder: &Path) -> Option<String> {
    let (inputs, outputs) = common::names(folder);
    let feeds: Vec<(String, Value)> = inputs
        .into_iter()
        .enumerate()
        .map(|(i, n)| (n, common::npy(&folder.join(format!("in_{i}.npy")))))
        .collect();
    let model = Model::load(&folder.join("model.onnx")).ok()?;
    let session = match embedded().prepare(&model, &PrepareOptions::default()) {
        Ok(session) => session,
        Err(e) => return Some(e.to_string()),
    };
    let results = match session.run(&feeds, &mut |_, _| Flow::Continue) {
        Ok(results) => results,
        Err(e) => return Some(e.to_string()),
    };
    let exact = ["Quantize", "QuantDequant", "Cast", "QLinear", "Integer"]
        .iter()
        .any(|p| folder.to_string_lossy().contains(p));
    for (i, got) in results.iter().enumerate().take(outputs.len()) {
        let want = common::npy(&folder.join(format!("out_{i}.npy")));
        let difference = common::difference(got, &want);
        if difference > if exact { 0.0 } else { 3e-6 } {
            return Some(format!("output {i} of shape {:?} is {difference:e} off", got.shape()));
        }
    }
    None
}

/// Runs the cases of a script, of which there are at least `least`.
fn agree(script: &str, least: usize) {
    let Some(python) = common::python() else { return };
    let folder = tempfile::tempdir().unwrap();
    common::oracle(&python, script, &[folder.path().to_str().unwrap()]);
    let mut cases: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= least, "{} cases", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case.file_name()?.display(), check(case)?)))
        .collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn operators_agree_with_onnx_runtime() {
    agree("ops.py", 400);
}

#[test]
fn spatial_operators_agree_with_onnx_runtime() {
    agree("ops_spatial.py", 100);
}

#[test]
fn quantized_operators_agree_with_onnx_runtime() {
    agree("ops_quantized.py", 300);
}

#[test]
fn arithmetic_agrees_with_onnx_runtime() {
    agree("ops_math.py", 900);
}

#[test]
fn indexing_agrees_with_onnx_runtime() {
    agree("ops_index.py", 400);
}

#[test]
fn recurrent_operators_agree_with_onnx_runtime() {
    agree("ops_recurrent.py", 80);
}

#[test]
fn transformer_operators_agree_with_onnx_runtime() {
    agree("ops_transformer.py", 100);
}
