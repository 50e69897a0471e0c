//! The quantize stage: from a prepared float model and its statistics to a model with Q/DQ.
//!
//! First where Q/DQ go, then the scales of activations, then the treatment of weights that these scales allow, then the scales
//! of constants, and last the emission in one place. This stage never runs the model and never reads samples; it leaves the
//! float model that the integers are made from beside the quantized one, so that later stages can make them anew.

mod activations;
mod biases;
mod clip;
mod config;
mod constants;
mod method;
mod report;
mod treat;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Parser;
use indexmap::IndexMap;
use shiftwise_artifact::Kind;
use shiftwise_artifact::stats::Stats;
use shiftwise_graph::Model;
use shiftwise_quant::{Emitted, FLOAT_FILE, Placement, TENSORS_FILE, emit};
use shiftwise_stage::{
    Begin, CommonArgs, Context, ExternalData, Failure, Flags, Program, Stage, load_model, load_stats,
    save_model, save_model_as,
};

pub use clip::ClipToRelu;
pub use config::{CalibrateMethod, FloatMode, Pof2Mode, QuantizeConfig, WeightCalibrateMethod};
use method::Methods;
pub use report::{AbsorbedIn, Report};

/// Quantize a prepared model by its statistics
#[derive(Debug, Parser)]
#[command(name = "shiftwise-quantize", version)]
pub struct Arguments {
    /// The prepared model: an artifact of shiftwise-preprocess, or an .onnx file
    #[arg(value_name = "PREPARED")]
    pub model: PathBuf,

    /// The statistics of this model: an artifact of shiftwise-calibrate
    #[arg(long, value_name = "STATS")]
    pub stats: PathBuf,

    /// Where the quantized model goes
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

    /// Options of every program.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Program for Arguments {
    const STAGE: Stage = Stage::Quantize;

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

/// A quantized model, the float model that its integers are made from, and what was done.
#[derive(Debug)]
pub struct Quantized {
    /// The model with Q/DQ and its sidecar.
    pub emitted: Emitted,
    /// The float model after the treatment of its weights.
    pub float: Model,
    /// What was done.
    pub report: Report,
}

/// Quantizes `model` by the statistics that were collected on it.
///
/// Fails when statistics of a tensor are missing, or a constant cannot be quantized.
pub fn quantize(model: &Model, stats: &Stats, config: &QuantizeConfig) -> Result<Quantized, Failure> {
    let methods = Methods::of(config)?;
    let place = |model: &Model| {
        Placement::of(model, &config.placement).map_err(|e| Failure::usage(format!("choose nodes: {e}")))
    };
    let placement = place(model)?;
    if placement.sites.is_empty() {
        return Err(Failure::input(
            "find something to quantize: the model has no operator that is quantized",
        )
        .with_help("extra_op_types_to_quantize names further operators"));
    }
    let mut decisions = activations::decide(&placement, stats, &methods)?;
    let mut float = model.clone();
    let absorbed = treat::absorb(&mut float, &placement, stats, &decisions, config)?;
    // Treated operators may have gained a bias.
    let mut placement = place(&float)?;
    if config.has_int32_bias() {
        biases::separate(&mut float, &placement)?;
        placement = place(&float)?;
    }
    constants::decide(&mut decisions, &float, &placement, stats, config, &methods);
    if config.has_int32_bias() {
        biases::decide(&mut decisions, &float, &mut placement);
    }
    let mut emitted = emit(&float, &placement, &decisions)
        .map_err(|e| Failure::from_error(shiftwise_stage::ExitStatus::Input, &e))?;
    let mut report = Report::new(&emitted.tensors, absorbed, &decisions);
    if config.convert_clip_to_relu {
        report.clip_to_relu = clip::to_relu(&mut emitted.model)?;
    }
    Ok(Quantized { emitted, float, report })
}

/// The whole stage.
pub fn run(args: &Arguments, context: &Context) -> Result<(), Failure> {
    let config = context.resolve::<QuantizeConfig>(&Flags::new())?;
    let external = ExternalData::new(
        config.options.use_external_data_format,
        config.options.external_data_threshold,
        config.options.all_tensors_to_one_file,
        &config.options.external_data_location,
    )?;
    let loaded = load_model(&args.model, &[Kind::Prepared])?;
    let statistics = load_stats(&args.stats, &loaded)?;
    let inputs = BTreeMap::from([
        ("model".to_owned(), loaded.as_input()),
        ("stats".to_owned(), statistics.as_input()),
    ]);
    let pending = match context.begin(&args.output, Kind::Quantized, inputs, config.config)? {
        Begin::UpToDate(artifact) => return context.print_json(&artifact.manifest().notes),
        Begin::Write(pending) => pending,
    };
    let quantized = quantize(&loaded.model, &statistics.stats, &config.options)?;

    let writer = pending.writer()?;
    save_model(&writer, &quantized.emitted.model, &external)?;
    save_model_as(&writer, FLOAT_FILE, &quantized.float, &external)?;
    writer.write_json(TENSORS_FILE, &quantized.report.sidecar(&quantized.emitted.tensors))?;
    let artifact = context.finish(writer, quantized.report.notes())?;
    context.say(&quantized.report.summary());
    context.print_json(&artifact.manifest().notes)
}

/// Decisions by tensor.
type Decisions = IndexMap<String, shiftwise_quant::Decision>;
