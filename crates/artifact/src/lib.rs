//! What the stages of Shiftwise leave on disk for one another: versioned artifact directories with
//! fingerprints of all that went in and came out, and the statistics file.
//!
//! * [`Artifact`], [`Writer`] and [`decide`]: open, write and skip artifact directories;
//! * [`Manifest`]: `artifact.json`; [`Fingerprint`]: what identifies inputs, outputs and configurations;
//! * [`atomic`]: files and directories that appear whole under their name, or not at all;
//! * [`stats`]: float-bit histograms and moments of tensors, accumulated so that a killed process loses
//!   only its last seconds, and sealed into a file whose bytes depend on the statistics alone.
//!
//! This crate knows nothing about ONNX, graphs or number formats, never prints, and never removes or
//! replaces a file that it cannot tell is Shiftwise's own. Everything read is bounded and checked before it
//! is believed.

pub mod atomic;
mod diff;
mod dir;
mod error;
mod fingerprint;
mod lock;
mod manifest;
mod map;
mod memory;
mod record;
pub mod stats;
pub mod version;

pub use diff::{Change, Difference};
pub use dir::{Artifact, Decision, Measured, Request, Writer, decide, work_dir};
pub use error::{Error, ExitClass, Result};
pub use fingerprint::Fingerprint;
pub use lock::Lock;
pub use manifest::{Input, MANIFEST_FILE, Manifest, Output, Tool};
pub use memory::peak_memory_bytes;
pub use version::{FormatVersion, Kind};
