//! The finished statistics file.
//!
//! Layout: [`Header`]; a record ([`Head`]); zeros up to a multiple of 4096; the pages that hold a count, tensor by tensor and in
//! ascending order, 1024 little-endian u64 each; a checksum of all before it. The record lists the pages of each
//! tensor, and they must fill the file exactly, so there are no offsets which could lie.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::accumulator::Accumulator;
use super::container::{CHECKSUM_BYTES, Checked, Format, HEADER_BYTES, Header};
use super::layout::PAGE_BINS;
use super::moments::Moments;
use super::pages::{PAGE_BYTES, Page, PageSet, PageSource, Sum, add_bytes, to_bytes};
use super::plan::{Plan, TensorSpec, check_specs};
use super::view::TensorView;
use super::working::{Working, overflow};
use crate::map::Bytes;
use crate::{Error, Fingerprint, FormatVersion, Result, atomic, record};

/// The name of the file in a `stats` artifact.
pub const STATS_FILE: &str = "stats.bin";

/// Version of the statistics file.
///
/// * 1.0: the first;
/// * 2.0: votes.
const FORMAT: Format = Format { magic: *b"SWSTATS\n", version: FormatVersion { major: 2, minor: 0 } };

/// Pages begin at a multiple of this, so that they lie on pages of the system.
const ALIGNMENT: usize = 4096;

/// Everything but the pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) plan: Plan,
    pub(crate) skipped: Vec<u64>,
    pub(crate) tensors: Vec<TensorHead>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TensorHead {
    pub(crate) spec: TensorSpec,
    pub(crate) moments: Moments,
    pub(crate) pages: PageSet,
}

/// Write the finished file. Its bytes depend on plan, tensors and samples alone.
///
/// # Errors
/// [`Error::Incomplete`] where samples are to go; [`Error::Damaged`] where the page file has lost counts; [`Error::Write`].
pub fn seal(working: &Working, path: &Path) -> Result<()> {
    seal_with(working, &[], path)
}

/// Write the finished file of what is durable and of what workers hold in memory: the same bytes as [`seal`] after a last
/// [`Working::checkpoint`], without writing everything twice.
///
/// # Errors
/// Those of [`seal`], and [`Error::Misuse`] as in [`Working::checkpoint`].
pub fn seal_with(working: &Working, accumulators: &[Accumulator], path: &Path) -> Result<()> {
    working.check_usable()?;
    let sources: Vec<&Accumulator> = accumulators.iter().collect();
    let state = working.next_state(&sources)?.0;
    let mut pending = state.pending();
    if let Some(first) = pending.next() {
        let reason =
            format!("{} samples have not been seen, the first is sample {first}", pending.count() + 1);
        return Err(Error::Incomplete { path: working.dir().to_owned(), reason });
    }
    let tensors = state.specs.iter().zip(&state.tensors).zip(&state.pages);
    let head = Head {
        plan: state.plan.clone(),
        skipped: state.skipped.clone(),
        tensors: tensors
            .map(|((spec, moments), &pages)| TensorHead {
                spec: spec.clone(),
                moments: moments.clone(),
                pages,
            })
            .collect(),
    };
    let source = Joined(working, Sum(&sources));
    atomic::write_streamed(path, |out| emit(&head, &source, out, path))
}

/// Pages of the page file and of accumulators together.
struct Joined<'a>(&'a Working, Sum<'a, &'a Accumulator>);

impl PageSource for Joined<'_> {
    fn pages(&self, tensor: usize) -> PageSet {
        let mut pages = self.0.pages(tensor);
        pages.union(&self.1.pages(tensor));
        pages
    }

    fn add_page(&self, tensor: usize, page: usize, counts: &mut Page) -> Result<()> {
        self.0.add_page(tensor, page, counts)?;
        self.1.add_page(tensor, page, counts)
    }
}

/// Write head and pages, checking that the counts of each tensor are as many as its elements.
pub(crate) fn emit(head: &Head, source: &impl PageSource, out: &mut dyn Write, path: &Path) -> Result<()> {
    let failed = || Error::write(path);
    let record = record::encode(head).map_err(|e| failed()(io::Error::other(e)))?;
    let pages: usize = head.tensors.iter().map(|t| t.pages.len()).sum();
    let header = Header { record_bytes: record.len() as u64, pages: pages as u64 };
    let mut checked = Checked::new(out);
    let unpadded = HEADER_BYTES + record.len();
    let padding = vec![0; unpadded.next_multiple_of(ALIGNMENT) - unpadded];
    for part in [&header.to_bytes(&FORMAT)[..], &record, &padding] {
        checked.write_all(part).map_err(failed())?;
    }
    for (index, tensor) in head.tensors.iter().enumerate() {
        let mut counted = 0_u64;
        for page in tensor.pages.iter() {
            let mut counts = [0; PAGE_BINS];
            source.add_page(index, page, &mut counts)?;
            counted = counts.iter().fold(counted, |sum, &count| sum.wrapping_add(count));
            checked.write_all(&to_bytes(&counts)).map_err(failed())?;
        }
        if counted != tensor.moments.elements {
            let (name, elements) = (&tensor.spec.name, tensor.moments.elements);
            return Err(Error::damaged(
                path,
                format!("tensor {name} has {counted} counts for {elements} elements"),
            ));
        }
    }
    checked.finish().map_err(failed())
}

/// A finished statistics file, checked and mapped read-only.
#[derive(Debug)]
pub struct Stats {
    path: PathBuf,
    bytes: Bytes,
    head: Head,
    /// Where the pages of each tensor begin, in bytes.
    starts: Vec<usize>,
    index: BTreeMap<String, usize>,
}

impl Stats {
    /// Open a file and check all of it: a byte that was changed, added or lost is noticed.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Malformed`], [`Error::Damaged`], [`Error::Version`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::check(Bytes::map(path)?, path)
    }

    fn check(bytes: Bytes, path: &Path) -> Result<Self> {
        let malformed = |e: String| Error::malformed(path, e);
        let (header, body) = Header::open(&bytes, &FORMAT, path)?;
        let too_short = || malformed("its lengths do not fill the file".to_owned());
        let record_bytes = usize::try_from(header.record_bytes).map_err(|_| too_short())?;
        let record = body.get(..record_bytes).ok_or_else(too_short)?;
        let head: Head = record::decode(record).map_err(malformed)?;
        head.check().map_err(malformed)?;
        let begin = (HEADER_BYTES + record_bytes).next_multiple_of(ALIGNMENT);
        let pages: usize = head.tensors.iter().map(|t| t.pages.len()).sum();
        let end = pages.checked_mul(PAGE_BYTES).and_then(|n| n.checked_add(begin)).ok_or_else(too_short)?;
        if header.pages != pages as u64 || end.checked_add(CHECKSUM_BYTES) != Some(bytes.len()) {
            return Err(too_short());
        }
        if bytes[HEADER_BYTES + record_bytes..begin].iter().any(|&b| b != 0) {
            return Err(malformed("there is something between its parts".to_owned()));
        }
        let mut starts = Vec::with_capacity(head.tensors.len());
        let mut at = begin;
        for tensor in &head.tensors {
            starts.push(at);
            let end = at + tensor.pages.len() * PAGE_BYTES;
            check_counts(tensor, &bytes[at..end]).map_err(malformed)?;
            at = end;
        }
        let index = head.tensors.iter().enumerate().map(|(i, t)| (t.spec.name.clone(), i)).collect();
        Ok(Self { path: path.to_owned(), bytes, head, starts, index })
    }

    /// The statistics of accumulators, in memory. Samples of the plan that none has seen count as skipped.
    ///
    /// # Errors
    /// [`Error::Misuse`] as in [`Working::checkpoint`].
    pub fn from_accumulators(plan: &Plan, accumulators: &[Accumulator]) -> Result<Self> {
        plan.check().map_err(Error::Misuse)?;
        let specs = accumulators.first().map(|a| a.specs().to_vec()).unwrap_or_default();
        let mut state = super::checkpoint::State::new(plan.clone(), specs);
        for accumulator in accumulators {
            if accumulator.is_open() || accumulator.specs()[..] != state.specs {
                return Err(Error::Misuse(
                    "an unfinished batch, or accumulators of different tensors".to_owned(),
                ));
            }
            super::working::mark(&mut state, accumulator.samples())?;
        }
        let sum = Sum(accumulators);
        let mut tensors = Vec::new();
        for (i, spec) in state.specs.iter().enumerate() {
            let mut moments = Moments::new(spec.channels);
            for accumulator in accumulators {
                moments.merge(accumulator.moments(i)).ok_or_else(|| overflow(&spec.name))?;
            }
            tensors.push(TensorHead { spec: spec.clone(), moments, pages: sum.pages(i) });
        }
        Self::assemble(&Head { plan: plan.clone(), skipped: state.pending().collect(), tensors }, &sum)
    }

    /// The statistics of one tensor without channels, called `name`, of one sample.
    ///
    /// # Errors
    /// [`Error::Misuse`] for more than 2^32 values.
    pub fn from_values(name: &str, values: &[f32]) -> Result<Self> {
        Self::from_samples(TensorSpec::flat(name, &[values.len() as i64]), 1, &[values])
    }

    /// The statistics of one tensor over samples given in row-major order. `inner` is the product of the dimensions behind the
    /// channel axis.
    ///
    /// # Errors
    /// [`Error::Misuse`] as in [`Accumulator::observe`].
    pub fn from_samples(spec: TensorSpec, inner: usize, samples: &[&[f32]]) -> Result<Self> {
        let mut accumulator = Accumulator::new(vec![spec])?;
        for (ordinal, values) in samples.iter().enumerate() {
            accumulator.begin(&[ordinal as u64])?;
            accumulator.observe(0, values, inner)?;
            accumulator.finish();
        }
        let plan = Plan::whole(Fingerprint::of_bytes(b"in memory"), samples.len() as u64);
        Self::from_accumulators(&plan, &[accumulator])
    }

    pub(crate) fn assemble(head: &Head, source: &impl PageSource) -> Result<Self> {
        let path = Path::new("(in memory)");
        let mut bytes = Vec::new();
        emit(head, source, &mut bytes, path)?;
        Self::check(Bytes::Owned(bytes), path)
    }

    /// Write the file as it is, for statistics that were made in memory.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn save(&self, path: &Path) -> Result<()> {
        atomic::write(path, &self.bytes)
    }

    /// The statistics of a tensor.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.index.get(name).map(|&i| self.view(i))
    }

    /// The statistics of all tensors, in the order of the plan.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> {
        (0..self.head.tensors.len()).map(|i| self.view(i))
    }

    fn view(&self, index: usize) -> TensorView<'_> {
        let head = &self.head.tensors[index];
        let bytes = &self.bytes[self.starts[index]..][..head.pages.len() * PAGE_BYTES];
        TensorView::new(head, bytes)
    }

    /// What the statistics are of.
    pub fn plan(&self) -> &Plan {
        &self.head.plan
    }

    /// Number of samples that the statistics are made of.
    pub fn samples_seen(&self) -> u64 {
        self.head.samples_seen()
    }

    /// Samples that were given up, in ascending order.
    pub fn skipped(&self) -> &[u64] {
        &self.head.skipped
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }
}

impl Head {
    pub(crate) fn samples_seen(&self) -> u64 {
        (self.plan.range.end - self.plan.range.start).saturating_sub(self.skipped.len() as u64)
    }

    fn check(&self) -> Result<(), String> {
        self.plan.check()?;
        let specs: Vec<_> = self.tensors.iter().map(|t| t.spec.clone()).collect();
        check_specs(&specs)?;
        let ascending = self.skipped.is_sorted_by(|a, b| a < b);
        if !ascending || self.skipped.iter().any(|s| !self.plan.range.contains(s)) {
            return Err("its skipped samples are not in order".to_owned());
        }
        self.tensors.iter().try_for_each(|t| t.moments.check(&t.spec))
    }
}

/// Every page holds a count, and all counts together are the elements.
fn check_counts(tensor: &TensorHead, bytes: &[u8]) -> Result<(), String> {
    let mut total = 0_u128;
    for page in bytes.chunks_exact(PAGE_BYTES) {
        let counts = page.as_chunks::<8>().0.iter().map(|c| u128::from(u64::from_le_bytes(*c)));
        let sum: u128 = counts.sum();
        if sum == 0 {
            return Err(format!("tensor {} has an empty page", tensor.spec.name));
        }
        total += sum;
    }
    if total != u128::from(tensor.moments.elements) {
        return Err(format!("tensor {} has {total} counts for its elements", tensor.spec.name));
    }
    Ok(())
}

impl PageSource for Stats {
    fn pages(&self, tensor: usize) -> PageSet {
        self.head.tensors[tensor].pages
    }

    fn add_page(&self, tensor: usize, page: usize, into: &mut Page) -> Result<()> {
        if let Some(position) = self.head.tensors[tensor].pages.iter().position(|p| p == page) {
            add_bytes(&self.bytes[self.starts[tensor] + position * PAGE_BYTES..][..PAGE_BYTES], into);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file whose checksum is right, whatever else is not.
    fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
        let end = bytes.len() - CHECKSUM_BYTES;
        let checksum = blake3::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(checksum.as_bytes());
        bytes
    }

    fn open(bytes: Vec<u8>) -> Result<Stats> {
        Stats::check(Bytes::Owned(signed(bytes)), Path::new("f"))
    }

    fn good() -> Vec<u8> {
        let spec = TensorSpec::channel_first("x", &[1, 2, 2]);
        let stats = Stats::from_samples(spec, 2, &[&[1.0, 2.0, -3.0, f32::NAN], &[0.0; 4]]).unwrap();
        stats.bytes.to_vec()
    }

    fn reason(bytes: Vec<u8>) -> String {
        open(bytes).unwrap_err().to_string()
    }

    #[test]
    fn lengths_that_lie_are_refused_though_the_checksum_is_right() {
        let good = good();
        open(good.clone()).unwrap();
        for (at, value) in [(16, 0), (16, 1), (16, u64::MAX), (16, 1 << 40), (24, 0), (24, 6), (24, u64::MAX)]
        {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
            open(bytes).unwrap_err();
        }
        let longer = [&good[..], &[0; PAGE_BYTES]].concat();
        assert!(reason(longer).contains("lengths"));
        let shorter = good[..good.len() - PAGE_BYTES].to_vec();
        assert!(reason(shorter).contains("lengths"));
    }

    #[test]
    fn contents_that_lie_are_refused_though_the_checksum_is_right() {
        let good = good();
        let mut padding = good.clone();
        padding[ALIGNMENT - 1] = 1;
        assert!(reason(padding).contains("between its parts"));
        let mut count = good.clone();
        count[ALIGNMENT] ^= 1;
        assert!(reason(count).contains("counts"));
        let mut empty = good.clone();
        empty[ALIGNMENT..ALIGNMENT + PAGE_BYTES].fill(0);
        assert!(reason(empty).contains("empty page"));
        let mut newer = good;
        newer[8] = 3;
        let error = open(newer).unwrap_err();
        assert!(matches!(error, Error::Version { .. }) && error.to_string().contains("3.0"), "{error}");
    }

    #[test]
    fn the_first_bytes_are_these() {
        // The frame of format 2.0; what bincode writes has golden bytes of its own.
        let good = good();
        assert_eq!(good[..16], *b"SWSTATS\n\x02\0\0\0\0\0\0\0");
        assert_eq!(good[24..32], 5_u64.to_le_bytes());
        assert_eq!(good.len(), ALIGNMENT + 5 * PAGE_BYTES + CHECKSUM_BYTES);
    }

    proptest! {
        #[test]
        fn no_record_makes_it_panic(changes in prop::collection::vec((16_usize..600, any::<u8>()), 1..4)) {
            let mut bytes = good();
            for (at, value) in changes {
                bytes[at] = value;
            }
            if let Ok(stats) = open(bytes) {
                for tensor in stats.tensors() {
                    prop_assert!(tensor.bins().map(|(_, n)| n).sum::<u64>() <= tensor.elements());
                    for channel in 0..tensor.channels() {
                        prop_assert!(tensor.channel_variance(channel).is_none_or(|v| v.is_nan() || v >= 0.0));
                    }
                    prop_assert!(tensor.finite_count() <= tensor.elements());
                }
            }
        }
    }
}
