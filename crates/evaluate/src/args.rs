//! The command line.

use std::path::PathBuf;

use clap::Parser;
use shiftwise_stage::{CommonArgs, DataArgs, EngineArgs, Flags, Program, Stage};

/// Compare quantized models with their float model over samples
#[derive(Debug, Parser)]
#[command(name = "shiftwise-evaluate", version)]
pub struct Arguments {
    /// The float model: an artifact of shiftwise-preprocess, or an .onnx file
    #[arg(value_name = "FLOAT")]
    pub float: PathBuf,

    /// Quantized models: artifacts of shiftwise-quantize and of the stages after it, or .onnx files
    #[arg(value_name = "QUANTIZED", required = true)]
    pub quantized: Vec<PathBuf>,

    /// Where report.json and report.html go
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

    /// Bounds.
    #[command(flatten)]
    pub bounds: BoundArgs,

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
    const STAGE: Stage = Stage::Evaluate;

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// What every quantized model must reach; missing one ends the program with code 4, after the report was written.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Bounds (exit code 4 where one is missed)")]
pub struct BoundArgs {
    /// The least top-1 accuracy of every quantized model
    #[arg(long, value_name = "PERCENT")]
    pub min_top1: Option<f64>,

    /// The most top-1 accuracy that a quantized model may lose against the float model
    #[arg(long, value_name = "POINTS", allow_negative_numbers = true)]
    pub max_top1_loss: Option<f64>,

    /// The least mean SQNR of every output of every quantized model
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    pub min_sqnr: Option<f64>,
}

impl BoundArgs {
    /// The options that these arguments set.
    pub fn flags(&self) -> Flags {
        Flags::new()
            .set("min_top1", self.min_top1)
            .set("max_top1_loss", self.max_top1_loss)
            .set("min_sqnr", self.min_sqnr)
    }
}
