//! Joining the finished files of shards.

use std::path::Path;

use super::pages::Sum;
use super::sealed::{Head, Stats, TensorHead, emit};
use super::working::overflow;
use crate::{Error, Fingerprint, Result, atomic};

/// Write the statistics of a whole plan from those of its shards, given in any order. The result has the bytes that a run in one
/// piece would have written.
///
/// # Errors
/// [`Error::Foreign`] names a shard of another plan, with other tensors, or with samples that another shard has too;
/// [`Error::Incomplete`] names the samples that no shard has; [`Error::Write`].
pub fn merge(plan: Fingerprint, shards: &[Stats], path: &Path) -> Result<()> {
    let mut ordered: Vec<&Stats> = shards.iter().collect();
    ordered.sort_by_key(|shard| (shard.plan().range.start, shard.plan().range.end));
    let incomplete = |reason: String| Error::Incomplete { path: path.to_owned(), reason };
    let Some(first) = ordered.first() else { return Err(incomplete("there are no shards".to_owned())) };
    let (samples, mut head) = (first.plan().samples, first.head().clone());
    let mut reached = 0;
    for (i, shard) in ordered.iter().enumerate() {
        let foreign = |reason: String| Error::Foreign { path: shard.path().to_owned(), reason };
        let theirs = shard.plan();
        if theirs.fingerprint != plan || theirs.samples != samples {
            let (theirs, ours) = (theirs.fingerprint.short(), plan.short());
            return Err(foreign(format!("it is a shard of plan {theirs}, not of {ours}")));
        }
        if !shard.head().tensors.iter().map(|t| &t.spec).eq(head.tensors.iter().map(|t| &t.spec)) {
            return Err(foreign("it has other tensors than the other shards".to_owned()));
        }
        let range = theirs.range.clone();
        if range.start < reached {
            let other = ordered[i - 1].path().display();
            return Err(foreign(format!("its samples {range:?} overlap those of {other}")));
        }
        if range.start > reached {
            return Err(incomplete(format!("no shard has samples {reached}..{}", range.start)));
        }
        reached = range.end;
        if i > 0 {
            add(&mut head, shard.head())?;
        }
    }
    if reached < samples {
        return Err(incomplete(format!("no shard has samples {reached}..{samples}")));
    }
    head.plan.range = 0..samples;
    let sum = Sum(&ordered);
    atomic::write_streamed(path, |out| emit(head, &sum, out, path))
}

/// Add the samples of another head to this one; not its pages.
fn add(head: &mut Head, other: &Head) -> Result<()> {
    head.skipped.extend_from_slice(&other.skipped);
    for (TensorHead { spec, moments, .. }, other) in head.tensors.iter_mut().zip(&other.tensors) {
        moments.merge(&other.moments).ok_or_else(|| overflow(&spec.name))?;
    }
    Ok(())
}
