//! Options of this stage.

use serde::{Deserialize, Serialize};
use shiftwise_quant::{PlacementOptions, QuantType, WeightScaleError};

/// How the range of an activation becomes a scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalibrateMethod {
    /// The power of two with the least squared error.
    #[default]
    MinMse,
    /// The power of two nearest to the scale that covers the extremes.
    NonOverflow,
}

/// The options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuantizeConfig {
    /// Type of activations.
    pub activation_type: QuantType,
    /// How activations (and biases) get their scales.
    pub calibrate_method: CalibrateMethod,
    /// Which error the scale of a weight minimizes.
    pub weight_scale_error: WeightScaleError,
    /// How many positions finer than the covering one are tried for a weight.
    pub weight_candidates_below: u32,
    /// Move what constant channels contribute into biases.
    pub absorb_constant_channels: bool,
    /// How far a channel may vary to count as constant, in steps of its tensor.
    pub constant_channel_threshold: f32,
    /// Keep weights in a file beside the model.
    pub use_external_data_format: bool,
    /// Smallest tensor in bytes that goes there.
    pub external_data_threshold: u64,
    /// Which nodes are quantized.
    #[serde(flatten)]
    pub placement: PlacementOptions,
}

impl Default for QuantizeConfig {
    fn default() -> Self {
        Self {
            activation_type: QuantType::Uint8,
            calibrate_method: CalibrateMethod::default(),
            weight_scale_error: WeightScaleError::default(),
            weight_candidates_below: 8,
            absorb_constant_channels: true,
            constant_channel_threshold: 0.0625,
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
