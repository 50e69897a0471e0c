//! The operator tests of ONNX, each a model with inputs and the outputs that it must give, on every engine.
//!
//! Cases are one table, [`cases::all`]; what an engine does not pass stands in [`exceptions`] with its reason.
#![allow(missing_docs)]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod exceptions;
mod odd;
mod wrap;

use std::fmt::Write as _;
use std::path::PathBuf;

use cases::Case;
use shiftwise_engine::{Engine, Fidelity, Flow, OrtOptions, PrepareOptions, embedded, onnxruntime};

/// Of the cases in scope, in percent.
const MUST_PASS: f64 = 95.0;

fn folder() -> Option<PathBuf> {
    let python = common::python()?;
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("onnx-backend-tests");
    common::oracle(&python, "fetch_backend.py", &[folder.to_str().unwrap()]);
    Some(folder.join("onnx/backend/test/data"))
}

/// What goes wrong with a case, if anything.
fn failure(engine: &dyn Engine, case: &Case) -> Option<String> {
    let loaded = match case.load() {
        Ok(loaded) => loaded,
        Err(e) => return Some(e),
    };
    let session = match engine.prepare(&loaded.model, &PrepareOptions::default()) {
        Ok(session) => session,
        Err(e) => return Some(e.to_string()),
    };
    let results = match session.run(&loaded.feeds, &mut |_, _| Flow::Continue) {
        Ok(results) => results,
        Err(e) => return Some(e.to_string()),
    };
    for (i, want) in loaded.outputs.iter().enumerate() {
        let Some(got) = results.get(i) else { return Some(format!("output {i} is missing")) };
        if let Some(why) = cases::difference(got, want) {
            return Some(format!("output {i}: {why}"));
        }
    }
    None
}

/// Runs all cases; every failure must be an exception, and with `strict` every exception a failure.
fn check(engine: &dyn Engine, exceptions: &[exceptions::Exception], strict: bool) {
    let Some(folder) = folder() else { return };
    let cases = cases::all(&folder);
    assert!(cases.len() > 1200, "{} cases", cases.len());
    let (mut passed, mut in_scope, mut report) = (0usize, 0usize, String::new());
    for case in &cases {
        let failure = failure(engine, case);
        let out_of_scope = case.out_of_scope();
        in_scope += usize::from(out_of_scope.is_none());
        passed += usize::from(out_of_scope.is_none() && failure.is_none());
        let excepted = exceptions.iter().any(|e| e.covers(&case.name));
        match failure {
            Some(why) if !excepted && out_of_scope.is_none() => {
                writeln!(report, "{}: {}", case.name, why.replace('\n', " ")).unwrap();
            }
            None if excepted && strict => writeln!(report, "{}: passes, but is excepted", case.name).unwrap(),
            _ => {}
        }
    }
    let share = 100.0 * passed as f64 / in_scope as f64;
    let summary = format!("{}: {passed} of {in_scope} cases in scope pass: {share:.1} %", engine.name());
    #[allow(clippy::print_stdout)]
    {
        println!("{summary}");
    }
    assert!(report.is_empty(), "{summary}\n{report}");
    assert!(share >= MUST_PASS, "{summary}");
}

#[test]
fn embedded_passes() {
    check(&embedded(), exceptions::EMBEDDED, true);
}

#[test]
fn onnxruntime_passes() {
    let Some(python) = common::python() else { return };
    let options = OrtOptions::new(Some(common::package(&python)), Vec::new(), Fidelity::FakeQuant);
    // Which of its defects are mended depends on the version that is installed.
    check(&onnxruntime(&options).unwrap(), exceptions::ONNX_RUNTIME, false);
}
