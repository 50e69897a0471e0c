//! Pages of counts, and where they come from.

use serde::{Deserialize, Serialize};

use super::layout::{PAGE_BINS, PAGES};
use crate::Result;

/// The counts of one sign and exponent.
pub(crate) type Page = [u64; PAGE_BINS];

/// Bytes of a page on disk: little-endian u64.
pub(crate) const PAGE_BYTES: usize = PAGE_BINS * 8;

/// A set of pages of one tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PageSet([u64; PAGES / 64]);

impl PageSet {
    pub(crate) fn insert(&mut self, page: usize) {
        self.0[page / 64] |= 1 << (page % 64);
    }

    pub(crate) fn contains(&self, page: usize) -> bool {
        self.0[page / 64] >> (page % 64) & 1 == 1
    }

    pub(crate) fn union(&mut self, other: &Self) {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a |= b;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// In ascending order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let set = *self;
        (0..PAGES).filter(move |&page| set.contains(page))
    }
}

/// Something whose pages can be added up.
pub(crate) trait PageSource {
    /// The pages of a tensor that hold a count.
    fn pages(&self, tensor: usize) -> PageSet;

    /// Add the counts of a page; nothing where the page holds none.
    fn add_page(&self, tensor: usize, page: usize, into: &mut Page) -> Result<()>;
}

impl<S: PageSource> PageSource for &S {
    fn pages(&self, tensor: usize) -> PageSet {
        S::pages(self, tensor)
    }

    fn add_page(&self, tensor: usize, page: usize, into: &mut Page) -> Result<()> {
        S::add_page(self, tensor, page, into)
    }
}

/// The sum of several sources. Sums cannot overflow: whoever adds sources has added their numbers of elements, checked.
pub(crate) struct Sum<'a, S>(pub(crate) &'a [S]);

impl<S: PageSource> PageSource for Sum<'_, S> {
    fn pages(&self, tensor: usize) -> PageSet {
        let mut pages = PageSet::default();
        self.0.iter().for_each(|source| pages.union(&source.pages(tensor)));
        pages
    }

    fn add_page(&self, tensor: usize, page: usize, into: &mut Page) -> Result<()> {
        self.0.iter().try_for_each(|source| source.add_page(tensor, page, into))
    }
}

/// Add counts as they stand in a file.
pub(crate) fn add_bytes(bytes: &[u8], into: &mut Page) {
    for (count, bytes) in into.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *count = count.wrapping_add(u64::from_le_bytes(*bytes));
    }
}

/// Counts as they stand in a file.
pub(crate) fn to_bytes(page: &Page) -> Vec<u8> {
    page.iter().flat_map(|count| count.to_le_bytes()).collect()
}
