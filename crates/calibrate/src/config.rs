//! Options of this stage.

use serde::{Deserialize, Serialize};
use shiftwise_quant::PlacementOptions;

/// What decides which tensors are collected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CalibrateConfig {
    /// Collect every float tensor, not only those that the quantizer will ask for.
    pub collect_all: bool,
    /// What the quantizer will ask for.
    #[serde(flatten)]
    pub placement: PlacementOptions,
}
