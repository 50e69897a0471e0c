//! Which positions a layer's weights and bias may move to.

use std::collections::HashMap;

use shiftwise_graph::Model;
use shiftwise_quant::npu::{Constraint, Positions, Target, constraints};
use shiftwise_quant::{Position, QdqView, ScaleId};

/// The limits of the NPU that hold in a model: a move must keep them.
#[derive(Clone)]
pub struct Limits {
    constraints: Vec<Constraint>,
    positions: Positions,
    by_name: HashMap<String, ScaleId>,
}

impl Limits {
    /// The limits of a model. One that does not hold already need not hold later.
    pub fn of(model: &Model) -> Self {
        let view = QdqView::of(&model.graph);
        let positions = view.positions();
        let mut constraints = constraints(&view, &Target::dpu());
        constraints.retain(|c| c.holds(&positions));
        // A scale of several tensors stays where it is.
        let own = view.scales().filter(|(_, s)| s.tensors.len() == 1 && s.position().is_some());
        let by_name = own.map(|(id, s)| (s.name.clone(), id)).collect();
        Self { constraints, positions, by_name }
    }

    /// The position of a scale that is a power of two and belongs to one tensor.
    pub fn position(&self, scale: &str) -> Option<Position> {
        self.by_name.get(scale).map(|id| self.positions.get(*id))
    }

    /// Whether everything holds with these scales at these positions.
    pub fn allow(&self, moves: &[(&str, Position)]) -> bool {
        let mut moved = self.positions.clone();
        let mut ids = Vec::new();
        for (scale, position) in moves {
            let Some(id) = self.by_name.get(*scale) else { return false };
            moved.set(*id, *position);
            ids.push(*id);
        }
        let concerned = |c: &&Constraint| c.operands.iter().any(|o| ids.contains(&o.scale));
        self.constraints.iter().filter(concerned).all(|c| c.holds(&moved))
    }

    /// Moves a scale.
    pub fn set(&mut self, scale: &str, position: Position) {
        if let Some(id) = self.by_name.get(scale) {
            self.positions.set(*id, position);
        }
    }
}
