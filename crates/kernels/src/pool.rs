//! Pooling over NCHW images.

use smallvec::SmallVec;

use crate::Scratch;
use crate::conv::valid_range;
use crate::isa;
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

    /// Largest element of each window; taps outside the image are ignored, −∞ where no tap is inside, NaN where
    /// one is.
    ///
    /// Panics when a length contradicts the geometry.
    pub fn max(&self, x: &[f32], out: &mut [f32], scratch: &mut Scratch) {
        self.check(x, out);
        if !out.is_empty() {
            max_planes(self, x, scratch.columns(self.w), out);
        }
    }

    /// Mean of each window. The divisor counts taps inside the image, or inside the padded image with
    /// `count_include_pad`; what overhangs the padding in ceil mode never counts.
    ///
    /// Panics when a length contradicts the geometry.
    pub fn average(&self, x: &[f32], count_include_pad: bool, out: &mut [f32], scratch: &mut Scratch) {
        self.check(x, out);
        if out.is_empty() {
            return;
        }
        sum_planes(self, x, scratch.columns(self.w), out);
        let counts = scratch.columns(self.out[0] + self.out[1]);
        let (rows, columns) = counts.split_at_mut(self.out[0]);
        self.count(0, self.h, count_include_pad, rows);
        self.count(1, self.w, count_include_pad, columns);
        for plane in out.chunks_exact_mut(self.out[0] * self.out[1]) {
            for (row, &ny) in plane.chunks_exact_mut(self.out[1]).zip(&*rows) {
                for (v, &nx) in row.iter_mut().zip(&*columns) {
                    *v /= ny * nx;
                }
            }
        }
    }

    /// Taps along one axis that count, for each output, as floats: the product of two is what their integers' is.
    fn count(&self, axis: usize, size: usize, include_pad: bool, counts: &mut [f32]) {
        let pad = self.pads[axis];
        let range = if include_pad { 0..size + pad + self.pads[axis + 2] } else { pad..size + pad };
        for (o, count) in counts.iter_mut().enumerate() {
            let tap = |k| o * self.stride[axis] + k * self.dilation[axis];
            *count = (0..self.kernel[axis]).filter(|&k| range.contains(&tap(k))).count() as f32;
        }
    }
}

/// Combines the elements of every window: first down the columns, along whole rows of the image, then along the row.
#[inline(always)]
fn fold<F: Combine>(pool: &Pool2d, x: &[f32], columns: &mut [f32], out: &mut [f32]) {
    let [oh, ow] = pool.out;
    let [sh, sw] = pool.stride;
    out.fill(F::START);
    if pool.h * pool.w == 0 {
        return;
    }
    // For each tap of a row: the outputs that it reaches, and the column that the first of them reads.
    let taps: SmallVec<[_; 16]> = (0..pool.kernel[1])
        .map(|kx| {
            let offset = kx * pool.dilation[1];
            let (lo, hi) = valid_range(pool.w, ow, sw, offset, pool.pads[1]);
            (lo, hi, (lo * sw + offset).wrapping_sub(pool.pads[1]))
        })
        .filter(|(lo, hi, _)| lo < hi)
        .collect();
    for (plane, result) in x.chunks_exact(pool.h * pool.w).zip(out.chunks_exact_mut(oh * ow)) {
        for (oy, row) in result.chunks_exact_mut(ow).enumerate() {
            columns.fill(F::START);
            for ky in 0..pool.kernel[0] {
                let y = oy * sh + ky * pool.dilation[0];
                if y >= pool.pads[0] && y - pool.pads[0] < pool.h {
                    combine::<F>(columns, &plane[(y - pool.pads[0]) * pool.w..][..pool.w]);
                }
            }
            for &(lo, hi, start) in &taps {
                let (row, from) = (&mut row[lo..hi], &columns[start..]);
                match sw {
                    1 => combine::<F>(row, from),
                    2 => combine_strided::<F>(row, from, 2),
                    _ => combine_strided::<F>(row, from, sw),
                }
            }
        }
    }
}

/// An associative operator and its neutral element.
trait Combine {
    const START: f32;
    fn apply(a: f32, b: f32) -> f32;
}

struct Max;
struct Sum;

impl Combine for Max {
    const START: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn apply(a: f32, b: f32) -> f32 {
        isa::max(a, b)
    }
}

impl Combine for Sum {
    const START: f32 = 0.0;
    #[inline(always)]
    fn apply(a: f32, b: f32) -> f32 {
        a + b
    }
}

#[inline(always)]
fn combine<F: Combine>(into: &mut [f32], from: &[f32]) {
    for (o, &v) in into.iter_mut().zip(from) {
        *o = F::apply(*o, v);
    }
}

#[inline(always)]
fn combine_strided<F: Combine>(into: &mut [f32], from: &[f32], stride: usize) {
    let from = &from[..=(into.len() - 1) * stride];
    for (i, o) in into.iter_mut().enumerate() {
        *o = F::apply(*o, from[i * stride]);
    }
}

dispatch! { fn max_planes(pool: &Pool2d, x: &[f32], columns: &mut [f32], out: &mut [f32]) => fold::<Max> }
dispatch! { fn sum_planes(pool: &Pool2d, x: &[f32], columns: &mut [f32], out: &mut [f32]) => fold::<Sum> }

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
