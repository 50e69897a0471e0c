//! Depthwise convolution, with any channel multiplier.
//!
//! A plane is copied once into a zero-padded buffer, split into `stride_y · stride_x` phases, so that every tap reads
//! consecutive elements: tap `(p, q)` of output `(i, j)` is in phase `(p·dh mod sh, q·dw mod sw)` at row
//! `i + p·dh / sh` and column `j + q·dw / sw`. All phases have the same pitch, so a tap is one offset into the
//! buffer, whole runs of rows are one loop, and there is no border left to treat.

use smallvec::SmallVec;

use super::Conv2d;
use super::forward::{clamp, complete};
use super::im2col::{copy_row, every_second};
use crate::Scratch;
use crate::isa::mul_add;
use crate::product::Finish;

/// Taps of one sweep over the outputs; more taps take more sweeps.
const SWEEP: usize = 9;
/// Narrower rows are computed together, pitch included, and then compacted.
const NARROW: usize = 64;
/// Rows computed together are rounded up to this, so that the loop over them has no remainder.
const UNROLL: usize = 32;
/// Floats of padded input that a band of output rows may take, so that it stays in the first-level cache.
const BAND_FLOATS: usize = 6 * 1024;

pub(super) fn forward(
    conv: &Conv2d,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    finish: Finish<'_>,
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    let layout = Layout::of(conv);
    let taps = conv.kernel[0] * conv.kernel[1];
    let multiplier = conv.c_out / conv.c_in;
    let [oh, ow] = conv.output_hw();
    // A normalisation comes between the sums and the limits, and has its own sweep.
    let swept = finish.limits.filter(|_| finish.affine.is_none());
    let limits = swept.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
    let offsets: SmallVec<[usize; 64]> =
        (0..taps).map(|t| layout.offset(conv, t / conv.kernel[1], t % conv.kernel[1])).collect();
    let (padded, flat) = scratch.both(layout.len() + UNROLL, layout.band * layout.pitch + UNROLL);
    padded.fill(0.0);
    for (i, plane) in x.chunks_exact(conv.h * conv.w).enumerate() {
        let first_channel = i % conv.c_in * multiplier;
        let image =
            &mut out[(i / conv.c_in * conv.c_out + first_channel) * oh * ow..][..multiplier * oh * ow];
        let mut top = 0;
        while top < oh {
            let rows = layout.band.min(oh - top);
            load_band(conv, &layout, plane, top, padded);
            for (m, result) in image.chunks_exact_mut(oh * ow).enumerate() {
                let channel = first_channel + m;
                let kernel = &weight[channel * taps..][..taps];
                let start = bias.map_or(0.0, |b| b[channel]);
                let band = &mut result[top * ow..(top + rows) * ow];
                if ow < NARROW && layout.pitch != ow {
                    let flat = &mut flat[..((rows - 1) * layout.pitch + ow).next_multiple_of(UNROLL)];
                    sweep_all(padded, &offsets, kernel, start, limits, flat);
                    compact(flat, layout.pitch, band, ow);
                } else if layout.pitch == ow {
                    sweep_all(padded, &offsets, kernel, start, limits, band);
                } else {
                    sweep_rows(padded, layout.pitch, &offsets, kernel, start, limits, band, ow);
                }
                if finish.affine.is_some() {
                    complete(finish.rows(channel), band);
                }
            }
            top += rows;
        }
    }
}

/// The padded buffer: `phases[0] · phases[1]` planes of `rows` × `pitch`.
struct Layout {
    phases: [usize; 2],
    rows: usize,
    pitch: usize,
    /// Output rows computed from one filling of the buffer.
    band: usize,
    /// For each phase of a row: the columns `[lo, hi)` that are inside the image, and the pixel of the first.
    inside: SmallVec<[(usize, usize, usize); 4]>,
}

impl Layout {
    fn of(conv: &Conv2d) -> Self {
        let [oh, ow] = conv.output_hw();
        // Where a stride exceeds the dilated kernel, the later phases are never read.
        let reach = [0, 1].map(|a| conv.dilation[a] * (conv.kernel[a] - 1));
        let phases = [0, 1].map(|a| conv.stride[a].min(reach[a] + 1));
        let extra = [0, 1].map(|a| reach[a] / conv.stride[a]);
        let pitch = ow + extra[1];
        let per_row = pitch * phases[0] * phases[1];
        let band = (BAND_FLOATS / per_row).saturating_sub(extra[0]).max(4).min(oh);
        // Column j of phase p is pixel j·sw + p − left.
        let inside = (0..phases[1])
            .map(|p| {
                let (lo, hi) = super::valid_range(conv.w, pitch, conv.stride[1], p, conv.pads[1]);
                (lo, hi, (lo * conv.stride[1] + p).wrapping_sub(conv.pads[1]))
            })
            .collect();
        Self { phases, rows: band + extra[0], pitch, band, inside }
    }

    fn len(&self) -> usize {
        self.phases[0] * self.phases[1] * self.rows * self.pitch
    }

    fn offset(&self, conv: &Conv2d, ky: usize, kx: usize) -> usize {
        let (y, x) = (ky * conv.dilation[0], kx * conv.dilation[1]);
        let phase = y % conv.stride[0] * self.phases[1] + x % conv.stride[1];
        (phase * self.rows + y / conv.stride[0]) * self.pitch + x / conv.stride[1]
    }
}

/// Fills the buffer for the output rows from `top`. Columns of padding are zero from the start and stay so.
#[inline(always)]
fn load_band_body(conv: &Conv2d, layout: &Layout, plane: &[f32], top: usize, padded: &mut [f32]) {
    let [sh, sw] = conv.stride;
    for py in 0..layout.phases[0] {
        for row in 0..layout.rows {
            let y = (top + row) * sh + py;
            let inside = y >= conv.pads[0] && y - conv.pads[0] < conv.h;
            let line = if inside { &plane[(y - conv.pads[0]) * conv.w..][..conv.w] } else { &[] };
            for (px, &(lo, hi, first)) in layout.inside.iter().enumerate() {
                let start = ((py * layout.phases[1] + px) * layout.rows + row) * layout.pitch;
                let target = &mut padded[start..start + layout.pitch];
                if !inside {
                    target.fill(0.0);
                    continue;
                }
                if lo == hi {
                    continue;
                }
                let (target, from) = (&mut target[lo..hi], &line[first..]);
                match sw {
                    1 => copy_row(target, from),
                    2 => every_second(target, from),
                    _ => target.iter_mut().zip(from.iter().step_by(sw)).for_each(|(t, &v)| *t = v),
                }
            }
        }
    }
}

/// Copies rows of `width` from the fronts of rows of `pitch`.
#[inline(always)]
fn compact_body(from: &[f32], pitch: usize, out: &mut [f32], width: usize) {
    for (row, from) in out.chunks_exact_mut(width).zip(from.chunks(pitch)) {
        copy_row(row, from);
    }
}

dispatch! {
    fn compact(from: &[f32], pitch: usize, out: &mut [f32], width: usize) => compact_body
}

dispatch! {
    fn load_band(conv: &Conv2d, layout: &Layout, plane: &[f32], top: usize, padded: &mut [f32]) => load_band_body
}

/// `out[i] = clamp(start + Σ kernel[t] · from[offsets[t] + i])`.
#[inline(always)]
fn sweep_all_body<const FMA: bool>(
    from: &[f32],
    offsets: &[usize],
    kernel: &[f32],
    start: f32,
    limits: (f32, f32),
    out: &mut [f32],
) {
    let last = offsets.len().div_ceil(SWEEP) - 1;
    for (i, (offsets, kernel)) in offsets.chunks(SWEEP).zip(kernel.chunks(SWEEP)).enumerate() {
        let start = if i == 0 { Some(start) } else { None };
        let limits = if i == last { Some(limits) } else { None };
        match offsets.len() {
            1 => sweep::<FMA, 1>(from, offsets, kernel, start, limits, out),
            2 => sweep::<FMA, 2>(from, offsets, kernel, start, limits, out),
            3 => sweep::<FMA, 3>(from, offsets, kernel, start, limits, out),
            4 => sweep::<FMA, 4>(from, offsets, kernel, start, limits, out),
            5 => sweep::<FMA, 5>(from, offsets, kernel, start, limits, out),
            6 => sweep::<FMA, 6>(from, offsets, kernel, start, limits, out),
            7 => sweep::<FMA, 7>(from, offsets, kernel, start, limits, out),
            8 => sweep::<FMA, 8>(from, offsets, kernel, start, limits, out),
            _ => sweep::<FMA, 9>(from, offsets, kernel, start, limits, out),
        }
    }
}

/// Sums `N` taps, onto `start` or what `out` holds.
#[inline(always)]
fn sweep<const FMA: bool, const N: usize>(
    from: &[f32],
    offsets: &[usize],
    kernel: &[f32],
    start: Option<f32>,
    limits: Option<(f32, f32)>,
    out: &mut [f32],
) {
    let len = out.len();
    let rows: [&[f32]; N] = std::array::from_fn(|t| &from[offsets[t]..offsets[t] + len]);
    let kernel: [f32; N] = std::array::from_fn(|t| kernel[t]);
    let limits = limits.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
    match start {
        Some(start) => {
            for i in 0..len {
                let mut sum = start;
                for t in 0..N {
                    sum = mul_add::<FMA>(kernel[t], rows[t][i], sum);
                }
                out[i] = clamp(sum, limits);
            }
        }
        None => {
            for i in 0..len {
                let mut sum = out[i];
                for t in 0..N {
                    sum = mul_add::<FMA>(kernel[t], rows[t][i], sum);
                }
                out[i] = clamp(sum, limits);
            }
        }
    }
}

/// As the above, for rows of `width` outputs from rows of `pitch` inputs.
#[allow(clippy::too_many_arguments, reason = "flat arguments of an inner loop")]
#[inline(always)]
fn sweep_rows_body<const FMA: bool>(
    from: &[f32],
    pitch: usize,
    offsets: &[usize],
    kernel: &[f32],
    start: f32,
    limits: (f32, f32),
    out: &mut [f32],
    width: usize,
) {
    for (i, row) in out.chunks_exact_mut(width).enumerate() {
        sweep_all_body::<FMA>(&from[i * pitch..], offsets, kernel, start, limits, row);
    }
}

dispatch! {
    fn sweep_all(from: &[f32], offsets: &[usize], kernel: &[f32], start: f32, limits: (f32, f32), out: &mut [f32])
        => fma sweep_all_body
}

dispatch! {
    #[allow(clippy::too_many_arguments, reason = "flat arguments of an inner loop")]
    fn sweep_rows(
        from: &[f32], pitch: usize, offsets: &[usize], kernel: &[f32], start: f32, limits: (f32, f32),
        out: &mut [f32], width: usize,
    ) => fma sweep_rows_body
}
