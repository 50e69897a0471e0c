//! Runs a graph observed: [`Engine`] prepares a model, [`Session`] runs it and shows each watched tensor as it is made.
//!
//! The embedded engine ([`embedded`]) walks the graph in execution order with the kernels of this workspace and frees
//! each tensor after its last use; [`onnxruntime()`] opens ONNX Runtime behind the same trait. This crate must never compute
//! something other than what the operator says: a node that cannot be computed exactly as defined is listed by
//! [`Engine::unsupported`] before any work starts. Results must never depend on the number of concurrent runs.

mod api;
mod args;
mod compile;
mod embedded;
mod error;
mod feeds;
mod fuse;
mod lower;
mod number;
mod onnxruntime;
mod ops;
mod plan;
mod pool;
mod scalar;
mod session;
mod strided;
mod support;
mod walk;

pub use api::{Engine, Flow, PrepareOptions, Session, TensorId, Watch};
pub use embedded::{Embedded, embedded};
pub use error::{EngineError, Unsupported};
pub use onnxruntime::{
    Attempt, Fidelity, INSTALL, OnnxRuntime, OrtError, OrtOptions, Provider, VARIABLE as LIBRARY_VARIABLE,
    onnxruntime,
};
pub use support::{Support, operators, operators_page};
