//! The command line.

use clap::{Parser, Subcommand};
use shiftwise_stage::{CommonArgs, Program, Stage};

use crate::{CollectArgs, ShowArgs};

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
    /// Run the model over samples and write a statistics artifact; killed and run again it goes on
    Collect(Box<CollectArgs>),
    /// Print the statistics of all tensors, or of the ones named
    Show(ShowArgs),
}

impl Program for Arguments {
    const STAGE: Stage = Stage::Calibrate;

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}
