//! The walk over the layers: each is tuned behind those before it, and kept at once.

use std::collections::HashMap;
use std::time::Instant;

use shiftwise_dataset::Dataset;
use shiftwise_graph::{Graph, Model};
use shiftwise_stage::report::count;
use shiftwise_stage::{ChosenEngine, Context, Failure, LoadedModel, Progress};

use crate::FinetuneConfig;
use crate::adaptive::AdaOptions;
use crate::checkpoint::{Checkpoint, Done, Record};
use crate::frontier::{BoxError, Frontier, FrontierError, Layer, Options, Pair, Reading};
use crate::gather::{Gatherer, Methods};
use crate::limits::Limits;
use crate::round::Found;
use crate::tuned::{LayerReport, Outcome};
use crate::whole::{Whole, failure};

/// Everything that tuning needs beside the models.
pub(crate) struct Tuning<'a> {
    pub(crate) context: &'a Context,
    pub(crate) config: &'a FinetuneConfig,
    /// How weights are trained, if they are.
    pub(crate) training: Option<AdaOptions>,
    pub(crate) chosen: &'a ChosenEngine,
    pub(crate) dataset: &'a Dataset,
    pub(crate) places: Vec<usize>,
    pub(crate) checkpoint: &'a Checkpoint,
}

impl Tuning<'_> {
    /// Tunes all layers; gives the model, and what was done for each layer.
    pub(crate) fn all(
        &self,
        loaded: &LoadedModel,
        float: &Model,
        mut layers: Vec<Layer>,
    ) -> Result<(Model, Vec<Done>), Failure> {
        let total = layers.len() as u64;
        let progress = self.context.progress("finetuning", total, "layers");
        let load = |i: usize| -> Result<_, BoxError> { Ok(self.dataset.load(self.places[i])?.inputs) };
        let name = |i: usize| self.dataset.id(self.places[i]).to_owned();
        let failed = |e: FrontierError| failure(&e, &name);
        let stops = || self.context.interrupt.requested();
        let folder = self.checkpoint.folder();
        let mut options = Options::in_folder(folder);
        if let Some(bytes) = self.chosen.max_memory() {
            options.max_memory = bytes;
        }
        // Layers that do not depend on each other are decided as if each were the only one.
        let alone = self.config.finetune_float_inputs;
        options.float_inputs = alone;
        let model = loaded.model.clone();
        let samples = self.places.len();
        let engine = self.chosen.engine.as_ref();
        let methods = Methods { config: self.config, training: self.training.clone(), samples, name: &name };
        let mut limits = Limits::of(&model);
        // Where layers do not wait for each other, or scales are to stay, what they read is given.
        // The same holds for what a node reads that is not tuned: it could not follow.
        let open = self.config.chooses_inputs();
        let mut tuned: HashMap<String, usize> = HashMap::new();
        for integers in layers.iter().filter_map(|layer| layer.input_integers.clone()) {
            *tuned.entry(integers).or_default() += 1;
        }
        for layer in &mut layers {
            let own = |reading: &Reading| {
                let followed = tuned.get(&reading.integers) == Some(&reading.readers);
                open && followed && limits.position(&reading.scale).is_some()
            };
            layer.reading = layer.reading.take().filter(own);
        }
        let whole = self.config.selective_update.then(|| {
            let output = self.config.output_index;
            Whole::new(engine, float, samples, &load, &name, &stops, output)
        });
        let whole = whole.transpose()?;
        let mut current = model.clone();
        let mut frontier =
            Frontier::new(engine, float, model, layers, samples, &load, &stops, options).map_err(failed)?;
        let keep = |i: usize, layer: &Done, frontier: &mut Frontier<'_>, current: &mut Model| {
            frontier.layers()[i].give(current, &layer.constants)?;
            // What is tuned in parallel reads what the model gave before.
            if self.config.parallel { Ok(()) } else { frontier.tune(i, &layer.constants) }
        };
        let mut done = self.checkpoint.done(frontier.layers().len());
        for (i, layer) in done.iter().enumerate() {
            keep(i, layer, &mut frontier, &mut current).map_err(failed)?;
            if !alone {
                remember(&mut limits, &current, layer);
            }
        }
        let mut least = whole.as_ref().map(|whole| whole.distance(&current)).transpose()?;
        if !done.is_empty() {
            self.context.say(&format!("going on after {}", count(done.len() as u64, "layer")));
            progress.resume_at(done.len() as u64);
        }
        for i in done.len()..frontier.layers().len() {
            let started = Instant::now();
            let mut found = choose(&mut frontier, i, float, &current.graph, &limits, &methods)?;
            if let (Some(whole), Some(least)) = (&whole, &mut least)
                && found.report.outcome == Outcome::Tuned
            {
                let mut candidate = current.clone();
                let constants = found.replaced();
                frontier.layers()[i].give(&mut candidate, &constants).map_err(failed)?;
                let distance = whole.distance(&candidate)?;
                if distance < *least {
                    *least = distance;
                } else {
                    found = found.rejected(format!(
                        "the whole model would come no nearer: distance {least:.6} → {distance:.6}"
                    ));
                }
            }
            let constants = found.replaced();
            let params = found.params();
            let record = Record { report: found.report, params, seconds: started.elapsed().as_secs_f64() };
            let layer = Done { constants, record };
            keep(i, &layer, &mut frontier, &mut current).map_err(failed)?;
            self.checkpoint.keep(i, &layer)?;
            if !alone {
                remember(&mut limits, &current, &layer);
            }
            self.tell(i, total, &layer, &progress);
            done.push(layer);
        }
        Ok((current, done))
    }

    fn tell(&self, i: usize, total: u64, layer: &Done, progress: &Progress) {
        let Record { report, seconds, .. } = &layer.record;
        self.context.say(&format!(
            "{}/{total} {} {}: {}",
            i + 1,
            report.op,
            report.node,
            report.text(*seconds)
        ));
        progress.inc(1);
    }
}

/// Walks to a layer and chooses its integers.
fn choose(
    frontier: &mut Frontier<'_>,
    i: usize,
    float: &Model,
    graph: &Graph,
    limits: &Limits,
    methods: &Methods<'_>,
) -> Result<Found, Failure> {
    let layer = frontier.layers()[i].clone();
    let mut gatherer = match Gatherer::new(methods, &layer, float, graph, limits) {
        Ok(gatherer) => gatherer,
        Err(reason) => {
            let report = LayerReport::skipped(&layer.node, &layer.op_type, reason);
            return Ok(Found::nothing(report));
        }
    };
    let visit = |pairs: Vec<Pair>| -> Result<(), FrontierError> {
        gatherer.add(pairs);
        Ok(())
    };
    frontier.layer(i, methods.mixes_inputs(), visit).map_err(|e| failure(&e, methods.name))?;
    Ok(gatherer.finish())
}

/// Follows the positions that a layer moved.
fn remember(limits: &mut Limits, model: &Model, layer: &Done) {
    for (name, _) in &layer.constants {
        let scale = model.graph.constant(name).and_then(shiftwise_graph::Tensor::scalar_f32);
        if let Some(position) = scale.and_then(shiftwise_quant::Position::of) {
            limits.set(name, position);
        }
    }
}
