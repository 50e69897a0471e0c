//! What a layer computes, as far as tuning needs to know.

/// Padding, strides and so on of a convolution in two dimensions; one dimension is a height of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Groups, at least one.
    pub groups: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Strides, at least one.
    pub stride: [usize; 2],
    /// Dilations, at least one.
    pub dilation: [usize; 2],
    /// Padding that was resolved for the input's size: top, left, bottom, right.
    pub pads: [usize; 4],
}

/// The operator of a layer, with inputs `x`, weights `w`, bias `b`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Weights `[out, in / groups, kh, kw]`.
    Conv(Window),
    /// Weights `[in, out / groups, kh, kw]`; output padding as two numbers.
    ConvTranspose(Window, [usize; 2]),
    /// `y = alpha · x · w + beta · b`; weights `[in, out]`, or `[out, in]` where transposed.
    Gemm {
        /// Whether the weights are transposed.
        transposed: bool,
        /// Factor of the product.
        alpha: f32,
        /// Factor of the bias.
        beta: f32,
    },
    /// Weights `[in, out]`.
    MatMul,
    /// Each plane of each sample: `y = w_c (x − mean) / sqrt(variance + epsilon) + b_c`.
    InstanceNormalization {
        /// Added to the variance.
        epsilon: f32,
    },
    /// As above over the axes from `axis` on, with a weight and a bias for each of their elements.
    LayerNormalization {
        /// Added to the variance.
        epsilon: f32,
        /// The first axis that is averaged over.
        axis: usize,
    },
}

/// What a layer's output goes through before anything else reads it.
#[derive(Clone, Debug, PartialEq)]
pub enum Activation {
    /// Nothing.
    None,
    /// max(0, y).
    Relu,
    /// y, or slope · y below zero.
    LeakyRelu(f32),
    /// As LeakyRelu, with a slope for each channel (axis 1), or one.
    PRelu(Vec<f32>),
    /// Limited to a range.
    Clip(f32, f32),
    /// 1 / (1 + exp(−y)).
    Sigmoid,
    /// tanh y.
    Tanh,
    /// y · Φ(y); with `true` the approximation by tanh.
    Gelu(bool),
    /// Softmax over an axis.
    Softmax(usize),
}
