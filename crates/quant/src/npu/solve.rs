//! Moves positions until every constraint holds.

use serde::Serialize;

use super::walk;
use super::{Constraint, Positions, Rule};
use crate::{Position, ScaleId};

/// Rounds of the loop that are tried before positions are settled by a walk, at least.
const PATIENCE: u32 = 100;

/// One position that was moved, and the constraint that demanded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Adjustment {
    /// Name of the node.
    pub node: String,
    /// Operator of the node.
    pub op: String,
    /// The rule.
    pub rule: Rule,
    /// The quantity in words.
    pub quantity: String,
    /// Its value before.
    pub value: i32,
    /// The legal range, both ends included.
    pub range: (i32, i32),
    /// The tensor whose scale moved.
    pub tensor: String,
    /// The scale.
    #[serde(skip)]
    pub scale: ScaleId,
    /// Position before.
    pub old: Position,
    /// Position after.
    pub new: Position,
    /// In which round of the loop, from 1.
    pub r#loop: u32,
}

/// How a solution came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// Everything held from the start.
    Unchanged,
    /// After this many rounds in which something moved.
    Loops(u32),
    /// The rounds did not come to rest; a walk from a position that all scales can share came as near as it could to the
    /// positions that were wanted.
    Walk,
}

/// Positions with which every constraint holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution {
    /// The positions.
    pub positions: Positions,
    /// What was moved, in order. After a walk: one entry for each scale that moved.
    pub adjustments: Vec<Adjustment>,
    /// How it came about.
    pub settled: Settled,
}

/// Two constraints which leave no position that all tensors could share; a target that has such limits is not usable.
#[derive(Debug, thiserror::Error)]
#[error(
    "settle positions: {first_rule} at node {first:?} and {second_rule} at node {second:?} contradict each other under this target"
)]
pub struct Contradiction {
    /// Node of one constraint.
    pub first: String,
    /// Its rule.
    pub first_rule: Rule,
    /// Node of the other.
    pub second: String,
    /// Its rule.
    pub second_rule: Rule,
}

/// Moves positions until every constraint holds.
///
/// First the constraints are visited in order, and each that does not hold moves one position (or, for equality, all to the
/// smallest); later ones see the moves of earlier ones. This is repeated until nothing moves, `max_loops` times or more: where
/// it comes to rest within `max_loops` rounds, the result is the one that the established tools have. The rounds can go in
/// circles, though (one constraint pulls up what another pulls down). What has not come to rest after many rounds is settled
/// by a walk, which always ends with every constraint satisfied.
///
/// Fails only where limits of the target contradict each other; those of [`super::Target::dpu`] do not: with all
/// positions at 7, each of them holds, whatever the graph and whichever tensors share a scale.
pub fn solve(
    constraints: &[Constraint],
    positions: &Positions,
    max_loops: u32,
) -> Result<Solution, Contradiction> {
    let mut current = positions.clone();
    let mut adjustments = Vec::new();
    let mut rounds = 0;
    while rounds < max_loops.max(PATIENCE) {
        let before = adjustments.len();
        for constraint in constraints {
            adjust(constraint, &mut current, rounds + 1, &mut adjustments);
        }
        if adjustments.len() == before {
            break;
        }
        rounds += 1;
    }
    // A position at the end of its range cannot follow a correction: a round without a move does not prove that all holds.
    if constraints.iter().all(|c| c.holds(&current)) {
        let settled = if adjustments.is_empty() { Settled::Unchanged } else { Settled::Loops(rounds) };
        return Ok(Solution { positions: current, adjustments, settled });
    }
    let settled = walk::settle(constraints, positions)?;
    let adjustments = walk::explain(constraints, positions, &settled, rounds + 1);
    Ok(Solution { positions: settled, adjustments, settled: Settled::Walk })
}

fn adjust(constraint: &Constraint, positions: &mut Positions, round: u32, adjustments: &mut Vec<Adjustment>) {
    let (value, range) = (constraint.value(positions), constraint.range(positions));
    for (scale, new) in constraint.correction(positions) {
        let old = positions.get(scale);
        if old != new {
            positions.set(scale, new);
            adjustments.push(adjustment(constraint, scale, (value, range), (old, new), round));
        }
    }
}

/// The record of a move that `constraint` demanded.
pub(super) fn adjustment(
    constraint: &Constraint,
    scale: ScaleId,
    (value, range): (i32, (i32, i32)),
    (old, new): (Position, Position),
    round: u32,
) -> Adjustment {
    let tensor = constraint.operands.iter().find(|o| o.scale == scale).map(|o| o.tensor.clone());
    Adjustment {
        node: constraint.node.clone(),
        op: constraint.op.clone(),
        rule: constraint.rule,
        quantity: constraint.quantity(),
        value,
        range,
        tensor: tensor.unwrap_or_default(),
        scale,
        old,
        new,
        r#loop: round,
    }
}
