//! Samples from the standard input of the program.

#![allow(missing_docs)]

use std::io::Cursor;
use std::io::Write;
use std::path::Path;

use assert_cmd::Command;
use shiftwise_artifact::atomic;
use shiftwise_graph::{Builder, Weights};
use zip::write::{SimpleFileOptions, ZipWriter};

/// An archive with rows of an input `x` of shape \[1, 2, 4, 4\].
fn npz(first: usize, rows: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 2, 4, 4), }}");
    let text = format!("{text:<117}\n");
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("x.npy", SimpleFileOptions::default()).unwrap();
    zip.write_all(b"\x93NUMPY\x01\x00").unwrap();
    zip.write_all(&(text.len() as u16).to_le_bytes()).unwrap();
    zip.write_all(text.as_bytes()).unwrap();
    for i in first * 32..(first + rows) * 32 {
        zip.write_all(&(i as f32 * 0.37).sin().to_le_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn collect(model: &Path, data: &str, out: &Path) -> Command {
    let mut command = Command::cargo_bin("shiftwise-calibrate").unwrap();
    command.arg("collect").arg(model).args(["--all", "--data", data, "-o"]).arg(out);
    command
}

#[test]
fn a_stream_gives_the_statistics_of_the_same_samples_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let model = Builder::new()
        .input("x", &[1, 2, 4, 4])
        .node("Relu", &["x"], &["r"])
        .node("Add", &["r", "x"], &["y"])
        .build(&[("y", &[1, 2, 4, 4])], 13);
    let path = dir.path().join("model.onnx");
    atomic::write(&path, &model.encode(&Weights::Inline).unwrap().model).unwrap();
    let file = dir.path().join("all.npz");
    atomic::write(&file, &npz(0, 9)).unwrap();
    let out = |name: &str| dir.path().join(name);
    collect(&path, file.to_str().unwrap(), &out("file")).assert().success();
    let stream: Vec<u8> = [npz(0, 1), npz(1, 5), npz(6, 3)].concat();
    collect(&path, "-", &out("stream")).write_stdin(stream.clone()).assert().success();
    let stats = |name: &str| std::fs::read(out(name).join("stats.bin")).unwrap();
    assert!(stats("file") == stats("stream"));
    // The same samples again are nothing new, whether they come in one piece or not.
    let again = collect(&path, "-", &out("stream")).write_stdin(npz(0, 9)).assert().success();
    let said = String::from_utf8_lossy(&again.get_output().stderr).into_owned();
    assert!(said.contains("up to date"), "{said}");

    let short = collect(&path, "-", &out("short")).write_stdin(&stream[..stream.len() - 9]).assert().code(3);
    let said = String::from_utf8_lossy(&short.get_output().stderr).into_owned();
    assert!(said.contains("after 6 samples"), "{said}");
    assert!(!out("short").exists());
    let empty = collect(&path, "-", &out("empty")).write_stdin("").assert().code(3);
    let said = String::from_utf8_lossy(&empty.get_output().stderr).into_owned();
    assert!(said.contains("empty stream") && said.contains("savez"), "{said}");
}
