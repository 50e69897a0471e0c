//! Moves positions until every limit holds, and everything that depends on them along.

use std::collections::BTreeMap;

use shiftwise_graph::{Model, Patch};
use shiftwise_quant::npu::{Adjustment, Settled, constraints, solve, violations};
use shiftwise_quant::{Position, QdqView, ScaleId};
use shiftwise_stage::{ExitStatus, Failure};

use crate::integers::requantize;
use crate::{NpuCheckConfig, Requantized, Sidecar};

/// An adjusted model.
#[derive(Debug)]
pub struct Fixed {
    /// The model: sorted, checked.
    pub model: Model,
    /// Its list of tensors.
    pub sidecar: Sidecar,
    /// What was moved, and why.
    pub adjustments: Vec<Adjustment>,
    /// How the positions were settled.
    pub settled: Settled,
    /// Constants whose integers were made again.
    pub requantized: Vec<Requantized>,
}

/// Moves the positions of `model` until every limit that is switched on holds.
///
/// Integers of constants whose scale moved are made again from the tensors of `float` that `sidecar` names; where it names
/// none, from the old integers.
pub fn fix(
    mut model: Model,
    mut sidecar: Sidecar,
    float: Option<&Model>,
    config: &NpuCheckConfig,
) -> Result<Fixed, Failure> {
    let target = config.target();
    let (solution, patch, requantized) = {
        let view = QdqView::of(&model.graph);
        let found = constraints(&view, &target);
        let before = view.positions();
        let solution = solve(&found, &before, config.max_loop_num)
            .map_err(|e| Failure::from_error(ExitStatus::Usage, &e))?;
        let moved: BTreeMap<ScaleId, (Position, Position)> = solution
            .positions
            .iter()
            .map(|(id, new)| (id, (before.get(id), new)))
            .filter(|(_, (old, new))| old != new)
            .collect();
        let mut patch = Patch::new();
        for (id, (_, new)) in &moved {
            view.move_scale(*id, *new, &mut patch).map_err(|e| Failure::from_error(ExitStatus::Input, &e))?;
        }
        let requantized = requantize(&view, &moved, &mut sidecar, float, &mut patch)?;
        for (id, (old, new)) in &moved {
            let why = solution.adjustments.iter().rfind(|a| a.scale == *id);
            let why = why.map(|a| format!(" ({} of {})", a.rule, a.node)).unwrap_or_default();
            note(&mut sidecar, &view.scale(*id).name, *new, &format!("moved {old} → {new}{why}"))?;
        }
        (solution, patch, requantized)
    };
    model.graph.apply("npu-check", patch)?;
    model.graph.sort();
    model.graph.check("npu-check")?;

    let view = QdqView::of(&model.graph);
    if let Some(left) = violations(&constraints(&view, &target), &view.positions()).first() {
        return Err(Failure::bug(format!("keep {} at node {:?} in range", left.rule, left.node)));
    }
    let (adjustments, settled) = (solution.adjustments, solution.settled);
    Ok(Fixed { model, sidecar, adjustments, settled, requantized })
}

/// Gives every entry with this scale its new value.
fn note(sidecar: &mut Sidecar, scale: &str, new: Position, text: &str) -> Result<(), Failure> {
    for index in 0..sidecar.records().len() {
        let mut record = sidecar.records()[index].clone();
        if record.scale_name == scale {
            let mut params = record.params();
            params.scale = new.scale();
            record.set_params(params);
            record.method = format!("{}, {text}", record.method);
            sidecar.update(index, record)?;
        }
    }
    Ok(())
}
