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

/// What a stretch found.
#[derive(Clone, Copy, Default)]
struct Found {
    /// Places that were packed.
    kept: usize,
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
}

/// Places that wait to be counted, and room for those that are found meanwhile.
struct Pipe<'a> {
    waiting: &'a [u16],
    packed: &'a mut [u16; QUEUE],
    table: &'a mut [u16; PLACES],
}

/// Packs the places of two vectors behind the `found.kept` first of `packed`, but for those that have none and the hot one, and
/// counts `GROUPS` groups that wait. A macro, as the compiler may not inline a function here and would keep all in memory.
macro_rules! pack {
    ($a:expr, $b:expr, $packing:ident, $pipe:ident, $found:ident, $groups:ident) => {
        let (a, b) = (_mm512_castps_si512($a), _mm512_castps_si512($b));
        let some =
            _mm512_kunpackw(u32::from(_mm512_test_epi32_mask(b, b)), u32::from(_mm512_test_epi32_mask(a, a)));
        let (a, b) = (_mm512_sub_epi32(a, $packing.base), _mm512_sub_epi32(b, $packing.base));
        let inside = _mm512_kunpackw(
            u32::from(_mm512_testn_epi32_mask(b, $packing.outside)),
            u32::from(_mm512_testn_epi32_mask(a, $packing.outside)),
        );
        // The sign beside the five bits of the exponent that may be set.
        let a = _mm512_ternarylogic_epi32::<0xca>($packing.sign, a, _mm512_slli_epi32::<3>(a));
        let b = _mm512_ternarylogic_epi32::<0xca>($packing.sign, b, _mm512_slli_epi32::<3>(b));
        let places = _mm512_permutex2var_epi16(a, $packing.high, b);
        let kept = _mm512_mask_cmpneq_epi16_mask(inside, places, $packing.hot);
        let room: &mut [u16; STEP] =
            $pipe.packed[$found.kept..].first_chunk_mut().expect("room for one more step");
        *room = cast(_mm512_maskz_compress_epi16(kept, places));
        $found.kept += kept.count_ones() as usize;
        $found.inside += inside.count_ones() as usize;
        $found.outside |= some ^ inside;
        let (now, later) = $groups.split_at(GROUPS);
        for group in now {
            count_group(*group, $pipe.table);
        }
        $groups = later;
    };
}

/// Packs, counts and adds up all of `values`.
macro_rules! take {
    ($values:expr, $packing:ident, $pipe:ident, $found:ident, $groups:ident, $sums:ident) => {
        let (steps, tail) = $values.as_chunks::<STEP>();
        for step in steps {
            let [a, b]: [__m512; 2] = cast(*step);
            pack!(a, b, $packing, $pipe, $found, $groups);
            $sums.add(a);
            $sums.add(b);
        }
        if !tail.is_empty() {
            // Zeros are not counted here, and add nothing.
            let (a, b) = (load_some(tail), load_some(tail.get(16..).unwrap_or_default()));
            pack!(a, b, $packing, $pipe, $found, $groups);
            $sums.add_some(a, tail.len());
            $sums.add_some(b, tail.len().saturating_sub(16));
        }
    };
}

#[allow(unused_assignments, reason = "nothing is counted after the last step")]
impl Pipe<'_> {
    /// Part of a plane. Counts `4 * GROUPS` of the places that wait with each step.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn part<const GROUPS: usize>(self, values: &[f32], packing: &Packing, into: &mut Sums512) -> Found {
        let (mut groups, _) = self.waiting.as_chunks::<4>();
        let (mut found, mut sums) = (Found::default(), into.clone());
        take!(values, packing, self, found, groups, sums);
        *into = sums;
        found
    }

    /// Several planes.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn planes<const GROUPS: usize>(
        self,
        values: &[f32],
        plane: usize,
        packing: &Packing,
        each: &mut impl FnMut(&[f32], ChannelStats),
    ) -> Found {
        let (mut groups, _) = self.waiting.as_chunks::<4>();
        let mut found = Found::default();
        for plane in values.chunks(plane) {
            let mut sums = Sums512::new();
            take!(plane, packing, self, found, groups, sums);
            each(plane, finite_or_any(sums.finish(), plane));
        }
        found
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
            for part in plane.chunks(BLOCK) {
                state.choose_hot(front, part, &mut packing);
                state.run(front, part, part.len().div_ceil(STEP), |groups, pipe| {
                    with_groups!(groups, pipe, part(part, &packing, &mut sums))
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
    /// One stretch of `steps`: `work` gets the number of groups to count at each, and says what it found.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,avx512vbmi2")]
    fn run(
        &mut self,
        front: &mut Front,
        values: &[f32],
        steps: usize,
        work: impl FnOnce(usize, Pipe<'_>) -> Found,
    ) {
        let groups = (self.waiting / (4 * steps)).min(8);
        let counted = 4 * steps * groups;
        front.make_room(counted);
        let [first, second] = &mut front.queues.0;
        let (before, packed) = if self.side == 0 { (first, second) } else { (second, first) };
        let pipe = Pipe { waiting: &before[..self.waiting], packed: &mut *packed, table: &mut front.table };
        let found = work(groups, pipe);
        let mut kept = found.kept;
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
