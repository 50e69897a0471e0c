//! The command line.

use std::path::PathBuf;

use clap::Parser;
use shiftwise_stage::{CommonArgs, DataArgs, EngineArgs, Flags, Part, Program, Stage};

/// Choose the integers of a quantized model anew, layer by layer, so that it gives what the float model gives
#[derive(Debug, Parser)]
#[command(name = "shiftwise-finetune", version)]
pub struct Arguments {
    /// The quantized model: an artifact of shiftwise-quantize or shiftwise-npu-check
    #[arg(value_name = "QUANTIZED")]
    pub model: PathBuf,

    /// Where the finetuned model, or with --layers its share, goes
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

    /// How integers are chosen: least-squares, adaround, or adaquant (default: least-squares)
    #[arg(long, value_name = "NAME")]
    pub algorithm: Option<String>,

    /// Tune one share of the layers only, each on what the float model gives to it: 2/4 is the second of four shares, which other
    /// machines may tune at the same time; --merge makes a model of them
    #[arg(long, value_name = "I/N")]
    pub layers: Option<Part>,

    /// Make a model of the shares that --layers left, all of them, in any order: with QUANTIZED and -o; data and options are theirs
    #[arg(long, value_name = "PART", num_args = 1.., conflicts_with_all = ["layers", "algorithm", "DataArgs", "EngineArgs"])]
    pub merge: Vec<PathBuf>,

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
        Flags::new().set("algorithm", self.algorithm.clone()).switch(
            "finetune_float_inputs",
            self.layers.is_some() || !self.merge.is_empty(),
            true,
        )
    }
}
