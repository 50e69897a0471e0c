//! Tiny models and data, and the program.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use shiftwise_artifact::atomic;
use shiftwise_graph::{Builder, Model, Tensor, Weights};
use tempfile::TempDir;

/// A folder with models and data.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        atomic::write(&self.path(name), content.as_ref()).unwrap();
    }

    pub(crate) fn model(&self, name: &str, model: &Model) {
        self.write(name, model.encode(&Weights::Inline).unwrap().model);
    }

    pub(crate) fn sample(&self, name: &str, values: &[f32]) {
        self.write(&format!("data/{name}"), npy(values));
    }

    /// `shiftwise-evaluate` in this folder, with its data, into `out`.
    pub(crate) fn evaluate(&self, models: &[&str], more: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("shiftwise-evaluate"));
        command.current_dir(self.dir.path()).env("NO_COLOR", "1").args(models);
        command.args(["--data", "data", "-o", "out"]).args(more);
        command
    }

    pub(crate) fn report(&self) -> serde_json::Value {
        json(&self.path("out/report.json"))
    }

    /// Four samples of three scores; the float model repeats them, the other two are `doubling` and `swapping`.
    pub(crate) fn classifiers() -> Self {
        let place = Self::new();
        place.model("float.onnx", &linear(&[1., 0., 0., 0., 1., 0., 0., 0., 1.]));
        // Twice the scores: the same predictions, an SQNR of 0 dB.
        place.model("doubling.onnx", &linear(&[2., 0., 0., 0., 2., 0., 0., 0., 2.]));
        // Classes 0 and 1 change places.
        place.model("swapping.onnx", &linear(&[0., 1., 0., 1., 0., 0., 0., 0., 1.]));
        place.sample("a.npy", &[3., 1., 0.]);
        place.sample("b.npy", &[1., 3., 0.]);
        place.sample("c.npy", &[0., 1., 4.]);
        place.sample("d.npy", &[2., 2., 0.]);
        place
    }
}

/// y = x W for vectors of three.
pub(crate) fn linear(weights: &[f32; 9]) -> Model {
    Builder::new()
        .input("x", &[1, 3])
        .constant("w", Tensor::f32(&[3, 3], weights))
        .node("MatMul", &["x", "w"], &["y"])
        .build(&[("y", &[1, 3])], 17)
}

/// A one-dimensional float array as an NPY file.
pub(crate) fn npy(values: &[f32]) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", values.len());
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

pub(crate) fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// What a program printed to standard error.
pub(crate) fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
