//! Transposed convolution: a matrix product, then the adjoint of unfolding.

use crate::Scratch;
use crate::conv::{Conv2d, col2im_add};
use crate::matmul::{MatRef, matmul};

/// Geometry of a transposed convolution over NCHW images: input element `(i, j)` adds `x · w[p, q]` to output element
/// `(i·sh + p·dh − top, j·sw + q·dw − left)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose2d {
    /// Images.
    pub batch: usize,
    /// Input channels, a multiple of `groups`.
    pub c_in: usize,
    /// Input height.
    pub h: usize,
    /// Input width.
    pub w: usize,
    /// Output channels, a multiple of `groups`.
    pub c_out: usize,
    /// Groups, at least one.
    pub groups: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Strides, at least one.
    pub stride: [usize; 2],
    /// Dilations, at least one.
    pub dilation: [usize; 2],
    /// Rows and columns cut from the full result: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Rows and columns added at the bottom and the right.
    pub output_padding: [usize; 2],
}

impl ConvTranspose2d {
    /// `stride·(in − 1) + output_padding + dilation·(kernel − 1) + 1 − pads`, zero where that is negative or the
    /// input is empty.
    pub fn output_hw(&self) -> [usize; 2] {
        [0, 1].map(|a| {
            let size = [self.h, self.w][a];
            if size == 0 || self.kernel[a] == 0 {
                return 0;
            }
            let full = self.stride[a] * (size - 1) + self.output_padding[a];
            let full = full + self.dilation[a] * (self.kernel[a] - 1) + 1;
            full.saturating_sub(self.pads[a] + self.pads[a + 2])
        })
    }

    /// Elements of the input, `[batch, c_in, h, w]`.
    pub fn input_len(&self) -> usize {
        self.batch * self.c_in * self.h * self.w
    }

    /// Elements of the weight, `[c_in, c_out / groups, kh, kw]`.
    pub fn weight_len(&self) -> usize {
        self.c_in * (self.c_out / self.groups) * self.kernel[0] * self.kernel[1]
    }

    /// Elements of the output, `[batch, c_out, oh, ow]`.
    pub fn output_len(&self) -> usize {
        let [oh, ow] = self.output_hw();
        self.batch * self.c_out * oh * ow
    }

    /// `out = conv_transpose(x, weight) + bias`: `x` is `[batch, c_in, h, w]`, `weight` is
    /// `[c_in, c_out / groups, kh, kw]`, `bias` is `[c_out]`, `out` is `[batch, c_out, oh, ow]`.
    ///
    /// Panics when a length contradicts the geometry.
    pub fn forward(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        assert!(self.groups > 0 && self.c_in.is_multiple_of(self.groups), "groups divide the input channels");
        assert!(self.c_out.is_multiple_of(self.groups), "groups divide the output channels");
        assert!(
            self.stride.iter().chain(&self.dilation).all(|&s| s > 0),
            "strides and dilations are positive"
        );
        assert_eq!(x.len(), self.input_len(), "input of {self:?}");
        assert_eq!(weight.len(), self.weight_len(), "weight of {self:?}");
        assert!(bias.is_none_or(|b| b.len() == self.c_out), "bias of {self:?}");
        assert_eq!(out.len(), self.output_len(), "output of {self:?}");
        let [oh, ow] = self.output_hw();
        if out.is_empty() {
            return;
        }
        for (i, plane) in out.chunks_exact_mut(oh * ow).enumerate() {
            plane.fill(bias.map_or(0.0, |b| b[i % self.c_out]));
        }
        if x.is_empty() || weight.is_empty() {
            return;
        }
        let (in_group, out_group) = (self.c_in / self.groups, self.c_out / self.groups);
        let (pixels, depth) = (self.h * self.w, out_group * self.kernel[0] * self.kernel[1]);
        // The convolution whose data gradient this is; its output is our input.
        let adjoint = Conv2d {
            batch: 1,
            c_in: out_group,
            h: oh,
            w: ow,
            c_out: in_group,
            groups: 1,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            pads: self.pads,
        };
        let columns = scratch.columns(depth * pixels);
        for (i, (image, result)) in
            x.chunks_exact(in_group * pixels).zip(out.chunks_exact_mut(out_group * oh * ow)).enumerate()
        {
            let weight = &weight[i % self.groups * in_group * depth..][..in_group * depth];
            let (weight, image) = (MatRef::transposed(weight, depth), MatRef::row_major(image, pixels));
            matmul(depth, in_group, pixels, weight, image, columns, 1.0, 0.0);
            col2im_add(&adjoint, columns, [self.h, self.w], result);
        }
    }
}
