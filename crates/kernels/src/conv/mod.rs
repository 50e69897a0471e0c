//! Two-dimensional convolution and its weight gradient over NCHW images. A one-dimensional convolution is one
//! with `h = 1`.

mod depthwise;
mod forward;
mod im2col;
mod weight_grad;

pub(crate) use im2col::{col2im_add, copy_row, im2col};

/// Geometry of a convolution: `y[n, o, i, j] = b[o] + Σ w[o, c, p, q] · x[n, c', i·sh + p·dh − top, j·sw + q·dw − left]`
/// over the input channels `c'` of the group of `o`; outside the image `x` is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
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
    /// Padding: top, left, bottom, right.
    pub pads: [usize; 4],
}

impl Conv2d {
    /// Output height and width; zero where the dilated kernel exceeds the padded image.
    pub fn output_hw(&self) -> [usize; 2] {
        [
            output_size(
                self.h + self.pads[0] + self.pads[2],
                self.kernel[0],
                self.stride[0],
                self.dilation[0],
            ),
            output_size(
                self.w + self.pads[1] + self.pads[3],
                self.kernel[1],
                self.stride[1],
                self.dilation[1],
            ),
        ]
    }

    /// Elements of the input, `[batch, c_in, h, w]`.
    pub fn input_len(&self) -> usize {
        self.batch * self.c_in * self.h * self.w
    }

    /// Elements of the weight, `[c_out, c_in / groups, kh, kw]`.
    pub fn weight_len(&self) -> usize {
        self.c_out * self.depth()
    }

    /// Elements of the output, `[batch, c_out, oh, ow]`.
    pub fn output_len(&self) -> usize {
        let [oh, ow] = self.output_hw();
        self.batch * self.c_out * oh * ow
    }

    /// Products that one output element sums: `c_in / groups · kh · kw`.
    pub fn depth(&self) -> usize {
        self.c_in / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Whether an unfolded image is the image itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.pads == [0; 4]
    }

    /// The same sums over images of one line.
    fn flattened(&self) -> Self {
        if self.is_pointwise() { Self { h: 1, w: self.h * self.w, ..*self } } else { *self }
    }

    fn check(&self) {
        assert!(self.groups > 0 && self.c_in.is_multiple_of(self.groups), "groups divide the input channels");
        assert!(self.c_out.is_multiple_of(self.groups), "groups divide the output channels");
        assert!(
            self.stride.iter().chain(&self.dilation).all(|&s| s > 0),
            "strides and dilations are positive"
        );
    }
}

fn output_size(padded: usize, kernel: usize, stride: usize, dilation: usize) -> usize {
    let reach = dilation * kernel.saturating_sub(1) + 1;
    if kernel == 0 || padded < reach { 0 } else { (padded - reach) / stride + 1 }
}

/// The outputs `[lo, hi)` along one axis whose tap at `offset` (`tap · dilation`) reads inside the image.
pub(crate) fn valid_range(
    size: usize,
    out: usize,
    stride: usize,
    offset: usize,
    pad: usize,
) -> (usize, usize) {
    let lo = pad.saturating_sub(offset).div_ceil(stride).min(out);
    let hi = if size + pad > offset { ((size + pad - offset - 1) / stride + 1).min(out) } else { 0 };
    (lo, hi.max(lo))
}
