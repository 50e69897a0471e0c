//! The finished statistics file.
//!
//! Layout: the frame of [`super::container`]. The pages are those that hold a count, tensor by tensor and in ascending order:
//! 1024 little-endian u8, u16, u32 or u64 each, as the largest count of the page needs. All of them are a multiple of 1024 bytes,
//! and the first begins at byte 16, so that each is aligned to its counts. The record ([`Head`]) lists the pages of each tensor and their
//! widths, and they must fill the file exactly, so there are no offsets which could lie.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::accumulator::Accumulator;
use super::container::{Format, Frame, HEADER_BYTES};
use super::layout::{NEGATIVE_NON_FINITE_PAGE, NEGATIVE_ZERO_BIN, NON_FINITE_PAGE, ZERO_BIN, bin_of};
use super::moments::Moments;
use super::pages::{Page, PageSet, PageSource, PageTable, Sum};
use super::plan::{Plan, TensorSpec, check_specs};
use super::seal::emit;
use super::view::{TensorView, bins};
use super::working::overflow;
use crate::map::Bytes;
use crate::{Error, Fingerprint, FormatVersion, Result, atomic, record};

/// The name of the file in a `stats` artifact.
pub const STATS_FILE: &str = "stats.bin";

/// The path of statistics that no file holds.
const IN_MEMORY: &str = "(in memory)";

/// Version of the statistics file.
///
/// * 1.0: the first;
/// * 2.0: votes; counts as wide as they need; the record behind the pages.
pub(super) const FORMAT: Format = Format {
    magic: *b"SWSTATS\n",
    version: FormatVersion { major: 2, minor: 0 },
    again: "collect the statistics again",
};

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
    pub(crate) pages: PageTable,
}

/// A finished statistics file, checked and mapped read-only.
#[derive(Debug)]
pub struct Stats {
    path: PathBuf,
    bytes: Bytes,
    head: Head,
    /// Where the pages of each tensor are, in bytes.
    places: Vec<Range<usize>>,
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

    /// Check the bytes of a file, as [`open`](Self::open) does. The last 32 of them are the BLAKE3 hash of all before.
    ///
    /// No bytes make it panic, or allocate much more than they are.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Damaged`], [`Error::Version`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::check(Bytes::Owned(bytes), Path::new(IN_MEMORY))
    }

    fn check(bytes: Bytes, path: &Path) -> Result<Self> {
        let malformed = |e: String| FORMAT.malformed(path, e);
        let frame = Frame::open(&bytes, &FORMAT, path)?;
        let head: Head = record::decode(frame.record).map_err(malformed)?;
        head.check().map_err(malformed)?;
        let mut places = Vec::with_capacity(head.tensors.len());
        let (mut at, mut pages) = (0_usize, 0);
        for tensor in &head.tensors {
            let end = tensor.pages.bytes().and_then(|n| at.checked_add(n));
            let end =
                end.ok_or_else(|| malformed(format!("the pages of tensor {} cannot be", tensor.spec.name)))?;
            places.push(HEADER_BYTES + at..HEADER_BYTES + end);
            pages += tensor.pages.len() as u64;
            at = end;
        }
        if at != frame.pages.len() || pages != frame.page_count {
            return Err(malformed("its pages do not fill it".to_owned()));
        }
        let checked: Vec<Result<(), String>> = head
            .tensors
            .par_iter()
            .zip(&places)
            .map(|(tensor, place)| check_pages(tensor, &tensor.pages, &bytes[place.clone()]))
            .collect();
        checked.into_iter().collect::<Result<(), String>>().map_err(malformed)?;
        let index = head.tensors.iter().enumerate().map(|(i, t)| (t.spec.name.clone(), i)).collect();
        Ok(Self { path: path.to_owned(), bytes, head, places, index })
    }

    /// The statistics of accumulators, in memory. Samples of the plan that none has seen count as skipped.
    ///
    /// # Errors
    /// [`Error::Misuse`] as in [`super::Working::checkpoint`].
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
            tensors.push(TensorHead { spec: spec.clone(), moments, pages: PageTable::default() });
        }
        let head = Head { plan: plan.clone(), skipped: state.pending().collect(), tensors };
        let mut bytes = Vec::new();
        emit(head, &sum, &mut bytes, Path::new(IN_MEMORY))?;
        Self::from_bytes(bytes)
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

    /// The bytes of the file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
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
        TensorView::new(head, &self.bytes[self.places[index].clone()])
    }

    /// What the statistics are of.
    pub fn plan(&self) -> &Plan {
        &self.head.plan
    }

    /// Whether they are of all samples of the plan, rather than of one shard: [`plan`](Self::plan) says of which.
    pub fn is_whole(&self) -> bool {
        self.head.plan.is_whole()
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

/// Check pages against what else is known of their tensor: each holds a count and is as wide as it needs; all counts together are
/// the elements; those of what is not finite are the NaNs and infinities; the rest reaches from the smallest value to the largest.
pub(super) fn check_pages(tensor: &TensorHead, table: &PageTable, bytes: &[u8]) -> Result<(), String> {
    let name = &tensor.spec.name;
    let (mut total, mut strange) = (0_u128, 0);
    for (page, counts) in table.iter(bytes) {
        let Some(sum) = counts.checked_total() else {
            return Err(format!("page {page} of tensor {name} is empty, or wider than it needs"));
        };
        total += sum;
        if page == NON_FINITE_PAGE || page == NEGATIVE_NON_FINITE_PAGE {
            strange += sum;
        }
    }
    let moments = &tensor.moments;
    if total != u128::from(moments.elements) {
        return Err(format!("tensor {name} has {total} counts for {} elements", moments.elements));
    }
    if strange != u128::from(moments.nans) + u128::from(moments.infinities) {
        return Err(format!("tensor {name} has {strange} counts of what is not finite"));
    }
    let mut bins = bins(table, bytes).map(|(bin, _)| bin);
    let first = bins.next();
    let counted = first.map(|first| (first, bins.next_back().unwrap_or(first)));
    let fits = |bin: u32, value: f32| {
        // Which zero is the smallest, and that of the values in the bins of zeros, is not kept.
        let zero = |bin: u32| bin & (NEGATIVE_ZERO_BIN - 1) == ZERO_BIN;
        bin == bin_of(value) || zero(bin) && zero(bin_of(value))
    };
    let fits = match (counted, moments.range) {
        (Some((first, last)), Some((min, max))) => fits(first, min) && fits(last, max),
        (counted, range) => counted.is_none() && range.is_none(),
    };
    if fits {
        Ok(())
    } else {
        Err(format!("the counts of tensor {name} do not reach from its minimum to its maximum"))
    }
}

impl PageSource for Stats {
    fn pages(&self, tensor: usize) -> PageSet {
        self.head.tensors[tensor].pages.set()
    }

    fn add_page(&self, tensor: usize, page: usize, into: &mut Page) -> Result<()> {
        let bytes = &self.bytes[self.places[tensor].clone()];
        if let Some((_, counts)) = self.head.tensors[tensor].pages.iter(bytes).find(|(p, _)| *p == page) {
            counts.add_to(into);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::layout::PAGE_BINS;

    /// A file with these parts, whose checksum is right, whatever else is not.
    fn signed(pages: &[u8], record: &[u8], record_bytes: u64, page_count: u64) -> Vec<u8> {
        let mut bytes = good()[..HEADER_BYTES].to_vec();
        bytes.extend_from_slice(pages);
        bytes.extend_from_slice(record);
        bytes.extend_from_slice(&record_bytes.to_le_bytes());
        bytes.extend_from_slice(&page_count.to_le_bytes());
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    fn good() -> Vec<u8> {
        let spec = TensorSpec::channel_first("x", &[1, 2, 2]);
        let mut accumulator = Accumulator::new(vec![spec]).unwrap();
        for (sample, values) in [[1.0, 2.0, -3.0, f32::NAN], [0.0; 4]].iter().enumerate() {
            accumulator.begin(&[sample as u64]).unwrap();
            accumulator.observe_with(0, values, 2, [Some(sample as i8), Some(5), None, None]).unwrap();
            accumulator.finish();
        }
        let plan = Plan::whole(Fingerprint::of_bytes(b"plan"), 2);
        Stats::from_accumulators(&plan, &[accumulator]).unwrap().bytes.to_vec()
    }

    /// The pages and the record of a file.
    fn parts(bytes: &[u8]) -> (Vec<u8>, Head) {
        let frame = Frame::open(bytes, &FORMAT, Path::new("f")).unwrap();
        (frame.pages.to_vec(), record::decode(frame.record).unwrap())
    }

    /// Why a file is refused whose pages and record were changed, while lengths and checksum were made right again.
    fn reason(change: impl FnOnce(&mut Vec<u8>, &mut Head)) -> String {
        let (mut pages, mut head) = parts(&good());
        change(&mut pages, &mut head);
        let record = record::encode(&head).unwrap();
        let count = head.tensors.iter().map(|t| t.pages.len() as u64).sum();
        let error = Stats::from_bytes(signed(&pages, &record, record.len() as u64, count)).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        assert!(error.to_string().ends_with("; collect the statistics again"), "{error}");
        error.to_string()
    }

    #[test]
    fn lengths_that_lie_are_refused_though_the_checksum_is_right() {
        let (pages, head) = parts(&good());
        let record = record::encode(&head).unwrap();
        let n = record.len() as u64;
        assert!(signed(&pages, &record, n, 5) == good());
        for (record_bytes, count) in [
            (0, 5),
            (n - 1, 5),
            (n + 1, 5),
            (u64::MAX, 5),
            (1 << 40, 5),
            (n, 0),
            (n, 4),
            (n, 6),
            (n, u64::MAX),
        ] {
            Stats::from_bytes(signed(&pages, &record, record_bytes, count)).unwrap_err();
        }
        let longer = [&pages[..], &[0; PAGE_BINS]].concat();
        Stats::from_bytes(signed(&longer, &record, n, 5)).unwrap_err();
        Stats::from_bytes(signed(&pages[PAGE_BINS..], &record, n, 5)).unwrap_err();
        // A record that claims more than there is.
        for claim in [1_u64 << 32, 1 << 60] {
            let record = [&[253][..], &claim.to_le_bytes()].concat();
            Stats::from_bytes(signed(&[], &record, 9, 0)).unwrap_err();
        }
    }

    #[test]
    fn contents_that_lie_are_refused_though_the_checksum_is_right() {
        // The pages are those of 0 (four counts), 1, 2, NaN and -3.
        assert!(reason(|pages, _| pages[0] += 1).contains("9 counts for 8 elements"));
        assert!(reason(|pages, _| pages[..PAGE_BINS].fill(0)).contains("page 0 of tensor x is empty"));
        assert!(reason(|pages, _| pages.swap(4 * PAGE_BINS + 512, 4 * PAGE_BINS)).contains("minimum"));
        assert!(reason(|_, head| head.tensors[0].moments.range = Some((-3.0, 2.01))).contains("minimum"));
        assert!(reason(|_, head| head.tensors[0].moments.range = None).contains("minimum"));
        assert!(
            reason(|_, head| head.tensors[0].moments.nans = 2).contains("1 counts of what is not finite")
        );
        assert!(reason(|_, head| head.tensors[0].moments.samples = 1).contains("contradicts itself"));
        assert!(reason(|_, head| head.tensors[0].spec.channels = 3).contains("contradicts itself"));
        assert!(reason(|_, head| head.plan.samples = u64::MAX).contains("cannot be"));
        assert!(reason(|_, head| head.plan.range.end = 3).contains("cannot be"));
        assert!(reason(|_, head| head.skipped = vec![1, 0]).contains("skipped"));
        assert!(reason(|_, head| head.skipped = vec![2]).contains("skipped"));
        let twice = reason(|pages, head| {
            pages.extend_from_within(..);
            head.tensors.push(head.tensors[0].clone());
        });
        assert!(twice.contains("there twice"), "{twice}");
    }
}
