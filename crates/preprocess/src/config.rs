//! Options of this stage.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shiftwise_stage::ExternalData;

/// What is done to the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreprocessConfig {
    /// Rewrite the graph at all; without, dimensions are fixed and shapes inferred, nothing else.
    pub optimize_model: bool,
    /// Compute what depends on constants only.
    pub constant_folding: bool,
    /// Remove nodes that do nothing.
    pub remove_identity: bool,
    /// Fold batch normalizations into what stands before them.
    pub fold_batch_norm: bool,
    /// Extents by name of a dimension, or by `input[axis]`.
    pub fix_dim: BTreeMap<String, i64>,
    /// Whole shapes by name of an input; 0 leaves an extent as it is.
    pub fix_shapes: BTreeMap<String, Vec<i64>>,
    /// Keep weights in a file beside the model even where they would fit inside.
    pub use_external_data_format: bool,
    /// Smallest tensor in bytes that goes to the file beside the model.
    pub external_data_threshold: u64,
}

impl Default for PreprocessConfig {
    fn default() -> Self {
        let ExternalData { always, threshold } = ExternalData::default();
        Self {
            optimize_model: true,
            constant_folding: true,
            remove_identity: true,
            fold_batch_norm: true,
            fix_dim: BTreeMap::new(),
            fix_shapes: BTreeMap::new(),
            use_external_data_format: always,
            external_data_threshold: threshold,
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
