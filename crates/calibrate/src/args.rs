//! The command line.

use clap::{Parser, Subcommand};
use shiftwise_stage::{CommonArgs, Program, Stage};

use crate::{CollectArgs, MergeArgs, PlanArgs, ShowArgs, StatusArgs};

/// Collect statistics of a model's tensors over samples, and look at them
#[derive(Debug, Parser)]
#[command(name = "shiftwise-calibrate", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Options of every program.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fix samples, model and engine, and cut the work into shards for many machines
    Plan(Box<PlanArgs>),
    /// Run the model over samples and write a statistics artifact; killed and run again it goes on
    Collect(Box<CollectArgs>),
    /// Join the shards of a plan: the same bytes as one run over all samples
    Merge(MergeArgs),
    /// Print which shards of a plan are done
    Status(StatusArgs),
    /// Print the statistics of all tensors, or of the ones named
    Show(ShowArgs),
}

impl Program for Arguments {
    const STAGE: Stage = Stage::Calibrate;

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}
