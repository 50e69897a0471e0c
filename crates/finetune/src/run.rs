//! The program: reads, tunes layer by layer, writes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;
use shiftwise_artifact::{Artifact, Kind, Writer, work_dir};
use shiftwise_dataset::Dataset;
use shiftwise_graph::Model;
use shiftwise_quant::{FLOAT_FILE, TENSORS_FILE};
use shiftwise_stage::report::count;
use shiftwise_stage::{
    Begin, Context, ExternalData, Failure, MODEL_DATA_FILE, MODEL_FILE, Sidecar, data_input, input_specs,
    load_model, save_model,
};

use crate::checkpoint::{Checkpoint, Done};
use crate::frontier::{Layer, Skipped, find_layers};
use crate::tuned::{LayerReport, Outcome};
use crate::tuning::Tuning;
use crate::{Algorithm, Arguments, FinetuneConfig};

/// The report inside the artifact.
pub const REPORT_FILE: &str = "finetune.json";

/// Files that are written anew; whatever else the artifact holds is passed on.
const OWN_FILES: [&str; 4] = [MODEL_FILE, MODEL_DATA_FILE, TENSORS_FILE, REPORT_FILE];

/// [`REPORT_FILE`].
#[derive(Debug, Serialize)]
struct Report<'a> {
    algorithm: Algorithm,
    layers: &'a [LayerReport],
}

/// Finetunes, or goes on where an earlier run was stopped, or says that it is done.
pub fn run(args: &Arguments, context: &Context) -> Result<(), Failure> {
    let resolved = context.resolve::<FinetuneConfig>(&args.flags())?;
    let config = &resolved.options;
    let training = config.algorithm.trains().then(|| config.training()).transpose();
    let training = training.map_err(|e| Failure::usage(format!("read option {e}")))?;
    let data = args.data.resolve(context)?;
    let loaded = load_model(&args.model, &[Kind::Quantized])?;
    let artifact = loaded.artifact.as_ref().filter(|a| a.manifest().outputs.contains_key(FLOAT_FILE));
    let artifact = artifact.ok_or_else(|| {
        Failure::input(format!("find the float model of {}", loaded.path.display()))
            .with_help("give the output directory of shiftwise-quantize or shiftwise-npu-check")
    })?;
    let reference = config.ref_model_path.as_deref().map(|path| load_model(path, &[Kind::Prepared]));
    let reference = reference.transpose()?;
    let float = match &reference {
        Some(reference) => reference.model.clone(),
        None => Model::load(&artifact.file(FLOAT_FILE)?)?,
    };
    let chosen = args.engine.open(context, &[&loaded.model, &float])?;
    let dataset = data.open(&input_specs(&loaded.model)?)?;
    let mut places = readable(&dataset, data.skip_bad_samples)?;
    if let Some(most) = config.data_size {
        places.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
    let mut inputs = BTreeMap::from([
        ("model".to_owned(), loaded.as_input()),
        ("data".to_owned(), data_input(&data, &dataset)?),
    ]);
    inputs.extend(reference.as_ref().map(|reference| ("reference".to_owned(), reference.as_input())));
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
    let tuning = Tuning {
        context,
        config,
        training,
        chosen: &chosen,
        dataset: &dataset,
        places,
        checkpoint: &checkpoint,
    };
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
    writer.write_json(REPORT_FILE, &Report { algorithm: config.algorithm, layers: &reports })?;
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
    let changed = done.iter().flat_map(|d| d.record.params.iter().map(|params| (params, &d.record.report)));
    for ((name, params), report) in changed {
        let records = sidecar.records();
        let Some(index) = records.iter().position(|r| r.quantized.as_deref() == Some(name)) else { continue };
        let mut record = records[index].clone();
        record.set_params(*params);
        record.method =
            format!("{}, tuned by {}", record.method, report.method.as_deref().unwrap_or_default());
        record.float_source = None;
        sidecar.update(index, record)?;
    }
    Ok(())
}
