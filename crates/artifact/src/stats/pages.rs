//! Pages of counts: where they come from, and how they stand in a file.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::layout::{PAGE_BINS, PAGES};
use crate::Result;

/// The counts of one sign and exponent.
pub(crate) type Page = [u64; PAGE_BINS];

/// Bytes of a page in the page file: little-endian u64.
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

/// How wide the counts of a page are in a file: as wide as the largest needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Width {
    U8,
    U16,
    U32,
    U64,
}

impl Width {
    const ALL: [Self; 4] = [Self::U8, Self::U16, Self::U32, Self::U64];

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// What counts need whose bits, all joined by "or", are these.
    fn of(bits: u64) -> Self {
        match bits {
            0..=0xff => Self::U8,
            0x100..=0xffff => Self::U16,
            0x1_0000..=0xffff_ffff => Self::U32,
            _ => Self::U64,
        }
    }

    /// Bytes of a page.
    pub(crate) fn page_bytes(self) -> usize {
        PAGE_BINS << self as usize
    }
}

/// The pages of one tensor in a file, one behind the other in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PageTable {
    set: PageSet,
    widths: Vec<Width>,
}

impl PageTable {
    pub(crate) fn set(&self) -> PageSet {
        self.set
    }

    pub(crate) fn len(&self) -> usize {
        self.widths.len()
    }

    /// Bytes of all pages; `None` where there is not a width for each.
    pub(crate) fn bytes(&self) -> Option<usize> {
        (self.set.len() == self.widths.len()).then(|| self.widths.iter().map(|w| w.page_bytes()).sum())
    }

    /// The pages with their bytes, of which there are as many as [`bytes`](Self::bytes) says.
    pub(crate) fn iter<'a>(&self, mut bytes: &'a [u8]) -> impl Iterator<Item = (usize, Counts<'a>)> {
        self.set.iter().zip(&self.widths).map_while(move |(page, &width)| {
            let (counts, rest) = bytes.split_at_checked(width.page_bytes())?;
            bytes = rest;
            Some((page, Counts { width, bytes: counts }))
        })
    }
}

/// The counts of a page as they stand in a file: little-endian.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts<'a> {
    pub(crate) width: Width,
    pub(crate) bytes: &'a [u8],
}

/// Evaluate `$each` for every count of a page.
macro_rules! for_each_count {
    ($counts:expr, $each:expr) => {
        match $counts.width {
            Width::U8 => $counts.bytes.iter().for_each(|&c| $each(u64::from(c))),
            Width::U16 => {
                $counts.bytes.as_chunks().0.iter().for_each(|c| $each(u64::from(u16::from_le_bytes(*c))))
            }
            Width::U32 => {
                $counts.bytes.as_chunks().0.iter().for_each(|c| $each(u64::from(u32::from_le_bytes(*c))))
            }
            Width::U64 => $counts.bytes.as_chunks().0.iter().for_each(|c| $each(u64::from_le_bytes(*c))),
        }
    };
}

impl Counts<'_> {
    /// The count of a bin of the page.
    #[inline]
    pub(crate) fn at(&self, bin: usize) -> u64 {
        fn chunk<const N: usize>(bytes: &[u8], bin: usize) -> [u8; N] {
            bytes[bin * N..].first_chunk().copied().unwrap_or([0; N])
        }
        match self.width {
            Width::U8 => u64::from(self.bytes[bin]),
            Width::U16 => u64::from(u16::from_le_bytes(chunk(self.bytes, bin))),
            Width::U32 => u64::from(u32::from_le_bytes(chunk(self.bytes, bin))),
            Width::U64 => u64::from_le_bytes(chunk(self.bytes, bin)),
        }
    }

    /// Add them to others. Sums cannot overflow: whoever adds pages has added numbers of elements, checked.
    pub(crate) fn add_to(&self, page: &mut Page) {
        let mut sums = page.iter_mut();
        for_each_count!(self, |count| if let Some(sum) = sums.next() {
            *sum = sum.wrapping_add(count);
        });
    }

    /// Their total; `None` where all are zero, or narrower counts would do.
    pub(crate) fn checked_total(&self) -> Option<u128> {
        let (mut bits, mut sum) = (0, 0_u64);
        for_each_count!(self, |count| {
            bits |= count;
            sum = sum.wrapping_add(count);
        });
        (bits != 0 && Width::of(bits) == self.width).then(|| {
            let mut wide = 0;
            if bits >> 53 == 0 {
                return u128::from(sum);
            }
            for_each_count!(self, |count| wide += u128::from(count));
            wide
        })
    }
}

/// The pages of one tensor, ready to be written.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) table: PageTable,
    pub(crate) bytes: Vec<u8>,
}

impl Encoded {
    /// Those of `pages` for which `fill` gives a count.
    pub(crate) fn of(
        pages: impl Iterator<Item = usize>,
        mut fill: impl FnMut(usize, &mut Page) -> Result<()>,
    ) -> Result<Self> {
        let mut encoded = Self::default();
        for page in pages {
            let mut counts = [0; PAGE_BINS];
            fill(page, &mut counts)?;
            let bits = counts.iter().fold(0, |bits, count| bits | count);
            if bits != 0 {
                encoded.push(page, Width::of(bits), &counts);
            }
        }
        Ok(encoded)
    }

    fn push(&mut self, page: usize, width: Width, counts: &Page) {
        self.table.set.insert(page);
        self.table.widths.push(width);
        let at = self.bytes.len();
        self.bytes.resize(at + width.page_bytes(), 0);
        let out = &mut self.bytes[at..];
        // What does not fit is zero, as the width was chosen.
        match width {
            Width::U8 => out.iter_mut().zip(counts).for_each(|(o, &c)| *o = c as u8),
            Width::U16 => {
                let out = out.as_chunks_mut().0.iter_mut();
                out.zip(counts).for_each(|(o, &c)| *o = (c as u16).to_le_bytes());
            }
            Width::U32 => {
                let out = out.as_chunks_mut().0.iter_mut();
                out.zip(counts).for_each(|(o, &c)| *o = (c as u32).to_le_bytes());
            }
            Width::U64 => {
                let out = out.as_chunks_mut().0.iter_mut();
                out.zip(counts).for_each(|(o, &c)| *o = c.to_le_bytes());
            }
        }
    }
}

/// Make something of each tensor in parallel, and take it in order. A few tensors are made at a time, which bounds memory.
pub(crate) fn in_order<T: Send>(
    tensors: usize,
    make: impl Fn(usize) -> Result<T> + Sync,
    mut take: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    let group = 8 * rayon::current_num_threads();
    for start in (0..tensors).step_by(group) {
        let made: Vec<Result<T>> = (start..tensors.min(start + group)).into_par_iter().map(&make).collect();
        for (i, made) in made.into_iter().enumerate() {
            take(start + i, made?)?;
        }
    }
    Ok(())
}

/// Something whose pages can be added up.
pub(crate) trait PageSource: Sync {
    /// The pages of a tensor that may hold a count.
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

/// Counts as they stand in the page file.
pub(crate) fn to_bytes(page: &Page) -> Vec<u8> {
    page.iter().flat_map(|count| count.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_wide_as_its_largest_count() {
        let largest = [1, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX];
        let encoded = Encoded::of(0..9, |page, counts| {
            // Page 8 is empty.
            counts[PAGE_BINS - 1] = largest.get(page).copied().unwrap_or(0);
            counts[1] = counts[PAGE_BINS - 1].min(1);
            Ok(())
        })
        .unwrap();
        let widths: Vec<usize> = encoded.table.widths.iter().map(|w| w.page_bytes() / PAGE_BINS).collect();
        assert_eq!(widths, [1, 1, 2, 2, 4, 4, 8, 8]);
        assert_eq!(encoded.table.bytes(), Some(encoded.bytes.len()));
        for (page, counts) in encoded.table.iter(&encoded.bytes) {
            assert_eq!((counts.at(0), counts.at(1), counts.at(PAGE_BINS - 1)), (0, 1, largest[page]));
            assert_eq!(counts.checked_total(), Some(u128::from(largest[page]) + 1));
            let mut sum = [3; PAGE_BINS];
            counts.add_to(&mut sum);
            assert_eq!((sum[0], sum[1], sum[PAGE_BINS - 1]), (3, 4, largest[page].wrapping_add(3)));
        }
    }

    #[test]
    fn an_empty_or_too_wide_page_has_no_total() {
        let bytes = [&[255, 0][..], &[0; 2 * PAGE_BINS - 2]].concat();
        assert_eq!(Counts { width: Width::U16, bytes: &bytes }.checked_total(), None);
        assert_eq!(Counts { width: Width::U8, bytes: &bytes[..PAGE_BINS] }.checked_total(), Some(255));
        assert_eq!(Counts { width: Width::U8, bytes: &bytes[PAGE_BINS..] }.checked_total(), None);
    }
}
