//! The finetune stage: chooses the integers of weights and biases anew, layer by layer, so that each layer of the quantized model gives
//! what the float model gives.
//!
//! A layer is tuned on what it really reads in the quantized model, with all layers before it tuned; or, where machines share the
//! layers, on what the float model gives to it, so that no layer has to wait for another. It never keeps integers that
//! are worse on samples it was not tuned on, never moves a position out of the limits of the NPU, and never holds the activations of more
//! than one place of the model.

mod adapt;
pub mod adaptive;
mod args;
mod checkpoint;
mod config;
mod constants;
pub mod frontier;
mod gather;
mod input;
pub mod layer;
pub mod least_squares;
mod limits;
mod merge;
mod output;
mod present;
mod round;
mod run;
mod shares;
mod tuned;
mod tuning;
mod unread;
mod whole;

pub use args::Arguments;
pub use config::{Algorithm, FinetuneConfig, SweepOrder, TrainingStart};
pub use limits::Limits;
pub use output::REPORT_FILE;
pub use run::run;
pub use tuned::{LayerReport, Outcome, Share};
