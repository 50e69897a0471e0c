//! All stages on a case.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Case, run};

/// The outputs of the stages, in one folder.
#[derive(Debug)]
pub struct Chain {
    case: Case,
    dir: PathBuf,
}

impl Chain {
    /// Prepares, calibrates, quantizes and adjusts.
    pub fn quantized(case: &Case, dir: &Path) -> Self {
        let chain = Self::calibrated(case, dir);
        let [prepared, stats] = ["prepared", "stats"].map(|stage| chain.path(stage));
        let [quantized, adjusted] = ["quantized", "adjusted"].map(|stage| chain.path(stage));
        let args =
            [prepared.as_os_str(), "--stats".as_ref(), stats.as_ref(), "-o".as_ref(), quantized.as_ref()];
        let _ = run("shiftwise-quantize", args).ok();
        let args = [quantized.as_os_str(), "--fix".as_ref(), "-o".as_ref(), adjusted.as_ref()];
        let _ = run("shiftwise-npu-check", args).ok();
        let _ = run("shiftwise-npu-check", [adjusted.as_os_str(), "--strict".as_ref()]).ok();
        chain
    }

    /// Prepares, calibrates, quantizes, adjusts and finetunes.
    pub fn finetuned(case: &Case, dir: &Path) -> Self {
        let chain = Self::quantized(case, dir);
        let [adjusted, finetuned] = ["adjusted", "finetuned"].map(|stage| chain.path(stage));
        let mut args = vec![adjusted.as_os_str(), "-o".as_ref(), finetuned.as_ref()];
        args.extend(case.calibration_data().map(Path::as_os_str));
        let _ = run("shiftwise-finetune", args).ok();
        chain
    }

    /// Prepares and calibrates.
    pub fn calibrated(case: &Case, dir: &Path) -> Self {
        let chain = Self { case: case.clone(), dir: dir.to_owned() };
        let [prepared, stats] = ["prepared", "stats"].map(|stage| chain.path(stage));
        let args = [case.model.as_os_str(), "-o".as_ref(), prepared.as_ref()];
        let _ = run("shiftwise-preprocess", args).ok();
        let mut args = vec!["collect".as_ref(), prepared.as_os_str(), "-o".as_ref(), stats.as_ref()];
        args.extend(case.calibration_data().map(Path::as_os_str));
        let _ = run("shiftwise-calibrate", args).ok();
        chain
    }

    /// Compares the prepared with the final model, over the first images or all. Returns report.json.
    pub fn evaluate(&self, samples: Option<usize>) -> Value {
        let [prepared, adjusted, out] = ["prepared", "adjusted", "evaluation"].map(|stage| self.path(stage));
        let samples = samples.map(|n| n.to_string());
        let mut args: Vec<&OsStr> = vec![prepared.as_ref(), adjusted.as_ref(), "-o".as_ref(), out.as_ref()];
        args.extend(self.case.evaluation_data().map(Path::as_os_str));
        if let Some(samples) = &samples {
            args.extend([OsStr::new("--samples"), samples.as_ref()]);
        }
        let _ = run("shiftwise-evaluate", args).ok();
        read_json(&out.join("report.json"))
    }

    /// The artifact of a stage.
    pub fn path(&self, stage: &str) -> PathBuf {
        self.dir.join(stage)
    }

    /// The model of a stage.
    pub fn model(&self, stage: &str) -> PathBuf {
        self.path(stage).join("model.onnx")
    }

    /// A JSON file of a stage.
    pub fn json(&self, stage: &str, file: &str) -> Value {
        read_json(&self.path(stage).join(file))
    }
}

fn read_json(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|e| panic!("failed to read {}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("no JSON in {}: {e}", path.display()))
}
