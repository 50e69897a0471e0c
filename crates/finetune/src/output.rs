//! What a run leaves: a finetuned model with its report, or the constants of a share of the layers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use shiftwise_artifact::{Artifact, Writer};
use shiftwise_graph::{Builder, Model, Tensor};
use shiftwise_quant::{TENSORS_FILE, TensorRecord};
use shiftwise_stage::report::count;
use shiftwise_stage::{
    Context, ExternalData, Failure, Pending, Sidecar, model_files, save_model, save_model_as,
};

use crate::checkpoint::{Done, Record};
use crate::frontier::Layer;
use crate::run::Left;
use crate::tuned::{LayerReport, Outcome};
use crate::{Algorithm, FinetuneConfig};

/// The report inside the artifact.
pub const REPORT_FILE: &str = "finetune.json";

/// What is known of the layers of a share beside their constants.
pub(crate) const LAYERS_FILE: &str = "layers.json";
/// The constants of a share: a model of nothing else.
pub(crate) const CONSTANTS_FILE: &str = "constants.onnx";

/// Files that are written anew; whatever else the artifact holds is passed on.
const OWN_FILES: [&str; 2] = [TENSORS_FILE, REPORT_FILE];

/// [`REPORT_FILE`].
#[derive(Debug, Serialize)]
struct Report<'a> {
    algorithm: Algorithm,
    layers: &'a [LayerReport],
}

/// A line of [`LAYERS_FILE`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PartLayer {
    /// Place among the layers of the model.
    pub(crate) index: usize,
    /// Names of its constants that are in [`CONSTANTS_FILE`].
    pub(crate) constants: Vec<String>,
    /// The rest.
    pub(crate) record: Record,
}

/// Writes the finetuned model: `artifact` is what it was made from.
pub(crate) fn write_model(
    context: &Context,
    pending: &Pending,
    config: &FinetuneConfig,
    artifact: &Artifact,
    model: &Model,
    done: &[Done],
    left: &[Left],
) -> Result<Artifact, Failure> {
    let writer = pending.writer()?;
    pass_on(artifact, &writer)?;
    save_model(&writer, model, &config.external_data()?)?;
    let mut sidecar = Sidecar::read(&artifact.file(TENSORS_FILE)?)?;
    note(&mut sidecar, done)?;
    writer.write_json(TENSORS_FILE, sidecar.json())?;
    let reports: Vec<LayerReport> = done
        .iter()
        .map(|d| d.record.report.clone())
        .chain(left.iter().map(|s| LayerReport::skipped(&s.node, &s.op, &s.reason)))
        .collect();
    writer.write_json(REPORT_FILE, &Report { algorithm: config.algorithm, layers: &reports })?;
    let artifact = context.finish(writer, notes(&reports, done))?;
    say(context, &reports, "");
    Ok(artifact)
}

/// Writes what was found for a share of the layers.
pub(crate) fn write_part(
    context: &Context,
    pending: &Pending,
    layers: &[Layer],
    done: &[Done],
) -> Result<Artifact, Failure> {
    let writer = pending.writer()?;
    let mut builder = Builder::new();
    for (name, tensor) in done.iter().flat_map(|d| &d.constants) {
        builder = builder.constant(name, tensor.clone());
    }
    save_model_as(&writer, CONSTANTS_FILE, &builder.build(&[], 13), &ExternalData::default())?;
    let lines = layers.iter().zip(done).map(|(layer, done)| PartLayer {
        index: layer.index,
        constants: done.constants.iter().map(|(name, _)| name.clone()).collect(),
        record: done.record.clone(),
    });
    writer.write_json(LAYERS_FILE, &lines.collect::<Vec<_>>())?;
    let reports: Vec<LayerReport> = done.iter().map(|d| d.record.report.clone()).collect();
    let artifact = context.finish(writer, notes(&reports, done))?;
    say(context, &reports, "; --merge makes a model of all shares");
    Ok(artifact)
}

fn number(reports: &[LayerReport], outcome: Outcome) -> usize {
    reports.iter().filter(|r| r.outcome == outcome).count()
}

fn notes(reports: &[LayerReport], done: &[Done]) -> BTreeMap<String, serde_json::Value> {
    let seconds: Vec<f64> = done.iter().map(|d| d.record.seconds).collect();
    BTreeMap::from([
        ("tuned".to_owned(), json!(number(reports, Outcome::Tuned))),
        ("kept".to_owned(), json!(number(reports, Outcome::Kept))),
        ("skipped".to_owned(), json!(number(reports, Outcome::Skipped))),
        ("seconds".to_owned(), json!(seconds)),
    ])
}

fn say(context: &Context, reports: &[LayerReport], more: &str) {
    context.say(&format!(
        "tuned {}, kept {}, left {} as they are, in {:.1} s{more}",
        count(number(reports, Outcome::Tuned) as u64, "layer"),
        number(reports, Outcome::Kept),
        number(reports, Outcome::Skipped),
        context.started.elapsed().as_secs_f64(),
    ));
}

/// The constants of a layer of a share, by the names that are given.
pub(crate) fn constants_of(model: &Model, names: &[String]) -> Option<Vec<(String, Tensor)>> {
    names.iter().map(|name| Some((name.clone(), model.graph.initializer(name)?.clone()))).collect()
}

/// Copies what later stages need and this one does not change: the float model, and reports.
fn pass_on(artifact: &Artifact, writer: &Writer) -> Result<(), Failure> {
    let model = model_files(artifact)?;
    let own = |name: &str| OWN_FILES.contains(&name) || model.contains(name);
    for name in artifact.manifest().outputs.keys().filter(|n| !own(n)) {
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
        let ours = |r: &TensorRecord| r.quantized.as_ref().unwrap_or(&r.scale_name) == name;
        let Some(index) = records.iter().position(ours) else { continue };
        let mut record = records[index].clone();
        record.set_params(*params);
        record.method =
            format!("{}, tuned by {}", record.method, report.method.as_deref().unwrap_or_default());
        record.float_source = None;
        sidecar.update(index, record)?;
    }
    Ok(())
}
