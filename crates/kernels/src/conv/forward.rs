//! The forward pass: matrix products over unfolded images, but for depthwise convolutions.

use std::ops::Range;

use super::im2col::{im2col, unfold_tap};
use super::{Conv2d, depthwise};
use crate::Scratch;
use crate::isa::{at_least, at_most};
use crate::matmul::{MatRef, matmul_into};
use crate::norm::per_channel_affine_in_place;
use crate::product::{self, Finish, Left, Panels, Start, Target};

/// Floats of one tile of an unfolded image: what stays in a second-level cache beside the packed weights.
const TILE_FLOATS: usize = 192 * 1024;
/// Batches of images with fewer output pixels than this are always convolved in one matrix product.
const FEW_PIXELS: usize = 32;
/// Narrower tiles cost more in repacked weights than they save in cache misses.
const MIN_TILE: usize = 256;

impl Conv2d {
    /// `out = activation(conv(x, weight) + bias)`: `x` is `[batch, c_in, h, w]`, `weight` is
    /// `[c_out, c_in / groups, kh, kw]`, `bias` is `[c_out]`, `out` is `[batch, c_out, oh, ow]`.
    ///
    /// `activation` is an interval that the result is clamped to: `(0, ∞)` is Relu, `(0, 6)` is Relu6. NaN stays NaN.
    ///
    /// Panics when a length contradicts the geometry.
    pub fn forward(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        activation: Option<(f32, f32)>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        self.forward_normalised(x, weight, bias, None, activation, out, scratch);
    }

    /// `out = activation((conv(x, weight) + bias) · scale + shift)`, the bits of one after the other: `normalise` is the
    /// scale and the shift of each output channel, the rest is as for [`Conv2d::forward`].
    ///
    /// Panics when a length contradicts the geometry.
    #[allow(clippy::too_many_arguments, reason = "a convolution and what follows it")]
    pub fn forward_normalised(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        normalise: Option<(&[f32], &[f32])>,
        activation: Option<(f32, f32)>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        self.check();
        assert_eq!(x.len(), self.input_len(), "input of {self:?}");
        assert_eq!(weight.len(), self.weight_len(), "weight of {self:?}");
        assert!(bias.is_none_or(|b| b.len() == self.c_out), "bias of {self:?}");
        assert!(
            normalise.is_none_or(|(a, b)| a.len() == self.c_out && b.len() == self.c_out),
            "factors of {self:?}"
        );
        assert_eq!(out.len(), self.output_len(), "output of {self:?}");
        let finish = Finish { affine: normalise, limits: activation };
        if out.is_empty() {
            return;
        }
        if self.depth() == 0 || self.h * self.w == 0 {
            let pixels = out.len() / (self.batch * self.c_out);
            for (i, plane) in out.chunks_exact_mut(pixels).enumerate() {
                plane.fill(bias.map_or(0.0, |b| b[i % self.c_out]));
                complete(finish.rows(i % self.c_out), plane);
            }
        } else if self.groups == self.c_in && self.groups > 1 {
            depthwise::forward(self, x, weight, bias, finish, out, scratch);
        } else {
            self.by_matmul(x, weight, bias, finish, out, scratch);
        }
    }

    fn by_matmul(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        finish: Finish<'_>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let [oh, ow] = self.output_hw();
        let (pixels, depth) = (oh * ow, self.depth());
        let (in_group, out_group) = (self.c_in / self.groups, self.c_out / self.groups);
        let (in_len, out_len) = (in_group * self.h * self.w, out_group * pixels);
        let tiles = product::available();
        let together = if tiles && in_one_product(pixels) { self.batch } else { 1 };
        for first in (0..self.batch).step_by(together) {
            for group in 0..self.groups {
                let weight = &weight[group * out_group * depth..][..out_group * depth];
                let bias = bias.map(|b| &b[group * out_group..][..out_group]);
                let finish = finish.rows(group * out_group);
                let x = &x[(first * self.groups + group) * in_len..];
                let out = &mut out[(first * self.groups + group) * out_len..];
                if tiles {
                    self.in_tiles(together, x, weight, bias, finish, out, scratch);
                } else {
                    self.by_gemm(&x[..in_len], weight, bias, finish, &mut out[..out_len], scratch);
                }
            }
        }
    }

    /// One group of some images, of which `x` and `out` start at the first, unfolded straight into the panels of one
    /// product.
    #[allow(clippy::too_many_arguments, reason = "a convolution and what follows it")]
    fn in_tiles(
        &self,
        images: usize,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        finish: Finish<'_>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let [oh, ow] = self.output_hw();
        let (pixels, depth) = (oh * ow, self.depth());
        let flat = self.flattened();
        let mut fill = |rows: Range<usize>, columns: Range<usize>, panels: &mut Panels<'_>| {
            if self.is_pointwise() && images == 1 {
                return panels.copy(&x[rows.start * pixels + columns.start..], pixels, 1);
            }
            unfold(&flat, x, rows, columns.clone(), scratch.columns(columns.len()), panels);
        };
        let left = Left { data: weight, row_stride: depth };
        let mut target = if images == 1 {
            Target::rows(out, pixels)
        } else {
            Target::images(out, pixels, self.c_out * pixels)
        };
        let shape = [weight.len() / depth, depth, images * pixels];
        product::product(shape, left, &mut fill, &mut target, Start::Rows(bias), finish);
    }

    /// One group of one image by way of the unfolded matrix.
    fn by_gemm(
        &self,
        image: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        finish: Finish<'_>,
        result: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let [oh, ow] = self.output_hw();
        let (pixels, depth) = (oh * ow, self.depth());
        let rows = weight.len() / depth;
        let weight = MatRef::row_major(weight, depth);
        let tile = self.tile(pixels);
        let mut first = 0;
        while first < pixels {
            let columns = tile.min(pixels - first);
            let unfolded = if self.is_pointwise() {
                MatRef::strided(&image[first..], pixels, 1)
            } else {
                let unfolded = scratch.columns(depth * columns);
                im2col(self, image, first, columns, unfolded);
                MatRef::row_major(unfolded, columns)
            };
            let target = &mut result[first..];
            matmul_into(rows, depth, columns, weight, unfolded, target, pixels, 1.0, 0.0);
            for (i, row) in result.chunks_exact_mut(pixels).enumerate() {
                let row = &mut row[first..first + columns];
                if let Some(bias) = bias {
                    for v in row.iter_mut() {
                        *v += bias[i];
                    }
                }
                complete(finish.rows(i), row);
            }
            first += columns;
        }
    }

    /// Columns of one tile: even shares of the output, each small enough for the cache.
    pub(super) fn tile(&self, pixels: usize) -> usize {
        // The bias is added to what the product left in the cache.
        let most = (TILE_FLOATS / self.depth().max(self.c_out / self.groups)).max(MIN_TILE);
        let tiles = pixels.div_ceil(most);
        // A multiple of the widest micro-kernel, so that only the last tile has a ragged edge.
        pixels.div_ceil(tiles).next_multiple_of(16)
    }
}

/// Whether a product over all images of a batch is faster than one for each image: where a row of the output fills its
/// tiles badly (seven times seven pixels in the width of fifty-six), or where the weight is read for few columns. Else
/// it is slower, as most tiles then are of two images, and pixels of pointwise convolutions are copied twice.
fn in_one_product(pixels: usize) -> bool {
    pixels < FEW_PIXELS || product::unused(pixels) * 16 > pixels
}

/// Unfolds the taps `rows` at the output positions `columns`, those of one image after those of the other, into
/// panels, each by way of a buffer of its length.
#[inline(always)]
fn unfold_body(
    conv: &Conv2d,
    x: &[f32],
    rows: Range<usize>,
    columns: Range<usize>,
    buffer: &mut [f32],
    panels: &mut Panels<'_>,
) {
    let [kh, kw] = conv.kernel;
    let [oh, ow] = conv.output_hw();
    let (image, first) = (columns.start / (oh * ow), columns.start % (oh * ow));
    let (size, image_len) = (conv.h * conv.w, conv.c_in * conv.h * conv.w);
    for (i, row) in rows.enumerate() {
        let (mut start, mut first) = (image * image_len + row / (kh * kw) * size, first);
        let mut rest = &mut *buffer;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut((oh * ow - first).min(rest.len()));
            unfold_tap(conv, &x[start..start + size], [row / kw % kh, row % kw], ow, first, now);
            (rest, first) = (later, 0);
            start += image_len;
        }
        panels.set_row(i, buffer);
    }
}

dispatch! {
    fn unfold(
        conv: &Conv2d, x: &[f32], rows: Range<usize>, columns: Range<usize>, buffer: &mut [f32],
        panels: &mut Panels<'_>,
    ) => unfold_body, wide
}

/// Completes sums of the first row that `finish` is of.
pub(super) fn complete(finish: Finish<'_>, sums: &mut [f32]) {
    match (finish.affine, finish.limits) {
        (None, None) => {}
        (None, Some(limits)) => clamp_all(sums, limits),
        (Some((scale, shift)), limits) => {
            let pixels = sums.len();
            per_channel_affine_in_place(sums, pixels, &scale[..1], &shift[..1], limits);
        }
    }
}

#[inline(always)]
fn clamp_all_body(row: &mut [f32], limits: (f32, f32)) {
    for v in row {
        *v = clamp(*v, limits);
    }
}

dispatch! {
    fn clamp_all(row: &mut [f32], limits: (f32, f32)) => clamp_all_body
}

/// Clamps to `[lo, hi]`; NaN stays NaN.
#[inline(always)]
pub(super) fn clamp(v: f32, (lo, hi): (f32, f32)) -> f32 {
    at_most(at_least(v, lo), hi)
}
