//! A small table in front of a histogram.

use super::window::{PLACES, Window};
use super::{BINS, PAGE, Strange, zero_bins};
use crate::stats::{ChannelStats, channel_stats};

/// Values that are packed at a time.
pub(super) const BLOCK: usize = 1024;

/// A small table in front of a histogram, for the values of one tensor.
///
/// The bins that a tensor reaches take a hundred kilobytes as u32, scattered over megabytes. As u16, for 32 exponents only,
/// most of them stay in the first-level cache. A count cannot overflow unnoticed: after so many values as could have filled
/// the fullest place, the table is looked through. Everything goes to the histogram in the end.
pub struct Front {
    pub(super) table: Box<[u16; PLACES]>,
    pub(super) queues: Box<Queues>,
    pub(super) window: Window,
    pub(super) strange: Strange,
    /// Values that were counted in the table, or that wait in a queue for it.
    pub(super) inside: u64,
    /// Values that were given.
    elements: u64,
    /// Values that can be counted in the table before a count may overflow.
    room: usize,
    /// Counts that no longer fit the table; empty until there are such.
    pub(super) spilled: Vec<u32>,
}

/// Two queues of places, half a page apart: a load is held up by an earlier store with the same offset in its page.
#[repr(align(4096))]
pub(super) struct Queues(pub(super) [[u16; QUEUE]; 2]);

/// A block, what was left of the block before, and what a last store may write in excess.
pub(super) const QUEUE: usize = 3072;

impl Default for Front {
    fn default() -> Self {
        let table = vec![0; PLACES].into_boxed_slice();
        Self {
            table: table.try_into().unwrap_or_else(|_| unreachable!("the table was made with this length")),
            queues: Box::new(Queues([[0; QUEUE]; 2])),
            window: Window::around(&[]),
            strange: Strange::default(),
            inside: 0,
            elements: 0,
            room: usize::from(u16::MAX),
            spilled: Vec::new(),
        }
    }
}

impl Front {
    /// Counts every value, NaN and infinities included, and gives each plane, in order, to `each` with its statistics, those
    /// of [`channel_stats`]. Both in one pass where that pays: counting is bound by stores and statistics by arithmetic.
    ///
    /// Panics when `plane` is zero.
    pub fn observe(&mut self, values: &[f32], plane: usize, mut each: impl FnMut(&[f32], ChannelStats)) {
        if self.elements == 0 {
            self.window = Window::around(values);
        }
        self.elements += values.len() as u64;
        match crate::isa::current() {
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            crate::isa::Isa::Avx512 if is_x86_feature_detected!("avx512vbmi2") => {
                // SAFETY: `current` gives `Avx512` only after the CPU reported these features, and the last was asked for.
                unsafe { super::avx512::observe(self, values, plane, each) }
            }
            isa => {
                for plane in values.chunks(plane) {
                    for block in plane.chunks(BLOCK) {
                        let queue = &mut self.queues.0[0];
                        let (kept, outside) = match isa {
                            #[cfg(target_arch = "x86_64")]
                            #[allow(unsafe_code)]
                            // SAFETY: `current` gives these only after the CPU reported what AVX2 code is built for.
                            crate::isa::Isa::Avx2 | crate::isa::Isa::Avx512 => unsafe {
                                super::avx2::pack(block, self.window, queue)
                            },
                            crate::isa::Isa::Portable => pack(block, self.window, queue),
                        };
                        self.inside += kept as u64;
                        if outside {
                            self.strange.add(block, self.window);
                        }
                        self.make_room(kept);
                        count_queue(&self.queues.0[0][..kept], &mut self.table);
                    }
                    each(plane, channel_stats(plane));
                }
            }
        }
    }

    /// Moves all counts to `bins`. `range` bounds the finite values that were counted.
    ///
    /// Panics when `bins` has not [`BINS`] elements.
    pub fn flush(&mut self, bins: &mut [u32], range: (f32, f32)) {
        assert_eq!(bins.len(), BINS, "a histogram of 2^19 bins");
        let zeros = self.elements - self.inside - self.strange.len();
        zero_bins(bins, zeros, self.strange.negative_zeros);
        for bin in self.strange.bins.drain(..) {
            bins[bin as usize] = bins[bin as usize].wrapping_add(1);
        }
        self.strange.negative_zeros = 0;
        for page in self.window.pages(range) {
            let places = page * PAGE..(page + 1) * PAGE;
            let bins = &mut bins[self.window.bin_of_page(page)..][..PAGE];
            move_counts(&mut self.table[places.clone()], bins);
            if !self.spilled.is_empty() {
                let spilled = &mut self.spilled[places];
                bins.iter_mut().zip(spilled.iter()).for_each(|(bin, n)| *bin = bin.wrapping_add(*n));
            }
        }
        self.spilled.clear();
        (self.inside, self.elements, self.room) = (0, 0, usize::from(u16::MAX));
    }

    /// Sees to it that `n` more values can be counted in the table.
    #[inline(always)]
    pub(super) fn make_room(&mut self, n: usize) {
        if self.room < n {
            self.look();
        }
        self.room -= n;
    }

    #[cold]
    #[inline(never)]
    fn look(&mut self) {
        let fullest = self.table.iter().fold(0, |fullest, n| fullest.max(*n));
        if fullest > u16::MAX / 2 {
            self.spilled.resize(PLACES, 0);
            self.spilled.iter_mut().zip(self.table.iter()).for_each(|(sum, n)| *sum += u32::from(*n));
            self.table.fill(0);
            self.room = usize::from(u16::MAX);
        } else {
            self.room = usize::from(u16::MAX - fullest);
        }
    }

    /// Counts `n` values of one place.
    pub(super) fn count_many(&mut self, place: u16, n: usize) {
        let most = usize::from(u16::MAX / 2);
        let (mut left, place) = (n, place as usize);
        while left > 0 {
            let part = left.min(most);
            self.make_room(part);
            self.table[place] += part as u16;
            left -= part;
        }
    }
}

/// Counts what was queued.
#[inline(always)]
pub(super) fn count_queue(queue: &[u16], table: &mut [u16; PLACES]) {
    let (groups, rest) = queue.as_chunks::<4>();
    for group in groups {
        count_group(*group, table);
    }
    for place in rest {
        let count = &mut table[*place as usize];
        *count = count.wrapping_add(1);
    }
}

/// Counts four places, which are loaded at once.
#[inline(always)]
pub(super) fn count_group(group: [u16; 4], table: &mut [u16; PLACES]) {
    let places: u64 = bytemuck::cast(group);
    for i in 0..4 {
        let count = &mut table[(places >> (16 * i)) as u16 as usize];
        *count = count.wrapping_add(1);
    }
}

/// Writes the places of the values of a block, but for those that have none, to the front of `queue`. Says how many there
/// were, and whether there were others than +0 without one.
fn pack(block: &[f32], window: Window, queue: &mut [u16; QUEUE]) -> (usize, bool) {
    let (mut kept, mut outside) = (0, 0);
    for v in block {
        let bits = v.to_bits();
        let (inside, place) = window.place(bits);
        // The mask changes nothing: it shows the compiler that the index is in bounds.
        queue[kept & 2047] = place;
        kept += usize::from(inside);
        outside |= if inside { 0 } else { bits };
    }
    (kept, outside != 0)
}

dispatch! { fn move_counts(counts: &mut [u16], bins: &mut [u32]) => move_counts_body, wide }

#[inline(always)]
fn move_counts_body(counts: &mut [u16], bins: &mut [u32]) {
    for (counts, bins) in counts.as_chunks_mut::<32>().0.iter_mut().zip(bins.as_chunks_mut::<32>().0) {
        if *counts != [0; 32] {
            for (bin, n) in bins.iter_mut().zip(&*counts) {
                *bin = bin.wrapping_add(u32::from(*n));
            }
            *counts = [0; 32];
        }
    }
}
