//! The method of last resort: a walk that never leaves the legal positions.
//!
//! It starts where all positions are the same number c, at which every constraint holds, and goes towards the wanted
//! positions one step of one scale at a time; a step that would break a constraint is not taken. Each step keeps every
//! constraint and brings the sum of the distances |pᵢ − wantedᵢ| down by at least one, so the walk ends, and ends legal, whatever
//! the graph. Scales tied by an equality take their steps together, towards the smallest position wanted among them.
//!
//! Positions of activations are walked first, weights and then biases last: those follow at the least cost.

use std::collections::BTreeMap;

use super::constraint::Part;
use super::solve::{Adjustment, adjustment};
use super::target::Quantity;
use super::{Constraint, Contradiction, Positions};
use crate::{Position, ScaleId};

/// Legal positions near `wanted`.
pub(super) fn settle(constraints: &[Constraint], wanted: &Positions) -> Result<Positions, Contradiction> {
    let start = resting_position(constraints, wanted)?;
    let groups = Groups::of(constraints, wanted);
    let mut positions = wanted.clone();
    for group in &groups.groups {
        for scale in &group.scales {
            positions.set(*scale, start);
        }
    }
    loop {
        let mut moved = false;
        for group in &groups.groups {
            moved |= group.walk(constraints, &mut positions);
        }
        if !moved {
            return Ok(positions);
        }
    }
}

/// One adjustment for each scale that moved, with a constraint that keeps it from where it was.
pub(super) fn explain(
    constraints: &[Constraint],
    wanted: &Positions,
    settled: &Positions,
    round: u32,
) -> Vec<Adjustment> {
    let mut adjustments = Vec::new();
    for ((scale, new), (_, old)) in settled.iter().zip(wanted.iter()) {
        if old == new {
            continue;
        }
        let step = (old.get() - new.get()).signum();
        let touching = || constraints.iter().filter(|c| c.operands.iter().any(|o| o.scale == scale));
        // What stops the next step; where members of a group block one another, what the old position would break.
        let found = [new.get() + step, old.get()].into_iter().find_map(|p| {
            let mut there = settled.clone();
            there.set(scale, Position::new(p));
            let broken = touching().find(|c| !c.holds(&there))?;
            Some((broken, (broken.value(&there), broken.range(&there))))
        });
        if let Some((constraint, broken)) = found {
            adjustments.push(adjustment(constraint, scale, broken, (old, new), round));
        }
    }
    adjustments
}

/// The position nearest to the middle of those wanted at which every constraint holds when all scales have it.
///
/// The legal positions of each constraint form an interval; where intervals have no point in common, two of them have none
/// (Helly's theorem on the line), and these are reported.
fn resting_position(constraints: &[Constraint], wanted: &Positions) -> Result<Position, Contradiction> {
    let limit = Position::LIMIT;
    let mut legal: Vec<Option<(i32, i32)>> = vec![None; constraints.len()];
    for c in -limit..=limit {
        let uniform = Positions::uniform(wanted.len(), Position::new(c));
        for (interval, _) in legal.iter_mut().zip(constraints).filter(|(_, k)| k.holds(&uniform)) {
            *interval = Some((interval.map_or(c, |(first, _)| first), c));
        }
    }
    let (mut lo, mut hi) = ((-limit, None), (limit, None));
    for (constraint, interval) in constraints.iter().zip(legal) {
        let Some((first, last)) = interval else { return Err(contradiction(constraint, constraint)) };
        if first > lo.0 {
            lo = (first, Some(constraint));
        }
        if last < hi.0 {
            hi = (last, Some(constraint));
        }
        if let (true, Some(a), Some(b)) = (lo.0 > hi.0, lo.1, hi.1) {
            return Err(contradiction(a, b));
        }
    }
    let mut taking_part: Vec<i32> = constraints
        .iter()
        .flat_map(|c| &c.operands)
        .filter(|o| matches!(o.part, Part::Input | Part::Output))
        .map(|o| wanted.get(o.scale).get())
        .collect();
    taking_part.sort_unstable();
    let middle = taking_part.get(taking_part.len() / 2).copied().unwrap_or(0);
    let position = Position::new(middle.clamp(lo.0, hi.0));
    let uniform = Positions::uniform(wanted.len(), position);
    match constraints.iter().find(|c| !c.holds(&uniform)) {
        Some(constraint) => Err(contradiction(constraint, constraint)),
        None => Ok(position),
    }
}

fn contradiction(a: &Constraint, b: &Constraint) -> Contradiction {
    Contradiction { first: a.node.clone(), first_rule: a.rule, second: b.node.clone(), second_rule: b.rule }
}

/// Scales that move together, and the constraints that they take part in.
struct Group {
    scales: Vec<ScaleId>,
    wanted: i32,
    constraints: Vec<usize>,
}

impl Group {
    /// Goes towards the wanted position as far as every constraint allows; whether there was a step.
    fn walk(&self, constraints: &[Constraint], positions: &mut Positions) -> bool {
        let Some(first) = self.scales.first() else { return false };
        let mut moved = false;
        loop {
            let here = positions.get(*first).get();
            let step = (self.wanted - here).signum();
            if step == 0 {
                return moved;
            }
            self.set(positions, here + step);
            if !self.constraints.iter().all(|c| constraints[*c].holds(positions)) {
                self.set(positions, here);
                return moved;
            }
            moved = true;
        }
    }

    fn set(&self, positions: &mut Positions, position: i32) {
        for scale in &self.scales {
            positions.set(*scale, Position::new(position));
        }
    }
}

/// Groups in the order in which they walk.
struct Groups {
    groups: Vec<Group>,
}

impl Groups {
    fn of(constraints: &[Constraint], wanted: &Positions) -> Self {
        let mut leader: Vec<usize> = (0..wanted.len()).collect();
        for constraint in constraints.iter().filter(|c| c.quantity == Quantity::Equal) {
            for pair in constraint.operands.windows(2) {
                let (a, b) = (find(&leader, pair[0].scale.index()), find(&leader, pair[1].scale.index()));
                leader[a.max(b)] = a.min(b);
            }
        }
        // Order of walking: activations, weights, biases; within these, by first appearance.
        let mut rank: BTreeMap<usize, (u8, usize)> = BTreeMap::new();
        let mut members: BTreeMap<usize, Group> = BTreeMap::new();
        for (index, constraint) in constraints.iter().enumerate() {
            for operand in &constraint.operands {
                let root = find(&leader, operand.scale.index());
                let class = match operand.part {
                    Part::Input | Part::Output => 0,
                    Part::Weight => 1,
                    Part::Bias => 2,
                };
                let order = rank.len();
                let entry = rank.entry(root).or_insert((class, order));
                entry.0 = entry.0.min(class);
                let position = wanted.get(operand.scale).get();
                let group = members.entry(root).or_insert_with(|| Group {
                    scales: Vec::new(),
                    wanted: position,
                    constraints: Vec::new(),
                });
                if !group.scales.contains(&operand.scale) {
                    group.scales.push(operand.scale);
                    group.wanted = group.wanted.min(position);
                }
                if group.constraints.last() != Some(&index) {
                    group.constraints.push(index);
                }
            }
        }
        let mut ordered: Vec<(usize, Group)> = members.into_iter().collect();
        ordered.sort_by_key(|(root, _)| rank.get(root).copied());
        Self { groups: ordered.into_iter().map(|(_, group)| group).collect() }
    }
}

fn find(leader: &[usize], mut index: usize) -> usize {
    while leader[index] != index {
        index = leader[index];
    }
    index
}
