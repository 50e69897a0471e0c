//! What every stage program shares: arguments, configuration, logs, progress, exit codes, models, outputs.
//!
//! A program is a [`Program`] (its arguments) and a body that [`run`] calls with a [`Context`]; everything that can go wrong is
//! a [`Failure`], which knows its exit code and what the user can do. This crate computes nothing and knows no stage's work. Results for
//! machines go to standard output, everything else to standard error.

mod args;
mod channels;
mod context;
mod convert;
mod data;
mod engines;
mod exit;
mod external;
mod logging;
mod models;
pub mod options;
mod output;
mod part;
mod progress;
pub mod report;
mod run;
mod sidecar;
mod signal;
mod statistics;

pub use args::{CommonArgs, DataArgs, EngineArgs};
pub use channels::{channels_last_inputs, note_channels_last};
pub use context::{Context, Resolved};
pub use data::{DataConfig, data_input, input_specs};
pub use engines::{ChosenEngine, EngineConfig};
pub use exit::{ExitStatus, Failure};
pub use external::ExternalData;
pub use logging::LOG_VARIABLE;
pub use models::{
    LoadedModel, MODEL_DATA_FILE, MODEL_FILE, load_model, model_files, save_model, save_model_as,
};
pub use options::{Flags, Reader, Stage};
pub use output::{Begin, Pending};
pub use part::Part;
pub use progress::Progress;
pub use run::{Program, run};
pub use sidecar::Sidecar;
pub use signal::Interrupt;
pub use statistics::{LoadedStats, load_stats};
