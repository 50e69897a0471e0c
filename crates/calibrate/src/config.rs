//! Options of this stage.

use serde::{Deserialize, Serialize};
use shiftwise_quant::PlacementOptions;

/// Which tensors are collected, and how samples are run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CalibrateConfig {
    /// Collect every float tensor, not only those that the quantizer will ask for.
    pub collect_all: bool,
    /// How many samples a thread runs node by node.
    pub batch_size: u64,
    /// What the quantizer will ask for.
    #[serde(flatten)]
    pub placement: PlacementOptions,
}

impl Default for CalibrateConfig {
    fn default() -> Self {
        Self { collect_all: false, batch_size: 2, placement: PlacementOptions::default() }
    }
}
