//! `status`: which shards of a plan are done.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use shiftwise_stage::report::{count, table};
use shiftwise_stage::{Context, Failure};

use crate::shards::{Found, State, Word};
use crate::{SamplePlan, Shard, array_spec};

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The plan
    #[arg(long, value_name = "PLAN")]
    pub plan: PathBuf,

    /// Where the statistics go: what `collect` and `merge` are given
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

    /// Print the numbers of the shards that are not done and nothing else, as --array of Slurm takes them: 2,5-7
    #[arg(long)]
    pub missing: bool,
}

/// The state of a plan as `--json` prints it.
#[derive(Debug, Serialize)]
struct Status<'a> {
    done: usize,
    shards: u64,
    missing: &'a str,
    each: Vec<One<'a>>,
}

#[derive(Debug, Serialize)]
struct One<'a> {
    shard: u64,
    samples: u64,
    samples_done: u64,
    state: Word,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    path: String,
}

/// Prints the state of every shard.
pub fn status(args: &StatusArgs, context: &Context) -> Result<(), Failure> {
    context.resolve::<crate::CalibrateConfig>(&shiftwise_stage::Flags::new())?;
    let (plan, _) = SamplePlan::read(&args.plan)?;
    let found: Vec<Found> = Shard::all(plan.shards)
        .map(|shard| Found::look(&plan, shard, &args.output))
        .collect::<Result<_, _>>()?;
    let open = found.iter().filter(|f| f.state.word() != Word::Done).map(|f| f.shard.index);
    let missing = array_spec(open);
    if args.missing {
        return context.print(&missing);
    }
    let rows: Vec<One<'_>> = found.iter().map(|f| row(&plan, f)).collect();
    let done = rows.iter().filter(|r| r.state == Word::Done).count();
    if context.common.json {
        return context.print_json(&Status { done, shards: plan.shards, missing: &missing, each: rows });
    }
    let text = table(
        &["shard", "state", "samples", "where"],
        rows.iter().map(|r| {
            let state = match r.why {
                Some(why) => format!("stale: {why}"),
                None => format!("{:?}", r.state).to_lowercase(),
            };
            let samples = if r.samples_done == r.samples {
                r.samples.to_string()
            } else {
                format!("{} of {}", r.samples_done, r.samples)
            };
            [r.shard.to_string(), state, samples, r.path.clone()]
        }),
    );
    context.print(&text)?;
    context.print(&if missing.is_empty() {
        format!("{} done", count(plan.shards, "shard"))
    } else {
        format!("{done} of {} done; to collect: --array={missing}", count(plan.shards, "shard"))
    })
}

fn row<'a>(plan: &SamplePlan, found: &'a Found) -> One<'a> {
    let range = found.shard.range(plan.samples.len() as u64);
    let samples = range.end - range.start;
    let (samples_done, why) = match &found.state {
        State::Done(_) => (samples, None),
        State::Begun { done } => (*done, None),
        State::Missing => (0, None),
        State::Stale(reason) => (0, Some(reason.as_str())),
    };
    One {
        shard: found.shard.index,
        samples,
        samples_done,
        state: found.state.word(),
        why,
        path: found.path.display().to_string(),
    }
}
