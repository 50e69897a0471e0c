//! What is there of the shards of a plan.

use std::path::{Path, PathBuf};

use serde::Serialize;
use shiftwise_artifact::stats::{STATS_FILE, Stats, Working};
use shiftwise_artifact::{Artifact, Kind, work_dir};
use shiftwise_stage::Failure;

use crate::{SamplePlan, Shard};

/// A shard of a plan and where its statistics are expected.
#[derive(Debug)]
pub(crate) struct Found {
    /// Which shard.
    pub(crate) shard: Shard,
    /// Its artifact, there or not.
    pub(crate) path: PathBuf,
    /// What is there.
    pub(crate) state: State,
}

/// What is there of a shard.
#[derive(Debug)]
pub(crate) enum State {
    /// Its statistics.
    Done(Box<Stats>),
    /// Progress that can go on.
    Begun {
        /// Samples done.
        done: u64,
    },
    /// Nothing.
    Missing,
    /// Statistics of something else, or damaged ones, and why.
    Stale(String),
}

impl State {
    /// One word.
    pub(crate) fn word(&self) -> Word {
        match self {
            Self::Done(_) => Word::Done,
            Self::Begun { .. } => Word::Begun,
            Self::Missing => Word::Missing,
            Self::Stale(_) => Word::Stale,
        }
    }
}

/// A [`State`] in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    /// Its statistics are there.
    Done,
    /// There is progress that can go on.
    Begun,
    /// There is nothing.
    Missing,
    /// There is something that cannot be used.
    Stale,
}

impl Found {
    /// Looks for a shard of a plan where `collect -o output` puts it.
    ///
    /// Fails for an output without a name.
    pub(crate) fn look(plan: &SamplePlan, shard: Shard, output: &Path) -> Result<Self, Failure> {
        let path = shard.dir(output)?;
        let state = Self::state(plan, shard, &path)?;
        Ok(Self { shard, path, state })
    }

    fn state(plan: &SamplePlan, shard: Shard, path: &Path) -> Result<State, Failure> {
        if !path.exists() {
            let expected = plan.part(Some(shard.range(plan.samples.len() as u64)));
            return Ok(match Working::progress_at(&work_dir(path)?) {
                Ok(Some(progress)) if progress.plan == expected => State::Begun { done: progress.done },
                // Collecting discards the progress of anything else.
                _ => State::Missing,
            });
        }
        Ok(match open(path).and_then(|stats| identify(plan, &stats).map(|found| (found, stats))) {
            Ok((found, stats)) if found == shard => State::Done(Box::new(stats)),
            Ok((found, _)) => State::Stale(format!("it is shard {found}")),
            Err(reason) => State::Stale(reason),
        })
    }
}

/// Opens the statistics of an artifact, all of it checked.
pub(crate) fn open(path: &Path) -> Result<Stats, String> {
    let artifact = Artifact::open(path, Kind::Stats).map_err(|e| e.to_string())?;
    artifact.file(STATS_FILE).and_then(|file| Stats::open(&file)).map_err(|e| e.to_string())
}

/// Which shard of the plan these statistics are; why they are none, where they are not.
pub(crate) fn identify(plan: &SamplePlan, stats: &Stats) -> Result<Shard, String> {
    let theirs = stats.plan();
    if theirs.fingerprint != plan.statistics {
        return Err("it was made by another plan, or of samples that have changed since".into());
    }
    let shard = Shard::all(plan.shards).find(|shard| shard.range(theirs.samples) == theirs.range);
    shard.ok_or_else(|| {
        let range = &theirs.range;
        format!("it has samples {} to {}, which are no shard of this plan", range.start + 1, range.end)
    })
}
