//! The hot loops of Shiftwise: convolution and its weight gradient, matrix products, pooling, normalisation,
//! elementwise functions, exact quantization, block formats, and the statistics that calibration collects.
//!
//! Everything works on plain row-major slices (images are NCHW) and runs on the calling thread; callers spread
//! samples over threads, each with its own [`Scratch`]. Lengths that contradict the given shapes are a bug of the
//! caller and panic. This crate must never know what a graph is, never start a thread, and never let the CPU it
//! runs on change a statistic or a quantized value: only sums of products (convolution, matrix product) may differ
//! in the last bits between CPUs.

#![allow(
    clippy::inline_always,
    reason = "loops must be compiled inside the function of each instruction set"
)]

#[macro_use]
mod isa;

pub mod block;
pub mod broadcast;
pub mod conv;
pub mod conv_transpose;
pub mod coordinate;
pub mod elementwise;
pub mod histogram;
pub mod integer;
pub mod math;
pub mod matmul;
pub mod moments;
pub mod norm;
pub mod pool;
mod product;
pub mod quantize;
mod scratch;
pub mod softmax;
pub mod stats;
pub mod volume;

pub use conv::Conv2d;
pub use conv_transpose::ConvTranspose2d;
#[doc(hidden)]
pub use isa::{fuses_multiply_add, with_portable};
pub use pool::Pool2d;
pub use scratch::Scratch;
pub use stats::ChannelStats;
