//! Where the limits of a target apply.

use shiftwise_graph::{Graph, Node, NodeId};

use super::constraint::{Constraint, Operand, Part};
use super::target::{Condition, Limit, Quantity, Slot, Target};
use crate::QdqView;

/// Every limit of `target` at every node that it concerns, in the order of adjustment: by rule, then in graph order.
///
/// A limit does not apply where a tensor that it needs has no power-of-two scale of its own value (no Q/DQ, a float scale, one
/// scale a channel): [`QdqView::scales`] tells those.
pub fn constraints(view: &QdqView<'_>, target: &Target) -> Vec<Constraint> {
    let mut found = Vec::new();
    for limits in target.limits.chunk_by(|a, b| a.rule == b.rule) {
        for (id, node) in view.graph().nodes() {
            let concerns =
                |l: &&Limit| l.operators.iter().any(|op| node.is(op)) && applies(view.graph(), node, l.only);
            let site = Site { view, id, node };
            found.extend(limits.iter().filter(concerns).filter_map(|limit| site.constraint(limit)));
        }
    }
    found
}

fn applies(graph: &Graph, node: &Node, condition: Option<Condition>) -> bool {
    match condition {
        None => true,
        Some(Condition::HardwareHardSigmoid) => is_hardware_hard_sigmoid(node),
        Some(Condition::Swish) => {
            node.inputs.len() == 2
                && node.inputs.iter().any(|t| graph.consumers(t).any(|(_, n)| is_hardware_hard_sigmoid(n)))
        }
    }
}

/// HardSigmoid(x) = clip(x / 6 + 1/2, 0, 1).
fn is_hardware_hard_sigmoid(node: &Node) -> bool {
    let near = |value: f32, wanted: f32| (value - wanted).abs() <= 1e-6;
    node.is("HardSigmoid")
        && near(node.float("alpha").unwrap_or(0.2), 1.0 / 6.0)
        && near(node.float("beta").unwrap_or(0.5), 0.5)
}

struct Site<'a, 'g> {
    view: &'a QdqView<'g>,
    id: NodeId,
    node: &'a Node,
}

impl Site<'_, '_> {
    fn constraint(&self, limit: &Limit) -> Option<Constraint> {
        let mut operands = Vec::new();
        for (slots, sign) in [(&limit.plus, 1), (&limit.minus, -1)] {
            for slot in slots {
                operands.extend(self.operands(*slot, sign)?);
            }
        }
        for slot in &limit.requires {
            self.operands(*slot, 0)?;
        }
        let room = limit.headroom.as_ref();
        if room.is_some() {
            operands.extend(self.operands(Slot::Output, 0)?);
        }
        let output = self.node.output(0).unwrap_or("");
        let no_room = |op: &String| self.view.graph().consumers(output).any(|(_, n)| n.is(op));
        let enough = operands.iter().filter(|o| o.sign != 0).count();
        if enough < 2 && matches!(limit.quantity, Quantity::Equal | Quantity::Spread) {
            return None;
        }
        let adjust = match limit.adjust {
            None => 0,
            Some(slot) => operands.iter().position(|o| o.sign != 0 && o.part == part(slot))?,
        };
        Some(Constraint {
            node: if self.node.name.is_empty() { output.into() } else { self.node.name.clone() },
            op: self.node.op_type.clone(),
            rule: limit.rule,
            operands,
            quantity: limit.quantity,
            offset: limit.offset,
            range: limit.range,
            headroom: room.filter(|r| !r.none_before.iter().any(no_room)).cloned(),
            adjust,
        })
    }

    /// The operands of a slot; `None` where the limit needs a position that is not there.
    fn operands(&self, slot: Slot, sign: i32) -> Option<Vec<Operand>> {
        let inputs = 0..self.node.inputs.len();
        let given = inputs.filter(|i| self.node.input(*i).is_some());
        match slot {
            Slot::Input => Some(vec![self.input(0, slot, sign)?]),
            Slot::Weight => Some(vec![self.input(1, slot, sign)?]),
            Slot::Bias => Some(vec![self.input(2, slot, sign)?]),
            Slot::Inputs => given.map(|i| self.input(i, slot, sign)).collect(),
            Slot::FoundInputs => Some(given.filter_map(|i| self.input(i, slot, sign)).collect()),
            Slot::Output => {
                let (tensor, scale) = self.view.output_scale(self.id)?;
                self.view.scale(scale).position()?;
                Some(vec![Operand { part: Part::Output, tensor, scale, sign }])
            }
        }
    }

    fn input(&self, index: usize, slot: Slot, sign: i32) -> Option<Operand> {
        let (tensor, scale) = self.view.input_scale(self.id, index)?;
        self.view.scale(scale).position()?;
        Some(Operand { part: part(slot), tensor, scale, sign })
    }
}

fn part(slot: Slot) -> Part {
    match slot {
        Slot::Input | Slot::Inputs | Slot::FoundInputs => Part::Input,
        Slot::Weight => Part::Weight,
        Slot::Bias => Part::Bias,
        Slot::Output => Part::Output,
    }
}
