//! A prepared model of the embedded engine.

use std::collections::HashSet;
use std::sync::Mutex;

use half::f16;
use ndarray::ArrayD;
use shiftwise_graph::{DataType, Value, ValueInfo};

use crate::args::{Arg, Datum, Results};
use crate::plan::Plan;
use crate::pool::Workspace;
use crate::{EngineError, Flow, Session, TensorId, feeds};

pub(crate) struct EmbeddedSession {
    plan: Plan,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
    /// Whether float16 is computed in float32.
    widened: bool,
    /// Which outputs and which watched tensors are float16 in the model.
    narrow: Vec<bool>,
    watched_halves: Vec<bool>,
    /// Working memory that no run uses at the moment.
    idle: Mutex<Vec<Workspace>>,
}

impl EmbeddedSession {
    /// `halves` are the tensors that are float16 in the model, and float32 in the plan.
    pub(crate) fn new(
        plan: Plan,
        inputs: &[ValueInfo],
        outputs: &[ValueInfo],
        halves: &HashSet<String>,
    ) -> Self {
        let watched_halves = plan.watched.iter().map(|name| halves.contains(name)).collect();
        Self {
            plan,
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            narrow: outputs.iter().map(|info| is_half(info, halves)).collect(),
            widened: !halves.is_empty(),
            watched_halves,
            idle: Mutex::default(),
        }
    }

    fn fed<'v>(&self, value: &'v Value) -> Arg<'v> {
        match value {
            Value::F16(a) if self.widened => Arg::Owned(Value::F32(a.mapv(f16::to_f32))),
            other => Arg::Shared(other),
        }
    }

    /// Results in the types of the model; none where the run was ended.
    fn given_out(&self, results: Results) -> Result<Vec<Value>, EngineError> {
        let tensor = |((datum, info), is_half): ((Datum, &ValueInfo), &bool)| match datum {
            Datum::Tensor(Value::F32(a)) if *is_half => Ok(narrow(&a)),
            Datum::Tensor(value) => Ok(value),
            Datum::Sequence(_) | Datum::Nothing => Err(EngineError::NotATensor { name: info.name.clone() }),
        };
        results.into_iter().zip(&self.outputs).zip(&self.narrow).map(tensor).collect()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Workspace>> {
        // A panic elsewhere cannot leave the list half changed.
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Session for EmbeddedSession {
    fn inputs(&self) -> &[ValueInfo] {
        &self.inputs
    }

    fn outputs(&self) -> &[ValueInfo] {
        &self.outputs
    }

    fn watched(&self) -> &[String] {
        &self.plan.watched
    }

    fn run(
        &self,
        feeds: &[(String, Value)],
        visit: &mut dyn FnMut(TensorId, &Value) -> Flow,
    ) -> Result<Vec<Value>, EngineError> {
        let one = &mut |_: usize, id: TensorId, value: &Value| visit(id, value);
        match self.run_together(&[feeds], one) {
            Ok(mut results) => Ok(results.pop().unwrap_or_default()),
            Err((_, error)) => Err(error),
        }
    }

    fn run_together(
        &self,
        feeds: &[&[(String, Value)]],
        visit: &mut dyn FnMut(usize, TensorId, &Value) -> Flow,
    ) -> Result<Vec<Vec<Value>>, (usize, EngineError)> {
        let matched = feeds.iter().enumerate().map(|(run, feeds)| {
            let values = feeds::matched(&self.inputs, feeds).map_err(|error| (run, error))?;
            Ok(values.into_iter().map(|value| self.fed(value)).collect())
        });
        let inputs: Vec<Vec<Arg<'_>>> = matched.collect::<Result<_, _>>()?;
        let mut ws = self.idle().pop().unwrap_or_default();
        let mut shown = |run: usize, id: TensorId, value: &Value| match value {
            Value::F32(a) if self.watched_halves[id.index()] => visit(run, id, &narrow(a)),
            other => visit(run, id, other),
        };
        let results = self.plan.walk_together(inputs, &mut shown, &mut ws);
        ws.end_run();
        self.idle().push(ws);
        let given = |(run, results): (usize, Results)| self.given_out(results).map_err(|error| (run, error));
        results?.into_iter().enumerate().map(given).collect()
    }
}

/// By what the model declares, or by what is known where it declares nothing.
fn is_half(info: &ValueInfo, halves: &HashSet<String>) -> bool {
    !halves.is_empty()
        && info.ty.tensor().map_or_else(|| halves.contains(&info.name), |ty| ty.dtype == DataType::Float16)
}

fn narrow(wide: &ArrayD<f32>) -> Value {
    Value::F16(wide.mapv(f16::from_f32))
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
            let model = chain(50);
            let graph = &model.graph;
            let plan = compile::plan(&model, &watch).unwrap();
            let session = EmbeddedSession::new(plan, graph.inputs(), graph.outputs(), &HashSet::new());
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
