//! The engines through the programs: how ONNX Runtime is asked for, found, refused, and what it says in results.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use shiftwise_graph::{Builder, Model, Weights};
use shiftwise_tests::{Case, Chain, Run, command, python, scratch, skip};

/// The folder of the installed package, where there is one.
fn package() -> Option<PathBuf> {
    let found = python().and_then(|python| {
        let script = "import onnxruntime; print(onnxruntime.__path__[0])";
        let output = Command::new(python).args(["-c", script]).output().ok()?;
        output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    });
    if found.is_none() {
        skip("no Python with onnxruntime; set SHIFTWISE_PYTHON");
    }
    found
}

/// A program that finds no ONNX Runtime by itself.
fn alone<S: AsRef<std::ffi::OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = command(program, args);
    command
        .env("PATH", "/nowhere")
        .env_remove("VIRTUAL_ENV")
        .env_remove("CONDA_PREFIX")
        .env_remove("ORT_DYLIB_PATH");
    command
}

fn args(list: &[&dyn AsRef<std::ffi::OsStr>]) -> Vec<OsString> {
    list.iter().map(|a| a.as_ref().to_owned()).collect()
}

fn collect(model: &Path, out: &Path, case: &Case, more: &[&str]) -> Vec<OsString> {
    let mut list = args(&[&"collect", &model, &"-o", &out]);
    list.extend(case.calibration_data().map(OsString::from));
    list.extend(more.iter().map(OsString::from));
    list
}

fn manifest(artifact: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(artifact.join("artifact.json")).unwrap()).unwrap()
}

/// A model with an operator that no engine here has.
fn odd_model(dir: &Path, op: &str) -> PathBuf {
    let model: Model = Builder::new()
        .input("x", &[1, 4])
        .node("Relu", &["x"], &["a"])
        .node(op, &["a"], &["y"])
        .build(&[("y", &[1, 4])], 13);
    let path = dir.join(format!("{op}.onnx"));
    fs::write(&path, model.encode(&Weights::Inline).unwrap().model).unwrap();
    path
}

#[test]
fn calibrate_and_evaluate_run_with_onnx_runtime() {
    let Some(package) = package() else { return };
    let dir = scratch();
    let case = Case::demo();
    let chain = Chain::quantized(&case, dir.path());
    let (prepared, adjusted) = (chain.path("prepared"), chain.path("adjusted"));
    let library = package.display().to_string();

    // Any limit gives the same statistics, and has no part in what they are.
    let stats = dir.path().join("ort-stats");
    let ort = ["--engine", "ort", "--ort-lib", &library];
    let run = |more: &[&str]| {
        let more: Vec<&str> = ort.iter().chain(more).copied().collect();
        Run::of(&mut alone("shiftwise-calibrate", collect(&prepared, &stats, &case, &more)))
    };
    let _ = run(&["--max-memory", "64K"]).ok();
    let engine = manifest(&stats)["config"]["engine"].as_str().unwrap().to_owned();
    assert!(engine.starts_with("onnxruntime 1.") && engine.ends_with("(cpu, fake-quant)"), "{engine}");
    let first = fs::read(stats.join("stats.bin")).unwrap();
    let _ = run(&["--max-memory", "1G"]).ok().says(&["up to date"]);
    let _ = run(&["--force"]).ok();
    assert!(fs::read(stats.join("stats.bin")).unwrap() == first, "passes change the statistics");
    // Another engine is another output.
    let embedded = Run::of(&mut alone("shiftwise-calibrate", collect(&prepared, &stats, &case, &[])));
    let _ = embedded.exits(5).says(&["engine"]);

    // What is asked for in a file counts as well; the report says how the models were run.
    for (fidelity, config) in [("fake-quant", ""), ("deploy", "fidelity = 'deploy'\n")] {
        let out = dir.path().join(fidelity);
        let file = dir.path().join("run.toml");
        fs::write(
            &file,
            format!("engine = 'onnxruntime'\nort_lib = '{library}'\nproviders = ['cpu']\n{config}"),
        )
        .unwrap();
        let mut list = args(&[&prepared, &adjusted, &"-o", &out, &"--samples", &"20", &"--config", &file]);
        list.extend(case.evaluation_data().map(OsString::from));
        let run = Run::of(&mut alone("shiftwise-evaluate", list)).ok();
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
        let engine = report["engine"].as_str().unwrap();
        assert!(engine.contains(&format!("(cpu, {fidelity})")), "{engine}");
        assert!(run.stdout.contains(engine), "{run}");
        let agreement = report["models"][0]["agreement"]["percent"].as_f64().unwrap();
        assert!(agreement >= 90.0, "{fidelity}: {agreement} %");
    }
}

#[test]
fn what_auto_takes_is_told() {
    let Some(package) = package() else { return };
    let dir = scratch();
    let case = Case::demo();
    let out = |name: &str| dir.path().join(name);
    let small = ["--samples", "2"];
    let run = |name: &str, more: &[&str]| {
        let more: Vec<&str> = small.iter().chain(more).copied().collect();
        let mut command = alone("shiftwise-calibrate", collect(&case.model, &out(name), &case, &more));
        command.env("ORT_DYLIB_PATH", &package);
        Run::of(&mut command)
    };
    // A library that could be used does not change what runs a model.
    let _ = run("plain", &[]).ok();
    assert!(manifest(&out("plain"))["config"]["engine"].as_str().unwrap().starts_with("embedded"));
    let _ = run("provider", &["--provider", "CPUExecutionProvider"])
        .ok()
        .says(&["running with onnxruntime", "--provider"]);
    let _ = run("none", &["--provider", "cuda,cpu"]).exits(3).says(&["\"cuda\"", "cpu"]);
    let _ =
        run("none", &["--provider", "cpu", "--provider-option", "cuda.device_id=1"]).exits(2).says(&["cuda"]);
    let _ = run("none", &["--engine", "embedded", "--provider", "cpu"])
        .exits(2)
        .says(&["--provider", "--engine ort"]);
    let _ = run("none", &["--fidelity", "deploy", "--max-memory", "1M"]).exits(2).says(&["deploy", "memory"]);
    let _ = run("none", &["--engine", "ort", "--max-memory", "lots"]).exits(2).says(&["lots", "512M"]);
}

#[test]
fn an_installed_package_is_found() {
    let Some(package) = package() else { return };
    // <environment>/lib/python3.x/site-packages/onnxruntime
    let Some(environment) = package.ancestors().nth(4).filter(|e| e.join("bin/python").is_file()) else {
        skip("Python is not in a virtual environment");
        return;
    };
    let dir = scratch();
    let case = Case::demo();
    let list = collect(&case.model, &dir.path().join("stats"), &case, &["--samples", "2", "--engine", "ort"]);
    let _ = Run::of(alone("shiftwise-calibrate", &list).env("VIRTUAL_ENV", environment)).ok();
    let path = std::env::join_paths([environment.join("bin")]).unwrap();
    let _ = Run::of(alone("shiftwise-calibrate", &list).env("PATH", path)).ok().says(&["up to date"]);
}

#[test]
fn libraries_that_cannot_be_used_are_refused() {
    let dir = scratch();
    let case = Case::demo();
    let out = dir.path().join("stats");
    let text = dir.path().join("libonnxruntime.so");
    fs::write(&text, "no library\n").unwrap();
    let with = |library: &str| {
        let list = collect(&case.model, &out, &case, &["--engine", "ort", "--ort-lib", library]);
        let run = Run::of(&mut alone("shiftwise-calibrate", list)).exits(3);
        assert!(!run.stderr.contains("panicked"), "{run}");
        run.says(&["ONNX Runtime", library, "pip install onnxruntime"])
    };
    let _ = with("/nowhere/libonnxruntime.so").says(&["no such file"]);
    let _ = with(text.to_str().unwrap());
    if cfg!(target_os = "linux") {
        let _ = with("libm.so.6").says(&["OrtGetApiBase"]);
    }
    let list = collect(&case.model, &out, &case, &["--engine", "ort"]);
    let run = Run::of(alone("shiftwise-calibrate", &list).env("ORT_DYLIB_PATH", &text)).exits(3);
    let _ = run.says(&["ORT_DYLIB_PATH"]);
    let run = Run::of(&mut alone("shiftwise-calibrate", list));
    if run.code != Some(0) {
        let _ =
            run.exits(3).says(&["find the library of ONNX Runtime", "pip install onnxruntime", "python3"]);
    }
    assert!(!out.join("artifact.json").exists() || cfg!(not(target_os = "linux")));
}

#[test]
fn operators_that_nothing_computes_are_listed() {
    let dir = scratch();
    let model = odd_model(dir.path(), "Frobnicate");
    let out = dir.path().join("stats");
    let list = args(&[&"collect", &model, &"--data", &"random", &"--samples", &"2", &"--all", &"-o", &out]);
    let run = Run::of(&mut alone("shiftwise-calibrate", &list)).exits(3);
    let _ = run.says(&["Frobnicate"]);
    let Some(package) = package() else { return };
    let run = Run::of(alone("shiftwise-calibrate", &list).env("ORT_DYLIB_PATH", &package)).exits(3);
    let _ = run.says(&["Frobnicate", "onnxruntime"]);
}

#[test]
fn a_node_that_only_onnx_runtime_computes_makes_auto_take_it() {
    let Some(package) = package() else { return };
    let dir = scratch();
    let mut model: Model = Builder::new()
        .input("x", &[1, 4])
        .node("Relu", &["x"], &["a"])
        .node("BiasGelu", &["a", "b"], &["y"])
        .constant("b", shiftwise_graph::Tensor::f32(&[4], &[0.1, 0.2, 0.3, 0.4]))
        .build(&[("y", &[1, 4])], 13);
    let mut patch = shiftwise_graph::Patch::new();
    let (id, node) = model.graph.producer("y").map(|(id, n)| (id, n.clone())).unwrap();
    patch.replace(id, shiftwise_graph::Node { domain: "com.microsoft".into(), ..node });
    model.graph.apply("test", patch).unwrap();
    model.graph.sort();
    model.opsets.insert("com.microsoft".into(), 1);
    let path = dir.path().join("gelu.onnx");
    fs::write(&path, model.encode(&Weights::Inline).unwrap().model).unwrap();
    let out = dir.path().join("stats");
    let list = args(&[&"collect", &path, &"--data", &"random", &"--samples", &"2", &"--all", &"-o", &out]);
    let run = Run::of(&mut alone("shiftwise-calibrate", &list));
    if run.code == Some(0) {
        skip("the embedded engine computes BiasGelu");
        return;
    }
    let _ = run.exits(3).says(&["BiasGelu", "pip install onnxruntime"]);
    let run = Run::of(alone("shiftwise-calibrate", &list).env("ORT_DYLIB_PATH", &package)).ok();
    let _ = run.says(&["running with onnxruntime", "BiasGelu"]);
}
