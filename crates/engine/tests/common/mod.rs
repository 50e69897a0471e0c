//! What comparisons against ONNX Runtime share.
#![allow(dead_code, reason = "each test file takes its part of the module")]

use std::path::{Path, PathBuf};
use std::process::Command;

use half::f16;
use ndarray::{ArrayD, Dimension, IxDyn};
use npyz::{DType, NpyFile, Order};
use shiftwise_graph::Value;

/// Tells why a test did nothing.
pub(crate) fn skipped(why: &str) {
    // The one way a test can say so.
    #[allow(clippy::print_stderr)]
    {
        eprintln!("skipped: {why}");
    }
}

/// The interpreter with onnx and onnxruntime.
pub(crate) fn python() -> Option<PathBuf> {
    let named = std::env::var_os("SHIFTWISE_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| "python3".into());
    let works = Command::new(&python).args(["-c", "import onnx, onnxruntime"]).output();
    if works.is_ok_and(|o| o.status.success()) {
        return Some(python);
    }
    skipped("no python with onnx and onnxruntime; set SHIFTWISE_PYTHON");
    None
}

/// The folder of the installed onnxruntime package.
pub(crate) fn package(python: &Path) -> PathBuf {
    let script = "import onnxruntime; print(onnxruntime.__path__[0])";
    let output = Command::new(python).args(["-c", script]).output().expect("python starts");
    String::from_utf8(output.stdout).expect("a path").trim().into()
}

/// Runs a script of `tests/oracle`.
pub(crate) fn oracle(python: &Path, script: &str, args: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(script);
    let output = Command::new(python).arg(script).args(args).output().expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("a workspace")
}

/// A reference model, where there are any.
pub(crate) fn model(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("SHIFTWISE_TEST_DATA").map(PathBuf::from);
    let folder = named.or_else(|| Some(workspace().parent()?.join("shared")))?;
    let path = folder.join("models").join(name);
    if path.is_file() {
        return Some(path);
    }
    skipped(&format!("{} is absent; set SHIFTWISE_TEST_DATA", path.display()));
    None
}

/// Reads a `.npy` file.
pub(crate) fn npy(path: &Path) -> Value {
    let bytes = std::fs::read(path).expect("a file");
    let file = NpyFile::new(&bytes[..]).expect("an npy file");
    let shape: Vec<usize> = file.shape().iter().map(|d| *d as usize).collect();
    assert!(file.order() == Order::C || shape.len() < 2, "{} is in Fortran order", path.display());
    let DType::Plain(ty) = file.dtype() else { panic!("{} is a record", path.display()) };
    let shape = IxDyn(&shape);
    macro_rules! read {
        ($ty:ty) => {
            Value::from(
                ArrayD::from_shape_vec(shape, file.into_vec::<$ty>().expect("elements")).expect("a shape"),
            )
        };
    }
    match ty.to_string().trim_start_matches(['<', '|', '=']) {
        "f4" => read!(f32),
        "f8" => read!(f64),
        "i8" => read!(i64),
        "i4" => read!(i32),
        "i2" => read!(i16),
        "i1" => read!(i8),
        "u8" => read!(u64),
        "u4" => read!(u32),
        "u2" => read!(u16),
        "u1" => read!(u8),
        "b1" => read!(bool),
        "f2" => {
            let count: usize = shape.size();
            let halves = &bytes[bytes.len() - 2 * count..];
            let halves = halves.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b)).collect();
            Value::F16(ArrayD::from_shape_vec(shape, halves).expect("a shape"))
        }
        other => panic!("{} holds {other}", path.display()),
    }
}

fn floats(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::F32(a) => Some(a.iter().map(|v| f64::from(*v)).collect()),
        Value::F64(a) => Some(a.iter().copied().collect()),
        Value::F16(a) => Some(a.iter().map(|v| v.to_f64()).collect()),
        _ => None,
    }
}

/// The largest difference relative to the range of `want`; infinite where types, shapes or integers differ.
pub(crate) fn difference(got: &Value, want: &Value) -> f64 {
    if got.dtype() != want.dtype() || got.shape() != want.shape() {
        return f64::INFINITY;
    }
    let (Some(a), Some(b)) = (floats(got), floats(want)) else {
        return if got == want { 0.0 } else { f64::INFINITY };
    };
    let finite = b.iter().copied().filter(|v| v.is_finite());
    let (lo, hi) = finite.fold((0.0f64, 0.0f64), |(lo, hi), v| (lo.min(v), hi.max(v)));
    let worst = a.iter().zip(&b).map(|(a, b)| {
        if a == b || (a.is_nan() && b.is_nan()) {
            0.0
        } else if (a - b).is_nan() {
            f64::INFINITY
        } else {
            (a - b).abs()
        }
    });
    worst.fold(0.0, f64::max) / (hi - lo).max(1e-6)
}

/// The names that a script wrote: inputs and outputs.
pub(crate) fn names(folder: &Path) -> (Vec<String>, Vec<String>) {
    let text = std::fs::read(folder.join("names.json")).expect("names");
    let json: serde_json::Value = serde_json::from_slice(&text).expect("json");
    let list = |key: &str| {
        let list = json[key].as_array().expect("a list");
        list.iter().map(|v| v.as_str().expect("a name").to_string()).collect()
    };
    (list("inputs"), list("outputs"))
}
