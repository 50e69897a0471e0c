//! The passes, one a file.

mod channels_last;
mod checks;
mod constant_folding;
mod constants;
mod copy_shared;
mod dead_code;
mod dimensions;
mod float32;
mod fold_batch_norm;
mod functions;
mod fusion;
mod identity;
mod no_op;
mod opset;

pub use channels_last::channels_last;
pub(crate) use checks::{check_inputs, check_model};
pub use constant_folding::ConstantFolding;
pub use constants::Constants;
pub use copy_shared::CopyShared;
pub use dead_code::{dead_code, unused_constants};
pub(crate) use dimensions::{fix_dimensions, merge_dimensions};
pub(crate) use float32::{convert_to_float32, half_precision};
pub use fold_batch_norm::FoldBatchNorm;
pub(crate) use functions::inline_functions;
pub(crate) use fusion::{CONTRIBUTED, recognized};
pub use fusion::{FuseActivations, FuseGelu, FuseInstanceNorm, FuseL2Norm, FuseLayerNorm, Recognized};
pub use identity::RemoveIdentity;
pub(crate) use opset::convert_opset;

/// Names of passes in reports.
pub(crate) mod name {
    pub(crate) const INLINE_FUNCTIONS: &str = "inline_functions";
    pub(crate) const FIX_DIMENSIONS: &str = "fix_dimensions";
    pub(crate) const MERGE_DIMENSIONS: &str = "merge_dimensions";
    pub(crate) const CHANNELS_LAST: &str = "convert_nchw_to_nhwc";
    pub(crate) const COPY_SHARED: &str = "copy_shared_init";
    pub(crate) const COPY_BIASES: &str = "copy_bias_init";
    pub(crate) const CONSTANTS: &str = "constants";
    pub(crate) const CONSTANT_FOLDING: &str = "constant_folding";
    pub(crate) const REMOVE_IDENTITY: &str = "remove_identity";
    pub(crate) const CONVERT_OPSET: &str = "convert_opset_version";
    pub(crate) const CONVERT_FP16_TO_FP32: &str = "convert_fp16_to_fp32";
    pub(crate) const FUSE_INSTANCE_NORM: &str = "fuse_instance_norm";
    pub(crate) const FUSE_L2_NORM: &str = "fuse_l2_norm";
    pub(crate) const FUSE_LAYER_NORM: &str = "fuse_layer_norm";
    pub(crate) const FUSE_GELU: &str = "fuse_gelu";
    pub(crate) const FUSE_ACTIVATIONS: &str = "fuse_activations";
    pub(crate) const FOLD_BATCH_NORM: &str = "fold_batch_norm";
    pub(crate) const STEM_EQUALIZATION: &str = "stem_equalization";
    pub(crate) const REPLACE_CLIP6_RELU: &str = "replace_clip6_relu";
    pub(crate) const CROSS_LAYER_EQUALIZATION: &str = "cross_layer_equalization";
    pub(crate) const RANGE_SAFE_EQUALIZATION: &str = "range_safe_equalization";
    pub(crate) const DEAD_CODE: &str = "dead_code";
    pub(crate) const UNUSED_CONSTANTS: &str = "unused_constants";
}
