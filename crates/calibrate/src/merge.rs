//! `merge`: from the shards of a plan to the statistics that one run would have written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use shiftwise_artifact::Input;
use shiftwise_artifact::stats::{STATS_FILE, Stats, merge as merge_stats};
use shiftwise_stage::report::{bytes, count};
use shiftwise_stage::{Context, Failure};

use crate::collect::{SAMPLES_FILE, SampleRecord, begin, notes};
use crate::shards::{Found, State, identify, open};
use crate::{SamplePlan, Shard, array_spec};

/// Arguments of `merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The plan that the shards were collected by
    #[arg(long, value_name = "PLAN")]
    pub plan: PathBuf,

    /// Where the statistics go
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

    /// The shards, in any order (default: those that `collect --shard` left beside the output)
    #[arg(value_name = "SHARD")]
    pub shards: Vec<PathBuf>,
}

/// Joins all shards of a plan, or says that it is done.
pub fn merge(args: &MergeArgs, context: &Context) -> Result<(), Failure> {
    // Nothing here is configured, but wrong settings and --print-config are treated as everywhere.
    context.resolve::<crate::CalibrateConfig>(&shiftwise_stage::Flags::new())?;
    let (plan, artifact) = SamplePlan::read(&args.plan)?;
    let model = artifact.manifest().inputs.get("model").cloned();
    let model = model.unwrap_or_else(|| Input { path: String::new(), fingerprint: plan.model });
    let inputs = BTreeMap::from([
        ("model".to_owned(), model),
        ("plan".to_owned(), artifact.as_input()),
        ("data".to_owned(), plan.data_input()),
    ]);
    // What is done needs no shards any more.
    let Some(pending) = begin(context, &args.output, inputs, json!({}))? else { return Ok(()) };
    let shards =
        if args.shards.is_empty() { beside(&plan, &args.output)? } else { named(&plan, &args.shards)? };

    let writer = pending.writer()?;
    let path = writer.path(STATS_FILE)?;
    let shards: Vec<Stats> = shards.into_values().collect();
    merge_stats(plan.statistics, &shards, &path)?;
    let size = std::fs::metadata(&path).map_or(0, |m| m.len());
    let skipped: Vec<u64> = shards.iter().flat_map(Stats::skipped).copied().collect();
    let seen = (plan.samples.len() - skipped.len()) as u64;
    if seen == 0 {
        return Err(Failure::input("merge statistics: no sample could be read"));
    }
    let records = plan.samples.iter().zip(0..).map(|(sample, ordinal)| SampleRecord {
        id: sample.id.clone(),
        fingerprint: sample.fingerprint,
        skipped: skipped.binary_search(&ordinal).is_ok(),
    });
    writer.write_json(SAMPLES_FILE, &records.collect::<Vec<_>>())?;
    let tensors = plan.tensors.len() as u64;
    let artifact = context.finish(writer, notes(seen, skipped.len() as u64, tensors))?;
    let (shards, samples) = (count(plan.shards, "shard"), count(seen, "sample"));
    context.say(&format!("merged {shards} of {samples} ({})", bytes(size)));
    context.print_json(&artifact.manifest().notes)
}

/// The shards where `collect -o output` put them.
fn beside(plan: &SamplePlan, output: &Path) -> Result<BTreeMap<Shard, Stats>, Failure> {
    let mut shards = BTreeMap::new();
    let (mut missing, mut stale) = (Vec::new(), Vec::new());
    for shard in Shard::all(plan.shards) {
        let found = Found::look(plan, shard, output)?;
        match found.state {
            State::Done(stats) => {
                shards.insert(shard, *stats);
            }
            State::Begun { .. } | State::Missing => missing.push(shard),
            State::Stale(reason) => stale.push((shard, found.path, reason)),
        }
    }
    if let Some((shard, path, reason)) = stale.first() {
        let again = missing.iter().copied().chain(stale.iter().map(|(shard, ..)| *shard));
        return Err(Failure::mismatch(format!("use {} as shard {shard}: {reason}", path.display()))
            .with_help(format!("{}; --force replaces stale shards", collect_again(again, plan))));
    }
    complete(shards, plan)
}

/// The shards that the user named.
fn named(plan: &SamplePlan, paths: &[PathBuf]) -> Result<BTreeMap<Shard, Stats>, Failure> {
    let mut shards = BTreeMap::<Shard, Stats>::new();
    let mut sources = BTreeMap::<Shard, &Path>::new();
    for path in paths {
        let refuse =
            |reason: String| Failure::mismatch(format!("use {} as a shard: {reason}", path.display()));
        if !path.exists() {
            return Err(Failure::input(format!("read {}: there is no such shard", path.display())));
        }
        let stats = open(path).map_err(refuse)?;
        let shard = identify(plan, &stats).map_err(refuse)?;
        if let Some(first) = sources.insert(shard, path) {
            return Err(refuse(format!("it is shard {shard}, and so is {}", first.display())));
        }
        shards.insert(shard, stats);
    }
    complete(shards, plan)
}

/// All shards, or which ones are missing.
fn complete(shards: BTreeMap<Shard, Stats>, plan: &SamplePlan) -> Result<BTreeMap<Shard, Stats>, Failure> {
    let missing: Vec<Shard> = Shard::all(plan.shards).filter(|shard| !shards.contains_key(shard)).collect();
    if missing.is_empty() {
        return Ok(shards);
    }
    let of = plan.shards;
    Err(Failure::mismatch(format!(
        "merge statistics: {} of {of} missing",
        count(missing.len() as u64, "shard")
    ))
    .with_help(collect_again(missing, plan)))
}

fn collect_again(shards: impl IntoIterator<Item = Shard>, plan: &SamplePlan) -> String {
    let mut numbers: Vec<u64> = shards.into_iter().map(|s| s.index).collect();
    numbers.sort_unstable();
    format!("collect these shards of {}: --array={}", plan.shards, array_spec(numbers))
}
