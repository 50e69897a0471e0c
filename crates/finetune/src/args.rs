//! The command line.

use std::path::PathBuf;

use clap::Parser;
use shiftwise_stage::{CommonArgs, DataArgs, EngineArgs, Flags, Program, Stage};

/// Choose the integers of a quantized model anew, layer by layer, so that it gives what the float model gives
#[derive(Debug, Parser)]
#[command(name = "shiftwise-finetune", version)]
pub struct Arguments {
    /// The quantized model: an artifact of shiftwise-quantize or shiftwise-npu-check
    #[arg(value_name = "QUANTIZED")]
    pub model: PathBuf,

    /// Where the finetuned model goes
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

    /// How integers are chosen: least-squares, adaround, or adaquant (default: least-squares)
    #[arg(long, value_name = "NAME")]
    pub algorithm: Option<String>,

    /// Where samples come from.
    #[command(flatten)]
    pub data: DataArgs,

    /// What runs the models.
    #[command(flatten)]
    pub engine: EngineArgs,

    /// Options of every program.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Program for Arguments {
    const STAGE: Stage = Stage::Finetune;

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

impl Arguments {
    pub(crate) fn flags(&self) -> Flags {
        Flags::new().set("algorithm", self.algorithm.clone())
    }
}
