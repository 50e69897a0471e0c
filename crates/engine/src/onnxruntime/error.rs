//! What can go wrong with ONNX Runtime, beside what can go wrong with any engine.

use std::fmt::Write;
use std::path::PathBuf;

/// Where the library comes from, for messages.
pub const INSTALL: &str =
    "`pip install onnxruntime` installs it where it is found; --ort-lib or ORT_DYLIB_PATH names another one";

/// One place where the library was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The file, or what stands for it.
    pub place: String,
    /// Why it was not taken.
    pub reason: String,
}

/// An error of finding, loading or using ONNX Runtime.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrtError {
    /// The library that was named cannot be used.
    #[error("load ONNX Runtime from {} ({named_by}): {reason}", path.display())]
    Library {
        /// What was named.
        path: PathBuf,
        /// Which option or variable named it.
        named_by: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// No usable library was found.
    #[error("find the library of ONNX Runtime {least} or newer; tried:{}", list(tried), least = crate::onnxruntime::LEAST_VERSION)]
    NotFound {
        /// Where it was looked for.
        tried: Vec<Attempt>,
    },
    /// A process loads one library only.
    #[error("load ONNX Runtime from {}: this process uses {} already", wanted.display(), loaded.display())]
    OtherLoaded {
        /// What was named now.
        wanted: PathBuf,
        /// What was loaded before.
        loaded: PathBuf,
    },
    /// An execution provider that the library does not have, or that refuses to work.
    #[error("use execution provider {provider:?}: {reason}")]
    Provider {
        /// The provider.
        provider: String,
        /// Why not, and which ones there are.
        reason: String,
    },
    /// Options that exclude each other.
    #[error("prepare the model for ONNX Runtime: {0}")]
    Options(String),
    /// ONNX Runtime refuses the model.
    #[error("prepare the model for {engine}: {reason}")]
    Load {
        /// Name of the engine.
        engine: String,
        /// Its message.
        reason: String,
    },
    /// A run fails outside of any one node.
    #[error("run the model with {engine}: {reason}")]
    Run {
        /// Name of the engine.
        engine: String,
        /// Its message.
        reason: String,
    },
}

fn list(tried: &[Attempt]) -> String {
    tried.iter().fold(String::new(), |mut text, attempt| {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {}: {}", attempt.place, attempt.reason);
        text
    })
}
