//! Options of this stage.

use serde::{Deserialize, Serialize};
use shiftwise_quant::calibration::ErrorMetric;
use shiftwise_quant::{PlacementOptions, QuantType, WeightScaleError};

/// How the statistics of an activation become a scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrateMethod {
    /// The scale with the least squared error.
    #[default]
    #[serde(rename = "minmse")]
    MinMse,
    /// The power of two nearest to the scale that covers the extremes.
    #[serde(rename = "nonoverflow")]
    NonOverflow,
    /// The extremes.
    #[serde(rename = "minmax")]
    MinMax,
    /// What holds a given part of the values.
    Percentile,
    /// Of several percentiles, the one with the least error of the tensor.
    LayerwisePercentile,
    /// The least divergence of the quantized distribution from the observed one.
    Entropy,
}

/// What the squared error of a power-of-two scale is computed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pof2Mode {
    /// All values.
    #[default]
    All,
    /// Each sample for itself: the samples vote.
    MostCommon,
    /// The values within a percentile range.
    Percentile,
}

/// How float scales of weights are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightCalibrateMethod {
    /// They cover the extremes.
    #[default]
    MinMax,
    /// The least squared error.
    MinMse,
}

/// Which ranges are tried for the float scale of a weight, and what their error is computed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FloatMode {
    /// Percentiles; all values.
    #[default]
    Percentile,
    /// Bins of a histogram; the histogram.
    HistCenter,
    /// Bins of a histogram; all values.
    All,
}

/// The options. Those of single methods are `None` where they were not given: giving one that its method does not read is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuantizeConfig {
    /// Type of activations.
    pub activation_type: QuantType,
    /// Whether zero points of activations are the middle of their type.
    pub activation_symmetric: bool,
    /// Whether scales are powers of two.
    pub power_of_two_scale: bool,
    /// How activations (and constants with power-of-two scales) get their scales.
    pub calibrate_method: CalibrateMethod,
    /// Average the extremes of samples rather than take those of all.
    pub calib_moving_average: bool,
    /// Whether ranges are made symmetric around zero; `None` for what is usual for the method.
    pub calib_tensor_range_symmetric: Option<bool>,
    /// The part of the values, in percent.
    pub percentile: Option<f64>,
    /// Percentiles that are tried.
    pub percentile_candidates: Option<Vec<f64>>,
    /// What decides between them.
    pub lwp_metric: Option<ErrorMetric>,
    /// Bins of the entropy method.
    pub num_bins: Option<usize>,
    /// Bins of its quantized distribution.
    pub num_quantized_bins: Option<usize>,
    /// What the squared error of power-of-two scales is computed over.
    pub min_mse_mode_pof2_scale: Option<Pof2Mode>,
    /// How float scales of weights are chosen.
    pub weight_calibrate_method: Option<WeightCalibrateMethod>,
    /// How the least squared error of a weight's float scale is found.
    pub min_mse_mode_float_scale: Option<FloatMode>,
    /// Whether biases are 32-bit integers whose scale is that of the products; `None`: where scales are not powers of two.
    pub int32_bias: Option<bool>,
    /// Which error the power-of-two scale of a weight minimizes.
    pub weight_scale_error: WeightScaleError,
    /// How many positions finer than the covering one are tried for a weight.
    pub weight_candidates_below: u32,
    /// Move what constant channels contribute into biases.
    pub absorb_constant_channels: bool,
    /// How far a channel may vary to count as constant, in steps of its tensor.
    pub constant_channel_threshold: f32,
    /// Turn quantized Clip from 0 into Relu.
    pub convert_clip_to_relu: bool,
    /// Keep weights in a file beside the model.
    pub use_external_data_format: bool,
    /// Smallest tensor in bytes that goes there.
    pub external_data_threshold: u64,
    /// Which nodes are quantized.
    #[serde(flatten)]
    pub placement: PlacementOptions,
}

impl QuantizeConfig {
    /// Whether biases are 32-bit integers.
    pub fn has_int32_bias(&self) -> bool {
        self.int32_bias.unwrap_or(!self.power_of_two_scale)
    }
}

impl Default for QuantizeConfig {
    fn default() -> Self {
        Self {
            activation_type: QuantType::Uint8,
            activation_symmetric: true,
            power_of_two_scale: true,
            calibrate_method: CalibrateMethod::default(),
            calib_moving_average: false,
            calib_tensor_range_symmetric: None,
            percentile: None,
            percentile_candidates: None,
            lwp_metric: None,
            num_bins: None,
            num_quantized_bins: None,
            min_mse_mode_pof2_scale: None,
            weight_calibrate_method: None,
            min_mse_mode_float_scale: None,
            int32_bias: None,
            weight_scale_error: WeightScaleError::default(),
            weight_candidates_below: 8,
            absorb_constant_channels: true,
            constant_channel_threshold: 0.0625,
            convert_clip_to_relu: false,
            use_external_data_format: false,
            external_data_threshold: 1024,
            placement: PlacementOptions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_options_and_this_structure_agree() {
        shiftwise_stage::options::assert_config_matches::<QuantizeConfig>(shiftwise_stage::Reader::Stage(
            shiftwise_stage::Stage::Quantize,
        ));
    }
}
