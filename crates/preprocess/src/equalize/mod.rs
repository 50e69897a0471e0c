//! Equalization: channels scaled in one layer and scaled back in the next.
//!
//! Between two layers whose activations are positively homogeneous, f(s·x) = s·f(x) for s > 0, a factor for each channel can move from one
//! layer's weights to the other's and the model computes what it did. One scale a tensor then fits more channels.

mod append_bias;
mod between;
mod clip6;
mod cross_layer;
mod layer;
mod patterns;
mod range_safe;
mod room;
mod scales;
mod stem;

pub(crate) use clip6::ReplaceClip6Relu;
pub(crate) use cross_layer::{CrossLayer, cross_layer};
pub use range_safe::Equalized;
pub(crate) use range_safe::range_safe;
pub(crate) use stem::stem;
