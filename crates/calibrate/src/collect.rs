//! `collect`: from a prepared model and samples to a statistics artifact, of all samples or of one shard.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shiftwise_artifact::stats::{Plan, STATS_FILE, TensorSpec, Working, seal_with};
use shiftwise_artifact::{Error, Fingerprint, Input, Kind, work_dir};
use shiftwise_engine::Watch;
use shiftwise_graph::Model;
use shiftwise_stage::report::{bytes, count};
use shiftwise_stage::{
    Begin, ChosenEngine, Context, DataArgs, DataConfig, EngineArgs, Failure, Flags, LoadedModel, load_model,
};

use crate::sample_plan::{Located, SamplePlan};
use crate::workers::{Collector, Outcome};
use crate::{CalibrateConfig, PlannedSample, Shard, tensors_to_collect};

/// The list of samples inside the artifact.
pub const SAMPLES_FILE: &str = "samples.json";

/// Arguments of `collect`.
#[derive(Debug, Args)]
pub struct CollectArgs {
    /// The prepared model: an artifact of shiftwise-preprocess, or an .onnx file
    #[arg(value_name = "PREPARED")]
    pub model: PathBuf,

    /// Where the statistics go; those of a shard go to `DIR.shards/i-of-n`
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

    /// Collect what this plan says: an artifact of `shiftwise-calibrate plan`
    #[arg(long, value_name = "PLAN")]
    pub plan: Option<PathBuf>,

    /// Collect one part of the plan only: 2/4 is the second of four
    #[arg(long, value_name = "I/N", requires = "plan")]
    pub shard: Option<Shard>,

    /// Collect every float tensor, not only those that shiftwise-quantize will ask for
    #[arg(long)]
    pub all: bool,

    /// Let each thread run this many samples node by node, so that weights and counts are in the caches for all of them, at the price of
    /// memory; results do not depend on it (default: 2)
    #[arg(long, value_name = "N")]
    pub batch_size: Option<u64>,

    /// Where samples come from.
    #[command(flatten)]
    pub data: DataArgs,

    /// What runs the model.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// One line of [`SAMPLES_FILE`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SampleRecord {
    pub(crate) id: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) skipped: bool,
}

/// What is to be collected, settled before the first sample is run.
struct Job {
    /// Which samples of which statistics.
    part: Plan,
    tensors: Vec<TensorSpec>,
    samples: Vec<PlannedSample>,
    located: Located,
    skip_bad_samples: bool,
}

/// Collects, or goes on where an earlier run was stopped, or says that it is done.
pub fn collect(args: &CollectArgs, context: &Context) -> Result<(), Failure> {
    let flags = Flags::new()
        .switch("collect_all", args.all, true)
        .set("batch_size", args.batch_size.map(|n| i64::try_from(n).unwrap_or(i64::MAX)));
    let config = context.resolve::<CalibrateConfig>(&flags)?.options;
    let data = args.data.resolve(context)?;
    let loaded = load_model(&args.model, &[Kind::Prepared])?;
    let chosen = args.engine.open(context, &[&loaded.model])?;
    match &args.plan {
        Some(plan) => by_plan(plan, args, context, &config, &data, &loaded, &chosen),
        None => directly(args, context, &config, &data, &loaded, &chosen),
    }
}

/// Collects all samples that the arguments name.
fn directly(
    args: &CollectArgs,
    context: &Context,
    config: &CalibrateConfig,
    data: &DataConfig,
    loaded: &LoadedModel,
    chosen: &ChosenEngine,
) -> Result<(), Failure> {
    let tensors = tensors_of(&loaded.model, config)?;
    let (plan, located) = SamplePlan::new(loaded, chosen.engine.name(), tensors, data)?;
    let names: Vec<&str> = plan.tensors.iter().map(|s| s.name.as_str()).collect();
    let settings = json!({ "engine": plan.engine, "data": data.config()?, "tensors": names });
    let inputs =
        BTreeMap::from([("model".to_owned(), loaded.as_input()), ("data".to_owned(), plan.data_input())]);
    let job = Job {
        part: plan.part(None),
        tensors: plan.tensors,
        samples: plan.samples,
        located,
        skip_bad_samples: data.skip_bad_samples,
    };
    let Some(pending) = begin(context, &args.output, inputs, settings)? else { return Ok(()) };
    job.run(&args.output, &pending, context, config, loaded, chosen)
}

/// Collects what a plan says, or one part of it.
fn by_plan(
    path: &Path,
    args: &CollectArgs,
    context: &Context,
    config: &CalibrateConfig,
    data: &DataConfig,
    loaded: &LoadedModel,
    chosen: &ChosenEngine,
) -> Result<(), Failure> {
    let (plan, artifact) = SamplePlan::read(path)?;
    let other = |what: String| Failure::mismatch(format!("collect by plan {}: {what}", path.display()));
    if plan.model != loaded.fingerprint {
        return Err(other(format!("it is of another model than {}", loaded.path.display()))
            .with_help("make the plan anew, or give the model that it was made for"));
    }
    let engine = chosen.engine.name();
    if plan.engine != engine {
        return Err(other(format!("it is for engine {}, this is {engine}", plan.engine))
            .with_help("choose the engine of the plan (--engine), or make the plan anew"));
    }
    let common = &context.common;
    let says = args.all || common.preset.is_some() || common.config.is_some() || !common.set.is_empty();
    if says && tensors_of(&loaded.model, config)? != plan.tensors {
        return Err(other("the options here choose other tensors than the plan".into()))
            .map_err(|f| f.with_help("leave options out, as the plan has them, or make the plan anew"));
    }
    let mut inputs =
        BTreeMap::from([("model".to_owned(), loaded.as_input()), ("plan".to_owned(), artifact.as_input())]);
    let (output, range, settings) = match args.shard {
        Some(shard) if shard.of != plan.shards => {
            let cut = count(plan.shards, "shard");
            return Err(Failure::usage(format!("collect shard {shard}: the plan has {cut}"))
                .with_help(format!("shards of this plan are 1/{0} to {0}/{0}", plan.shards)));
        }
        Some(shard) => {
            let range = shard.range(plan.samples.len() as u64);
            (shard.dir(&args.output)?, range, json!({ "shard": shard.to_string() }))
        }
        None => {
            inputs.insert("data".to_owned(), plan.data_input());
            (args.output.clone(), 0..plan.samples.len() as u64, json!({}))
        }
    };
    let Some(pending) = begin(context, &output, inputs, settings)? else { return Ok(()) };
    let job = Job {
        located: plan.locate(&range, loaded, data)?,
        samples: plan.of(&range).to_vec(),
        part: plan.part(Some(range)),
        skip_bad_samples: data.skip_bad_samples || plan.data.skip_bad_samples,
        tensors: plan.tensors,
    };
    job.run(&output, &pending, context, config, loaded, chosen)
}

/// The tensors to collect. Fails where there are none.
pub(crate) fn tensors_of(model: &Model, config: &CalibrateConfig) -> Result<Vec<TensorSpec>, Failure> {
    let tensors =
        tensors_to_collect(model, config).map_err(|e| Failure::usage(format!("choose tensors: {e}")))?;
    if tensors.is_empty() {
        return Err(Failure::input("find a tensor to collect: the quantizer will not ask for any")
            .with_help("the model has no operator that is quantized; --all collects every float tensor"));
    }
    Ok(tensors)
}

/// Begins an output; nothing where it is done.
pub(crate) fn begin(
    context: &Context,
    output: &Path,
    inputs: BTreeMap<String, Input>,
    settings: Value,
) -> Result<Option<shiftwise_stage::Pending>, Failure> {
    match context.begin(output, Kind::Stats, inputs, settings)? {
        Begin::Write(pending) => Ok(Some(pending)),
        Begin::UpToDate(artifact) => {
            // Whoever finished it may have been killed before it could clear up, or is clearing up at this moment.
            match Working::discard(&work_dir(output)?) {
                Ok(()) | Err(Error::Busy { .. }) => {}
                Err(e) => return Err(e.into()),
            }
            context.print_json(&artifact.manifest().notes)?;
            Ok(None)
        }
    }
}

impl Job {
    fn run(
        self,
        output: &Path,
        pending: &shiftwise_stage::Pending,
        context: &Context,
        config: &CalibrateConfig,
        loaded: &LoadedModel,
        chosen: &ChosenEngine,
    ) -> Result<(), Failure> {
        let graph = &loaded.model.graph;
        let watched: BTreeSet<String> =
            self.tensors.iter().map(|s| s.name.clone()).filter(|t| !graph.is_input(t)).collect();
        let threads = rayon::current_num_threads();
        let session =
            chosen.engine.prepare(&loaded.model, &chosen.watching(Watch::Named(watched), threads))?;

        let mut working = self.open_working(context, output)?;
        let total = self.samples.len() as u64;
        let before = working.progress();
        let progress = context.progress("calibrating", total, "samples");
        if before.pending < total {
            context.say(&format!("going on after {}", count(total - before.pending, "sample")));
            progress.resume_at(total - before.pending);
        }
        let collector = Collector {
            session: session.as_ref(),
            dataset: &self.located.dataset,
            first: self.part.range.start,
            places: &self.located.places,
            skip_bad_samples: self.skip_bad_samples,
            threads,
            batch_size: usize::try_from(config.batch_size).unwrap_or(usize::MAX),
            interrupt: &context.interrupt,
            progress: &progress,
        };
        let mut todo = working.pending();
        // Files are read in their order.
        todo.sort_unstable_by_key(|&ordinal| collector.place(ordinal));
        let accumulators = match collector.run(&mut working, &todo)? {
            Outcome::Complete(accumulators) => accumulators,
            Outcome::Interrupted => {
                let left = working.progress().pending;
                return Err(Failure::interrupted(format!("stopped with {} to go", count(left, "sample")))
                    .with_help("run the same command again to go on"));
            }
        };
        drop(progress);

        let skipped: BTreeSet<u64> = working.progress().skipped.into_iter().collect();
        let seen = total - skipped.len() as u64;
        if seen == 0 && self.part.range.end - self.part.range.start == self.part.samples {
            return Err(Failure::input("collect statistics: no sample could be read"));
        }
        let writer = pending.writer()?;
        let stats = writer.path(STATS_FILE)?;
        seal_with(&working, &accumulators, &stats)?;
        let size = std::fs::metadata(&stats).map_or(0, |m| m.len());
        let tensors = self.tensors.len() as u64;
        let first = self.part.range.start;
        let records = self.samples.into_iter().zip(first..).map(|(sample, ordinal)| SampleRecord {
            id: sample.id,
            fingerprint: sample.fingerprint,
            skipped: skipped.contains(&ordinal),
        });
        writer.write_json(SAMPLES_FILE, &records.collect::<Vec<_>>())?;
        let artifact = context.finish(writer, notes(seen, skipped.len() as u64, tensors))?;
        working.remove()?;
        context.say(&format!(
            "collected {} over {}{} in {:.1} s ({})",
            count(tensors, "tensor"),
            count(seen, "sample"),
            if skipped.is_empty() { String::new() } else { format!(", {} left out", skipped.len()) },
            context.started.elapsed().as_secs_f64(),
            bytes(size),
        ));
        context.print_json(&artifact.manifest().notes)
    }

    /// The progress so far. Progress that can be of no use any more is discarded: what it was for has changed, or it left out bad
    /// samples that are now wanted.
    fn open_working(&self, context: &Context, output: &Path) -> Result<Working, Failure> {
        let dir = work_dir(output)?;
        let open = || Working::open_or_create(&dir, &self.part, &self.tensors);
        let useless = match open() {
            Ok(working) if self.skip_bad_samples || working.progress().skipped.is_empty() => {
                return Ok(working);
            }
            Ok(_) => "that left out bad samples",
            Err(Error::Foreign { .. }) => "of another model, other samples or other settings",
            Err(Error::Damaged { .. } | Error::Malformed { .. } | Error::Version { .. })
                if context.common.force =>
            {
                "that cannot be read"
            }
            Err(e) => return Err(e.into()),
        };
        context.say(&format!("an unfinished collection {useless} is discarded"));
        Working::discard(&dir)?;
        Ok(open()?)
    }
}

/// What the manifest of statistics says about them.
pub(crate) fn notes(samples: u64, skipped: u64, tensors: u64) -> BTreeMap<String, Value> {
    BTreeMap::from([
        ("samples".to_owned(), json!(samples)),
        ("skipped_samples".to_owned(), json!(skipped)),
        ("tensors".to_owned(), json!(tensors)),
    ])
}
