//! What is chosen from histograms against what numpy and ONNX Runtime choose from the values themselves.

#![allow(missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use shiftwise_artifact::Fingerprint;
use shiftwise_artifact::stats::{Accumulator, Plan, Stats, TensorSpec, TensorView};
use shiftwise_quant::QuantType;
use shiftwise_quant::calibration::{Choice, Method, MseMode, ScaleKind, Target, choose};

/// The interpreter with numpy and onnxruntime.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("SHIFTWISE_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let works = Command::new(&python).args(["-c", "import numpy, onnxruntime"]).output();
    if works.is_ok_and(|o| o.status.success()) {
        return Some(python);
    }
    #[allow(clippy::print_stderr, reason = "the one way a test can say so")]
    {
        eprintln!("skipped: no python with numpy and onnxruntime; set SHIFTWISE_PYTHON");
    }
    None
}

fn values(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Statistics of values that came in several samples.
fn statistics(values: &[f32]) -> Stats {
    let mut accumulator = Accumulator::new(vec![TensorSpec::flat("t", &[-1])]).unwrap();
    let samples = values.chunks(values.len().div_ceil(5));
    let count = samples.len() as u64;
    for (i, sample) in samples.enumerate() {
        accumulator.begin(&[i as u64]).unwrap();
        accumulator.observe(0, sample, 1).unwrap();
        accumulator.finish();
    }
    Stats::from_accumulators(&Plan::whole(Fingerprint::of_bytes(b"t"), count), &[accumulator]).unwrap()
}

fn chosen(view: TensorView<'_>, method: &Method, target: Target) -> Choice {
    choose(view, method, target).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

struct Case<'a> {
    name: &'a str,
    expected: &'a Value,
    view: TensorView<'a>,
}

impl Case<'_> {
    fn percentiles(&self) {
        let (min, max) = self.view.range().unwrap();
        let (min, max) = (f64::from(min), f64::from(max));
        let near = |found: f32, wanted: f64, what: &str| {
            let error = (f64::from(found) - wanted).abs();
            // Near zero the difference is that of two neighbours, which have nothing to do with the magnitude.
            let scale = wanted.abs().max(1e-3 * max.max(-min));
            assert!(error <= 2e-3 * scale, "{} {what}: {found}, not {wanted}", self.name);
        };
        let list = |name: &str| self.expected[name].as_array().unwrap();
        for (i, percentile) in list("percentiles").iter().enumerate() {
            let method = Method::Percentile { percentile: number(percentile) };
            let mut target = Target::new(QuantType::Int8, ScaleKind::Float);
            let wanted = number(&list("by_magnitude")[i]);
            let choice = chosen(self.view, &method, target);
            if choice.note.starts_with("percentile") {
                near(choice.range.0, min.max(-wanted), &format!("below, by magnitude, {percentile}"));
                near(choice.range.1, max.min(wanted), &format!("above, by magnitude, {percentile}"));
            } else {
                assert_eq!(wanted, 0.0, "{}: {}", self.name, choice.note);
            }
            target.symmetric_range = Some(false);
            let choice = chosen(self.view, &method, target);
            if choice.note.starts_with("percentile") {
                near(choice.range.0, number(&list("lower")[i]), &format!("below, {percentile}"));
                near(choice.range.1, number(&list("upper")[i]), &format!("above, {percentile}"));
            }
        }
    }

    fn positions(&self) {
        let method = Method::MinMse { mode: MseMode::All };
        let types = [QuantType::Uint8, QuantType::Int8, QuantType::Uint16, QuantType::Int16];
        for ty in types {
            let choice = chosen(self.view, &method, Target::new(ty, ScaleKind::PowerOfTwo));
            let position = i64::from(choice.params.position().unwrap().get());
            let errors = self.expected["positions"][ty.to_string()].as_array().unwrap();
            let least = errors.iter().map(|e| number(&e[1])).fold(f64::INFINITY, f64::min);
            let own = errors.iter().find(|e| e[0].as_i64() == Some(position)).map(|e| number(&e[1]));
            let tie = own.is_some_and(|own| own <= least * 1.001);
            assert!(tie, "{} {ty}: position {position} of {errors:?}", self.name);
        }
    }

    fn entropy(&self) {
        let (min, max) = self.view.range().unwrap();
        for expected in self.expected["entropy"].as_array().unwrap() {
            let count = |name: &str| expected[name].as_u64().unwrap() as usize;
            let (bins, quantized_bins) = (count("bins"), count("quantized"));
            let method = Method::Entropy { bins, quantized_bins };
            let (lo, hi) = chosen(self.view, &method, Target::new(QuantType::Int8, ScaleKind::Float)).range;
            let width = 2.0 * f64::from(max.max(-min)) / bins as f64 * 1.001;
            let near = |found: f32, wanted: &Value| (f64::from(found) - number(wanted)).abs() <= width;
            let ranges = expected["ranges"].as_array().unwrap();
            assert!(
                ranges.iter().any(|range| near(lo, &range[0]) && near(hi, &range[1])),
                "{} {bins}/{quantized_bins}: ({lo}, {hi}) is none of {ranges:?}",
                self.name
            );
        }
    }
}

#[test]
fn histograms_choose_what_the_values_themselves_would() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/agreement.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let cases = std::fs::read(folder.path().join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    assert!(cases.len() > 30);
    for (i, expected) in cases.iter().enumerate() {
        let stats = statistics(&values(&folder.path().join(format!("{i}.f32"))));
        let view = stats.tensor("t").unwrap();
        let case = Case { name: expected["name"].as_str().unwrap(), expected, view };
        case.percentiles();
        case.positions();
        case.entropy();
    }
}
