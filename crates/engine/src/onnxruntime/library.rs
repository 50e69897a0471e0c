//! The library: loaded once in a process, and never taken out again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::error::OrtError;
use super::ffi;
use super::find::{self, Surroundings};

/// A loaded ONNX Runtime.
pub(super) struct Library {
    pub path: PathBuf,
    pub version: String,
    /// Execution providers, as the library calls them.
    pub providers: Vec<String>,
    pub environment: Environment,
}

static LOADED: Mutex<Option<Arc<Library>>> = Mutex::new(None);

/// The library that `wanted` names, or else the first one that can be used.
pub(super) fn open(wanted: Option<&Path>) -> Result<Arc<Library>, OrtError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let around = Surroundings::of_process(wanted);
    if let Some(library) = &*loaded {
        if around.wanted.is_none() {
            return Ok(library.clone());
        }
        let (version, path) = find::first(&around, &mut |path| Ok((ffi::probe(path)?, path.to_owned())))?;
        let same = |a: &Path, b: &Path| {
            a == b || a.canonicalize().ok().is_some_and(|a| Some(a) == b.canonicalize().ok())
        };
        return if version == library.version && same(&path, &library.path) {
            Ok(library.clone())
        } else {
            Err(OrtError::OtherLoaded { wanted: path, loaded: library.path.clone() })
        };
    }
    let library = Arc::new(find::first(&around, &mut load)?);
    tracing::debug!("loaded ONNX Runtime {} from {}", library.version, library.path.display());
    *loaded = Some(library.clone());
    Ok(library)
}

fn load(path: &Path) -> Result<Library, String> {
    let version = ffi::probe(path)?;
    // `ort` panics where the library does not do what every release does.
    let started = catch_unwind(AssertUnwindSafe(|| -> Result<_, String> {
        let builder = ort::init_from(path).map_err(|e| e.to_string())?;
        let environment = builder
            .with_name("shiftwise")
            .with_telemetry(false)
            .with_logger(Arc::new(log))
            .build()
            .map_err(|e| e.to_string())?;
        environment.set_log_level(LogLevel::Warning);
        Ok((environment, ffi::available_providers()?))
    }));
    let (environment, providers) = started.unwrap_or_else(|_| Err("it cannot be initialised".into()))?;
    Ok(Library { path: path.to_owned(), version, providers, environment })
}

/// What ends a load or a run comes back as an error, so its messages are only of interest to who looks closely.
fn log(level: LogLevel, _category: &str, _id: &str, place: &str, message: &str) {
    match level {
        LogLevel::Verbose | LogLevel::Info => tracing::trace!("ONNX Runtime ({place}): {message}"),
        LogLevel::Warning | LogLevel::Error => tracing::debug!("ONNX Runtime ({place}): {message}"),
        LogLevel::Fatal => tracing::error!("ONNX Runtime ({place}): {message}"),
    }
}
