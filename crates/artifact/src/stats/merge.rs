//! Joining the finished files of shards.

use std::path::Path;

use super::pages::Sum;
use super::seal::emit;
use super::sealed::{Head, Stats, TensorHead};
use super::working::overflow;
use crate::{Error, Fingerprint, Result, atomic};

/// Write the statistics of a whole plan from those of its shards, given in any order. The result has the bytes that a run in one
/// piece would have written.
///
/// # Errors
/// [`Error::Foreign`] names a shard of another plan or with other tensors, [`Error::Doubled`] two shards of the same samples,
/// [`Error::Overlapping`] two that have some in common, [`Error::Incomplete`] the samples that no shard has, and the shards
/// that there are; [`Error::Write`].
pub fn merge(plan: Fingerprint, shards: &[Stats], path: &Path) -> Result<()> {
    let mut ordered: Vec<&Stats> = shards.iter().collect();
    ordered.sort_by_key(|shard| (shard.plan().range.start, shard.plan().range.end));
    let Some(first) = ordered.first() else {
        let reason = "there are no shards".to_owned();
        return Err(Error::Incomplete { path: path.to_owned(), reason });
    };
    let mut head = first.head().clone();
    for shard in &ordered {
        check_belongs(shard, plan, &head)?;
    }
    head.plan.range = 0..head.plan.samples;
    check_tiling(&ordered, head.plan.samples, path)?;
    ordered[1..].iter().try_for_each(|shard| add(&mut head, shard.head()))?;
    let sum = Sum(&ordered);
    atomic::write_streamed(path, |out| emit(head, &sum, out, path))
}

/// Check that a shard is of this plan, and has the tensors of this head.
fn check_belongs(shard: &Stats, plan: Fingerprint, head: &Head) -> Result<()> {
    let foreign = |reason: String| Err(Error::Foreign { path: shard.path().to_owned(), reason });
    let theirs = shard.plan();
    if theirs.fingerprint != plan {
        let (theirs, ours) = (theirs.fingerprint.short(), plan.short());
        return foreign(format!("it is a shard of plan {theirs}, not of {ours}"));
    }
    if theirs.samples != head.plan.samples {
        let (theirs, others) = (theirs.samples, head.plan.samples);
        return foreign(format!("its plan has {theirs} samples, and that of the other shards {others}"));
    }
    if !shard.head().tensors.iter().map(|t| &t.spec).eq(head.tensors.iter().map(|t| &t.spec)) {
        return foreign("it has other tensors than the other shards".to_owned());
    }
    Ok(())
}

/// Check that shards, ordered by their samples, have each sample once.
fn check_tiling(ordered: &[&Stats], samples: u64, path: &Path) -> Result<()> {
    let range = |shard: &Stats| shard.plan().range.clone();
    let text = |shard: &Stats| format!("{:?}", range(shard));
    let mut missing = Vec::new();
    // A shard without samples is in nobody's way.
    let mut before: Option<&Stats> = None;
    let mut reached = 0;
    for shard in ordered.iter().filter(|shard| !range(shard).is_empty()) {
        if let Some(before) = before.filter(|_| range(shard).start < reached) {
            let (path, other) = (shard.path().to_owned(), before.path().to_owned());
            return Err(if range(before) == range(shard) {
                Error::Doubled { path, other, samples: text(shard) }
            } else {
                Error::Overlapping { path, samples: text(shard), other, others: text(before) }
            });
        }
        if range(shard).start > reached {
            missing.push(format!("{reached}..{}", range(shard).start));
        }
        reached = range(shard).end;
        before = Some(shard);
    }
    if reached < samples {
        missing.push(format!("{reached}..{samples}"));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let there = ordered.iter().map(|shard| format!("{} has {}", shard.path().display(), text(shard)));
    let there = there.collect::<Vec<_>>().join(", ");
    let reason = format!("no shard has samples {} of {samples} ({there})", missing.join(", "));
    Err(Error::Incomplete { path: path.to_owned(), reason })
}

/// Add the samples of another head to this one; not its pages.
fn add(head: &mut Head, other: &Head) -> Result<()> {
    head.skipped.extend_from_slice(&other.skipped);
    for (TensorHead { spec, moments, .. }, other) in head.tensors.iter_mut().zip(&other.tensors) {
        moments.merge(&other.moments).ok_or_else(|| overflow(&spec.name))?;
    }
    Ok(())
}
