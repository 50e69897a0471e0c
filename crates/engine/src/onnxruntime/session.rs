//! Runs a model, segment by segment, and shows what it makes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::SessionInputValue;
use ort::value::DynValue;
use shiftwise_graph::{Dim, Model, Patch, Value, ValueInfo, ValueType, infer_shapes};

use super::build::{Built, Recipe};
use super::error::OrtError;
use super::pool::Pool;
use super::segments::{self, Output, Plan, Segment, Source, Types};
use super::{convert, message};
use crate::{EngineError, Flow, Session, TensorId, feeds};

/// Sessions for all segments of a plan.
type Lane = Vec<Built>;

pub(super) struct OrtSession {
    pub recipe: Recipe,
    pub model: Model,
    pub watched: Vec<String>,
    /// Element types, and shapes where they do not depend on what is fed.
    pub types: Types,
    /// How many bytes of watched tensors a segment may make.
    pub limit: Option<u64>,
    /// Made at once, or in the first run where sizes depend on what is fed.
    pub plan: Mutex<Option<Arc<Plan>>>,
    pub lanes: Pool<Lane>,
}

impl OrtSession {
    fn plan(&self, fed: &[&Value]) -> Result<Arc<Plan>, EngineError> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = &*plan {
            return Ok(plan.clone());
        }
        let sizes = self.types_for(fed)?;
        let made = Arc::new(segments::plan(&self.model, &self.watched, &self.types, &sizes, self.limit)?);
        tracing::debug!("{} watched tensors in {} segments", self.watched.len(), made.segments.len());
        *plan = Some(made.clone());
        Ok(made)
    }

    /// Types where inputs have the shapes of `fed`.
    fn types_for(&self, fed: &[&Value]) -> Result<Types, EngineError> {
        let mut model = self.model.clone();
        let inputs = model.graph.inputs().iter().zip(fed).map(|(input, value)| {
            let shape = Some(value.shape().iter().map(|d| Dim::Known(*d)).collect());
            let ty = shiftwise_graph::TensorType { dtype: value.dtype(), shape };
            ValueInfo { name: input.name.clone(), ty: ValueType::Tensor(ty) }
        });
        let mut patch = Patch::new();
        patch.set_boundary(inputs.collect(), model.graph.outputs().to_vec());
        // Types that were declared for other extents would only contradict those that are inferred now.
        for (name, _) in self.model.graph.types() {
            patch.forget_type(name);
        }
        model.graph.apply("fix shapes", patch).map_err(|e| EngineError::Graph(e.to_string()))?;
        infer_shapes(&mut model);
        let sized = |(name, ty): (&String, &shiftwise_graph::TensorType)| {
            let open = ty.fixed_dims().is_none();
            let inferred = model.graph.tensor_type(name).filter(|t| open && t.dtype == ty.dtype);
            (name.clone(), inferred.unwrap_or_else(|| ty.clone()))
        };
        Ok(self.types.iter().map(sized).collect())
    }

    fn walk(
        &self,
        plan: &Plan,
        lane: &mut Lane,
        fed: &HashMap<&str, &Value>,
        visit: &mut dyn FnMut(TensorId, &Value) -> Flow,
    ) -> Result<Option<HashMap<String, DynValue>>, EngineError> {
        let mut kept: HashMap<String, DynValue> = HashMap::new();
        for (segment, built) in plan.segments.iter().zip(lane) {
            let inputs = inputs(segment, fed, &kept)?;
            let made = built.session.run(inputs).map_err(|e| self.failed(&e))?;
            for (output, (name, value)) in segment.outputs.iter().zip(made) {
                if output.name != name {
                    return Err(self.fail(format!("{:?} was made in place of {:?}", name, output.name)));
                }
                if show(output, &value, visit)? == Flow::Stop {
                    return Ok(None);
                }
                if output.kept {
                    kept.insert(output.name.clone(), value);
                }
            }
            for name in &segment.dead {
                kept.remove(name);
            }
        }
        Ok(Some(kept))
    }

    fn fail(&self, reason: String) -> EngineError {
        OrtError::Run { engine: self.recipe.engine.clone(), reason }.into()
    }

    fn failed(&self, error: &ort::Error) -> EngineError {
        let text = error.to_string();
        match message::failed_node(&text) {
            Some((node, reason)) => EngineError::Node { node, reason },
            None => self.fail(text),
        }
    }
}

fn inputs<'v>(
    segment: &'v Segment,
    fed: &HashMap<&str, &'v Value>,
    kept: &'v HashMap<String, DynValue>,
) -> Result<Vec<(Cow<'v, str>, SessionInputValue<'v>)>, EngineError> {
    let inputs = segment.inputs.iter().map(|name| {
        let value = match (fed.get(name.as_str()), kept.get(name)) {
            (Some(value), _) => {
                convert::input(value).map_err(|reason| EngineError::Feed { name: name.clone(), reason })?
            }
            (None, Some(value)) => value.view().into(),
            (None, None) => return Err(EngineError::Graph(format!("tensor {name:?} was not made"))),
        };
        Ok((Cow::Borrowed(name.as_str()), value))
    });
    inputs.collect()
}

fn show(
    output: &Output,
    value: &DynValue,
    visit: &mut dyn FnMut(TensorId, &Value) -> Flow,
) -> Result<Flow, EngineError> {
    match output.watched {
        None => Ok(Flow::Continue),
        Some(id) => Ok(visit(id, &given_out(&output.name, value)?)),
    }
}

fn given_out(name: &str, value: &DynValue) -> Result<Value, EngineError> {
    convert::output(value).map_err(|e| EngineError::Graph(format!("give out {name:?}: {e}")))
}

impl Session for OrtSession {
    fn inputs(&self) -> &[ValueInfo] {
        self.model.graph.inputs()
    }

    fn outputs(&self) -> &[ValueInfo] {
        self.model.graph.outputs()
    }

    fn watched(&self) -> &[String] {
        &self.watched
    }

    fn run(
        &self,
        feeds: &[(String, Value)],
        visit: &mut dyn FnMut(TensorId, &Value) -> Flow,
    ) -> Result<Vec<Value>, EngineError> {
        let values = feeds::matched(self.inputs(), feeds)?;
        let plan = self.plan(&values)?;
        let fed: HashMap<&str, &Value> =
            self.inputs().iter().map(|i| i.name.as_str()).zip(values.iter().copied()).collect();
        let mut lane = self
            .lanes
            .take(|| plan.segments.iter().map(|s| self.recipe.build(&s.model)).collect::<Result<_, _>>())?;
        let Some(made) = self.walk(&plan, &mut lane, &fed, visit)? else { return Ok(Vec::new()) };
        let results = plan.results.iter().map(|source| match source {
            Source::Feed(i) => Ok(values[*i].clone()),
            Source::Constant(value) => Ok(value.clone()),
            Source::Made(name) => match made.get(name) {
                Some(value) => given_out(name, value),
                None => Err(EngineError::Graph(format!("output {name:?} was not made"))),
            },
        });
        results.collect()
    }
}
