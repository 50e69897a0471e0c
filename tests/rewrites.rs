//! What the preprocess stage makes of the reference models, against the basic optimizations of ONNX Runtime: at most as many
//! nodes of each operator, and the same results.

#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use shiftwise_tests::{Run, python, root, run, say, scratch, shared, skip};

/// How far outputs may be from those of the model as it was, as part of their range.
const TOLERANCE: f64 = 1e-4;

/// Conversions for NPUs add nodes on purpose; they are compared by result alone.
const CONVERSIONS: [&str; 4] = [
    "convert_bn_to_conv",
    "convert_reduce_mean_to_global_avg_pool",
    "split_large_kernel_pool",
    "convert_split_to_slice",
];

/// Operators of which there may be more than ONNX Runtime leaves, by model, and why.
const MORE: [(&str, &str, &str); 4] = [
    ("mobilenet_v2_fp16", "BatchNormalization", "folding would round 16-bit weights a second time"),
    ("ppocr_cls", "HardSwish", "ONNX Runtime writes it as HardSigmoid and Mul; NPUs have it"),
    ("ppocrv3_det", "HardSwish", "ONNX Runtime writes it as HardSigmoid and Mul; NPUs have it"),
    ("silero_vad", "Reshape", "Squeeze and Unsqueeze that stand in a row are one Reshape"),
];

#[test]
fn mobilenet_v2() {
    compare("mobilenet_v2", &[]);
}

#[test]
fn mobilenet_v2_fp16() {
    compare("mobilenet_v2_fp16", &[]);
}

#[test]
fn ppocr_cls() {
    compare("ppocr_cls", &[]);
}

#[test]
fn ppocrv3_det() {
    let dims = ["p2o.DynamicDimension.0=1", "p2o.DynamicDimension.1=128", "p2o.DynamicDimension.2=192"];
    compare("ppocrv3_det", &dims);
}

#[test]
fn resnet20_cifar10() {
    compare("resnet20_cifar10", &[]);
}

#[test]
fn silero_vad() {
    compare("silero_vad", &["sequence=576", "batch=1"]);
}

#[test]
fn squeezenet1_1() {
    compare("squeezenet1_1", &[]);
}

#[test]
fn stories260k() {
    compare("stories260k", &[]);
}

#[test]
fn superres() {
    compare("superres", &[]);
}

#[test]
fn ultraface() {
    compare("ultraface", &[]);
}

#[test]
fn yolox_nano() {
    compare("yolox_nano", &[]);
}

fn compare(name: &str, dims: &[&str]) {
    let Some(model) = shared(&format!("models/{name}.onnx")) else {
        return skip(&format!("{name} is not there; SHIFTWISE_TEST_DATA names the folder of models"));
    };
    let Some(python) = python() else {
        return skip("ONNX Runtime is not there; SHIFTWISE_PYTHON names a Python that has it");
    };
    let script = |mode: &str, paths: &[&Path]| {
        let mut command = Command::new(&python);
        command.arg(root().join("tests/oracle/rewrites.py")).arg(mode).args(paths);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    let dir = scratch();
    let fixed = dir.path().join("fixed.onnx");
    let _ = Run::of(script("fix", &[&model, &fixed]).args(dims)).ok();
    let folders = ["rewritten", "converted"].map(|folder| dir.path().join(folder));
    for (folder, value) in folders.iter().zip(["false", "true"]) {
        let mut args = vec![fixed.display().to_string(), "-o".into(), folder.display().to_string()];
        args.extend(CONVERSIONS.iter().flat_map(|option| ["--set".into(), format!("{option}={value}")]));
        let _ = run("shiftwise-preprocess", &args).ok();
    }
    let [rewritten, converted] = folders.map(|folder| folder.join("model.onnx"));
    let report = Run::of(&mut script("compare", &[&fixed, &rewritten, &converted])).ok().json();

    let ours = counts(&report["prepared"][0]["nodes"]);
    let theirs = counts(&report["onnxruntime"]);
    say(&format!("{name}: {} nodes, ONNX Runtime leaves {}", total(&ours), total(&theirs)));
    for (op, n) in &ours {
        let least = theirs.get(op).copied().unwrap_or(0);
        let exception = MORE.iter().find(|(model, excepted, _)| *model == name && excepted == op);
        match exception {
            None => assert!(*n <= least, "{name}: {n} nodes of {op}, ONNX Runtime leaves {least}"),
            Some((.., why)) => assert!(*n > least, "{name}: {op} is no exception any more: {why}"),
        }
    }
    for (which, prepared) in
        ["rewritten", "converted"].iter().zip(report["prepared"].as_array().expect("a list"))
    {
        let error = prepared["error"].as_f64().unwrap_or(f64::INFINITY);
        say(&format!("{name}, {which}: outputs differ by {error:e} of their range"));
        assert!(error <= TOLERANCE, "{name}, {which}: outputs differ by {error} of their range");
    }
}

fn counts(nodes: &Value) -> BTreeMap<String, u64> {
    let nodes = nodes.as_object().expect("counts by operator");
    nodes.iter().map(|(op, n)| (op.clone(), n.as_u64().expect("a count"))).collect()
}

fn total(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}
