//! What one worker collects in memory.

use std::sync::Arc;

use memmap2::MmapMut;

use super::layout::{BINS, PAGE_BINS, bin_of};
use super::moments::{ChannelSample, Moments};
use super::pages::{Page, PageSet, PageSource};
use super::plan::{TensorSpec, check_specs};
use super::votes::{Elected, is_electable};
use crate::{Error, Result};

/// One tensor in one sample, beside its histogram.
#[derive(Debug, Clone, Copy)]
pub struct TensorSample<'a> {
    /// Number of values, of any kind.
    pub elements: u64,
    /// Number of NaNs.
    pub nans: u64,
    /// Number of infinities.
    pub infinities: u64,
    /// Smallest and largest finite value; `None` where there is none.
    pub range: Option<(f32, f32)>,
    /// One entry for each channel of the tensor; empty where it has none.
    pub channels: &'a [ChannelSample],
    /// What this sample elected; all `None` where no election is held.
    pub elected: Elected,
}

/// The statistics of some samples, in memory, of one worker.
///
/// For each batch: [`begin`](Self::begin) with the ordinals of its samples; for each tensor count the values into
/// [`bins_mut`](Self::bins_mut) and call [`add_sample`](Self::add_sample) once for each sample of the batch; then
/// [`finish`](Self::finish). From time to time, between batches, hand it to [`super::Working::checkpoint`], which empties it.
///
/// A tensor's table is 2 MiB of u32 that the system hands out as pages are touched. Methods that take a tensor take its position among
/// the specifications, and panic if there is none such.
#[derive(Debug)]
pub struct Accumulator {
    specs: Arc<[TensorSpec]>,
    tensors: Vec<Partial>,
    /// Samples of the batch that has begun.
    open: Vec<u64>,
    /// Samples that are complete.
    samples: Vec<u64>,
    scratch: Vec<ChannelSample>,
}

#[derive(Debug)]
struct Partial {
    bins: Option<Table>,
    moments: Moments,
}

impl Accumulator {
    /// An empty accumulator for these tensors. [`super::Working::accumulator`] makes one that fits.
    ///
    /// # Errors
    /// [`Error::Misuse`] where names repeat or channels have no axis.
    pub fn new(specs: impl Into<Arc<[TensorSpec]>>) -> Result<Self> {
        let specs = specs.into();
        check_specs(&specs).map_err(Error::Misuse)?;
        Ok(Self::unchecked(specs))
    }

    pub(crate) fn unchecked(specs: Arc<[TensorSpec]>) -> Self {
        let tensors =
            specs.iter().map(|spec| Partial { bins: None, moments: Moments::new(spec.channels) }).collect();
        Self { specs, tensors, open: Vec::new(), samples: Vec::new(), scratch: Vec::new() }
    }

    /// The tensors.
    pub fn specs(&self) -> &Arc<[TensorSpec]> {
        &self.specs
    }

    /// Begin a batch.
    ///
    /// # Errors
    /// [`Error::Misuse`] where the last one has not been finished.
    pub fn begin(&mut self, samples: &[u64]) -> Result<()> {
        if !self.open.is_empty() {
            return Err(Error::Misuse("begin a batch within a batch".to_owned()));
        }
        self.open.extend_from_slice(samples);
        Ok(())
    }

    /// Finish the batch: its samples are complete.
    pub fn finish(&mut self) {
        self.samples.append(&mut self.open);
    }

    /// The table of a tensor, to count values into: `bins[bin_of(value)] += 1`, for every value of any kind.
    pub fn bins_mut(&mut self, tensor: usize) -> &mut [u32; BINS] {
        self.tensors[tensor].bins.get_or_insert_with(Table::new).counts_mut()
    }

    /// Add what else is known of a tensor in one sample of the batch.
    ///
    /// # Errors
    /// [`Error::Misuse`] outside of a batch, with another number of channels than the tensor has, for an elected -128, or where the counts may have
    /// overflowed because [`needs_flush`](Self::needs_flush) was not asked.
    pub fn add_sample(&mut self, tensor: usize, sample: &TensorSample<'_>) -> Result<()> {
        let spec = &self.specs[tensor];
        let misuse = |what: &str| Err(Error::Misuse(format!("tensor {}: {what}", spec.name)));
        if self.open.is_empty() {
            return misuse("no batch has begun");
        }
        if sample.channels.len() != spec.channels as usize {
            return misuse(&format!("{} channels, not {}", sample.channels.len(), spec.channels));
        }
        let finite = sample.nans.checked_add(sample.infinities).and_then(|n| sample.elements.checked_sub(n));
        if finite.is_none_or(|finite| !is_range(finite, sample.range)) {
            return misuse("its range is not that of its finite values");
        }
        let range_of = |c: &ChannelSample| {
            (c.min != f32::INFINITY || c.max != f32::NEG_INFINITY).then_some((c.min, c.max))
        };
        if let Some(i) = sample.channels.iter().position(|c| !is_range(c.count, range_of(c))) {
            return misuse(&format!("the range of channel {i} is not that of its finite values"));
        }
        if !is_electable(sample.elected) {
            return misuse("it elected -128, which is no position");
        }
        let moments = &mut self.tensors[tensor].moments;
        if sample.elements > u64::from(u32::MAX) - moments.elements {
            return misuse("more than 2^32 values between two checkpoints");
        }
        moments.samples += 1;
        moments.elements += sample.elements;
        moments.nans += sample.nans;
        moments.infinities += sample.infinities;
        moments.push_range(sample.range);
        moments.push_channels(sample.channels);
        moments.votes.push(sample.elected);
        Ok(())
    }

    /// Count a tensor of one sample, and add what else there is to know: the plain way, for tests and for tensors that are not worth
    /// a kernel. `values` is in row-major order; `inner` is the product of the dimensions behind the channel axis (1 without channels).
    ///
    /// # Errors
    /// Those of [`add_sample`](Self::add_sample), and where `values` is not a whole number of `channels × inner`.
    pub fn observe(&mut self, tensor: usize, values: &[f32], inner: usize) -> Result<()> {
        self.observe_with(tensor, values, inner, Elected::default())
    }

    /// As [`observe`](Self::observe), with what the sample elected.
    ///
    /// # Errors
    /// Those of [`observe`](Self::observe).
    pub fn observe_with(
        &mut self,
        tensor: usize,
        values: &[f32],
        inner: usize,
        elected: Elected,
    ) -> Result<()> {
        let channels = self.specs[tensor].channels as usize;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.resize(channels, ChannelSample::default());
        if channels > 0 {
            if inner == 0 || !values.len().is_multiple_of(channels * inner) {
                let what = format!("{} values are not n × {channels} × {inner}", values.len());
                return Err(Error::Misuse(format!("tensor {}: {what}", self.specs[tensor].name)));
            }
            for (row, values) in values.chunks_exact(inner).enumerate() {
                for &value in values {
                    scratch[row % channels].push(value);
                }
            }
        }
        let bins = self.bins_mut(tensor);
        let (mut nans, mut infinities) = (0, 0);
        let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
        for &value in values {
            bins[bin_of(value) as usize] += 1;
            if value.is_finite() {
                (min, max) = (min.min(value), max.max(value));
            } else if value.is_nan() {
                nans += 1;
            } else {
                infinities += 1;
            }
        }
        let range = (min <= max).then_some((min, max));
        let elements = values.len() as u64;
        let result = self.add_sample(
            tensor,
            &TensorSample { elements, nans, infinities, range, channels: &scratch, elected },
        );
        self.scratch = scratch;
        result
    }

    /// Whether a checkpoint must come before a batch that holds `elements` values of any one tensor.
    pub fn needs_flush(&self, elements: u64) -> bool {
        let most = self.tensors.iter().map(|t| t.moments.elements).max().unwrap_or(0);
        elements > u64::from(u32::MAX) - most
    }

    /// Complete samples since the last checkpoint.
    pub fn samples(&self) -> &[u64] {
        &self.samples
    }

    /// Forget everything since the last checkpoint, also a batch that failed halfway. Tables go back to the system, which hands out
    /// empty pages again faster than all of a table is searched for counts.
    pub fn reset(&mut self) {
        for (partial, spec) in self.tensors.iter_mut().zip(self.specs.iter()) {
            *partial = Partial { bins: None, moments: Moments::new(spec.channels) };
        }
        self.open.clear();
        self.samples.clear();
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(crate) fn moments(&self, tensor: usize) -> &Moments {
        &self.tensors[tensor].moments
    }
}

/// Whether this can be the range of so many finite values.
fn is_range(finite: u64, range: Option<(f32, f32)>) -> bool {
    match range {
        Some((min, max)) => finite > 0 && min.is_finite() && max.is_finite() && min <= max,
        None => finite == 0,
    }
}

/// A table of counts, zero at first, of which only what is touched takes memory.
///
/// Mapped rather than allocated: an allocator that has seen large blocks come and go hands out used ones, and
/// clearing two megabytes for each tensor costs more than counting a sample.
#[derive(Debug)]
struct Table(MmapMut);

impl Table {
    fn new() -> Self {
        Self(MmapMut::map_anon(BINS * size_of::<u32>()).expect("the system has memory for a table of counts"))
    }

    fn counts_mut(&mut self) -> &mut [u32; BINS] {
        bytemuck::from_bytes_mut(&mut self.0)
    }

    fn page(&self, page: usize) -> &[u32] {
        &bytemuck::cast_slice(&self.0)[page * PAGE_BINS..][..PAGE_BINS]
    }
}

impl PageSource for Accumulator {
    fn pages(&self, tensor: usize) -> PageSet {
        let mut set = PageSet::default();
        let partial = &self.tensors[tensor];
        if partial.bins.is_some() {
            partial.moments.possible_pages().for_each(|page| set.insert(page));
        }
        set
    }

    fn add_page(&self, tensor: usize, page: usize, into: &mut Page) -> Result<()> {
        if let Some(bins) = &self.tensors[tensor].bins {
            into.iter_mut()
                .zip(bins.page(page))
                .for_each(|(sum, &count)| *sum = sum.wrapping_add(u64::from(count)));
        }
        Ok(())
    }
}
