//! Limits of NPUs on positions: what they are (data), where they apply, and how positions are moved to meet them.
//!
//! An NPU which computes in integers and shifts has shifters of limited reach, so positions around a node must stay close to
//! one another. A [`Target`] lists the limits, [`constraints`] finds the nodes that they concern, [`violations`] says which do
//! not hold, and [`solve`] moves positions until all hold. Nothing here touches a model: whoever applies a [`Solution`] makes
//! the integers again that belong to the scales which moved.

mod constraint;
mod extract;
mod solve;
mod target;
mod walk;

use serde::{Deserialize, Serialize};

pub use constraint::{Constraint, Operand, Part, TensorPosition, Violation, violations};
pub use extract::constraints;
pub use solve::{Adjustment, Contradiction, Settled, Solution, solve};
pub use target::{Rule, Target, TargetError};

use crate::{Position, ScaleId};

/// A position for each scale of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Positions(Vec<Position>);

impl Positions {
    /// Positions in the order of the scales.
    pub fn new(positions: Vec<Position>) -> Self {
        Self(positions)
    }

    pub(crate) fn uniform(scales: usize, position: Position) -> Self {
        Self(vec![position; scales])
    }

    /// Position of a scale.
    pub fn get(&self, scale: ScaleId) -> Position {
        self.0.get(scale.index()).copied().unwrap_or(Position::new(0))
    }

    /// Moves a scale.
    pub fn set(&mut self, scale: ScaleId, position: Position) {
        if let Some(p) = self.0.get_mut(scale.index()) {
            *p = position;
        }
    }

    /// Number of scales.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no scale.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Scales and positions.
    pub fn iter(&self) -> impl Iterator<Item = (ScaleId, Position)> {
        self.0.iter().enumerate().map(|(i, p)| (ScaleId::new(i), *p))
    }
}

#[cfg(test)]
mod tests;
