//! The calibrate stage: runs a prepared model over samples once and keeps float-bit histograms and moments of its tensors.
//!
//! What is collected does not depend on threads, order, or how often the process was killed and run again. This stage never
//! decides a scale: every method reads the same statistics later.

mod args;
mod collect;
mod config;
mod observe;
mod show;
mod tensors;
mod workers;

pub use args::{Arguments, Command};
pub use collect::{CollectArgs, SAMPLES_FILE, collect};
pub use config::CalibrateConfig;
pub use observe::observe;
pub use show::{ShowArgs, show};
pub use tensors::tensors_to_collect;
pub use workers::{Collector, Outcome};

use shiftwise_stage::{Context, Failure};

/// Runs the command that the arguments name.
pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    match &arguments.command {
        Command::Collect(args) => collect(args, context),
        Command::Show(args) => show(args, context),
    }
}
