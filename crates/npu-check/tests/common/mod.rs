#![allow(missing_docs, dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use indexmap::IndexMap;
use serde_json::{Value, json};
use shiftwise_artifact::{Artifact, Kind, Measured, Request, Tool, Writer, atomic};
use shiftwise_graph::{Builder, Model, Tensor, Weights};
use shiftwise_quant::{
    Decision, Emitted, Placement, PlacementOptions, Position, QParams, QuantType, Role, TENSORS_FILE, emit,
};
use shiftwise_stage::{ExternalData, MODEL_FILE, save_model, save_model_as};
use tempfile::TempDir;

/// What a run of the program left behind.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) err: String,
    pub(crate) out: String,
}

impl Outcome {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs in the place; paths among the arguments are relative to it.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        let output = Command::new(assert_cmd::cargo::cargo_bin!("shiftwise-npu-check"))
            .args(args)
            .current_dir(self.dir.path())
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        Outcome {
            code: output.status.code().unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
        }
    }

    pub(crate) fn write_model(&self, name: &str, model: &Model) {
        atomic::write(&self.path(name), &model.encode(&Weights::Inline).unwrap().model).unwrap();
    }

    /// Writes what the quantize stage writes, after `change`.
    pub(crate) fn write_artifact(&self, name: &str, mut emitted: Emitted, change: impl Fn(&mut Emitted)) {
        change(&mut emitted);
        let request = Request {
            kind: Kind::Quantized,
            tool: Tool { name: "test".into(), version: "0".into() },
            inputs: BTreeMap::new(),
            config: json!({}),
        };
        let writer = Writer::new(&self.path(name), request, false).unwrap();
        save_model(&writer, &emitted.model, &ExternalData::default()).unwrap();
        save_model_as(
            &writer,
            "float.onnx",
            &float(),
            &ExternalData { always: true, threshold: 0, ..ExternalData::default() },
        )
        .unwrap();
        let mut sidecar = json!({ "tensors": emitted.tensors, "absorbed": ["kept"] });
        sidecar["tensors"][0]["unknown"] = "kept".into();
        writer.write_json(TENSORS_FILE, &sidecar).unwrap();
        writer.write_json("notes.json", &json!("kept")).unwrap();
        writer.commit(Measured::default()).unwrap();
    }

    pub(crate) fn open(&self, name: &str) -> (Artifact, Model, Value) {
        let artifact = Artifact::open(&self.path(name), Kind::Quantized).unwrap();
        artifact.verify().unwrap();
        let model = Model::load(&artifact.file(MODEL_FILE).unwrap()).unwrap();
        let text = std::fs::read_to_string(artifact.file(TENSORS_FILE).unwrap()).unwrap();
        (artifact, model, serde_json::from_str(&text).unwrap())
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }
}

/// x → conv1 (tiny weights, bias) → Relu → MaxPool ┐
///                                 └→ conv2 ───────┴→ Add → y
pub(crate) fn float() -> Model {
    let tiny: Vec<f32> = (0..9).map(|i| (i as f32 - 4.3) * 6e-6).collect();
    Builder::new()
        .input("x", &[1, 1, 4, 4])
        .constant("w1", Tensor::f32(&[1, 1, 3, 3], &tiny))
        .constant("b1", Tensor::f32(&[1], &[0.3]))
        .constant("w2", Tensor::f32(&[1, 1, 1, 1], &[0.7]))
        .node_with("Conv", &["x", "w1", "b1"], &["c1"], &[("pads", vec![1, 1, 1, 1].into())])
        .node("Relu", &["c1"], &["r"])
        .node_with(
            "MaxPool",
            &["r"],
            &["p"],
            &[("kernel_shape", vec![3, 3].into()), ("pads", vec![1, 1, 1, 1].into())],
        )
        .node("Conv", &["r", "w2"], &["c2"])
        .node("Add", &["p", "c2"], &["y"])
        .build(&[("y", &[1, 1, 4, 4])], 13)
}

/// Quantized with these positions.
pub(crate) fn quantized(positions: &[(&str, i32)]) -> Emitted {
    let model = float();
    let placement = Placement::of(&with_types(model.clone()), &PlacementOptions::default()).unwrap();
    let positions: BTreeMap<&str, i32> = positions.iter().copied().collect();
    let decisions: IndexMap<String, Decision> = placement
        .sites
        .iter()
        .filter_map(|(tensor, site)| {
            let ty = if site.role == Role::Activation { QuantType::Uint8 } else { QuantType::Int8 };
            let position = Position::new(*positions.get(tensor.as_str())?);
            Some((tensor.clone(), Decision { params: QParams::at(ty, position), method: "by hand".into() }))
        })
        .collect();
    emit(&model, &placement, &decisions).unwrap()
}

/// The types that shape inference would find.
fn with_types(mut model: Model) -> Model {
    let mut patch = shiftwise_graph::Patch::new();
    for tensor in ["c1", "r", "p", "c2"] {
        let ty = shiftwise_graph::TensorType::fixed(shiftwise_graph::DataType::Float, &[1, 1, 4, 4]);
        patch.set_type(tensor, ty);
    }
    model.graph.apply("test", patch).unwrap();
    model
}

/// Positions that break three limits: the cut of conv1, its bias, and the reading of the addition.
pub(crate) const BROKEN: &[(&str, i32)] =
    &[("x", 5), ("w1", 22), ("b1", 8), ("r", 10), ("w2", 7), ("c2", 1), ("y", 4)];
/// Positions that break none.
pub(crate) const SOUND: &[(&str, i32)] =
    &[("x", 5), ("w1", 12), ("b1", 8), ("r", 6), ("w2", 7), ("c2", 4), ("y", 4)];
