//! The npu-check stage: does a Q/DQ model keep to the limits of an NPU, and if not, how its positions must move.
//!
//! It reads any Q/DQ model, ours or not. With `--fix` it writes a `quantized` artifact in which every limit holds: the integers of
//! every constant whose scale moved are made again, from the float tensor where there is one. It must never let a scale and its
//! integers part, and never runs a model.

mod check;
mod config;
mod finding;
mod fix;
mod integers;
mod report;
mod run;

use std::path::PathBuf;

use clap::Parser;
use shiftwise_stage::{CommonArgs, Program, Stage};

pub use check::{check, check_artifact};
pub use config::NpuCheckConfig;
pub use finding::{Finding, Legal, TensorAt};
pub use fix::{Fixed, fix};
pub use integers::{Requantized, Source};
pub use report::{LIMITS_FILE, Report};
pub use run::run;
pub use shiftwise_stage::Sidecar;

/// Check a quantized model against the limits of the NPU, and adjust it to them
#[derive(Debug, Parser)]
#[command(name = "shiftwise-npu-check", version)]
pub struct Arguments {
    /// The quantized model: an artifact of shiftwise-quantize, or any .onnx file with Q/DQ
    #[arg(value_name = "QUANTIZED")]
    pub model: PathBuf,

    /// Move positions until every limit holds, and make the integers again that belong to them
    #[arg(long, requires = "output")]
    pub fix: bool,

    /// Where the adjusted model goes
    #[arg(short, long, value_name = "DIR", requires = "fix")]
    pub output: Option<PathBuf>,

    /// End with code 4 where a limit does not hold (with --fix: in the result), or integers do not belong to their scales
    #[arg(long)]
    pub strict: bool,

    /// Options of every program.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Program for Arguments {
    const STAGE: Stage = Stage::NpuCheck;

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}
