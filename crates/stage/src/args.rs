//! Arguments that several programs share.

use std::path::PathBuf;

use clap::Args;

/// The data which is not data.
pub(crate) const RANDOM: &str = "random";

/// The data which comes from the standard input.
pub(crate) const STDIN: &str = "-";

/// Arguments of every program. They may stand before and behind a subcommand.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// Read options from this TOML file; one file serves all stages
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Start from the values of this preset (default: xint8)
    #[arg(long, value_name = "NAME", global = true)]
    pub preset: Option<String>,

    /// Set any option, over everything else: --set activation_type=int8 (may be repeated)
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,

    /// Print the configuration as it was resolved from all its sources, as TOML, and end
    #[arg(long, global = true, visible_alias = "explain-config")]
    pub print_config: bool,

    /// Replace an output that was made from other inputs or with another configuration
    #[arg(long, global = true)]
    pub force: bool,

    /// Work with this many threads (default: all cores); results do not depend on it
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub threads: Option<u32>,

    /// Print the result as JSON to standard output
    #[arg(long, global = true)]
    pub json: bool,

    /// Print nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Print what is done in detail; -vv for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Where samples come from: flattened by the programs that run models over data.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Samples: a folder of images or .npy files, an .npz or .npy file, ONNX test data (a folder with
    /// test_data_set_*/input_*.pb), `random`, or `-`: .npz archives from the standard input, one after the other, as
    /// numpy.savez(sys.stdout.buffer, x=...) writes them; they are kept in the temporary directory (TMPDIR), on as much disk as
    /// they are long
    #[arg(long, value_name = "PATH|random|-")]
    pub data: Option<PathBuf>,

    /// How images become inputs (TOML): resize, crop, scale, mean, std, channel order, layout
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,

    /// Use the first N samples (default: all)
    #[arg(long, value_name = "N")]
    pub samples: Option<u64>,

    /// Classes of the samples: CSV with the columns `file,label`
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Leave out samples that cannot be read, and report them, instead of ending
    #[arg(long)]
    pub skip_bad_samples: bool,

    /// Seed of random samples (default: 0)
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Shape of an input of random samples, where the model leaves dimensions open: image=1x3x224x224 (may be repeated)
    #[arg(long, value_name = "NAME=SHAPE")]
    pub random_shape: Vec<String>,

    /// Range of an input of random samples, or of all without a name: floats from LO to below HI, integers up to HI (default:
    /// 0:1; may be repeated)
    #[arg(long, value_name = "[NAME=]LO:HI", allow_hyphen_values = true)]
    pub random_range: Vec<String>,
}

/// What runs the model.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Engine")]
pub struct EngineArgs {
    /// What runs the model: `embedded`, `ort` (ONNX Runtime), or `auto`, which is `embedded` where it can compute every node,
    /// else `ort` (default: auto)
    #[arg(long, value_name = "NAME")]
    pub engine: Option<String>,

    /// The library of ONNX Runtime (default: ORT_DYLIB_PATH, else that of the system or of an installed Python package)
    #[arg(long, value_name = "FILE")]
    pub ort_lib: Option<PathBuf>,

    /// Execution providers of ONNX Runtime, the first that can run a node does: `vitisai,cpu`; with options as
    /// `vitisai:config_file=vaip.json;cache_dir=cache,cpu` (default: cpu)
    #[arg(long, value_name = "LIST")]
    pub provider: Vec<String>,

    /// An option of an execution provider: vitisai.config_file=vaip.json (may be repeated)
    #[arg(long, value_name = "PROVIDER.KEY=VALUE")]
    pub provider_option: Vec<String>,

    /// How ONNX Runtime computes quantized models: `fake-quant`, as they are defined, or `deploy`, fused to integers where it
    /// can (default: fake-quant)
    #[arg(long, value_name = "NAME")]
    pub fidelity: Option<String>,

    /// About how much memory may be used for tensors that are watched in ONNX Runtime, over all threads (default: no limit), or that
    /// wait in shiftwise-finetune (default: 256M; the rest goes to a temporary file): 512M, 2G
    #[arg(long, value_name = "BYTES")]
    pub max_memory: Option<String>,
}
