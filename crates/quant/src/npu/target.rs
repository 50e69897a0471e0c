//! Targets: what a device demands of positions, as data.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A family of limits that is switched on and off together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// One position for all inputs and the output of Concat.
    AlignConcat,
    /// One position for input and output of a pooling.
    AlignPool,
    /// One position for input and output of Pad.
    AlignPad,
    /// One position for input and output of Slice.
    AlignSlice,
    /// Inputs of Add and Sub lie close together.
    ShiftRead,
    /// The output of Add and Mul lies close to the inputs.
    ShiftWrite,
    /// weight + input − output of convolutions and matrix products.
    ShiftCut,
    /// weight + input − bias of convolutions and matrix products.
    ShiftBias,
    /// Input, output and their distance for the HardSigmoid that hardware computes.
    HardSigmoid,
    /// Inputs against output for the Mul of a Swish.
    ShiftSwish,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 10] = [
        Self::AlignConcat,
        Self::AlignPool,
        Self::AlignPad,
        Self::AlignSlice,
        Self::ShiftRead,
        Self::ShiftWrite,
        Self::ShiftCut,
        Self::ShiftBias,
        Self::HardSigmoid,
        Self::ShiftSwish,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::AlignConcat => "align_concat",
            Self::AlignPool => "align_pool",
            Self::AlignPad => "align_pad",
            Self::AlignSlice => "align_slice",
            Self::ShiftRead => "shift_read",
            Self::ShiftWrite => "shift_write",
            Self::ShiftCut => "shift_cut",
            Self::ShiftBias => "shift_bias",
            Self::HardSigmoid => "hard_sigmoid",
            Self::ShiftSwish => "shift_swish",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How positions become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Quantity {
    /// Largest minus smallest; all move to the smallest.
    Equal,
    /// Largest minus smallest; the first largest moves.
    Spread,
    /// Sum of those that count positive, minus the others.
    Sum,
    /// Smallest of those that count positive, minus the other.
    Least,
}

/// Positions around a node, as the target names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Slot {
    /// The first input.
    Input,
    /// All inputs; the limit does not apply where one has no position.
    Inputs,
    /// Those inputs that have a position.
    FoundInputs,
    /// The second input, where it is a constant or at least dequantized.
    Weight,
    /// The third.
    Bias,
    /// The first output.
    Output,
}

/// A condition on a node beyond its operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Condition {
    /// HardSigmoid with slope 1/6 and offset 1/2.
    HardwareHardSigmoid,
    /// A Mul with two inputs, one of which also goes into such a HardSigmoid.
    Swish,
}

/// Room above an operand in the accumulator, into which a bias may be shifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Headroom {
    pub(super) accumulator_bits: i32,
    pub(super) operand_bits: i32,
    /// Operators behind the node that leave no room.
    pub(super) none_before: Vec<String>,
}

/// One limit of a target; see `targets/dpu.toml` for the meaning of the fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    pub(super) rule: Rule,
    pub(super) operators: Vec<String>,
    #[serde(default)]
    pub(super) only: Option<Condition>,
    pub(super) quantity: Quantity,
    pub(super) plus: Vec<Slot>,
    #[serde(default)]
    pub(super) minus: Vec<Slot>,
    #[serde(default)]
    pub(super) requires: Vec<Slot>,
    #[serde(default)]
    pub(super) offset: i32,
    pub(super) range: (i32, i32),
    #[serde(default)]
    pub(super) adjust: Option<Slot>,
    #[serde(default)]
    pub(super) headroom: Option<Headroom>,
}

/// Why a target description is not usable.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It is not TOML of the right form.
    #[error("read the target description: {0}")]
    Parse(String),
    /// A limit that cannot be computed or adjusted.
    #[error("read the target description: {rule} of {operators:?}: {reason}")]
    Limit {
        /// The rule.
        rule: Rule,
        /// Its operators.
        operators: Vec<String>,
        /// What is wrong.
        reason: &'static str,
    },
}

/// What a device demands of positions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name, for reports.
    pub name: String,
    pub(super) limits: Vec<Limit>,
}

impl Target {
    /// The DPU: int8 operands, power-of-two scales, shifts.
    pub fn dpu() -> Self {
        Self::from_toml(include_str!("targets/dpu.toml")).expect("the built-in target is well-formed")
    }

    /// Reads a description.
    pub fn from_toml(text: &str) -> Result<Self, TargetError> {
        let target: Self = toml::from_str(text).map_err(|e| TargetError::Parse(e.to_string()))?;
        for limit in &target.limits {
            limit.check().map_err(|reason| TargetError::Limit {
                rule: limit.rule,
                operators: limit.operators.clone(),
                reason,
            })?;
        }
        Ok(target)
    }

    /// The target with only these rules.
    #[must_use]
    pub fn only(mut self, rules: &BTreeSet<Rule>) -> Self {
        self.limits.retain(|l| rules.contains(&l.rule));
        self
    }
}

impl Limit {
    fn check(&self) -> Result<(), &'static str> {
        let single = |slot: Slot| !matches!(slot, Slot::Inputs | Slot::FoundInputs);
        if self.plus.is_empty() {
            return Err("`plus` is empty");
        }
        if self.range.0 > self.range.1
            || [self.range.0, self.range.1, self.offset].iter().any(|v| v.abs() > 10_000)
        {
            return Err("`range` or `offset` makes no sense");
        }
        let moves =
            self.adjust.is_some_and(|a| single(a) && self.plus.iter().chain(&self.minus).any(|s| *s == a));
        match self.quantity {
            Quantity::Equal | Quantity::Spread if self.minus.is_empty() && self.adjust.is_none() => {}
            Quantity::Equal | Quantity::Spread => {
                return Err("`equal` and `spread` have neither `minus` nor `adjust`");
            }
            Quantity::Sum if moves => {}
            Quantity::Least
                if moves && self.minus.len() == 1 && self.adjust == self.minus.first().copied() => {}
            Quantity::Sum | Quantity::Least => {
                return Err(
                    "`adjust` must be one position of `plus` or `minus` (for `least`, that of `minus`)",
                );
            }
        }
        if self.headroom.is_some() && (self.quantity != Quantity::Sum || self.range.0 != 0) {
            return Err("`headroom` needs a `sum` with a range from 0");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_target_covers_every_rule() {
        let rules: BTreeSet<Rule> = Target::dpu().limits.iter().map(|l| l.rule).collect();
        assert_eq!(rules, Rule::ALL.into());
        let some = BTreeSet::from([Rule::ShiftRead]);
        assert_eq!(Target::dpu().only(&some).limits.len(), 1);
    }

    #[test]
    fn senseless_limits_are_refused() {
        let with = |body: &str| {
            Target::from_toml(&format!(
                "name = \"t\"\n[[limits]]\nrule = \"shift_cut\"\noperators = [\"Conv\"]\n{body}"
            ))
        };
        assert!(with("quantity = \"sum\"\nplus = [\"input\"]\nrange = [0, 1]\nadjust = \"input\"").is_ok());
        for bad in [
            "quantity = \"sum\"\nplus = [\"input\"]\nrange = [0, 1]",
            "quantity = \"sum\"\nplus = [\"input\"]\nrange = [2, 1]\nadjust = \"input\"",
            "quantity = \"equal\"\nplus = [\"input\"]\nminus = [\"output\"]\nrange = [0, 0]",
            "quantity = \"sum\"\nplus = [\"input\"]\nrange = [0, 1]\nadjust = \"output\"",
            "quantity = \"sum\"\nplus = []\nrange = [0, 1]\nadjust = \"output\"",
            "quantity = \"sum\"\nplus = [\"input\"]\nrange = [0, 1]\nadjust = \"input\"\ntypo = 1",
        ] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }
}
