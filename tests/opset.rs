//! Models that were converted to a newer operator set, or whose parts were fused, against ONNX Runtime and the checker of ONNX.

#![allow(missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;

use shiftwise_tests::{Run, python, root, run, say, scratch, shared, skip};

const NEWEST: &str = "21";

fn script(arguments: &[&Path]) -> Option<Run> {
    let Some(python) = python() else {
        skip(
            "no other tools to compare with; SHIFTWISE_PYTHON names a Python that has them, see scripts/python",
        );
        return None;
    };
    let mut command = Command::new(python);
    command.arg(root().join("tests/oracle/opset.py")).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(Run::of(&mut command))
}

/// The models that the script makes.
fn made(what: &str, dir: &Path) -> Option<Vec<PathBuf>> {
    let _ = script(&[Path::new(what), dir])?.ok();
    let files = std::fs::read_dir(dir).expect("the folder is there");
    let mut models: Vec<PathBuf> = files.map(|entry| entry.expect("an entry").path()).collect();
    models.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    models.sort();
    Some(models)
}

/// Converts, without other rewrites, and compares.
fn check(model: &Path, dir: &Path) {
    let output = dir.join(format!("{}-converted", model.file_stem().unwrap().to_string_lossy()));
    let version = format!("convert_opset_version={NEWEST}");
    let mut arguments = vec![model.to_str().unwrap(), "-o", output.to_str().unwrap()];
    arguments.extend(["--set", "optimize_model=false", "--set", version.as_str()]);
    let _ = run("shiftwise-preprocess", &arguments).ok();
    let _ = script(&[Path::new("compare"), model, &output.join("model.onnx"), Path::new(NEWEST)])
        .expect("Python is there")
        .ok();
}

#[test]
fn small_models_of_old_operator_sets() {
    let dir = scratch();
    let Some(models) = made("make", dir.path()) else { return };
    assert!(models.len() > 30);
    for model in &models {
        check(model, dir.path());
    }
}

#[test]
fn operators_that_exporters_decompose() {
    let dir = scratch();
    let Some(models) = made("parts", dir.path()) else { return };
    assert!(models.len() > 5);
    for model in &models {
        let output = model.with_extension("fused");
        let arguments = [model.as_os_str(), "-o".as_ref(), output.as_os_str()];
        let _ = run(
            "shiftwise-preprocess",
            arguments.into_iter().chain(["--set".as_ref(), "upgrade_opset=true".as_ref()]),
        )
        .ok();
        let report = std::fs::read(output.join("rewrites.json")).expect("a report");
        let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
        assert!(report["nodes_after"].as_u64() <= Some(2), "{}: {report}", model.display());
        let _ = script(&[Path::new("compare"), model, &output.join("model.onnx"), Path::new("0")])
            .expect("Python is there")
            .ok();
    }
}

#[test]
fn reference_models() {
    let Some(folder) = shared("models") else { return };
    if python().is_none() {
        return skip("no other tools to compare with; SHIFTWISE_PYTHON names a Python that has them");
    }
    let dir = scratch();
    for name in [
        "resnet20_cifar10",
        "squeezenet1_1",
        "mobilenet_v2",
        "ppocr_cls",
        "yolox_nano",
        "stories260k",
        "superres",
    ] {
        let model = folder.join(format!("{name}.onnx"));
        if model.is_file() {
            check(&model, dir.path());
        } else {
            say(&format!("{name} is not there"));
        }
    }
}
