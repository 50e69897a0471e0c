//! Reading the statistics of one tensor.

use std::collections::BTreeMap;

use super::layout::{
    NEGATIVE_NON_FINITE_PAGE, NEGATIVE_ZERO_BIN, NON_FINITE_PAGE, PAGE_BINS, PAGES, ZERO_BIN, page_of,
};
use super::pages::PageTable;
use super::plan::TensorSpec;
use super::sealed::TensorHead;
use super::votes::VoteKind;

/// The statistics of one tensor. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    head: &'a TensorHead,
    /// The pages of the tensor, one behind the other.
    bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    pub(crate) fn new(head: &'a TensorHead, bytes: &'a [u8]) -> Self {
        Self { head, bytes }
    }

    /// Name, shape and channels.
    pub fn spec(self) -> &'a TensorSpec {
        &self.head.spec
    }

    /// The name.
    pub fn name(self) -> &'a str {
        &self.head.spec.name
    }

    /// Number of samples in which the tensor was seen.
    pub fn samples(self) -> u64 {
        self.head.moments.samples
    }

    /// Number of values of any kind.
    pub fn elements(self) -> u64 {
        self.head.moments.elements
    }

    /// Number of NaNs.
    pub fn nan_count(self) -> u64 {
        self.head.moments.nans
    }

    /// Number of infinities.
    pub fn inf_count(self) -> u64 {
        self.head.moments.infinities
    }

    /// Number of finite values.
    pub fn finite_count(self) -> u64 {
        self.elements() - self.nan_count() - self.inf_count()
    }

    /// The smallest and the largest finite value, exactly; `None` where there is none.
    pub fn range(self) -> Option<(f32, f32)> {
        self.head.moments.range
    }

    /// The smallest finite value.
    pub fn min(self) -> Option<f32> {
        self.range().map(|(min, _)| min)
    }

    /// The largest finite value.
    pub fn max(self) -> Option<f32> {
        self.range().map(|(_, max)| max)
    }

    /// The mean over samples of each sample's smallest value; `None` where no sample has a finite value, or the sum is
    /// unavailable (values of 2^55 and more).
    pub fn mean_sample_min(self) -> Option<f64> {
        mean(self.head.moments.sum_of_minima.value(), self.head.moments.ranged_samples)
    }

    /// The mean over samples of each sample's largest value; `None` as for the smallest.
    pub fn mean_sample_max(self) -> Option<f64> {
        mean(self.head.moments.sum_of_maxima.value(), self.head.moments.ranged_samples)
    }

    /// How many samples elected which position for a type, in ascending order of position; empty where no election was held.
    pub fn votes(self, kind: VoteKind) -> BTreeMap<i32, u64> {
        self.head.moments.votes.of(kind).collect()
    }

    /// Non-empty bins of finite values with their counts, in ascending order of value: from the most negative over -0 and
    /// +0 to the largest.
    pub fn bins(self) -> impl DoubleEndedIterator<Item = (u32, u64)> + use<'a> {
        bins(&self.head.pages, self.bytes)
    }

    /// The count of one bin, of any kind; 0 for a bin that does not exist.
    pub fn count(self, bin: u32) -> u64 {
        let mut pages = self.head.pages.iter(self.bytes);
        let found = pages.find(|(page, _)| *page == page_of(bin));
        found.map_or(0, |(_, counts)| counts.at(bin as usize % PAGE_BINS))
    }

    /// The counts of both bins of zeros (and of what is nearer to zero than 2^-136).
    pub fn zero_count(self) -> u64 {
        self.count(ZERO_BIN) + self.count(NEGATIVE_ZERO_BIN)
    }

    /// Number of channels; 0 where there are no statistics per channel.
    pub fn channels(self) -> usize {
        self.head.spec.channels as usize
    }

    /// The number of finite values of each channel.
    pub fn channel_counts(self) -> &'a [u64] {
        &self.head.moments.channels.count
    }

    /// The smallest finite value of each channel; +infinity where there is none.
    pub fn channel_mins(self) -> &'a [f32] {
        &self.head.moments.channels.min
    }

    /// The largest finite value of each channel; -infinity where there is none.
    pub fn channel_maxs(self) -> &'a [f32] {
        &self.head.moments.channels.max
    }

    /// The sum over a channel's finite values; `None` where there is no such channel, or a sample's sum reached 2^55.
    pub fn channel_sum(self, channel: usize) -> Option<f64> {
        self.head.moments.channels.sum.get(channel)?.value()
    }

    /// The sum of squares over a channel's finite values; `None` as for the sum.
    pub fn channel_sum_sq(self, channel: usize) -> Option<f64> {
        self.head.moments.channels.sum_sq.get(channel)?.value()
    }

    /// The mean of a channel's finite values; `None` also where there is none.
    pub fn channel_mean(self, channel: usize) -> Option<f64> {
        mean(self.channel_sum(channel), *self.channel_counts().get(channel)?)
    }

    /// The second moment E\[x²\] of a channel's finite values; `None` also where there is none.
    pub fn channel_mean_sq(self, channel: usize) -> Option<f64> {
        mean(self.channel_sum_sq(channel), *self.channel_counts().get(channel)?)
    }

    /// The variance E\[x²\] − E\[x\]² of a channel's finite values, not below 0; `None` also where there is none.
    pub fn channel_variance(self, channel: usize) -> Option<f64> {
        let mean = self.channel_mean(channel)?;
        Some((self.channel_mean_sq(channel)? - mean * mean).max(0.0))
    }
}

/// What [`TensorView::bins`] gives.
pub(crate) fn bins<'a>(
    table: &PageTable,
    bytes: &'a [u8],
) -> impl DoubleEndedIterator<Item = (u32, u64)> + use<'a> {
    let (positive, mut negative): (Vec<_>, Vec<_>) = table
        .iter(bytes)
        .filter(|(page, _)| *page != NON_FINITE_PAGE && *page != NEGATIVE_NON_FINITE_PAGE)
        .partition(|(page, _)| *page < PAGES / 2);
    negative.reverse();
    negative.extend(positive);
    negative
        .into_iter()
        .flat_map(|(page, counts)| {
            (0..PAGE_BINS).map(move |i| {
                let i = if page >= PAGES / 2 { PAGE_BINS - 1 - i } else { i };
                ((page * PAGE_BINS + i) as u32, counts.at(i))
            })
        })
        .filter(|&(_, count)| count != 0)
}

fn mean(sum: Option<f64>, count: u64) -> Option<f64> {
    (count > 0).then(|| sum.map(|sum| sum / count as f64)).flatten()
}
