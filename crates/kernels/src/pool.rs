//! Pooling over NCHW images.

use crate::conv::valid_range;
use crate::softmax::sum_lanes;

/// Geometry of a pooling: windows of `kernel` taps, `dilation` apart, every `stride` pixels.
///
/// The output size is given, not computed, because ceil mode lets windows overhang the padded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Planes: images times channels.
    pub planes: usize,
    /// Input height.
    pub h: usize,
    /// Input width.
    pub w: usize,
    /// Output height and width.
    pub out: [usize; 2],
    /// Window height and width, at least one.
    pub kernel: [usize; 2],
    /// Strides, at least one.
    pub stride: [usize; 2],
    /// Dilations, at least one.
    pub dilation: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub pads: [usize; 4],
}

impl Pool2d {
    fn check(&self, x: &[f32], out: &[f32]) {
        assert!(self.kernel.iter().chain(&self.stride).chain(&self.dilation).all(|&s| s > 0), "{self:?}");
        assert_eq!(x.len(), self.planes * self.h * self.w, "input of {self:?}");
        assert_eq!(out.len(), self.planes * self.out[0] * self.out[1], "output of {self:?}");
    }

    /// Largest element of each window; taps outside the image are ignored, −∞ where no tap is inside.
    ///
    /// Panics when a length contradicts the geometry.
    pub fn max(&self, x: &[f32], out: &mut [f32]) {
        self.check(x, out);
        if !out.is_empty() {
            max_planes(self, x, out);
        }
    }

    /// Mean of each window. The divisor counts taps inside the image, or inside the padded image with
    /// `count_include_pad`; what overhangs the padding in ceil mode never counts.
    ///
    /// Panics when a length contradicts the geometry.
    pub fn average(&self, x: &[f32], count_include_pad: bool, out: &mut [f32]) {
        self.check(x, out);
        if out.is_empty() {
            return;
        }
        sum_planes(self, x, out);
        let rows = self.counts(0, self.h, count_include_pad);
        let columns = self.counts(1, self.w, count_include_pad);
        for plane in out.chunks_exact_mut(self.out[0] * self.out[1]) {
            for (row, &ny) in plane.chunks_exact_mut(self.out[1]).zip(&rows) {
                for (v, &nx) in row.iter_mut().zip(&columns) {
                    *v /= (ny * nx) as f32;
                }
            }
        }
    }

    /// Taps along one axis that count, for each output.
    fn counts(&self, axis: usize, size: usize, include_pad: bool) -> Vec<usize> {
        let pad = self.pads[axis];
        let range = if include_pad { 0..size + pad + self.pads[axis + 2] } else { pad..size + pad };
        (0..self.out[axis])
            .map(|o| {
                let tap = |k| o * self.stride[axis] + k * self.dilation[axis];
                (0..self.kernel[axis]).filter(|&k| range.contains(&tap(k))).count()
            })
            .collect()
    }
}

/// Combines every tap of every window into `out`, row by row, so that the innermost loop runs along the image.
#[inline(always)]
fn fold_body(
    pool: &Pool2d,
    x: &[f32],
    out: &mut [f32],
    start: f32,
    combine: impl Fn(f32, f32) -> f32 + Copy,
) {
    let [oh, ow] = pool.out;
    let [sh, sw] = pool.stride;
    out.fill(start);
    for (plane, result) in x.chunks_exact((pool.h * pool.w).max(1)).zip(out.chunks_exact_mut(oh * ow)) {
        for (oy, row) in result.chunks_exact_mut(ow).enumerate() {
            for ky in 0..pool.kernel[0] {
                let y = oy * sh + ky * pool.dilation[0];
                if y < pool.pads[0] || y - pool.pads[0] >= pool.h {
                    continue;
                }
                let line = &plane[(y - pool.pads[0]) * pool.w..][..pool.w];
                for kx in 0..pool.kernel[1] {
                    let offset = kx * pool.dilation[1];
                    let (lo, hi) = valid_range(pool.w, ow, sw, offset, pool.pads[1]);
                    if lo == hi {
                        continue;
                    }
                    let from = &line[lo * sw + offset - pool.pads[1]..];
                    let row = &mut row[lo..hi];
                    match sw {
                        1 => row.iter_mut().zip(from).for_each(|(o, &v)| *o = combine(*o, v)),
                        2 => {
                            row.iter_mut().zip(from.iter().step_by(2)).for_each(|(o, &v)| *o = combine(*o, v))
                        }
                        _ => row
                            .iter_mut()
                            .zip(from.iter().step_by(sw))
                            .for_each(|(o, &v)| *o = combine(*o, v)),
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn max_body(pool: &Pool2d, x: &[f32], out: &mut [f32]) {
    fold_body(pool, x, out, f32::NEG_INFINITY, |a, b| if a > b { a } else { b });
}

#[inline(always)]
fn sum_body(pool: &Pool2d, x: &[f32], out: &mut [f32]) {
    fold_body(pool, x, out, 0.0, |a, b| a + b);
}

dispatch! { fn max_planes(pool: &Pool2d, x: &[f32], out: &mut [f32]) => max_body }
dispatch! { fn sum_planes(pool: &Pool2d, x: &[f32], out: &mut [f32]) => sum_body }

#[inline(always)]
fn mean_body(x: &[f32], pixels: usize, out: &mut [f32]) {
    for (plane, mean) in x.chunks_exact(pixels).zip(out) {
        *mean = sum(plane) / pixels as f32;
    }
}

/// Sum in 16 accumulators.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0; 16];
    let (chunks, tail) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += v;
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(tail) {
        *lane += v;
    }
    sum_lanes(lanes)
}

dispatch! { fn mean_planes(x: &[f32], pixels: usize, out: &mut [f32]) => mean_body }

/// Mean of each plane of `pixels` elements.
///
/// Panics when `x` is not one plane for each element of `out`, or planes are empty.
pub fn global_average(x: &[f32], pixels: usize, out: &mut [f32]) {
    assert!(pixels > 0, "planes of some pixels");
    assert_eq!(x.len(), pixels * out.len(), "planes of {pixels} pixels");
    mean_planes(x, pixels, out);
}
