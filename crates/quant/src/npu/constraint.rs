//! One limit at one node: which scales take part, and whether their positions are legal.

use serde::Serialize;

use super::target::{Headroom, Quantity};
use super::{Positions, Rule};
use crate::{Position, ScaleId};

/// What a scale is to the node of a constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// An input.
    Input,
    /// The second input of a node with weights.
    Weight,
    /// The third input of a node with weights.
    Bias,
    /// The output.
    Output,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Weight => "weight",
            Self::Bias => "bias",
            Self::Output => "output",
        }
    }
}

/// A tensor that takes part in a constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// What it is to the node.
    pub part: Part,
    /// The tensor, as reports call it.
    pub tensor: String,
    /// Its scale.
    pub scale: ScaleId,
    /// 1 or −1 in the quantity, 0 where it only decides about the range.
    pub(super) sign: i32,
}

/// A limit of the target at a node.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// Name of the node, or its first output where it has none.
    pub node: String,
    /// Operator of the node.
    pub op: String,
    /// The rule.
    pub rule: Rule,
    /// The tensors that take part.
    pub operands: Vec<Operand>,
    pub(super) quantity: Quantity,
    pub(super) offset: i32,
    pub(super) range: (i32, i32),
    /// Room of the accumulator, where the lower end of the range depends on it.
    pub(super) headroom: Option<Headroom>,
    /// Index of the operand that moves.
    pub(super) adjust: usize,
}

impl Constraint {
    /// The number that has to be in range.
    pub fn value(&self, positions: &Positions) -> i32 {
        let at = |o: &Operand| positions.get(o.scale).get();
        let with = |sign: i32| self.operands.iter().filter(move |o| o.sign == sign).map(at);
        let least = with(1).min().unwrap_or(0);
        match self.quantity {
            Quantity::Equal | Quantity::Spread => with(1).max().unwrap_or(0) - least,
            Quantity::Sum => with(1).sum::<i32>() - with(-1).sum::<i32>() + self.offset,
            Quantity::Least => least - with(-1).sum::<i32>(),
        }
    }

    /// The legal range of [`Constraint::value`], both ends included.
    ///
    /// For a bias with room in the accumulator, the lower end is min(0, cut − (accumulator bits − operand bits)), where
    /// cut = weight + input − output.
    pub fn range(&self, positions: &Positions) -> (i32, i32) {
        let Some(room) = &self.headroom else { return self.range };
        let cut: i32 = self
            .operands
            .iter()
            .map(|o| match o.part {
                Part::Input | Part::Weight => positions.get(o.scale).get(),
                Part::Output => -positions.get(o.scale).get(),
                Part::Bias => 0,
            })
            .sum();
        ((cut - (room.accumulator_bits - room.operand_bits)).min(0), self.range.1)
    }

    /// Whether the positions are legal.
    pub fn holds(&self, positions: &Positions) -> bool {
        let (min, max) = self.range(positions);
        (min..=max).contains(&self.value(positions))
    }

    /// The quantity in words: "weight + input − output".
    pub fn quantity(&self) -> String {
        let names = |sign: i32| {
            let mut names: Vec<&str> = Vec::new();
            for operand in self.operands.iter().filter(|o| o.sign == sign) {
                if self.quantity == Quantity::Sum || !names.contains(&operand.part.name()) {
                    names.push(operand.part.name());
                }
            }
            names
        };
        let plus = names(1);
        match self.quantity {
            Quantity::Equal | Quantity::Spread => format!("max − min of {}", plus.join(", ")),
            Quantity::Least => format!("min {} − {}", plus.join(", "), names(-1).join(" − ")),
            Quantity::Sum => {
                let offset = (self.offset != 0).then(|| self.offset.to_string());
                let plus: Vec<String> =
                    offset.into_iter().chain(plus.iter().map(ToString::to_string)).collect();
                let plus = plus.join(" + ");
                let terms: Vec<&str> = std::iter::once(plus.as_str()).chain(names(-1)).collect();
                terms.join(" − ")
            }
        }
    }

    /// What adjusts this constraint: new positions for scales, none where it holds.
    pub(super) fn correction(&self, positions: &Positions) -> Vec<(ScaleId, Position)> {
        if self.holds(positions) {
            return Vec::new();
        }
        let (min, max) = self.range(positions);
        let value = self.value(positions);
        let position = |o: &Operand| positions.get(o.scale).get();
        let least = self.operands.iter().filter(|o| o.sign == 1).map(position).min().unwrap_or(0);
        match self.quantity {
            Quantity::Equal => self
                .operands
                .iter()
                .filter(|o| position(o) != least)
                .map(|o| (o.scale, Position::new(least)))
                .collect(),
            Quantity::Spread => {
                let largest = least + value;
                let first = self.operands.iter().find(|o| o.sign == 1 && position(o) == largest);
                first.map(|o| (o.scale, Position::new(least + max))).into_iter().collect()
            }
            Quantity::Sum | Quantity::Least => {
                let Some(moved) = self.operands.get(self.adjust) else { return Vec::new() };
                let step = (value.clamp(min, max) - value) * moved.sign;
                vec![(moved.scale, Position::new(position(moved) + step))]
            }
        }
    }
}

/// A tensor and its position, for reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorPosition {
    /// What it is to the node.
    pub part: Part,
    /// The tensor.
    pub tensor: String,
    /// Its fraction bits.
    pub position: Position,
}

/// A constraint that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Name of the node.
    pub node: String,
    /// Operator of the node.
    pub op: String,
    /// The rule.
    pub rule: Rule,
    /// The quantity in words.
    pub quantity: String,
    /// Its value.
    pub value: i32,
    /// The legal range, both ends included.
    pub range: (i32, i32),
    /// The tensors and where they are.
    pub tensors: Vec<TensorPosition>,
}

impl Violation {
    fn of(constraint: &Constraint, positions: &Positions) -> Self {
        Self {
            node: constraint.node.clone(),
            op: constraint.op.clone(),
            rule: constraint.rule,
            quantity: constraint.quantity(),
            value: constraint.value(positions),
            range: constraint.range(positions),
            tensors: constraint
                .operands
                .iter()
                .map(|o| TensorPosition {
                    part: o.part,
                    tensor: o.tensor.clone(),
                    position: positions.get(o.scale),
                })
                .collect(),
        }
    }
}

/// Every constraint that does not hold, in their order.
pub fn violations(constraints: &[Constraint], positions: &Positions) -> Vec<Violation> {
    constraints.iter().filter(|c| !c.holds(positions)).map(|c| Violation::of(c, positions)).collect()
}
