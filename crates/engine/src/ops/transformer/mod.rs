//! Operators that optimisers of transformer models put in place of several: attention, rotary embeddings, fused
//! products. Most are of ONNX Runtime's own domain.

mod attention;
mod embed;
mod fused;
mod heads;
mod nbits;
mod rotary;

pub(super) use attention::OPS as ATTENTION;
pub(super) use embed::OPS as EMBED;
pub(super) use fused::OPS as FUSED;
pub(super) use nbits::OPS as NBITS;
pub(super) use rotary::OPS as ROTARY;
