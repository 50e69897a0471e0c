//! Options of this stage.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shiftwise_stage::{ExternalData, Failure};

use crate::adaptive::{self, AdaOptions, Begin, Refused};
use crate::least_squares::{Order, Sampling, Search};

/// Positions that a sample of a batch stands for: with AdaRound, and with AdaQuant.
const POSITIONS_OF_A_SAMPLE: [usize; 2] = [64, 256];

/// How integers are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// The least squared error of a layer's output, by coordinate descent on second moments.
    #[default]
    LeastSquares,
    /// By learning for each weight whether it is rounded up or down.
    #[serde(rename = "adaround")]
    AdaRound,
    /// By moving weights and bias under their rounding.
    #[serde(rename = "adaquant")]
    AdaQuant,
}

impl Algorithm {
    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::LeastSquares => "least squares",
            Self::AdaRound => "AdaRound",
            Self::AdaQuant => "AdaQuant",
        }
    }

    /// Whether weights are trained, and not solved for.
    pub(crate) fn trains(self) -> bool {
        self != Self::LeastSquares
    }
}

/// Where a training begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingStart {
    /// At the float weights, rounded as in the model.
    #[default]
    Model,
    /// At what least squares finds.
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
    /// Positions of a layer's output, over all samples, that its integers are fitted to; `None` for what the algorithm does best with.
    pub finetune_positions: Option<u64>,
    /// Seed of the choice of positions and of the order of batches; `None` for 0 with least squares, else 1705472343.
    pub fixed_seed: Option<u64>,
    /// The pull towards the float weights, as a share of the mean variance of an input.
    pub finetune_regularization: f64,
    /// Passes over the inputs of a layer, at most.
    pub finetune_sweeps: u64,
    /// Whether the scale of what a layer reads is chosen anew, too.
    pub finetune_input_scales: bool,
    /// The order of a pass.
    pub finetune_order: SweepOrder,
    /// Tune each layer on what the float model gives to it, quantized, and not on what the layers before it give.
    pub finetune_float_inputs: bool,
    /// Layers to tune, by the names of their nodes; empty for all.
    pub finetune_layers: Vec<String>,
    /// Operators to tune; empty for all that can be.
    pub finetune_op_types: Vec<String>,
    /// Where a training begins.
    pub finetune_begin: TrainingStart,
    /// Samples to finetune on, at most.
    pub data_size: Option<u64>,
    /// Steps of a training.
    pub num_iterations: u64,
    /// The rate of Adam; `None` for 0.1 with AdaRound, 1e-5 with AdaQuant.
    pub learning_rate: Option<f64>,
    /// Samples in a batch, of 64 positions each with AdaRound, of 256 with AdaQuant.
    pub finetune_batch_size: u64,
    /// Steps in a window of early stopping; a tenth of all where it is 1.
    pub num_batches: u64,
    /// Whether a training stops when a window is no better than the best before it.
    pub early_stop: bool,
    /// How likely an input is taken from the quantized model and not from the float model.
    pub drop_ratio: f64,
    /// Weight of AdaRound's regulariser.
    pub reg_param: f64,
    /// Exponent of AdaRound's regulariser at its start and at its end.
    pub beta_range: Vec<f64>,
    /// Share of the steps before the regulariser and before early stopping.
    pub warm_start: f64,
    /// Whether AdaQuant trains biases.
    pub update_bias: bool,
    /// A threshold and a rate: the rate where the mean squared error of a layer is above the threshold at the start.
    pub lr_adjust: Vec<f64>,
    /// Whether a layer keeps its new integers only where the whole model comes nearer to the float model.
    pub selective_update: bool,
    /// Which output of the model that is measured at, from 0 on; `None` for all.
    pub output_index: Option<u64>,
    /// Whether the quantization of a layer's output is part of what is trained.
    pub output_qdq: bool,
    /// Whether layers are tuned without regard to what became of those before them.
    pub parallel: bool,
    /// A float model to come near to, instead of the one that was quantized.
    pub ref_model_path: Option<PathBuf>,
    /// Keep weights in a file beside the model.
    pub use_external_data_format: bool,
    /// Smallest tensor in bytes that goes there.
    pub external_data_threshold: u64,
    /// All of these in one file, or each in its own.
    pub all_tensors_to_one_file: bool,
    /// The file, or the folder where it ends in `/`, beside the model.
    pub external_data_location: String,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        let (search, ada) = (Search::default(), AdaOptions::adaround());
        Self {
            algorithm: Algorithm::default(),
            finetune_positions: None,
            fixed_seed: None,
            finetune_regularization: search.lambda,
            finetune_sweeps: search.sweeps as u64,
            finetune_input_scales: true,
            finetune_order: SweepOrder::default(),
            finetune_float_inputs: false,
            finetune_layers: Vec::new(),
            finetune_op_types: Vec::new(),
            finetune_begin: TrainingStart::default(),
            data_size: None,
            num_iterations: ada.num_iterations as u64,
            learning_rate: None,
            finetune_batch_size: 1,
            num_batches: ada.num_batches as u64,
            early_stop: ada.early_stop,
            drop_ratio: 1.0,
            reg_param: 0.01,
            beta_range: vec![20.0, 2.0],
            warm_start: 0.2,
            update_bias: ada.update_bias,
            lr_adjust: Vec::new(),
            selective_update: false,
            output_index: None,
            output_qdq: false,
            parallel: false,
            ref_model_path: None,
            use_external_data_format: false,
            external_data_threshold: 1024,
            all_tensors_to_one_file: true,
            external_data_location: String::new(),
        }
    }
}

impl FinetuneConfig {
    /// Where weights go; fails for a place that is none.
    pub(crate) fn external_data(&self) -> Result<ExternalData, Failure> {
        ExternalData::new(
            self.use_external_data_format,
            self.external_data_threshold,
            self.all_tensors_to_one_file,
            &self.external_data_location,
        )
    }

    /// The positions that least squares looks at.
    pub(crate) fn sampling(&self) -> Sampling {
        self.sampled(&Sampling::default())
    }

    /// The positions that a training looks at.
    pub(crate) fn training_sampling(&self) -> Sampling {
        self.sampled(&adaptive::sampling(AdaOptions::adaround().fixed_seed))
    }

    fn sampled(&self, default: &Sampling) -> Sampling {
        let positions = self.finetune_positions.map_or(default.positions, size);
        Sampling { positions, seed: self.fixed_seed.unwrap_or(default.seed), ..default.clone() }
    }

    /// Whether the scales of what layers read are chosen, too: not where layers do not wait for each other.
    pub(crate) fn chooses_inputs(&self) -> bool {
        self.finetune_input_scales && self.solves() && !self.finetune_float_inputs && !self.parallel
    }

    /// Whether least squares chooses integers, be it that others begin there.
    pub(crate) fn solves(&self) -> bool {
        !self.algorithm.trains() || self.finetune_begin == TrainingStart::LeastSquares
    }

    /// How weights are trained.
    ///
    /// Fails, naming the option, where a value makes no sense.
    pub(crate) fn training(&self) -> Result<AdaOptions, Refused> {
        let quant = self.algorithm == Algorithm::AdaQuant;
        let default = if quant { AdaOptions::adaquant() } else { AdaOptions::adaround() };
        let wrong = |option, why: &str| Err(Refused::Option { option, why: why.to_owned() });
        let [first, last] = self.beta_range[..] else {
            return wrong("beta_range", "it has two exponents, the first and the last one");
        };
        let lr_adjust = match self.lr_adjust[..] {
            [] => None,
            [threshold, rate] => Some((threshold, rate as f32)),
            _ => return wrong("lr_adjust", "it has two numbers, a threshold and a rate"),
        };
        let options = AdaOptions {
            num_iterations: size(self.num_iterations),
            learning_rate: self.learning_rate.map_or(default.learning_rate, |rate| rate as f32),
            batch_size: size(self.finetune_batch_size)
                .saturating_mul(POSITIONS_OF_A_SAMPLE[usize::from(quant)]),
            early_stop: self.early_stop,
            num_batches: size(self.num_batches),
            drop_ratio: self.drop_ratio as f32,
            reg_param: self.reg_param as f32,
            beta_range: (first as f32, last as f32),
            warm_start: self.warm_start as f32,
            update_bias: self.update_bias,
            lr_adjust,
            fixed_seed: self.fixed_seed.unwrap_or(default.fixed_seed),
            begin: Begin::Start,
        };
        options.check()?;
        Ok(options)
    }

    pub(crate) fn search(&self) -> Search {
        Search {
            lambda: self.finetune_regularization,
            sweeps: size(self.finetune_sweeps),
            order: match self.finetune_order {
                SweepOrder::Natural => Order::Natural,
                SweepOrder::Variance => Order::Variance,
                SweepOrder::LeastVariance => Order::LeastVariance,
            },
            ..Search::default()
        }
    }
}

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
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
