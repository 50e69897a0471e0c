//! `show` as a program: text, JSON, pictures.

#![allow(missing_docs)]

use std::io::Cursor;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;
use shiftwise_artifact::atomic;
use shiftwise_graph::{Builder, Weights};

fn calibrate(args: &[&str], dir: &Path) -> Command {
    let mut command = Command::cargo_bin("shiftwise-calibrate").unwrap();
    command.args(args).current_dir(dir).env_remove("CLICOLOR_FORCE");
    command
}

/// Statistics of three tensors in `stats`, one with a name that no file can have.
fn statistics() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let model = Builder::new()
        .input("x", &[1, 2, 16, 16])
        .node("Relu", &["x"], &["a/b:0"])
        .node("Add", &["a/b:0", "x"], &["y"])
        .build(&[("y", &[1, 2, 16, 16])], 13);
    atomic::write(&dir.path().join("m.onnx"), &model.encode(&Weights::Inline).unwrap().model).unwrap();
    let data = ["--data", "random", "--random-range", "x=-2:3", "--samples", "3"];
    calibrate(&[&["collect", "m.onnx", "--all", "-o", "stats"][..], &data].concat(), dir.path())
        .assert()
        .success();
    dir
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

#[test]
fn a_tensor_in_detail() {
    let dir = statistics();
    let text = stdout(&mut calibrate(&["show", "stats", "x", "--type", "int8"], dir.path()));
    assert!(!text.contains('\u{1b}'), "no colours in a pipe");
    for part in ["3 samples, 1536 values", "█", "◂", "for int8", "nonoverflow", "2^-5", " dB"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = stdout(&mut calibrate(&["show", "stats", "--json"], dir.path()));
    let tensors: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(tensors.len(), 3);
    for tensor in &tensors {
        let thresholds = tensor["thresholds"].as_array().unwrap();
        let methods: Vec<&str> = thresholds.iter().filter_map(|t| t["method"].as_str()).collect();
        assert!(
            ["minmax", "entropy", "percentile", "minmse"].iter().all(|m| methods.contains(m)),
            "{methods:?}"
        );
        for t in thresholds {
            assert!(t["low"].as_f64() < t["high"].as_f64() && t["scale"].as_f64() > Some(0.0), "{t}");
            assert!(t["sqnr"].as_f64() > Some(20.0), "{t}");
        }
    }
    calibrate(&["show", "stats", "--type", "int4"], dir.path()).assert().code(2);
}

#[test]
fn pictures_go_where_they_are_asked_for() {
    let dir = statistics();
    let plot = |args: &[&str]| calibrate(&[&["show", "stats"], args].concat(), dir.path());
    plot(&["x", "--plot", "x.png"]).assert().success();
    let file = std::fs::read(dir.path().join("x.png")).unwrap();
    let reader = png::Decoder::new(Cursor::new(file)).read_info().unwrap();
    assert_eq!(reader.info().width, 960);
    plot(&["x", "--plot", "x.svg"]).assert().success();
    plot(&["--plot", "new/folder"]).assert().success();
    let svg = |path: &str| std::fs::read_to_string(dir.path().join(path)).unwrap();
    assert_eq!(svg("x.svg"), svg("new/folder/x.svg"));
    assert!(svg("new/folder/a_b_0.svg").contains(">a/b:0</text>"));
    let mut names: Vec<_> = std::fs::read_dir(dir.path().join("new/folder"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["a_b_0.svg", "x.svg", "y.svg"]);
    for (args, reason) in
        [(&["--plot", "x.svg"][..], "3 tensors"), (&["x", "--plot", "x.pdf"], ".svg or .png")]
    {
        let run = plot(args).assert().code(2);
        let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(said.contains(reason), "{said}");
    }
}
