//! Counting and statistics in one pass with AVX-512.
//!
//! While the values of a stretch are packed and added up, as many of the places of the stretch before are counted with each
//! 32 values: the same number each time, so that no branch is mispredicted and no load waits for a recent store.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_castps_si512, _mm512_kunpackw, _mm512_mask_cmpeq_epi32_mask,
    _mm512_mask_cmpneq_epi16_mask, _mm512_maskz_compress_epi16, _mm512_permutex2var_epi16, _mm512_set1_epi16,
    _mm512_set1_epi32, _mm512_slli_epi32, _mm512_sub_epi32, _mm512_ternarylogic_epi32,
    _mm512_test_epi32_mask, _mm512_testn_epi32_mask,
};

use bytemuck::cast;

use super::front::{BLOCK, Front, QUEUE, count_group, count_queue};
use super::window::{OUTSIDE, PLACES, Window};
use crate::stats::x86::Sums512;
use crate::stats::{ChannelStats, finite_or_any};

/// Values of a step: two vectors, whose places fill one.
const STEP: usize = 32;

/// So many places that are left of a stretch are kept for the next; more are counted at once.
const LEFT: usize = 1024;

/// What packing needs.
struct Packing {
    base: __m512i,
    outside: __m512i,
    sign: __m512i,
    /// Picks the high halves of the lanes of two vectors.
    high: __m512i,
    /// A place that is not packed but only told apart.
    hot: __m512i,
}

/// What packing found.
#[derive(Clone, Copy, Default)]
struct Found {
    /// Values with a place.
    inside: usize,
    /// Not zero if there were others than +0 without one.
    outside: u32,
}

impl Packing {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn new(window: Window) -> Self {
        let mut high = [0_u16; STEP];
        high.iter_mut().enumerate().for_each(|(i, lane)| *lane = 2 * i as u16 + 1);
        Self {
            base: _mm512_set1_epi32(window.base() as i32),
            outside: _mm512_set1_epi32(OUTSIDE as i32),
            sign: _mm512_set1_epi32(i32::MIN),
            high: cast(high),
            hot: _mm512_set1_epi16(0),
        }
    }

    /// Writes the places of the values, but for those that have none and the hot one, to the front of `room`, and says how
    /// many there were.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn pack(&self, a: __m512, b: __m512, room: &mut [u16; STEP], found: &mut Found) -> usize {
        let (a, b) = (_mm512_castps_si512(a), _mm512_castps_si512(b));
        let some =
            _mm512_kunpackw(u32::from(_mm512_test_epi32_mask(b, b)), u32::from(_mm512_test_epi32_mask(a, a)));
        let (a, b) = (_mm512_sub_epi32(a, self.base), _mm512_sub_epi32(b, self.base));
        let inside = _mm512_kunpackw(
            u32::from(_mm512_testn_epi32_mask(b, self.outside)),
            u32::from(_mm512_testn_epi32_mask(a, self.outside)),
        );
        // The sign beside the five bits of the exponent that may be set.
        let a = _mm512_ternarylogic_epi32::<0xca>(self.sign, a, _mm512_slli_epi32::<3>(a));
        let b = _mm512_ternarylogic_epi32::<0xca>(self.sign, b, _mm512_slli_epi32::<3>(b));
        let places = _mm512_permutex2var_epi16(a, self.high, b);
        let kept = _mm512_mask_cmpneq_epi16_mask(inside, places, self.hot);
        *room = cast(_mm512_maskz_compress_epi16(kept, places));
        found.outside |= some ^ inside;
        found.inside += inside.count_ones() as usize;
        kept.count_ones() as usize
    }
}

/// Places that wait to be counted, and room for those that are found meanwhile.
struct Pipe<'a> {
    waiting: &'a [u16],
    packed: &'a mut [u16; QUEUE],
    kept: usize,
    found: Found,
    table: &'a mut [u16; PLACES],
}

impl Pipe<'_> {
    /// Packs and adds up 32 values, and counts `4 * GROUPS` of the places that wait.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn step<const GROUPS: usize>(&mut self, values: &[f32; STEP], packing: &Packing, sums: &mut Sums512) {
        let [a, b]: [__m512; 2] = cast(*values);
        self.pack::<GROUPS>(a, b, packing);
        sums.add(a);
        sums.add(b);
    }

    /// The same for fewer than 32 values.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn last<const GROUPS: usize>(&mut self, values: &[f32], packing: &Packing, sums: &mut Sums512) {
        // Zeros are not counted here, and add nothing.
        let (a, b) = (load_some(values), load_some(values.get(16..).unwrap_or_default()));
        self.pack::<GROUPS>(a, b, packing);
        sums.add_some(a, values.len());
        if values.len() > 16 {
            sums.add_some(b, values.len() - 16);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn pack<const GROUPS: usize>(&mut self, a: __m512, b: __m512, packing: &Packing) {
        let room = self.packed[self.kept..].first_chunk_mut().expect("room for one more step");
        self.kept += packing.pack(a, b, room, &mut self.found);
        let (now, later) = self.waiting.split_at(4 * GROUPS);
        for group in now.as_chunks::<4>().0 {
            count_group(*group, self.table);
        }
        self.waiting = later;
    }

    /// Part of a plane: its whole steps.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn stretch<const GROUPS: usize>(
        mut self,
        values: &[[f32; STEP]],
        packing: &Packing,
        into: &mut Sums512,
    ) -> (usize, Found) {
        let mut sums = into.clone();
        for step in values {
            self.step::<GROUPS>(step, packing, &mut sums);
        }
        *into = sums;
        (self.kept, self.found)
    }

    /// What is left of a plane.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn end<const GROUPS: usize>(
        mut self,
        values: &[f32],
        packing: &Packing,
        sums: &mut Sums512,
    ) -> (usize, Found) {
        self.last::<GROUPS>(values, packing, sums);
        (self.kept, self.found)
    }

    /// Several planes.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn planes<const GROUPS: usize>(
        mut self,
        values: &[f32],
        plane: usize,
        packing: &Packing,
        each: &mut impl FnMut(&[f32], ChannelStats),
    ) -> (usize, Found) {
        for plane in values.chunks(plane) {
            let mut sums = Sums512::new();
            let (steps, tail) = plane.as_chunks::<STEP>();
            for step in steps {
                self.step::<GROUPS>(step, packing, &mut sums);
            }
            if !tail.is_empty() {
                self.last::<GROUPS>(tail, packing, &mut sums);
            }
            each(plane, finite_or_any(sums.finish(), plane));
        }
        (self.kept, self.found)
    }
}

/// The first 16 values, zeros behind.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
fn load_some(values: &[f32]) -> __m512 {
    let n = values.len().min(16);
    let mask = ((1_u32 << n) - 1) as u16;
    #[allow(unsafe_code)]
    // SAFETY: reads the first `n` of at least `n` floats; no alignment is needed, and lanes left out are not touched.
    unsafe {
        std::arch::x86_64::_mm512_maskz_loadu_ps(mask, values.as_ptr())
    }
}

/// A stretch with a number of groups that is known when the loop is compiled.
macro_rules! with_groups {
    ($groups:expr, $pipe:expr, $method:ident ( $($arg:expr),* )) => {
        match $groups {
            0 => $pipe.$method::<0>($($arg),*),
            1 => $pipe.$method::<1>($($arg),*),
            2 => $pipe.$method::<2>($($arg),*),
            3 => $pipe.$method::<3>($($arg),*),
            4 => $pipe.$method::<4>($($arg),*),
            5 => $pipe.$method::<5>($($arg),*),
            6 => $pipe.$method::<6>($($arg),*),
            7 => $pipe.$method::<7>($($arg),*),
            _ => $pipe.$method::<8>($($arg),*),
        }
    };
}

/// Counts and gives statistics as [`Front::observe`] does.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
pub(super) fn observe(
    front: &mut Front,
    values: &[f32],
    plane: usize,
    mut each: impl FnMut(&[f32], ChannelStats),
) {
    let mut packing = Packing::new(front.window);
    let mut state = State::default();
    if plane < BLOCK {
        let steps = plane.div_ceil(STEP);
        for planes in values.chunks(plane * (BLOCK / STEP / steps).max(1)) {
            let steps = planes.len() / plane * steps + (planes.len() % plane).div_ceil(STEP);
            state.run(front, planes, steps, |groups, pipe| {
                with_groups!(groups, pipe, planes(planes, plane, &packing, &mut each))
            });
        }
    } else {
        for plane in values.chunks(plane) {
            let mut sums = Sums512::new();
            let (steps, tail) = plane.as_chunks::<STEP>();
            for stretch in steps.chunks(BLOCK / STEP) {
                state.choose_hot(front, stretch.as_flattened(), &mut packing);
                state.run(front, stretch.as_flattened(), stretch.len(), |groups, pipe| {
                    with_groups!(groups, pipe, stretch(stretch, &packing, &mut sums))
                });
            }
            if !tail.is_empty() {
                state.run(front, tail, 1, |groups, pipe| {
                    with_groups!(groups, pipe, end(tail, &packing, &mut sums))
                });
            }
            each(plane, finite_or_any(sums.finish(), plane));
        }
    }
    front.make_room(state.waiting);
    count_queue(&front.queues.0[state.side][..state.waiting], &mut front.table);
    front.count_many(state.hot, state.hot_count);
}

/// What is carried from stretch to stretch.
#[derive(Default)]
struct State {
    /// The queue that places wait in.
    side: usize,
    /// How many.
    waiting: usize,
    hot: u16,
    hot_count: usize,
}

impl State {
    /// One stretch of `steps`: `work` gets the number of groups to count at each, and says what it kept and found.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn run(
        &mut self,
        front: &mut Front,
        values: &[f32],
        steps: usize,
        work: impl FnOnce(usize, Pipe<'_>) -> (usize, Found),
    ) {
        let groups = (self.waiting / (4 * steps)).min(8);
        let counted = 4 * steps * groups;
        front.make_room(counted);
        let [first, second] = &mut front.queues.0;
        let (before, packed) = if self.side == 0 { (first, second) } else { (second, first) };
        let pipe = Pipe {
            waiting: &before[..self.waiting],
            packed: &mut *packed,
            kept: 0,
            found: Found::default(),
            table: &mut front.table,
        };
        let (mut kept, found) = work(groups, pipe);
        front.inside += found.inside as u64;
        self.hot_count += found.inside - kept;
        if found.outside != 0 {
            front.strange.add(values, front.window);
        }
        let left = counted..self.waiting;
        if left.len() <= LEFT {
            packed[kept..][..left.len()].copy_from_slice(&before[left.clone()]);
            kept += left.len();
        } else {
            let n = left.len();
            let side = self.side;
            front.make_room(n);
            count_queue(&front.queues.0[side][left], &mut front.table);
        }
        self.waiting = kept;
        self.side ^= 1;
    }

    /// Looks for a value that follows itself. Where a region is constant, increments of one count would wait for one another.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn choose_hot(&mut self, front: &mut Front, values: &[f32], packing: &mut Packing) {
        let Some((now, _)) = values.split_first_chunk::<16>() else { return };
        let Some(next) = values.get(1..).and_then(<[f32]>::first_chunk::<16>) else { return };
        let (now, next): (__m512i, __m512i) = (cast(*now), cast(*next));
        let same = _mm512_mask_cmpeq_epi32_mask(_mm512_test_epi32_mask(now, now), now, next);
        if same != 0 {
            let (inside, hot) = front.window.place(values[same.trailing_zeros() as usize].to_bits());
            if inside && hot != self.hot {
                front.count_many(self.hot, self.hot_count);
                self.hot_count = 0;
                self.hot = hot;
                packing.hot = _mm512_set1_epi16(hot as i16);
            }
        }
    }
}
