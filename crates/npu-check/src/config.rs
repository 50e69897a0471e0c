//! Options of this stage.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shiftwise_quant::npu::{Rule, Target};
use shiftwise_stage::{ExternalData, Failure};

/// The options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NpuCheckConfig {
    /// Check and adjust at all.
    pub npu_limitation_check: bool,
    /// Rounds of adjustment after which the report says that it took longer.
    pub max_loop_num: u32,
    /// Keep weight + input − output in range.
    pub adjust_shift_cut: bool,
    /// Keep weight + input − bias in range.
    pub adjust_shift_bias: bool,
    /// Keep the inputs of Add and Sub close together.
    pub adjust_shift_read: bool,
    /// Keep the outputs of Add and Mul close to the inputs.
    pub adjust_shift_write: bool,
    /// Keep HardSigmoid in the range of its table.
    pub adjust_hard_sigmoid: bool,
    /// Keep the Mul of a Swish in range.
    pub adjust_shift_swish: bool,
    /// One position around Concat.
    pub align_concat: bool,
    /// One position around poolings.
    pub align_pool: bool,
    /// One position around Pad.
    pub align_pad: bool,
    /// One position around Slice.
    pub align_slice: bool,
    /// Keep weights in a file beside the model.
    pub use_external_data_format: bool,
    /// Smallest tensor in bytes that goes there.
    pub external_data_threshold: u64,
    /// All of these in one file, or each in its own.
    pub all_tensors_to_one_file: bool,
    /// The file, or the folder where it ends in `/`, beside the model.
    pub external_data_location: String,
}

impl Default for NpuCheckConfig {
    fn default() -> Self {
        let ExternalData { always, threshold, one_file, location } = ExternalData::default();
        Self {
            npu_limitation_check: true,
            max_loop_num: 5,
            adjust_shift_cut: true,
            adjust_shift_bias: true,
            adjust_shift_read: true,
            adjust_shift_write: true,
            adjust_hard_sigmoid: true,
            adjust_shift_swish: true,
            align_concat: true,
            align_pool: true,
            align_pad: true,
            align_slice: true,
            use_external_data_format: always,
            external_data_threshold: threshold,
            all_tensors_to_one_file: one_file,
            external_data_location: location,
        }
    }
}

impl NpuCheckConfig {
    /// Whether a rule is switched on.
    pub fn enables(&self, rule: Rule) -> bool {
        self.npu_limitation_check
            && match rule {
                Rule::AlignConcat => self.align_concat,
                Rule::AlignPool => self.align_pool,
                Rule::AlignPad => self.align_pad,
                Rule::AlignSlice => self.align_slice,
                Rule::ShiftRead => self.adjust_shift_read,
                Rule::ShiftWrite => self.adjust_shift_write,
                Rule::ShiftCut => self.adjust_shift_cut,
                Rule::ShiftBias => self.adjust_shift_bias,
                Rule::HardSigmoid => self.adjust_hard_sigmoid,
                Rule::ShiftSwish => self.adjust_shift_swish,
            }
    }

    /// The target with the rules that are switched on.
    pub fn target(&self) -> Target {
        let rules: BTreeSet<Rule> = Rule::ALL.into_iter().filter(|r| self.enables(*r)).collect();
        Target::dpu().only(&rules)
    }

    /// Where weights go; fails for a place that is none.
    pub(crate) fn external_data(&self) -> Result<ExternalData, Failure> {
        ExternalData::new(
            self.use_external_data_format,
            self.external_data_threshold,
            self.all_tensors_to_one_file,
            &self.external_data_location,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_options_and_this_structure_agree() {
        shiftwise_stage::options::assert_config_matches::<NpuCheckConfig>(shiftwise_stage::Reader::Stage(
            shiftwise_stage::Stage::NpuCheck,
        ));
    }

    #[test]
    fn every_rule_has_a_switch() {
        let on = serde_json::to_value(NpuCheckConfig::default()).unwrap();
        let switches: Vec<&String> = on
            .as_object()
            .unwrap()
            .keys()
            .filter(|k| k.starts_with("adjust_") || k.starts_with("align_"))
            .collect();
        for rule in Rule::ALL {
            let switching: Vec<&&String> = switches
                .iter()
                .filter(|k| {
                    let mut config = on.clone();
                    config[k.as_str()] = false.into();
                    !serde_json::from_value::<NpuCheckConfig>(config).unwrap().enables(rule)
                })
                .collect();
            assert_eq!(switching.len(), 1, "{rule}: {switching:?}");
        }
    }
}
