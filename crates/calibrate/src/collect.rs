//! `collect`: from a prepared model and samples to a statistics artifact.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;
use shiftwise_artifact::stats::{Plan, STATS_FILE, TensorSpec, Working, seal_with};
use shiftwise_artifact::{Error, Fingerprint, Input, Kind, work_dir};
use shiftwise_dataset::Dataset;
use shiftwise_engine::Watch;
use shiftwise_stage::report::{bytes, count};
use shiftwise_stage::{Begin, Context, DataArgs, EngineArgs, Failure, Flags, input_specs, load_model};

use crate::workers::{Collector, Outcome};
use crate::{CalibrateConfig, tensors_to_collect};

/// The list of samples inside the artifact.
pub const SAMPLES_FILE: &str = "samples.json";

/// Arguments of `collect`.
#[derive(Debug, Args)]
pub struct CollectArgs {
    /// The prepared model: an artifact of shiftwise-preprocess, or an .onnx file
    #[arg(value_name = "PREPARED")]
    pub model: PathBuf,

    /// Where the statistics go
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

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

/// One line of [`SAMPLES_FILE`].
#[derive(Debug, Serialize)]
struct SampleRecord<'a> {
    id: &'a str,
    fingerprint: Fingerprint,
    skipped: bool,
}

/// Collects, or goes on where an earlier run was stopped, or says that it is done.
pub fn collect(args: &CollectArgs, context: &Context) -> Result<(), Failure> {
    let config = context.resolve::<CalibrateConfig>(&Flags::new().switch("collect_all", args.all, true))?;
    let data = args.data.resolve(context)?;
    let loaded = load_model(&args.model, &[Kind::Prepared])?;
    let chosen = args.engine.open(context, &[&loaded.model])?;
    let engine = chosen.engine.as_ref();
    let specs = tensors_to_collect(&loaded.model, &config.options)
        .map_err(|e| Failure::usage(format!("choose tensors: {e}")))?;
    if specs.is_empty() {
        return Err(Failure::input("find a tensor to collect: the quantizer will not ask for any")
            .with_help("the model has no operator that is quantized; --all collects every float tensor"));
    }
    let watched: BTreeSet<String> =
        specs.iter().map(|s| s.name.clone()).filter(|t| !loaded.model.graph.is_input(t)).collect();
    let threads = rayon::current_num_threads();
    let session = engine.prepare(&loaded.model, &chosen.watching(Watch::Named(watched), threads))?;

    let dataset = data.open(&input_specs(&loaded.model)?)?;
    let hashes = hash(&dataset)?;
    // The statistics do not depend on the order of the samples, nor on what their files are called; so a sample's number in
    // the plan comes from its content, or progress would belong to other samples once files were renamed.
    let mut places: Vec<usize> = (0..dataset.len()).collect();
    places.sort_by_key(|&i| (hashes[i], i));
    let samples = Fingerprint::combine("samples", places.iter().map(|&i| ("", hashes[i])));
    let names: Vec<&str> = specs.iter().map(|s| s.name.as_str()).collect();
    let settings = json!({ "engine": engine.name(), "data": data.config()?, "tensors": names });
    // Whether bad samples are left out may change on the way: what was collected before stays true.
    let mut identity = settings.clone();
    if let Some(data) = identity["data"].as_object_mut() {
        data.remove("skip_bad_samples");
    }
    let plan = Plan::whole(
        Fingerprint::combine(
            "statistics",
            [
                ("model", loaded.fingerprint),
                ("samples", samples),
                ("settings", Fingerprint::of_json(&identity)),
            ],
        ),
        dataset.len() as u64,
    );
    let path = data.data.as_ref().map_or_else(String::new, |p| p.display().to_string());
    let inputs = BTreeMap::from([
        ("model".to_owned(), loaded.as_input()),
        ("data".to_owned(), Input { path, fingerprint: samples }),
    ]);
    let pending = match context.begin(&args.output, Kind::Stats, inputs, settings)? {
        Begin::UpToDate(artifact) => {
            // Whoever finished it may have been killed before it could clear up.
            match Working::discard(&work_dir(&args.output)?) {
                // Or it is clearing up at this moment.
                Ok(()) | Err(Error::Busy { .. }) => {}
                Err(e) => return Err(e.into()),
            }
            return context.print_json(&artifact.manifest().notes);
        }
        Begin::Write(pending) => pending,
    };

    let mut working = open_working(context, &args.output, &plan, &specs)?;
    if !data.skip_bad_samples && !working.progress().skipped.is_empty() {
        context.say("an unfinished collection that left out bad samples is discarded");
        drop(working);
        Working::discard(&work_dir(&args.output)?)?;
        working = open_working(context, &args.output, &plan, &specs)?;
    }
    let before = working.progress();
    let progress = context.progress("calibrating", plan.samples, "samples");
    if before.pending < plan.samples {
        context.say(&format!("going on after {}", count(plan.samples - before.pending, "sample")));
        progress.resume_at(plan.samples - before.pending);
    }
    let collector = Collector {
        session: session.as_ref(),
        dataset: &dataset,
        places: &places,
        skip_bad_samples: data.skip_bad_samples,
        threads,
        interrupt: &context.interrupt,
        progress: &progress,
    };
    let mut todo = working.pending();
    // Files are read in their order.
    todo.sort_unstable_by_key(|&ordinal| places[ordinal as usize]);
    let accumulators = match collector.run(&mut working, &todo)? {
        Outcome::Complete(accumulators) => accumulators,
        Outcome::Interrupted => {
            let left = working.progress().pending;
            return Err(Failure::interrupted(format!("stopped with {} to go", count(left, "sample")))
                .with_help("run the same command again to go on"));
        }
    };
    drop(progress);

    let skipped: BTreeSet<usize> =
        working.progress().skipped.into_iter().map(|ordinal| places[ordinal as usize]).collect();
    if skipped.len() as u64 == plan.samples {
        return Err(Failure::input("collect statistics: no sample could be read"));
    }
    let writer = pending.writer()?;
    let stats = writer.path(STATS_FILE)?;
    seal_with(&working, &accumulators, &stats)?;
    let size = std::fs::metadata(&stats).map_or(0, |m| m.len());
    let list: Vec<SampleRecord<'_>> = hashes
        .iter()
        .enumerate()
        .map(|(i, fingerprint)| SampleRecord {
            id: dataset.id(i),
            fingerprint: *fingerprint,
            skipped: skipped.contains(&i),
        })
        .collect();
    writer.write_json(SAMPLES_FILE, &list)?;
    let notes = BTreeMap::from([
        ("samples".to_owned(), json!(plan.samples - skipped.len() as u64)),
        ("skipped_samples".to_owned(), json!(skipped.len())),
        ("tensors".to_owned(), json!(specs.len())),
    ]);
    let artifact = context.finish(writer, notes)?;
    working.remove()?;
    let seen = plan.samples - skipped.len() as u64;
    context.say(&format!(
        "collected {} over {}{} in {:.1} s ({})",
        count(specs.len() as u64, "tensor"),
        count(seen, "sample"),
        if skipped.is_empty() { String::new() } else { format!(", {} left out", skipped.len()) },
        context.started.elapsed().as_secs_f64(),
        bytes(size),
    ));
    context.print_json(&artifact.manifest().notes)
}

fn hash(dataset: &Dataset) -> Result<Vec<Fingerprint>, Failure> {
    (0..dataset.len()).into_par_iter().map(|i| Ok(dataset.fingerprint(i)?)).collect()
}

/// Progress of another plan can be of no use any more: what it was for was changed.
fn open_working(
    context: &Context,
    output: &std::path::Path,
    plan: &Plan,
    specs: &[TensorSpec],
) -> Result<Working, Failure> {
    let dir = work_dir(output)?;
    match Working::open_or_create(&dir, plan, specs) {
        Err(Error::Foreign { .. }) => {
            context.say(
                "an unfinished collection of another model, other samples or other settings is discarded",
            );
            Working::discard(&dir)?;
            Ok(Working::open_or_create(&dir, plan, specs)?)
        }
        other => Ok(other?),
    }
}
