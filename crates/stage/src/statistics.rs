//! Statistics that were collected on a model.

use std::path::Path;

use shiftwise_artifact::stats::{STATS_FILE, Stats};
use shiftwise_artifact::{Artifact, Input, Kind};

use crate::{Failure, LoadedModel};

/// Statistics of a model, over all samples.
#[derive(Debug)]
pub struct LoadedStats {
    artifact: Artifact,
    /// What was collected.
    pub stats: Stats,
}

impl LoadedStats {
    /// The statistics as an input of an artifact.
    pub fn as_input(&self) -> Input {
        self.artifact.as_input()
    }
}

/// Read the statistics in `dir` for `model`.
///
/// # Errors
/// Where there are none, where they were collected on another model, whose scales would mean nothing, and where they are a shard, which has
/// seen some of the samples only.
pub fn load_stats(dir: &Path, model: &LoadedModel) -> Result<LoadedStats, Failure> {
    let artifact = Artifact::open(dir, Kind::Stats)?;
    let origin = artifact.manifest().inputs.get("model");
    if origin.is_none_or(|o| o.fingerprint != model.fingerprint) {
        return Err(Failure::mismatch(format!(
            "use the statistics in {}: they were collected on {}, which is not {} as it is now",
            dir.display(),
            origin.map_or("another model", |o| o.path.as_str()),
            model.path.display(),
        ))
        .with_help("collect statistics of this model: shiftwise-calibrate collect"));
    }
    let stats = Stats::open(&artifact.file(STATS_FILE)?)?;
    let plan = stats.plan();
    if plan.is_whole() {
        return Ok(LoadedStats { artifact, stats });
    }
    let (first, last) = (plan.range.start + 1, plan.range.end);
    let path = stats.path().display();
    Err(Failure::mismatch(format!(
        "use {path}: it is a shard, samples {first} to {last} of {}",
        plan.samples
    ))
    .with_help("merge all shards first: shiftwise-calibrate merge"))
}
