//! One of the two models on its way from layer to layer.

use std::collections::HashMap;

use indexmap::{IndexMap, IndexSet};
use shiftwise_engine::{Engine, Flow, PrepareOptions, Session};
use shiftwise_graph::{Model, TensorType, Value, ValueType, infer_shapes};

use super::schedule::Schedule;
use super::scratch::{Scratch, Stored};
use super::segment::Segment;
use super::{FrontierError, Which};

/// A model, how far it has run, and what waits.
pub(super) struct Side {
    which: Which,
    pub(super) model: Model,
    pub(super) schedule: Schedule,
    types: HashMap<String, TensorType>,
    /// What waits for each sample; nothing before the first layer.
    waiting: Option<IndexMap<String, Vec<Stored>>>,
}

/// What one model does for one layer.
pub(super) struct Step {
    run: Vec<usize>,
    /// Nothing where nothing has to run.
    session: Option<Box<dyn Session>>,
    /// For each output of the session: whether it waits, and its place among the shown tensors.
    outputs: Vec<(bool, Option<usize>)>,
    /// Shown tensors that the session does not make.
    fetched: Vec<(usize, String)>,
    shown: usize,
    /// All that waits afterwards.
    waiting: Vec<String>,
    /// Which of them come from the session, in the order of its outputs, and then which are inputs of the model.
    made: Vec<String>,
    inputs: Vec<String>,
}

/// What a step gives for one sample.
pub(super) struct Outcome {
    /// As many as were asked for.
    pub(super) shown: Vec<Value>,
    /// In the order of [`Step::made`] and [`Step::inputs`].
    stored: Vec<Stored>,
}

impl Side {
    /// `shown` are the tensors that each layer asks for.
    pub(super) fn new(which: Which, model: Model, shown: &[Vec<&str>]) -> Self {
        let schedule = Schedule::of(&model.graph, shown);
        let mut inferred = model.clone();
        infer_shapes(&mut inferred);
        let outputs = inferred.graph.nodes().flat_map(|(_, node)| &node.outputs).filter(|o| !o.is_empty());
        let types =
            outputs.filter_map(|name| Some((name.clone(), inferred.graph.tensor_type(name)?))).collect();
        Self { which, model, schedule, types, waiting: None }
    }

    /// Whether the samples themselves have to be read.
    pub(super) fn starts(&self) -> bool {
        self.waiting.is_none()
    }

    /// Makes ready what has to run for a layer and gives the tensors `shown`.
    pub(super) fn prepare(
        &self,
        layer: usize,
        shown: &[&str],
        engine: &dyn Engine,
    ) -> Result<Step, FrontierError> {
        let graph = &self.model.graph;
        let advance = self.schedule.advance(layer);
        let mut wanted: IndexSet<String> = advance.waiting.iter().cloned().collect();
        wanted.extend(shown.iter().map(ToString::to_string));
        let segment = Segment::of(graph, &self.schedule, &advance.run, &wanted);
        let session = if segment.outputs.is_empty() {
            None
        } else {
            let part = segment.model(&self.model, &self.schedule, |name| self.fed(name), &self.types);
            let options = PrepareOptions::default().with_threads(1);
            Some(engine.prepare(&part, &options).map_err(|cause| self.error(cause))?)
        };
        let place = |name: &str| shown.iter().position(|s| *s == name);
        let waits = |name: &String| advance.waiting.contains(name);
        let is_made = |name: &str| segment.outputs.iter().any(|o| o == name);
        let outputs = segment.outputs.iter().map(|name| (waits(name), place(name))).collect();
        let fetched = shown.iter().enumerate().filter(|(_, name)| !is_made(name));
        let fetched = fetched.map(|(i, name)| (i, (*name).to_string())).collect();
        let made = segment.outputs.iter().filter(|name| waits(name)).cloned().collect();
        let unstored = |name: &&String| self.starts() && graph.is_input(name);
        let inputs = advance.waiting.iter().filter(unstored).cloned().collect();
        Ok(Step {
            run: advance.run,
            session,
            outputs,
            fetched,
            shown: shown.len(),
            waiting: advance.waiting,
            made,
            inputs,
        })
    }

    /// What is known of the type of a tensor that is fed: what the model says, as far as the values bear it out.
    fn fed(&self, name: &str) -> ValueType {
        let graph = &self.model.graph;
        if let Some(input) = graph.inputs().iter().find(|input| input.name == name) {
            return input.ty.clone();
        }
        let values =
            self.waiting.as_ref().and_then(|waiting| waiting.get(name)).map_or(&[][..], Vec::as_slice);
        let Some(first) = values.first() else { return ValueType::Other(None) };
        let known = self.types.get(name).filter(|ty| ty.dtype == first.dtype());
        let shape = known.and_then(|ty| ty.shape.as_ref()).filter(|dims| {
            values.iter().all(|value| {
                let pairs = dims.iter().zip(value.shape());
                dims.len() == value.shape().len()
                    && pairs.into_iter().all(|(d, n)| d.known().is_none_or(|d| d == *n))
            })
        });
        ValueType::Tensor(TensorType { dtype: first.dtype(), shape: shape.cloned() })
    }

    /// Runs a step on one sample; `sample` holds its values before the first layer.
    pub(super) fn run(
        &self,
        step: &Step,
        index: usize,
        sample: &[(String, Value)],
        scratch: &Scratch,
    ) -> Result<Outcome, FrontierError> {
        let mut shown: Vec<Option<Value>> = vec![None; step.shown];
        let mut stored = Vec::with_capacity(step.made.len() + step.inputs.len());
        if let Some(session) = &step.session {
            let feeds = session.inputs().iter().map(|input| {
                let value = self.fetch(&input.name, index, sample)?;
                Ok((input.name.clone(), value))
            });
            let feeds = feeds.collect::<Result<Vec<_>, FrontierError>>()?;
            let values = session
                .run(&feeds, &mut |_, _| Flow::Continue)
                .map_err(|cause| FrontierError::Run { model: self.which, sample: index, cause })?;
            for ((waits, place), value) in step.outputs.iter().zip(values) {
                match place {
                    Some(place) if *waits => {
                        stored.push(scratch.store(value.clone())?);
                        shown[*place] = Some(value);
                    }
                    Some(place) => shown[*place] = Some(value),
                    None => stored.push(scratch.store(value)?),
                }
            }
        }
        for name in &step.inputs {
            stored.push(scratch.store(self.fetch(name, index, sample)?)?);
        }
        for (place, name) in &step.fetched {
            shown[*place] = Some(self.fetch(name, index, sample)?);
        }
        Ok(Outcome { shown: shown.into_iter().flatten().collect(), stored })
    }

    fn fetch(&self, name: &str, index: usize, sample: &[(String, Value)]) -> Result<Value, FrontierError> {
        if let Some(waiting) = &self.waiting {
            let value = waiting.get(name).and_then(|values| values.get(index));
            return Ok(value.ok_or_else(|| self.missing(name, index))?.load()?);
        }
        let value = sample.iter().find(|(input, _)| input == name);
        value.map(|(_, value)| value.clone()).ok_or_else(|| self.missing(name, index))
    }

    /// Makes what a step gave for all samples what waits now, and gives free what is not needed any more.
    pub(super) fn commit(&mut self, step: Step, outcomes: Vec<Vec<Stored>>) {
        let mut old = self.waiting.take().unwrap_or_default();
        let new: Vec<String> = step.made.into_iter().chain(step.inputs).collect();
        let mut columns: Vec<Vec<Stored>> = new.iter().map(|_| Vec::with_capacity(outcomes.len())).collect();
        for outcome in outcomes {
            for (column, value) in columns.iter_mut().zip(outcome) {
                column.push(value);
            }
        }
        let mut columns: HashMap<String, Vec<Stored>> = new.into_iter().zip(columns).collect();
        let mut waiting = IndexMap::new();
        for name in step.waiting {
            let values = columns.remove(&name).or_else(|| old.swap_remove(&name));
            waiting.insert(name, values.unwrap_or_default());
        }
        self.waiting = Some(waiting);
        self.schedule.commit(&step.run);
    }

    fn missing(&self, name: &str, sample: usize) -> FrontierError {
        FrontierError::Missing { model: self.which, tensor: name.into(), sample }
    }

    fn error(&self, cause: shiftwise_engine::EngineError) -> FrontierError {
        FrontierError::Prepare { model: self.which, cause }
    }
}

impl Outcome {
    /// What waits, without what was shown.
    pub(super) fn split(self) -> (Vec<Value>, Vec<Stored>) {
        (self.shown, self.stored)
    }
}

impl Step {
    /// The places of the nodes that run.
    pub(super) fn nodes(&self) -> &[usize] {
        &self.run
    }
}
