//! Forms that models come and go in: channels-last, weights in other files, without types. All stages take them.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shiftwise_graph::Model;
use shiftwise_tests::{Case, npy, run, scratch};

/// All stages on a case, each with the same settings.
struct Stages<'a> {
    case: &'a Case,
    dir: PathBuf,
    settings: Vec<String>,
}

impl<'a> Stages<'a> {
    fn new(case: &'a Case, dir: &Path, settings: &[&str]) -> Self {
        let settings = settings.iter().flat_map(|s| ["--set".to_owned(), (*s).to_owned()]).collect();
        Self { case, dir: dir.to_owned(), settings }
    }

    fn path(&self, stage: &str) -> PathBuf {
        self.dir.join(stage)
    }

    fn run(&self, program: &str, first: &[&OsStr], output: &str, more: &[&Path]) {
        let out = self.path(output);
        let mut args: Vec<&OsStr> = first.to_vec();
        args.extend([OsStr::new("-o"), out.as_os_str()]);
        args.extend(more.iter().map(|p| p.as_os_str()));
        args.extend(self.settings.iter().map(OsStr::new));
        let _ = run(program, args).ok();
    }

    fn prepared(self) -> Self {
        self.run("shiftwise-preprocess", &[self.case.model.as_os_str()], "prepared", &[]);
        self
    }

    fn quantized(self, data: &[&Path]) -> Self {
        let [prepared, stats, quantized] = ["prepared", "stats", "quantized"].map(|stage| self.path(stage));
        self.run("shiftwise-calibrate", &["collect".as_ref(), prepared.as_ref()], "stats", data);
        let args = [prepared.as_os_str(), "--stats".as_ref(), stats.as_ref()];
        self.run("shiftwise-quantize", &args, "quantized", &[]);
        self.run("shiftwise-npu-check", &[quantized.as_ref(), "--fix".as_ref()], "adjusted", &[]);
        self
    }

    fn finetuned(self) -> Self {
        let adjusted = self.path("adjusted");
        self.run("shiftwise-finetune", &[adjusted.as_ref()], "finetuned", &self.case.calibration_data());
        self
    }

    fn evaluation(&self, model: &str) -> Value {
        let (prepared, model) = (self.path("prepared"), self.path(model));
        let args = [prepared.as_os_str(), model.as_ref()];
        self.run("shiftwise-evaluate", &args, "evaluation", &self.case.evaluation_data());
        serde_json::from_slice(&fs::read(self.path("evaluation").join("report.json")).unwrap()).unwrap()
    }

    fn model(&self, stage: &str) -> Model {
        Model::load(&self.path(stage).join("model.onnx")).unwrap()
    }
}

fn dims(model: &Model) -> Vec<Option<usize>> {
    let shape = model.graph.inputs()[0].ty.tensor().unwrap().shape.clone().unwrap();
    shape.iter().map(shiftwise_graph::Dim::known).collect()
}

/// What a report says about accuracy.
fn accuracy(report: &Value) -> String {
    fn collect(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(k, v)| collect(v, &format!("{path}/{k}"), found)),
            number if ["top1", "top5", "agree"].iter().any(|key| path.contains(key)) => {
                found.push(format!("{path} {number}"));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(report, "", &mut found);
    assert!(!found.is_empty(), "{report:#}");
    found.join("\n")
}

#[test]
fn a_channels_last_model_is_fed_what_the_model_was_made_for() {
    let case = Case::demo();
    let dir = scratch();
    let plain = Stages::new(&case, &dir.path().join("nchw"), &[]).prepared();
    let turned = Stages::new(&case, &dir.path().join("nhwc"), &["convert_nchw_to_nhwc=true"]).prepared();
    let [Some(c), Some(h), Some(w)] = dims(&plain.model("prepared"))[1..] else { panic!("an image") };
    assert_eq!(dims(&turned.model("prepared"))[1..], [Some(h), Some(w), Some(c)]);

    let [plain, turned] = [plain, turned].map(|s| s.quantized(&case.calibration_data()));
    assert_eq!(accuracy(&plain.evaluation("adjusted")), accuracy(&turned.evaluation("adjusted")));
    let turned = turned.finetuned();
    assert_eq!(dims(&turned.model("finetuned")), dims(&turned.model("prepared")));

    // A recipe that names the layout, either one, and arrays in either.
    let text = fs::read_to_string(&case.recipe).unwrap();
    let text = text.lines().filter(|l| !l.starts_with("layout")).collect::<Vec<_>>().join("\n");
    for layout in ["NCHW", "NHWC"] {
        let recipe = dir.path().join(format!("{layout}.toml"));
        fs::write(&recipe, format!("layout = \"{layout}\"\n{text}")).unwrap();
        let other = Stages::new(&case, &dir.path().join(layout), &["convert_nchw_to_nhwc=true"]).prepared();
        let data = ["--data".as_ref(), case.calibration.as_path(), "--recipe".as_ref(), &recipe];
        let other = other.quantized(&data);
        assert_eq!(other.model("quantized"), turned.model("quantized"), "{layout}");
    }
    let at = |y: usize, x: usize, channel: usize| ((y * 31 + x * 17 + channel * 101) % 255) as f32 / 255.0;
    let first = (0..c * h * w).map(|i| at(i / w % h, i % w, i / (h * w)));
    let last = (0..h * w * c).map(|i| at(i / c / w, i / c % w, i % c));
    let arrays = [("first", npy(&[1, c, h, w], first)), ("last", npy(&[1, h, w, c], last))];
    let models = arrays.map(|(name, bytes)| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("0.npy"), bytes).unwrap();
        let other =
            Stages::new(&case, &dir.path().join(format!("{name}-array")), &["convert_nchw_to_nhwc=true"]);
        other.prepared().quantized(&["--data".as_ref(), &folder]).model("quantized")
    });
    assert_eq!(models[0], models[1]);
}

#[test]
fn weights_go_where_they_are_wanted_and_are_found_there() {
    let case = Case::demo();
    let dir = scratch();
    let plain = Stages::new(&case, &dir.path().join("inside"), &[]).prepared();
    let plain = plain.quantized(&case.calibration_data()).finetuned();
    let always = ["use_external_data_format=true", "external_data_threshold=16"];
    for (name, more, file) in [
        ("default", &[][..], Some("model.onnx.data")),
        ("file", &["external_data_location=weights.bin"], Some("weights.bin")),
        ("folder", &["external_data_location=./weights/"], Some("weights/model.onnx.data")),
        ("many", &["all_tensors_to_one_file=false"], None),
        ("spread", &["all_tensors_to_one_file=false", "external_data_location=weights/"], None),
    ] {
        let settings: Vec<&str> = always.iter().chain(more).copied().collect();
        let stages = Stages::new(&case, &dir.path().join(name), &settings).prepared();
        let stages = stages.quantized(&case.calibration_data()).finetuned();
        for stage in ["prepared", "quantized", "adjusted", "finetuned"] {
            assert_eq!(stages.model(stage).graph, plain.model(stage).graph, "{name}: {stage}");
            let manifest = fs::read(stages.path(stage).join("artifact.json")).unwrap();
            let manifest: Value = serde_json::from_slice(&manifest).unwrap();
            let listed: Vec<&String> = manifest["outputs"].as_object().unwrap().keys().collect();
            let parts = listed.iter().filter(|f| f.contains("model.onnx.data/")).count();
            match file {
                Some(file) => assert!(listed.iter().any(|f| *f == file) && parts == 0, "{name}: {listed:?}"),
                None => assert!(parts > 1, "{name}: {listed:?}"),
            }
        }
    }
    let data = dir.path().join("file/prepared/weights.bin");
    let bytes = fs::read(&data).unwrap();
    fs::write(&data, &bytes[..bytes.len() - 8]).unwrap();
    let args = ["collect".as_ref(), data.parent().unwrap().as_os_str(), "-o".as_ref(), "x".as_ref()];
    let _ = run("shiftwise-calibrate", args).exits(5).says(&["weights.bin"]);
}

#[test]
fn a_model_without_types_goes_through_all_stages() {
    let case = Case::demo();
    let dir = scratch();
    let plain = Stages::new(&case, &dir.path().join("types"), &[]).prepared();
    let skip = ["skip_onnx_shape=true", "skip_symbolic_shape=true"];
    let bare = Stages::new(&case, &dir.path().join("none"), &skip).prepared();
    assert_eq!(bare.model("prepared").graph.types().count(), 0);
    let [plain, bare] = [plain, bare].map(|s| s.quantized(&case.calibration_data()));
    assert_eq!(plain.model("adjusted").graph, bare.model("adjusted").graph);
}
