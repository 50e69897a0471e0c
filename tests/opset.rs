//! Models that were converted to a newer operator set, against ONNX Runtime and the checker of ONNX.

#![allow(missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;

use shiftwise_tests::{Run, python, root, run, say, scratch, shared, skip};

const NEWEST: &str = "21";

fn script(arguments: &[&Path]) -> Option<Run> {
    let Some(python) = python() else {
        skip("no other tools to compare with; SHIFTWISE_PYTHON names a Python that has them, see scripts/python");
        return None;
    };
    let mut command = Command::new(python);
    command.arg(root().join("tests/oracle/opset.py")).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(Run::of(&mut command))
}

/// Converts, without other rewrites, and compares.
fn check(model: &Path, dir: &Path, more: &[&str]) {
    let output = dir.join(format!("{}-converted", model.file_stem().unwrap().to_string_lossy()));
    let version = format!("convert_opset_version={NEWEST}");
    let mut arguments = vec![model.to_str().unwrap(), "-o", output.to_str().unwrap()];
    arguments.extend(["--set", "optimize_model=false", "--set", version.as_str()]);
    arguments.extend(more);
    let _ = run("shiftwise-preprocess", &arguments).ok();
    let _ = script(&[Path::new("compare"), model, &output.join("model.onnx"), Path::new(NEWEST)])
        .expect("Python is there")
        .ok();
}

#[test]
fn small_models_of_old_operator_sets() {
    let dir = scratch();
    let Some(made) = script(&[Path::new("make"), dir.path()]) else { return };
    let _ = made.ok();
    let mut models: Vec<PathBuf> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    models.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    models.sort();
    assert!(models.len() > 30);
    for model in &models {
        check(model, dir.path(), &[]);
    }
}

#[test]
fn reference_models() {
    let Some(folder) = shared("models") else { return };
    if python().is_none() {
        return skip("no other tools to compare with; SHIFTWISE_PYTHON names a Python that has them");
    }
    let dir = scratch();
    for name in ["resnet20_cifar10", "squeezenet1_1", "mobilenet_v2", "ppocr_cls", "yolox_nano", "stories260k", "superres"] {
        let model = folder.join(format!("{name}.onnx"));
        if model.is_file() {
            check(&model, dir.path(), &[]);
        } else {
            say(&format!("{name} is not there"));
        }
    }
}
