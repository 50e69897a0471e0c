//! Unfolding an image into the matrix whose columns are the receptive fields, and its adjoint.

use super::{Conv2d, valid_range};

/// Unfolds the channels of one group of one image, `[c, h, w]`, into `out`, `[c · kh · kw, columns]` row-major, for
/// the output positions `first .. first + columns` of the flattened `[oh, ow]`.
pub(crate) fn im2col(conv: &Conv2d, image: &[f32], first: usize, columns: usize, out: &mut [f32]) {
    let [_, ow] = conv.output_hw();
    let [kh, kw] = conv.kernel;
    let mut rows = out.chunks_exact_mut(columns);
    for plane in image.chunks_exact(conv.h * conv.w) {
        for ky in 0..kh {
            for kx in 0..kw {
                let row = rows.next().expect("a row for each tap of each channel");
                unfold_tap(conv, plane, [ky, kx], ow, first, row);
            }
        }
    }
}

/// One row of the unfolded matrix: what the tap `[ky, kx]` reads at each output position.
#[inline(always)]
pub(super) fn unfold_tap(
    conv: &Conv2d,
    plane: &[f32],
    tap: [usize; 2],
    ow: usize,
    first: usize,
    row: &mut [f32],
) {
    let [sh, sw] = conv.stride;
    let offset_y = tap[0] * conv.dilation[0];
    let offset_x = tap[1] * conv.dilation[1];
    let (lo, hi) = valid_range(conv.w, ow, sw, offset_x, conv.pads[1]);
    let (mut oy, mut ox) = (first / ow, first % ow);
    let mut rest = row;
    while !rest.is_empty() {
        let len = (ow - ox).min(rest.len());
        let (segment, tail) = rest.split_at_mut(len);
        rest = tail;
        let (iy, at) = (oy * sh + offset_y, ox);
        (oy, ox) = (oy + 1, 0);
        if iy < conv.pads[0] || iy - conv.pads[0] >= conv.h {
            segment.fill(0.0);
            continue;
        }
        let line = &plane[(iy - conv.pads[0]) * conv.w..][..conv.w];
        let a = lo.clamp(at, at + len) - at;
        let b = hi.clamp(at, at + len) - at;
        segment[..a].iter_mut().for_each(|v| *v = 0.0);
        segment[b..].iter_mut().for_each(|v| *v = 0.0);
        if a < b {
            let start = (at + a) * sw + offset_x - conv.pads[1];
            let inner = &mut segment[a..b];
            match sw {
                1 => copy_row(inner, &line[start..]),
                2 => every_second(inner, &line[start..]),
                _ => {
                    for (o, &v) in inner.iter_mut().zip(line[start..].iter().step_by(sw)) {
                        *o = v;
                    }
                }
            }
        }
    }
}

/// Copies every second element.
#[inline(always)]
pub(super) fn every_second(out: &mut [f32], from: &[f32]) {
    let mut done = 0;
    for (o, f) in out.as_chunks_mut::<8>().0.iter_mut().zip(from.as_chunks::<16>().0) {
        *o = [f[0], f[2], f[4], f[6], f[8], f[10], f[12], f[14]];
        done += 8;
    }
    let (out, from) = (&mut out[done..], &from[2 * done..]);
    let mut done = 0;
    for (o, f) in out.as_chunks_mut::<4>().0.iter_mut().zip(from.as_chunks::<8>().0) {
        *o = [f[0], f[2], f[4], f[6]];
        done += 4;
    }
    for (o, &f) in out[done..].iter_mut().zip(from[2 * done..].iter().step_by(2)) {
        *o = f;
    }
}

/// Copies a row of an image, without the call that `memcpy` costs where it is short.
#[inline(always)]
pub(crate) fn copy_row(out: &mut [f32], from: &[f32]) {
    let len = out.len();
    let from = &from[..len];
    match len {
        8..128 => {
            for (o, f) in out.as_chunks_mut::<8>().0.iter_mut().zip(from.as_chunks::<8>().0) {
                *o = *f;
            }
            // What is left, together with some of what is done.
            out[len - 8..].copy_from_slice(&from[len - 8..][..8]);
        }
        4..8 => {
            out[..4].copy_from_slice(&from[..4]);
            out[len - 4..].copy_from_slice(&from[len - 4..][..4]);
        }
        2..4 => {
            out[..2].copy_from_slice(&from[..2]);
            out[len - 1] = from[len - 1];
        }
        1 => out[0] = from[0],
        _ => out.copy_from_slice(from),
    }
}

/// Adds every element of the unfolded matrix, `[c · kh · kw, oh · ow]` for a given output size, to the pixel of `image`, `[c, h, w]`, that it
/// stands for. The adjoint of [`im2col`].
pub(crate) fn col2im_add(conv: &Conv2d, columns: &[f32], [oh, ow]: [usize; 2], image: &mut [f32]) {
    let [kh, kw] = conv.kernel;
    let [sh, sw] = conv.stride;
    let mut rows = columns.chunks_exact(oh * ow);
    for plane in image.chunks_exact_mut(conv.h * conv.w) {
        for ky in 0..kh {
            let offset_y = ky * conv.dilation[0];
            let (top, bottom) = valid_range(conv.h, oh, sh, offset_y, conv.pads[0]);
            for kx in 0..kw {
                let offset_x = kx * conv.dilation[1];
                let (lo, hi) = valid_range(conv.w, ow, sw, offset_x, conv.pads[1]);
                let row = rows.next().expect("a row for each tap of each channel");
                if lo == hi {
                    continue;
                }
                for oy in top..bottom {
                    let line = &mut plane[(oy * sh + offset_y - conv.pads[0]) * conv.w..][..conv.w];
                    let line = &mut line[lo * sw + offset_x - conv.pads[1]..];
                    let values = &row[oy * ow + lo..oy * ow + hi];
                    if sw == 1 {
                        for (p, &v) in line.iter_mut().zip(values) {
                            *p += v;
                        }
                    } else {
                        for (p, &v) in line.iter_mut().step_by(sw).zip(values) {
                            *p += v;
                        }
                    }
                }
            }
        }
    }
}
