//! Operators that exporters wrote as several, one a file.
//!
//! Each is looked for from its last node backwards, a few steps only; a pattern whose intermediate values somebody else reads is
//! left, with the reason.

mod activations;
mod gelu;
mod instance_norm;
mod l2_norm;
mod layer_norm;
mod normalized;
mod pattern;
mod product;

pub(crate) use activations::recognized;
pub use activations::{FuseActivations, Recognized};
pub use gelu::FuseGelu;
pub use instance_norm::FuseInstanceNorm;
pub use l2_norm::FuseL2Norm;
pub use layer_norm::FuseLayerNorm;

/// The domain of operators that the standard got later.
pub(crate) const CONTRIBUTED: &str = "com.microsoft";

/// What to do where a fusion needs a newer operator set.
fn needs_opset(needed: i64, has: i64) -> String {
    format!(
        "it needs opset {needed}, the model has {has}: set upgrade_opset = true or convert_opset_version = {needed}"
    )
}
