//! Options of this stage.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shiftwise_graph::ShapeOptions;
use shiftwise_stage::ExternalData;

use crate::equalize::CrossLayer;

/// Which ranges equalization balances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BalanceMethod {
    /// The largest magnitudes.
    #[default]
    Max,
}

/// What is done to the model.
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreprocessConfig {
    /// Simplify, fuse and fold; without, only what has an option of its own is done.
    pub optimize_model: bool,
    /// Compute what depends on constants only.
    pub constant_folding: bool,
    /// Remove nodes that do nothing.
    pub remove_identity: bool,
    /// Raise the operator set to this version; 0 leaves it.
    pub convert_opset_version: i64,
    /// Raise the operator set where a fusion needs a newer one.
    pub upgrade_opset: bool,
    /// Turn float16 into float32, inputs and outputs included.
    pub convert_fp16_to_fp32: bool,
    /// Fuse decomposed instance normalizations.
    pub fuse_instance_norm: bool,
    /// Fuse decomposed L2 normalizations.
    pub fuse_l2_norm: bool,
    /// Fuse decomposed layer normalizations.
    pub fuse_layer_norm: bool,
    /// Fuse decomposed Gelu.
    pub fuse_gelu: bool,
    /// Fuse decomposed Sigmoid and HardSigmoid.
    pub fuse_activations: bool,
    /// Fold batch normalizations into what stands before them.
    pub fold_batch_norm: bool,
    /// Fold sums and products with constants into the weights before or behind them.
    pub fold_arithmetic: bool,
    /// Fold padding into the convolution or pooling behind it.
    pub fold_pad: bool,
    /// Make Gemm of matrix products with what belongs to them.
    pub fuse_gemm: bool,
    /// Merge transposes, reshapes, casts and clips in a row, and take other detours out.
    pub merge_chains: bool,
    /// Compute once what is computed twice.
    pub merge_duplicates: bool,
    /// Make depthwise convolutions of batch normalizations that are left.
    pub convert_bn_to_conv: bool,
    /// Make GlobalAveragePool of ReduceMean over the spatial axes.
    pub convert_reduce_mean_to_global_avg_pool: bool,
    /// Split GlobalAveragePool over many positions in two.
    pub split_large_kernel_pool: bool,
    /// Make Slices of Split.
    pub convert_split_to_slice: bool,
    /// Equalize the weights of consecutive layers.
    pub include_cle: bool,
    /// Sweeps of equalization; below 0, until it changes nothing more.
    pub cle_steps: i64,
    /// A sweep that changes weights by no more is the last.
    pub cle_total_layer_diff_threshold: f64,
    /// Let biases count in the range of a channel.
    pub cle_scale_append_bias: bool,
    /// Leave out channels whose ranges are below the threshold.
    pub cle_scale_use_threshold: bool,
    /// That threshold: on the sum of the ranges in both layers.
    pub cle_weight_threshold: f32,
    /// Which ranges are balanced.
    pub cle_balance_method: BalanceMethod,
    /// Turn Clip(0, 6) into Relu before equalization.
    pub replace_clip6_relu: bool,
    /// Scale channels as far as statistics of the model say that it computes the same.
    pub range_safe_equalization: bool,
    /// Do no conversion and no rewrite; dimensions are fixed and shapes inferred.
    pub skip_preprocess: bool,
    /// Do no rewrite; what is converted on request is.
    pub skip_optimization: bool,
    /// Do not infer shapes of the result.
    pub skip_onnx_shape: bool,
    /// Do not follow what shape arithmetic computes.
    pub skip_symbolic_shape: bool,
    /// Make named dimensions one where they must be equal.
    pub auto_merge: bool,
    /// A Slice that ends here or beyond goes to the end of a named dimension.
    pub int_max: i64,
    /// Give outputs of unknown operators the type and the rank of the first input.
    pub guess_output_rank: bool,
    /// Let the model take and give images channels-last.
    pub convert_nchw_to_nhwc: bool,
    /// Operators each of which gets its own copy of a shared constant, all where none is named.
    pub copy_shared_init: Option<Vec<String>>,
    /// Operators each of which gets its own copy of a shared bias, all where none is named.
    pub copy_bias_init: Option<Vec<String>>,
    /// Extents by name of a dimension, or by `input[axis]`.
    pub fix_dim: BTreeMap<String, i64>,
    /// Whole shapes by name of an input; 0 leaves an extent as it is.
    pub fix_shapes: BTreeMap<String, Vec<i64>>,
    /// Keep weights in a file beside the model even where they would fit inside.
    pub use_external_data_format: bool,
    /// Smallest tensor in bytes that goes to the file beside the model.
    pub external_data_threshold: u64,
    /// All of these in one file, or each in its own.
    pub all_tensors_to_one_file: bool,
    /// The file, or the folder where it ends in `/`, beside the model.
    pub external_data_location: String,
}

impl Default for PreprocessConfig {
    fn default() -> Self {
        let ExternalData { always, threshold, one_file, location } = ExternalData::default();
        Self {
            optimize_model: true,
            constant_folding: true,
            remove_identity: true,
            convert_opset_version: 0,
            upgrade_opset: true,
            convert_fp16_to_fp32: false,
            fuse_instance_norm: true,
            fuse_l2_norm: true,
            fuse_layer_norm: true,
            fuse_gelu: true,
            fuse_activations: true,
            fold_batch_norm: true,
            fold_arithmetic: true,
            fold_pad: true,
            fuse_gemm: true,
            merge_chains: true,
            merge_duplicates: true,
            convert_bn_to_conv: false,
            convert_reduce_mean_to_global_avg_pool: false,
            split_large_kernel_pool: false,
            convert_split_to_slice: false,
            include_cle: false,
            cle_steps: 1,
            cle_total_layer_diff_threshold: 2e-7,
            cle_scale_append_bias: true,
            cle_scale_use_threshold: true,
            cle_weight_threshold: 0.5,
            cle_balance_method: BalanceMethod::Max,
            replace_clip6_relu: false,
            range_safe_equalization: false,
            skip_preprocess: false,
            skip_optimization: false,
            skip_onnx_shape: false,
            skip_symbolic_shape: false,
            auto_merge: false,
            int_max: ShapeOptions::default().int_max,
            guess_output_rank: false,
            convert_nchw_to_nhwc: false,
            copy_shared_init: None,
            copy_bias_init: None,
            fix_dim: BTreeMap::new(),
            fix_shapes: BTreeMap::new(),
            use_external_data_format: always,
            external_data_threshold: threshold,
            all_tensors_to_one_file: one_file,
            external_data_location: location,
        }
    }
}

impl PreprocessConfig {
    /// Whether the graph is rewritten.
    pub(crate) fn rewrites(&self) -> bool {
        self.optimize_model && !self.skip_optimization && !self.skip_preprocess
    }

    /// Whether anything in the graph may change, for which constants have to be in one place.
    pub(crate) fn edits(&self) -> bool {
        let converts =
            self.convert_opset_version != 0 || self.convert_fp16_to_fp32 || self.convert_nchw_to_nhwc;
        self.rewrites() || (converts && !self.skip_preprocess) || self.include_cle || self.adapts()
    }

    /// Whether operators are wanted as NPUs have them.
    pub(crate) fn adapts(&self) -> bool {
        self.convert_bn_to_conv
            || self.convert_reduce_mean_to_global_avg_pool
            || self.split_large_kernel_pool
            || self.convert_split_to_slice
    }

    /// How shapes are inferred.
    pub(crate) fn shapes(&self) -> ShapeOptions {
        ShapeOptions {
            follow_contents: !self.skip_symbolic_shape,
            int_max: self.int_max,
            guess_output_rank: self.guess_output_rank,
        }
    }
}

impl PreprocessConfig {
    /// How layers are equalized.
    pub(crate) fn cross_layer(&self) -> CrossLayer {
        let BalanceMethod::Max = self.cle_balance_method;
        CrossLayer {
            steps: self.cle_steps,
            least_difference: self.cle_total_layer_diff_threshold,
            append_bias: self.cle_scale_append_bias,
            threshold: self.cle_scale_use_threshold.then_some(self.cle_weight_threshold),
        }
    }
}

#[cfg(test)]
mod tests {
    use shiftwise_stage::Stage;
    use shiftwise_stage::options::{Reader, assert_config_matches};

    #[test]
    fn config_matches_the_table() {
        assert_config_matches::<super::PreprocessConfig>(Reader::Stage(Stage::Preprocess));
    }
}
