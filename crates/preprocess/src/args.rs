//! Arguments of the program.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Parser;
use shiftwise_stage::{CommonArgs, ExternalData, Failure, Flags, Program, Stage};

use crate::PreprocessConfig;

/// Prepare a float model: fix dimensions, fold constants and batch normalizations, remove what does nothing
#[derive(Debug, Parser)]
#[command(name = "shiftwise-preprocess", version)]
pub struct Arguments {
    /// The float model (.onnx), or a prepared one
    pub model: PathBuf,

    /// Where the prepared model goes: a directory
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

    /// Give a named dimension this extent (batch=1), or one axis of one input (`images[2]=416`); may be repeated
    #[arg(long, value_name = "NAME=N")]
    pub fix_dim: Vec<String>,

    /// Scale channels between layers as far as these statistics of MODEL, a prepared model, say that it computes the same (range-safe equalization)
    #[arg(long, value_name = "STATS")]
    pub stats: Option<PathBuf>,

    /// Options of every program.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Program for Arguments {
    const STAGE: Stage = Stage::Preprocess;

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

impl Arguments {
    /// What the flags set.
    ///
    /// Fails for a `--fix-dim` that is not a name and an extent, or names a dimension twice.
    pub(crate) fn flags(&self) -> Result<Flags, Failure> {
        let mut dims: BTreeMap<String, i64> = BTreeMap::new();
        for argument in &self.fix_dim {
            let wrong = |reason: &str| {
                Failure::usage(format!("read --fix-dim {argument:?}: {reason}")).with_help(
                    "write it as --fix-dim batch=1, or --fix-dim 'input[2]=224' for axis 2 of `input`",
                )
            };
            let (name, extent) = argument.rsplit_once('=').ok_or_else(|| wrong("it has no `=`"))?;
            let extent: i64 = match extent.trim().parse() {
                Ok(n) if n > 0 => n,
                _ => return Err(wrong(&format!("{:?} is not a positive integer", extent.trim()))),
            };
            if dims.insert(name.trim().to_owned(), extent).is_some_and(|before| before != extent) {
                return Err(wrong(&format!("{:?} was given another extent before", name.trim())));
            }
        }
        let flags = Flags::new().set("fix_dim", (!dims.is_empty()).then_some(dims));
        Ok(flags.set("range_safe_equalization", self.stats.is_some().then_some(true)))
    }
}

impl PreprocessConfig {
    /// Where weights go; fails for a place that is none.
    pub(crate) fn external_data(&self) -> Result<ExternalData, Failure> {
        ExternalData::new(
            self.use_external_data_format,
            self.external_data_threshold,
            self.all_tensors_to_one_file,
            &self.external_data_location,
        )
    }
}
