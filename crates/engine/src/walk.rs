//! Runs a plan.

use smallvec::SmallVec;

use crate::args::{Arg, Args, Datum, Results};
use crate::plan::{Plan, Step};
use crate::pool::Workspace;
use crate::{EngineError, Flow, TensorId};
use shiftwise_graph::Value;

/// Sees each watched tensor as it is made.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(TensorId, &Value) -> Flow;

impl Plan {
    /// Walks the steps once; `inputs` are in the order of the plan's.
    ///
    /// Gives the outputs, or nothing where `visit` ended the run.
    pub(crate) fn walk<'a>(
        &'a self,
        inputs: impl IntoIterator<Item = Arg<'a>>,
        visit: Visit<'_>,
        ws: &mut Workspace,
    ) -> Result<Results, EngineError> {
        let mut slots = self.filled(inputs, ws);
        for step in &self.steps {
            if step.run(&mut slots, visit, ws)? == Flow::Stop {
                drop_all(slots, ws);
                return Ok(Results::new());
            }
        }
        Ok(self.taken(slots, ws))
    }

    /// Walks several runs at once: each step is computed for all of them before the next one, so that what a step reads of the model
    /// is read once. A run computes what it would compute alone. `visit` gets the number of the run, too.
    ///
    /// Gives the outputs of each run, or nothing where `visit` ended them; fails with the number of the run that failed.
    pub(crate) fn walk_together<'a, I: IntoIterator<Item = Arg<'a>>>(
        &'a self,
        inputs: impl IntoIterator<Item = I>,
        visit: &mut dyn FnMut(usize, TensorId, &Value) -> Flow,
        ws: &mut Workspace,
    ) -> Result<Vec<Results>, (usize, EngineError)> {
        let mut runs: Vec<_> = inputs.into_iter().map(|inputs| self.filled(inputs, ws)).collect();
        for step in &self.steps {
            for (run, slots) in runs.iter_mut().enumerate() {
                let flow = step.run(slots, &mut |id, value| visit(run, id, value), ws);
                if flow.map_err(|error| (run, error))? == Flow::Stop {
                    for slots in runs {
                        drop_all(slots, ws);
                    }
                    return Ok(Vec::new());
                }
            }
        }
        Ok(runs.into_iter().map(|slots| self.taken(slots, ws)).collect())
    }

    /// The slots of a run that begins.
    fn filled<'a>(&'a self, inputs: impl IntoIterator<Item = Arg<'a>>, ws: &mut Workspace) -> Vec<Arg<'a>> {
        let mut slots: Vec<Arg<'a>> = Vec::new();
        slots.resize_with(self.slots, Arg::default);
        for (slot, value) in &self.constants {
            slots[*slot] = Arg::Shared(value);
        }
        for (slot, value) in self.feeds.iter().zip(inputs) {
            match slot {
                Some(slot) => slots[*slot] = value,
                None => recycle(value, ws),
            }
        }
        slots
    }

    /// The outputs out of the slots of a run that has ended.
    fn taken(&self, mut slots: Vec<Arg<'_>>, ws: &mut Workspace) -> Results {
        let mut results = Results::with_capacity(self.results.len());
        for (i, slot) in self.results.iter().enumerate() {
            let again = self.results[i + 1..].contains(slot);
            let held = if again { slots[*slot].borrowed() } else { std::mem::take(&mut slots[*slot]) };
            results.push(held.into_datum(ws));
        }
        results
    }
}

impl Step {
    /// Computes it, shows what it made, and frees what nobody reads any more.
    fn run(&self, slots: &mut [Arg<'_>], visit: Visit<'_>, ws: &mut Workspace) -> Result<Flow, EngineError> {
        compute(self, slots, ws)?;
        for (id, slot) in &self.shown {
            if let Some(value) = slots[*slot].value()
                && visit(*id, value) == Flow::Stop
            {
                return Ok(Flow::Stop);
            }
        }
        for slot in &self.dead {
            recycle(std::mem::take(&mut slots[*slot]), ws);
        }
        Ok(Flow::Continue)
    }
}

fn drop_all(slots: Vec<Arg<'_>>, ws: &mut Workspace) {
    for held in slots {
        recycle(held, ws);
    }
}

fn compute(step: &Step, slots: &mut [Arg<'_>], ws: &mut Workspace) -> Result<(), EngineError> {
    let Some(kernel) = &step.kernel else { return Ok(()) };
    let fail = |reason: String| EngineError::Node { node: step.label.clone(), reason };
    let mut args = gather(slots, step);
    let results = kernel(&mut args, ws).map_err(fail)?;
    args.0.drain(..).for_each(|arg| recycle(arg, ws));
    drop(args);
    if results.len() < step.outputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1) {
        return Err(fail(format!("it has {} outputs, more than its operator", step.outputs.len())));
    }
    for (slot, datum) in step.outputs.iter().zip(results) {
        match (slot, datum) {
            (Some(slot), datum) => slots[*slot] = datum.into(),
            (None, Datum::Tensor(value)) => ws.recycle(value),
            (None, _) => {}
        }
    }
    Ok(())
}

/// The inputs of a step: taken out of their slots on last use, borrowed else.
fn gather<'s>(slots: &'s mut [Arg<'_>], step: &Step) -> Args<'s> {
    let mut args: SmallVec<[Arg<'s>; 9]> = SmallVec::new();
    for read in &step.inputs {
        args.push(match read {
            Some(read) if read.last => match std::mem::take(&mut slots[read.slot]) {
                Arg::Owned(v) => Arg::Owned(v),
                Arg::Sequence(s) => Arg::Sequence(s),
                other => {
                    slots[read.slot] = other;
                    Arg::None
                }
            },
            _ => Arg::None,
        });
    }
    let slots: &'s [Arg<'_>] = slots;
    for (arg, read) in args.iter_mut().zip(&step.inputs) {
        if let (Arg::None, Some(read)) = (&*arg, read) {
            *arg = slots[read.slot].borrowed();
        }
    }
    Args(args)
}

fn recycle(held: Arg<'_>, ws: &mut Workspace) {
    if let Arg::Owned(v) = held {
        ws.recycle(v);
    }
}
