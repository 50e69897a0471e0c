//! Options of this stage.

use serde::{Deserialize, Serialize};

use crate::least_squares::{Order, Sampling, Search};

/// How integers are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// The least squared error of a layer's output, by coordinate descent on second moments.
    #[default]
    LeastSquares,
}

/// The order in which the inputs of a layer are worked off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepOrder {
    /// As the weights lie.
    #[default]
    Natural,
    /// Those that vary most first.
    Variance,
    /// Those that vary least first: what comes last can make up for what came before.
    LeastVariance,
}

/// The options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FinetuneConfig {
    /// How integers are chosen.
    pub algorithm: Algorithm,
    /// Positions of a layer's output, over all samples, that its integers are fitted to.
    pub finetune_positions: u64,
    /// Seed of the choice of positions.
    pub finetune_seed: u64,
    /// The pull towards the float weights, as a share of the mean variance of an input.
    pub finetune_regularization: f64,
    /// Passes over the inputs of a layer, at most.
    pub finetune_sweeps: u64,
    /// The order of a pass.
    pub finetune_order: SweepOrder,
    /// Layers to tune, by the names of their nodes; empty for all.
    pub finetune_layers: Vec<String>,
    /// Operators to tune; empty for all that can be.
    pub finetune_op_types: Vec<String>,
    /// Keep weights in a file beside the model.
    pub use_external_data_format: bool,
    /// Smallest tensor in bytes that goes there.
    pub external_data_threshold: u64,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        let (sampling, search) = (Sampling::default(), Search::default());
        Self {
            algorithm: Algorithm::default(),
            finetune_positions: sampling.positions as u64,
            finetune_seed: sampling.seed,
            finetune_regularization: search.lambda,
            finetune_sweeps: search.sweeps as u64,
            finetune_order: SweepOrder::default(),
            finetune_layers: Vec::new(),
            finetune_op_types: Vec::new(),
            use_external_data_format: false,
            external_data_threshold: 1024,
        }
    }
}

impl FinetuneConfig {
    pub(crate) fn sampling(&self) -> Sampling {
        let positions = usize::try_from(self.finetune_positions).unwrap_or(usize::MAX);
        Sampling { positions, seed: self.finetune_seed, ..Sampling::default() }
    }

    pub(crate) fn search(&self) -> Search {
        Search {
            lambda: self.finetune_regularization,
            sweeps: usize::try_from(self.finetune_sweeps).unwrap_or(usize::MAX),
            order: match self.finetune_order {
                SweepOrder::Natural => Order::Natural,
                SweepOrder::Variance => Order::Variance,
                SweepOrder::LeastVariance => Order::LeastVariance,
            },
            ..Search::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_options_and_this_structure_agree() {
        shiftwise_stage::options::assert_config_matches::<FinetuneConfig>(shiftwise_stage::Reader::Stage(
            shiftwise_stage::Stage::Finetune,
        ));
    }
}
