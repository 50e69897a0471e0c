//! A prepared model of the embedded engine.

use std::sync::Mutex;

use shiftwise_graph::{Value, ValueInfo};

use crate::args::{Arg, Datum};
use crate::plan::Plan;
use crate::pool::Workspace;
use crate::{EngineError, Flow, Session, TensorId, feeds};

pub(crate) struct EmbeddedSession {
    plan: Plan,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
    /// Working memory that no run uses at the moment.
    idle: Mutex<Vec<Workspace>>,
}

impl EmbeddedSession {
    pub(crate) fn new(plan: Plan, inputs: &[ValueInfo], outputs: &[ValueInfo]) -> Self {
        Self { plan, inputs: inputs.to_vec(), outputs: outputs.to_vec(), idle: Mutex::default() }
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
        let feeds = feeds::matched(&self.inputs, feeds)?.into_iter().map(Arg::Shared);
        let mut ws = self.idle().pop().unwrap_or_default();
        let results = self.plan.walk(feeds, visit, &mut ws);
        ws.end_run();
        self.idle().push(ws);
        let tensor = |(datum, info): (Datum, &ValueInfo)| match datum {
            Datum::Tensor(value) => Ok(value),
            Datum::Sequence(_) | Datum::Nothing => Err(EngineError::NotATensor { name: info.name.clone() }),
        };
        results?.into_iter().zip(&self.outputs).map(tensor).collect()
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
            let model = chain(50);
            let graph = &model.graph;
            let plan = compile::plan(&model, &watch).unwrap();
            let session = EmbeddedSession::new(plan, graph.inputs(), graph.outputs());
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
