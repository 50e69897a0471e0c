//! ONNX Runtime as an engine: its shared library is found and loaded at run time, where it is installed.
//!
//! Nothing here depends on the library being there: what is missing, too old or no library at all is an error that says where
//! was looked and how to get it. No execution provider is ever replaced by another one in silence.

mod build;
mod convert;
mod custom;
mod error;
mod ffi;
mod find;
mod library;
mod message;
mod pool;
mod prepare;
mod provider;
mod python;
mod segments;
mod session;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use shiftwise_graph::Model;

use crate::{Engine, EngineError, PrepareOptions, Session, Unsupported};

pub use error::{Attempt, INSTALL, OrtError};
pub use find::VARIABLE;
pub use provider::Provider;

/// The oldest minor version of ONNX Runtime 1 whose C API has everything that is called.
pub(crate) const LEAST_MINOR: u32 = ort::MINOR_VERSION;
/// The same as a version.
pub(crate) const LEAST_VERSION: &str = "1.17";
const _: () = assert!(LEAST_MINOR == 17, "LEAST_VERSION says so");

/// What ONNX Runtime may do with Q/DQ nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fidelity {
    /// Compute them as they are defined, in float between them: no graph optimization in models that have any.
    #[default]
    FakeQuant,
    /// Fuse them into integer kernels where it can, as in deployment.
    Deploy,
}

impl Fidelity {
    /// As options and messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::FakeQuant => "fake-quant",
            Self::Deploy => "deploy",
        }
    }
}

impl FromStr for Fidelity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.replace('_', "-").as_str() {
            "fake-quant" => Ok(Self::FakeQuant),
            "deploy" => Ok(Self::Deploy),
            other => Err(format!("there is no fidelity {other:?}; there are fake-quant and deploy")),
        }
    }
}

/// Which ONNX Runtime, and how it computes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OrtOptions {
    /// The shared library, a folder with it, or a name for the system's loader; without one it is searched for.
    pub library: Option<PathBuf>,
    /// What runs nodes, the first that can. Empty is the processor. Without the processor in the list, nodes that no provider
    /// takes are an error.
    pub providers: Vec<Provider>,
    /// What may be done with Q/DQ nodes.
    pub fidelity: Fidelity,
}

impl OrtOptions {
    /// Options for a library.
    pub fn new(library: Option<PathBuf>, providers: Vec<Provider>, fidelity: Fidelity) -> Self {
        Self { library, providers, fidelity }
    }
}

/// ONNX Runtime.
#[derive(Clone)]
pub struct OnnxRuntime {
    library: Arc<library::Library>,
    providers: Vec<Provider>,
    fidelity: Fidelity,
}

/// ONNX Runtime from its shared library.
///
/// The library is the one that `options` or the variable `ORT_DYLIB_PATH` names, else the first that can be used of: those
/// beside the program, those that the system's loader finds, those of `onnxruntime` packages of Python (the active
/// environment's, then those of `python3` and `python` on PATH). A process uses one library for as long as it lives.
///
/// Fails where no library can be used, or it does not have one of the execution providers.
pub fn onnxruntime(options: &OrtOptions) -> Result<OnnxRuntime, OrtError> {
    let library = library::open(options.library.as_deref())?;
    let mut providers = options.providers.clone();
    if providers.is_empty() {
        providers.push(Provider::cpu());
    }
    for (i, provider) in providers.iter().enumerate() {
        provider.check(&library.providers)?;
        if providers[..i].iter().any(|p| p.name() == provider.name()) {
            let reason = "it is named twice".into();
            return Err(OrtError::Provider { provider: provider.name().into(), reason });
        }
    }
    Ok(OnnxRuntime { library, providers, fidelity: options.fidelity })
}

impl OnnxRuntime {
    /// Version of the library: `1.31.1`.
    pub fn version(&self) -> &str {
        &self.library.version
    }

    /// The file of the library.
    pub fn library(&self) -> &Path {
        &self.library.path
    }

    /// Short names of the execution providers that the library has.
    pub fn providers(&self) -> Vec<String> {
        self.library.providers.iter().map(|p| Provider::short_name(p)).collect()
    }
}

impl std::fmt::Debug for OnnxRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxRuntime").field("name", &self.name()).field("library", &self.library()).finish()
    }
}

impl Engine for OnnxRuntime {
    fn name(&self) -> String {
        let providers: Vec<String> = self.providers.iter().map(ToString::to_string).collect();
        format!("onnxruntime {} ({}, {})", self.version(), providers.join("+"), self.fidelity.name())
    }

    fn unsupported(&self, model: &Model) -> Vec<Unsupported> {
        prepare::unsupported(model)
    }

    fn prepare(&self, model: &Model, options: &PrepareOptions) -> Result<Box<dyn Session>, EngineError> {
        prepare::prepare(self, model, options)
    }
}
