//! The calibrate stage: runs a prepared model over samples once and keeps float-bit histograms and moments of its tensors.
//!
//! What is collected does not depend on threads, batches, order, shards, or how often the process was killed and run again. This
//! stage never decides a scale: every method reads the same statistics later.

mod args;
mod collect;
mod config;
mod elect;
mod merge;
mod observe;
mod plan;
mod sample_plan;
mod shard;
mod shards;
mod show;
mod status;
mod tensors;
mod workers;

pub use args::{Arguments, Command};
pub use collect::{CollectArgs, SAMPLES_FILE, collect};
pub use config::CalibrateConfig;
pub use merge::{MergeArgs, merge};
pub use observe::observe;
pub use plan::{PlanArgs, plan};
pub use sample_plan::{Located, PLAN_FILE, PlannedSample, SamplePlan};
pub use shard::{Shard, array_spec};
pub use show::{ShowArgs, show};
pub use status::{StatusArgs, status};
pub use tensors::tensors_to_collect;
pub use workers::{Collector, Outcome};

use shiftwise_stage::{Context, Failure};

/// Runs the command that the arguments name.
pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    match &arguments.command {
        Command::Plan(args) => plan(args, context),
        Command::Collect(args) => collect(args, context),
        Command::Merge(args) => merge(args, context),
        Command::Status(args) => status(args, context),
        Command::Show(args) => show(args, context),
    }
}
