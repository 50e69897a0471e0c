//! Runs a plan.

use std::sync::Mutex;

use shiftwise_graph::{Value, ValueInfo};

use crate::args::{Arg, Args, copy};
use crate::plan::Plan;
use crate::pool::Workspace;
use crate::{EngineError, Flow, Session, TensorId, feeds};

pub(crate) struct EmbeddedSession {
    plan: Plan,
    /// Working memory that no run uses at the moment.
    idle: Mutex<Vec<Workspace>>,
}

/// What a slot holds during a run.
enum Held<'a> {
    Nothing,
    Borrowed(&'a Value),
    Owned(Value),
}

impl Held<'_> {
    fn value(&self) -> Option<&Value> {
        match self {
            Self::Nothing => None,
            Self::Borrowed(v) => Some(v),
            Self::Owned(v) => Some(v),
        }
    }
}

impl EmbeddedSession {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, idle: Mutex::default() }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Workspace>> {
        // A panic elsewhere cannot leave the list half changed.
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn walk<'a>(
        &'a self,
        feeds: &'a [(String, Value)],
        visit: &mut dyn FnMut(TensorId, &Value) -> Flow,
        ws: &mut Workspace,
    ) -> Result<Vec<Value>, EngineError> {
        let plan = &self.plan;
        let mut slots: Vec<Held<'a>> = Vec::new();
        slots.resize_with(plan.slots, || Held::Nothing);
        for (slot, value) in &plan.constants {
            slots[*slot] = Held::Borrowed(value);
        }
        for (slot, value) in plan.feeds.iter().zip(feeds::matched(&plan.inputs, feeds)?) {
            if let Some(slot) = slot {
                slots[*slot] = Held::Borrowed(value);
            }
        }
        for step in &plan.steps {
            if let Some(kernel) = &step.kernel {
                let fail = |reason: String| EngineError::Node { node: step.label.clone(), reason };
                let mut args = gather(&mut slots, step);
                let results = kernel(&mut args, ws).map_err(fail)?;
                for arg in args.0 {
                    if let Arg::Owned(unused) = arg {
                        ws.recycle(unused);
                    }
                }
                if results.len() < step.outputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1) {
                    return Err(fail(format!(
                        "it has {} outputs, more than its operator",
                        step.outputs.len()
                    )));
                }
                for (slot, value) in step.outputs.iter().zip(results) {
                    match slot {
                        Some(slot) => slots[*slot] = Held::Owned(value),
                        None => ws.recycle(value),
                    }
                }
            }
            for (id, slot) in &step.shown {
                if let Some(value) = slots[*slot].value()
                    && visit(*id, value) == Flow::Stop
                {
                    for held in slots {
                        recycle(held, ws);
                    }
                    return Ok(Vec::new());
                }
            }
            for slot in &step.dead {
                recycle(std::mem::replace(&mut slots[*slot], Held::Nothing), ws);
            }
        }
        let mut results = Vec::with_capacity(plan.results.len());
        for (i, slot) in plan.results.iter().enumerate() {
            let again = plan.results[i + 1..].contains(slot);
            let value = match std::mem::replace(&mut slots[*slot], Held::Nothing) {
                Held::Owned(v) if again => {
                    let value = copy(&v, ws);
                    slots[*slot] = Held::Owned(v);
                    value
                }
                Held::Owned(v) => v,
                Held::Borrowed(v) => {
                    slots[*slot] = Held::Borrowed(v);
                    v.clone()
                }
                Held::Nothing => {
                    return Err(EngineError::Graph(format!(
                        "output {:?} was not made",
                        plan.outputs[i].name
                    )));
                }
            };
            results.push(value);
        }
        Ok(results)
    }
}

/// The inputs of a step: taken out of their slots on last use, borrowed else.
fn gather<'s>(slots: &'s mut [Held<'_>], step: &crate::plan::Step) -> Args<'s> {
    let mut args: Vec<Arg<'s>> = Vec::with_capacity(step.inputs.len());
    for read in &step.inputs {
        args.push(match read {
            Some(read) if read.last => match std::mem::replace(&mut slots[read.slot], Held::Nothing) {
                Held::Owned(v) => Arg::Owned(v),
                other => {
                    slots[read.slot] = other;
                    Arg::None
                }
            },
            _ => Arg::None,
        });
    }
    let slots: &'s [Held<'_>] = slots;
    for (arg, read) in args.iter_mut().zip(&step.inputs) {
        if let (Arg::None, Some(read)) = (&*arg, read)
            && let Some(value) = slots[read.slot].value()
        {
            *arg = Arg::Shared(value);
        }
    }
    Args(args)
}

fn recycle(held: Held<'_>, ws: &mut Workspace) {
    if let Held::Owned(v) = held {
        ws.recycle(v);
    }
}

impl Session for EmbeddedSession {
    fn inputs(&self) -> &[ValueInfo] {
        &self.plan.inputs
    }

    fn outputs(&self) -> &[ValueInfo] {
        &self.plan.outputs
    }

    fn watched(&self) -> &[String] {
        &self.plan.watched
    }

    fn run(
        &self,
        feeds: &[(String, Value)],
        visit: &mut dyn FnMut(TensorId, &Value) -> Flow,
    ) -> Result<Vec<Value>, EngineError> {
        let mut ws = self.idle().pop().unwrap_or_default();
        let result = self.walk(feeds, visit, &mut ws);
        ws.end_run();
        self.idle().push(ws);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Watch, compile};
    use shiftwise_graph::{Builder, Model};

    const LEN: usize = 1000;

    /// A chain in which every tensor has two readers, so that nothing is computed in place.
    fn chain(length: usize) -> Model {
        let mut builder = Builder::new().input("t0", &[LEN]);
        for i in 0..length {
            let (from, half, to) = (format!("t{i}"), format!("h{i}"), format!("t{}", i + 1));
            builder = builder.node("Neg", &[&from], &[&half]).node("Max", &[&from, &half], &[&to]);
        }
        builder.build(&[(&format!("t{length}"), &[LEN])], 13)
    }

    #[test]
    fn memory_does_not_grow_with_depth() {
        for watch in [Watch::None, Watch::All] {
            let session = EmbeddedSession::new(compile::plan(&chain(50), &watch).unwrap());
            let feeds = [("t0".to_string(), Value::f32(&[LEN], vec![1.0; LEN]))];
            let mut seen = 0;
            for _ in 0..3 {
                session
                    .run(&feeds, &mut |_, _| {
                        seen += 1;
                        Flow::Continue
                    })
                    .unwrap();
            }
            assert_eq!(seen, if watch == Watch::All { 300 } else { 0 });
            let idle = session.idle();
            assert_eq!(idle.len(), 1, "one run at a time needs one workspace");
            assert!(idle[0].peak() <= 3 * LEN, "{} floats at once", idle[0].peak());
        }
    }
}
