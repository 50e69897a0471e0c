//! The whole product against ONNX Runtime, Pillow and the checker of ONNX: what our evaluation reports must be what users
//! will measure elsewhere.

#![allow(missing_docs)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use shiftwise_tests::{Case, Chain, Run, python, root, say, scratch, skip, slow};

/// Images that a case has to get along with where slow cases are not asked for.
const QUICK: usize = 200;

#[test]
fn demo() {
    let report = measure(&Case::demo(), None);
    let loss = report["models"][0]["top1_loss"].as_f64().expect("a loss");
    assert!(loss <= 3.0, "lost {loss} points");
}

#[test]
fn resnet20_cifar10() {
    reference("resnet20_cifar10", 81.1);
}

#[test]
fn squeezenet1_1() {
    reference("squeezenet1_1", 61.0);
}

#[test]
fn mobilenet_v2() {
    reference("mobilenet_v2", 70.0);
}

/// With `SHIFTWISE_SLOW` on all images, where top-1 must reach what was measured once.
fn reference(name: &'static str, top1: f64) {
    let Some(case) = Case::reference(name) else { return };
    let report = measure(&case, (!slow()).then_some(QUICK));
    let reached = percent(&report["models"][0], "top1");
    say(&format!("{name}: top-1 {reached}"));
    assert!(!slow() || reached >= top1, "{name}: top-1 is {reached}, it was {top1}");
}

/// Runs all stages and compares their models and numbers with other tools. Returns report.json.
fn measure(case: &Case, samples: Option<usize>) -> Value {
    let dir = scratch();
    let chain = Chain::quantized(case, dir.path());
    let report = chain.evaluate(samples);
    let Some(python) = python() else {
        skip(
            "no other tools to compare with; SHIFTWISE_PYTHON names a Python that has them, see scripts/python",
        );
        return report;
    };
    let script = |name: &str| {
        let mut command = Command::new(&python);
        command.arg(root().join("tests/oracle").join(name)).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };

    let [prepared, model] = ["prepared", "adjusted"].map(|stage| chain.model(stage));
    let _ = Run::of(script("structure.py").arg(&model)).ok();

    let images = report["samples"]["evaluated"].to_string();
    let models = [case.model.as_path(), &prepared, &model];
    let rest = [case.recipe.as_path(), &case.evaluation, Path::new(&images)];
    let other = Run::of(script("compare.py").args(models).args(rest)).ok().json();
    agree(case.name, &report, &other);
    report
}

fn agree(name: &str, report: &Value, other: &Value) {
    let ours = &report["models"][0];
    assert_eq!(report["samples"]["evaluated"], other["samples"], "{name}");
    let number = |key: &str| other[key].as_f64().expect("a number");
    // Engines add in different orders, so that a value now and then rounds to the integer beside it.
    let one_image = 100.0 / number("samples");
    let pairs = [
        ("top-1 of the prepared model", percent(&report["float"], "top1"), number("prepared_top1"), 0.3),
        ("top-1", percent(ours, "top1"), number("top1"), f64::max(0.3, one_image)),
        ("agreement", percent(ours, "agreement"), number("agreement"), f64::max(0.3, one_image)),
        ("SQNR", ours["outputs"][0]["sqnr"]["mean"].as_f64().expect("a mean"), number("sqnr"), 0.2),
    ];
    for (what, ours, theirs, tolerance) in pairs {
        say(&format!("{name}: {what}: reported {ours:.3}, measured {theirs:.3}"));
        assert!(
            (ours - theirs).abs() < tolerance + 1e-9,
            "{name}: {what}: reported {ours}, measured {theirs}"
        );
    }
    let kept = number("prepared_sqnr");
    assert!(kept > 80.0, "{name}: prepared and original model differ: {kept} dB");
}

fn percent(of: &Value, key: &str) -> f64 {
    of[key]["percent"].as_f64().unwrap_or_else(|| panic!("no {key} in {of}"))
}
