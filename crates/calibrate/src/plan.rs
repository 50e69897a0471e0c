//! `plan`: fixes what a collection is of, so that it can be cut into shards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use shiftwise_artifact::Kind;
use shiftwise_stage::report::count;
use shiftwise_stage::{Begin, Context, DataArgs, EngineArgs, Failure, Flags, load_model};

use crate::collect::tensors_of;
use crate::sample_plan::{PLAN_FILE, SamplePlan};
use crate::{CalibrateConfig, array_spec};

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The prepared model: an artifact of shiftwise-preprocess, or an .onnx file
    #[arg(value_name = "PREPARED")]
    pub model: PathBuf,

    /// Where the plan goes
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

    /// Cut the samples into this many parts, each a job of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub shards: u64,

    /// Collect every float tensor, not only those that shiftwise-quantize will ask for
    #[arg(long)]
    pub all: bool,

    /// Where samples come from.
    #[command(flatten)]
    pub data: DataArgs,

    /// What runs the model.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Writes a plan, or says that it is there.
pub fn plan(args: &PlanArgs, context: &Context) -> Result<(), Failure> {
    let config = context.resolve::<CalibrateConfig>(&Flags::new().switch("collect_all", args.all, true))?;
    let data = args.data.resolve(context)?;
    if data.data.as_deref() == Some(Path::new("-")) {
        return Err(Failure::usage("plan over standard input: it can be read once only")
            .with_help("give `collect --data -` the stream directly, or write the samples to files"));
    }
    let loaded = load_model(&args.model, &[Kind::Prepared])?;
    let chosen = args.engine.open(context, &[&loaded.model])?;
    let tensors = tensors_of(&loaded.model, &config.options)?;
    let (mut plan, _) = SamplePlan::new(&loaded, chosen.engine.name(), tensors, &data)?;
    plan.shards = args.shards;
    let samples = plan.samples.len() as u64;
    if plan.shards > samples {
        let (shards, samples) = (count(plan.shards, "shard"), count(samples, "sample"));
        return Err(Failure::usage(format!("cut {samples} into {shards}"))
            .with_help("a shard has one sample at least: lower --shards"));
    }
    let inputs =
        BTreeMap::from([("model".to_owned(), loaded.as_input()), ("data".to_owned(), plan.data_input())]);
    let settings = json!({
        "engine": plan.engine,
        "recipe": plan.recipe,
        "shards": plan.shards,
        "statistics": plan.statistics,
    });
    let notes = BTreeMap::from([
        ("samples".to_owned(), json!(samples)),
        ("shards".to_owned(), json!(plan.shards)),
        ("tensors".to_owned(), json!(plan.tensors.len())),
    ]);
    let pending = match context.begin(&args.output, Kind::Plan, inputs, settings)? {
        Begin::UpToDate(artifact) => return context.print_json(&artifact.manifest().notes),
        Begin::Write(pending) => pending,
    };
    let writer = pending.writer()?;
    writer.write_json(PLAN_FILE, &plan)?;
    let artifact = context.finish(writer, notes)?;
    context.say(&format!(
        "planned {} over {} in {}: --shard 1/{} and so on, --array={}",
        count(plan.tensors.len() as u64, "tensor"),
        count(samples, "sample"),
        count(plan.shards, "shard"),
        plan.shards,
        array_spec(1..=plan.shards),
    ));
    context.print_json(&artifact.manifest().notes)
}
