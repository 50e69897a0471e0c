//! Files that are no usable library of ONNX Runtime: each is an error, and none ends the program.
#![allow(missing_docs)]
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "files in temporary folders")]

mod common;

use std::path::Path;
use std::process::Command;

use shiftwise_engine::{Fidelity, OrtError, OrtOptions, onnxruntime};

fn refusal(path: &Path) -> String {
    let options = OrtOptions::new(Some(path.into()), Vec::new(), Fidelity::FakeQuant);
    match onnxruntime(&options) {
        Err(error @ OrtError::Library { .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(engine) => panic!("{} is {engine:?}", path.display()),
    }
}

#[test]
fn what_is_absent_or_no_library_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("libonnxruntime.so");
    assert!(refusal(&absent).contains("no such file"));
    assert!(refusal(dir.path()).contains("in this folder"));
    std::fs::write(&absent, "not a library at all\n".repeat(100)).unwrap();
    let error = refusal(&absent);
    assert!(error.contains("--ort-lib") && error.contains("libonnxruntime.so"), "{error}");
    std::fs::write(&absent, "").unwrap();
    let _ = refusal(&absent);
    let _ = refusal(Path::new("libnosuchthing-7.so"));
}

#[test]
#[cfg(target_os = "linux")]
fn another_library_is_refused() {
    assert!(refusal(Path::new("libm.so.6")).contains("OrtGetApiBase"));
}

/// Builds a library from C; `None` where there is no compiler.
fn shim(dir: &Path, name: &str, source: &str) -> Option<std::path::PathBuf> {
    let (c, library) = (dir.join(name).with_extension("c"), dir.join(name).with_extension("so"));
    std::fs::write(&c, source).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&c).output();
    if built.is_ok_and(|o| o.status.success()) {
        return Some(library);
    }
    common::skipped("there is no C compiler");
    None
}

#[test]
fn libraries_that_are_too_old_or_broken_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let base = |version: &str, base: &str| {
        format!(
            "static const void *api(unsigned v) {{ return 0; }}\n\
             static const char *version(void) {{ return {version}; }}\n\
             static struct {{ const void *(*a)(unsigned); const char *(*v)(void); }} base = {{ api, version }};\n\
             const void *OrtGetApiBase(void) {{ return {base}; }}\n"
        )
    };
    let cases = [
        ("old", base("\"1.10.0\"", "&base"), "1.10.0"),
        ("older", base("\"0.5\"", "&base"), "0.5"),
        ("odd", base("\"nightly\"", "&base"), "nightly"),
        ("no_api", base("\"1.99.0\"", "&base"), "1.99.0"),
        ("no_version", base("0", "&base"), "version"),
        ("no_base", base("\"1.20.0\"", "0"), "nothing"),
    ];
    for (name, source, said) in cases {
        let Some(library) = shim(dir.path(), name, &source) else { return };
        let error = refusal(&library);
        assert!(error.contains(said), "{name}: {error}");
        assert!(name != "old" || error.contains("1.17 or newer"), "{error}");
    }
}
