//! The program: reads, tunes layer by layer, writes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::Serialize;
use serde_json::json;
use shiftwise_artifact::{Artifact, Kind, Writer, work_dir};
use shiftwise_dataset::Dataset;
use shiftwise_graph::Model;
use shiftwise_quant::{FLOAT_FILE, TENSORS_FILE};
use shiftwise_stage::report::count;
use shiftwise_stage::{
    Begin, ChosenEngine, Context, ExitStatus, ExternalData, Failure, LoadedModel, MODEL_DATA_FILE,
    MODEL_FILE, Progress, Sidecar, data_input, input_specs, load_model, save_model,
};

use crate::checkpoint::{Checkpoint, Done, Record};
use crate::frontier::{BoxError, Frontier, FrontierError, Layer, Options, Pair, Skipped, find_layers};
use crate::least_squares::{Collector, Untunable};
use crate::limits::Limits;
use crate::round::{Found, least_squares};
use crate::tuned::{LayerReport, Outcome};
use crate::{Arguments, FinetuneConfig};

/// The report inside the artifact.
pub const REPORT_FILE: &str = "finetune.json";

/// Files that are written anew; whatever else the artifact holds is passed on.
const OWN_FILES: [&str; 4] = [MODEL_FILE, MODEL_DATA_FILE, TENSORS_FILE, REPORT_FILE];

/// [`REPORT_FILE`].
#[derive(Debug, Serialize)]
struct Report<'a> {
    layers: &'a [LayerReport],
}

/// Finetunes, or goes on where an earlier run was stopped, or says that it is done.
pub fn run(args: &Arguments, context: &Context) -> Result<(), Failure> {
    let resolved = context.resolve::<FinetuneConfig>(&args.flags())?;
    let config = &resolved.options;
    let data = args.data.resolve(context)?;
    let loaded = load_model(&args.model, &[Kind::Quantized])?;
    let artifact = loaded.artifact.as_ref().filter(|a| a.manifest().outputs.contains_key(FLOAT_FILE));
    let artifact = artifact.ok_or_else(|| {
        Failure::input(format!("find the float model of {}", loaded.path.display()))
            .with_help("give the output directory of shiftwise-quantize or shiftwise-npu-check")
    })?;
    let float = Model::load(&artifact.file(FLOAT_FILE)?)?;
    let chosen = args.engine.open(context, &[&loaded.model, &float])?;
    let dataset = data.open(&input_specs(&loaded.model)?)?;
    let places = readable(&dataset, data.skip_bad_samples)?;
    let inputs = BTreeMap::from([
        ("model".to_owned(), loaded.as_input()),
        ("data".to_owned(), data_input(&data, &dataset)?),
    ]);
    let settings = json!({
        "engine": chosen.engine.name(),
        "data": data.config()?,
        "options": resolved.config,
    });
    let work = work_dir(&args.output)?;
    let pending = match context.begin(&args.output, Kind::Quantized, inputs, settings)? {
        Begin::UpToDate(artifact) => return context.print_json(&artifact.manifest().notes),
        Begin::Write(pending) => pending,
    };
    let (layers, skipped) = chosen_layers(&loaded.model, &float, config)?;
    let job = pending.request().key();
    let checkpoint = Checkpoint::open(&work, job)?;
    let tuning =
        Tuning { context, config, chosen: &chosen, dataset: &dataset, places, checkpoint: &checkpoint };
    let (model, done) = tuning.all(&loaded, &float, layers)?;

    let writer = pending.writer()?;
    pass_on(artifact, &writer)?;
    let external =
        ExternalData { always: config.use_external_data_format, threshold: config.external_data_threshold };
    save_model(&writer, &model, external)?;
    let mut sidecar = Sidecar::read(&artifact.file(TENSORS_FILE)?)?;
    note(&mut sidecar, &done)?;
    writer.write_json(TENSORS_FILE, sidecar.json())?;
    let reports: Vec<LayerReport> = done
        .iter()
        .map(|d| d.record.report.clone())
        .chain(skipped.iter().map(|s| LayerReport::skipped(&s.node, &s.op, &s.skipped.reason)))
        .collect();
    writer.write_json(REPORT_FILE, &Report { layers: &reports })?;
    let number = |outcome| reports.iter().filter(|r| r.outcome == outcome).count();
    let seconds: Vec<f64> = done.iter().map(|d| d.record.seconds).collect();
    let notes = BTreeMap::from([
        ("tuned".to_owned(), json!(number(Outcome::Tuned))),
        ("kept".to_owned(), json!(number(Outcome::Kept))),
        ("skipped".to_owned(), json!(number(Outcome::Skipped))),
        ("seconds".to_owned(), json!(seconds)),
    ]);
    let artifact = context.finish(writer, notes)?;
    checkpoint.discard()?;
    context.say(&format!(
        "tuned {}, kept {}, left {} as they are, in {:.1} s",
        count(number(Outcome::Tuned) as u64, "layer"),
        number(Outcome::Kept),
        number(Outcome::Skipped),
        context.started.elapsed().as_secs_f64(),
    ));
    context.print_json(&artifact.manifest().notes)
}

/// Places of the samples to use. Where bad ones are left out, each is tried first.
fn readable(dataset: &Dataset, skip_bad_samples: bool) -> Result<Vec<usize>, Failure> {
    let mut places: Vec<usize> = (0..dataset.len()).collect();
    if skip_bad_samples {
        let mut failed = None;
        places.retain(|&i| match dataset.load(i) {
            Ok(_) => true,
            Err(e) if e.is_bad_sample() => {
                tracing::warn!("left out a sample: {e}");
                false
            }
            Err(e) => {
                failed.get_or_insert(e);
                false
            }
        });
        if let Some(e) = failed {
            return Err(e.into());
        }
    }
    if places.is_empty() {
        return Err(Failure::input("finetune: no sample could be read"));
    }
    Ok(places)
}

/// A node that stays as it is, with its operator.
struct Left {
    op: String,
    node: String,
    skipped: Skipped,
}

/// The layers that the options choose, and nodes that cannot be tuned.
fn chosen_layers(
    quantized: &Model,
    float: &Model,
    config: &FinetuneConfig,
) -> Result<(Vec<Layer>, Vec<Left>), Failure> {
    let (mut layers, skipped) = find_layers(quantized, float);
    let left = skipped.into_iter().map(|skipped| {
        let node = quantized.graph.nodes().find(|(_, n)| n.name == skipped.node);
        let op = node.map(|(_, n)| n.op_type.clone()).unwrap_or_default();
        Left { op, node: skipped.node.clone(), skipped }
    });
    let left: Vec<Left> = left.collect();
    let known: BTreeSet<&str> =
        layers.iter().map(|l| l.node.as_str()).chain(left.iter().map(|l| l.node.as_str())).collect();
    if let Some(unknown) = config.finetune_layers.iter().find(|name| !known.contains(name.as_str())) {
        return Err(Failure::usage(format!("tune layer {unknown:?}: there is no such layer")).with_help(
            "finetune_layers has names of nodes with weights, as in the report of a run over all",
        ));
    }
    let wanted = |name: &str, op: &str| {
        let by_name = config.finetune_layers.is_empty() || config.finetune_layers.iter().any(|l| l == name);
        let by_op = config.finetune_op_types.is_empty() || config.finetune_op_types.iter().any(|t| t == op);
        by_name && by_op
    };
    layers.retain(|l| wanted(&l.node, &l.op_type));
    if layers.is_empty() {
        let why = left.first().map_or("it has no node with quantized weights", |l| &l.skipped.reason);
        return Err(Failure::input(format!("find a layer to tune: {why}")));
    }
    Ok((layers, left))
}

/// Copies what later stages need and this one does not change: the float model, and reports.
fn pass_on(artifact: &Artifact, writer: &Writer) -> Result<(), Failure> {
    for name in artifact.manifest().outputs.keys().filter(|n| !OWN_FILES.contains(&n.as_str())) {
        let (from, to) = (artifact.file(name)?, writer.path(name)?);
        std::fs::copy(&from, &to).map_err(|e| Failure::write(&to, &e))?;
    }
    Ok(())
}

/// Integers that were tuned are their own source from now on: rounding the float tensor would undo them.
fn note(sidecar: &mut Sidecar, done: &[Done]) -> Result<(), Failure> {
    for (name, params) in done.iter().flat_map(|d| &d.record.params) {
        let records = sidecar.records();
        let Some(index) = records.iter().position(|r| r.quantized.as_deref() == Some(name)) else { continue };
        let mut record = records[index].clone();
        record.set_params(*params);
        record.method = format!("{}, tuned by least squares", record.method);
        record.float_source = None;
        sidecar.update(index, record)?;
    }
    Ok(())
}

/// Everything that tuning needs beside the models.
struct Tuning<'a> {
    context: &'a Context,
    config: &'a FinetuneConfig,
    chosen: &'a ChosenEngine,
    dataset: &'a Dataset,
    places: Vec<usize>,
    checkpoint: &'a Checkpoint,
}

impl Tuning<'_> {
    /// Tunes all layers; gives the model, and what was done for each layer.
    fn all(
        &self,
        loaded: &LoadedModel,
        float: &Model,
        layers: Vec<Layer>,
    ) -> Result<(Model, Vec<Done>), Failure> {
        let total = layers.len() as u64;
        let progress = self.context.progress("finetuning", total, "layers");
        let load = |i: usize| -> Result<_, BoxError> { Ok(self.dataset.load(self.places[i])?.inputs) };
        let stops = || self.context.interrupt.requested();
        let folder = self.checkpoint.folder();
        let mut options = Options::in_folder(folder);
        if let Some(bytes) = self.chosen.max_memory() {
            options.max_memory = bytes;
        }
        let model = loaded.model.clone();
        let samples = self.places.len();
        let engine = self.chosen.engine.as_ref();
        let mut limits = Limits::of(&model);
        let mut frontier = Frontier::new(engine, float, model, layers, samples, &load, &stops, options)
            .map_err(|e| failure(&e))?;
        let mut done = self.checkpoint.done(frontier.layers().len());
        for (i, layer) in done.iter().enumerate() {
            frontier.tune(i, layer.constants.clone()).map_err(|e| failure(&e))?;
            remember(&mut limits, frontier.model(), layer);
        }
        if !done.is_empty() {
            self.context.say(&format!("going on after {}", count(done.len() as u64, "layer")));
            progress.resume_at(done.len() as u64);
        }
        for i in done.len()..frontier.layers().len() {
            let started = Instant::now();
            let found = self.one(&mut frontier, i, float, &limits)?;
            let mut constants = Vec::new();
            let mut params = Vec::new();
            for constant in found.constants {
                params.push((constant.integers.clone(), constant.params));
                constants.push((constant.integers, constant.tensor));
                if let (name, Some(scale)) = constant.scale {
                    constants.push((name, scale));
                }
            }
            constants.extend(found.float_bias);
            let record = Record { report: found.report, params, seconds: started.elapsed().as_secs_f64() };
            let layer = Done { constants, record };
            frontier.tune(i, layer.constants.clone()).map_err(|e| failure(&e))?;
            self.checkpoint.keep(i, &layer)?;
            remember(&mut limits, frontier.model(), &layer);
            self.tell(i, total, &layer, &progress);
            done.push(layer);
        }
        Ok((frontier.finish(), done))
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

    /// Walks to a layer and chooses its integers.
    fn one(
        &self,
        frontier: &mut Frontier<'_>,
        i: usize,
        float: &Model,
        limits: &Limits,
    ) -> Result<Found, Failure> {
        let layer = frontier.layers()[i].clone();
        let sampling = self.config.sampling();
        let samples = self.places.len();
        let weights = float.graph.constant(&layer.float_weight);
        let mut collector: Option<Result<(Collector, crate::layer::Op), String>> = None;
        let begin = |x_dims: &[usize]| {
            let op = layer.op(x_dims)?;
            let weights = weights.ok_or("its float weights are no constant")?;
            let values = weights.to_f32().ok_or("its float weights are no floats")?;
            let at = layer.index as u64;
            Collector::new(&op, x_dims, weights.dims(), &values, at, samples, &sampling)
                .map(|collector| (collector, op))
                .map_err(|e: Untunable| e.to_string())
        };
        let visit = |pairs: Vec<Pair>| -> Result<(), FrontierError> {
            for pair in pairs {
                let started = collector.get_or_insert_with(|| begin(pair.x.shape()));
                if let Ok((collector, _)) = started {
                    match (pair.x.as_f32(), pair.y.as_f32()) {
                        (Some(x), Some(y)) => collector.add(pair.sample, x, y),
                        _ => *started = Err("its input or output is not float32".into()),
                    }
                }
            }
            Ok(())
        };
        frontier.layer::<FrontierError>(i, false, visit).map_err(|e| failure(&e))?;
        let skip = |reason: String| Found {
            constants: Vec::new(),
            float_bias: None,
            report: LayerReport::skipped(&layer.node, &layer.op_type, reason),
        };
        let problem = match collector {
            None => return Ok(skip("there are no samples".into())),
            Some(Err(reason)) => return Ok(skip(reason)),
            Some(Ok((collector, op))) => collector.finish().map(|problem| (problem, op)),
        };
        let (problem, op) = match problem {
            Ok(problem) => problem,
            Err(e) => return Ok(skip(e.to_string())),
        };
        let graph = &frontier.model().graph;
        Ok(least_squares(&layer, &op, graph, &problem, limits, &self.config.search()).unwrap_or_else(skip))
    }
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

fn failure(error: &FrontierError) -> Failure {
    match error {
        FrontierError::Interrupted => Failure::interrupted("stopped; the layers that are done are kept")
            .with_help("run the same command again to go on"),
        FrontierError::Load { .. } => Failure::from_error(ExitStatus::Input, error)
            .with_help("repair or remove it, or go on without it: --skip-bad-samples"),
        other => Failure::from_error(ExitStatus::Input, other),
    }
}
