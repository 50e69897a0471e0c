//! Models and samples, and what else may or may not be on this machine.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a folder of the workspace")
}

/// An empty folder that goes when the test ends.
pub fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// A file of the reference models and samples, where they are there: in the folder that `SHIFTWISE_TEST_DATA` names, or in
/// `shared` beside the workspace.
pub fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SHIFTWISE_TEST_DATA").map(PathBuf::from);
    let folder = folder.or_else(|| root().parent().map(|p| p.join("shared")))?;
    Some(folder.join(path)).filter(|p| p.exists())
}

/// The Python with ONNX Runtime that `SHIFTWISE_PYTHON` names; `scripts/python` makes one.
pub fn python() -> Option<PathBuf> {
    std::env::var_os("SHIFTWISE_PYTHON").map(PathBuf::from)
}

/// Whether slow cases are to run, too: `SHIFTWISE_SLOW=1`.
pub fn slow() -> bool {
    std::env::var_os("SHIFTWISE_SLOW").is_some_and(|v| v != "0" && !v.is_empty())
}

/// Says that a test, or a part of it, does not run here.
pub fn skip(why: &str) {
    say(&format!("skipped: {why}"));
}

/// Says what was measured; shown for tests that fail, and with `--no-capture`.
#[allow(clippy::print_stderr)]
pub fn say(what: &str) {
    eprintln!("{what}");
}

/// The content of a .npy file of float32.
pub fn npy(shape: &[usize], values: impl Iterator<Item = f32>) -> Vec<u8> {
    let dims = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims},), }}");
    // Magic, version, the length of the header: with these it fills 128 bytes.
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{header:<117}\n").bytes());
    bytes.extend(values.flat_map(f32::to_le_bytes));
    bytes
}

/// A model with the samples to quantize and to measure it on.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is called.
    pub name: &'static str,
    /// The float model.
    pub model: PathBuf,
    /// Folder of calibration images.
    pub calibration: PathBuf,
    /// Folder of evaluation images with labels.csv.
    pub evaluation: PathBuf,
    /// How images become inputs.
    pub recipe: PathBuf,
}

impl Case {
    /// The network of examples/demo: always there.
    pub fn demo() -> Self {
        let demo = root().join("examples/demo");
        Self {
            name: "demo",
            model: demo.join("model.onnx"),
            calibration: demo.join("calibration"),
            evaluation: demo.join("evaluation"),
            recipe: demo.join("recipe.toml"),
        }
    }

    /// A reference model, where it is there; says so where not.
    pub fn reference(name: &'static str) -> Option<Self> {
        let data = if name.ends_with("cifar10") { "data/cifar10" } else { "data/imagenet" };
        let (Some(model), Some(data)) = (shared(&format!("models/{name}.onnx")), shared(data)) else {
            skip(&format!("{name} is not there; SHIFTWISE_TEST_DATA names the folder of models and data"));
            return None;
        };
        Some(Self {
            name,
            model,
            calibration: data.join("calibration"),
            evaluation: data.join("evaluation"),
            recipe: root().join(format!("examples/recipes/{name}.toml")),
        })
    }

    /// The options that name the calibration images.
    pub fn calibration_data(&self) -> [&Path; 4] {
        [Path::new("--data"), &self.calibration, Path::new("--recipe"), &self.recipe]
    }

    /// The options that name the evaluation images.
    pub fn evaluation_data(&self) -> [&Path; 4] {
        [Path::new("--data"), &self.evaluation, Path::new("--recipe"), &self.recipe]
    }
}
