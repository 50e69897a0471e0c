//! The evaluate stage: quantized models against their float model over samples, in one pass.
//!
//! Every sample is decoded once and run through all models; what is kept of it are predictions and distances. The report does
//! not depend on threads, time, or bounds. This stage never changes a model, and never compares what does not belong together.

mod args;
mod bounds;
mod compare;
mod histogram;
mod html;
mod models;
mod report;
mod sample;
mod summary;
mod table;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde_json::json;
use shiftwise_artifact::{Artifact, Fingerprint, Input, Kind, atomic};
use shiftwise_dataset::Dataset;
use shiftwise_graph::Model;
use shiftwise_stage::{Begin, Context, DataConfig, Failure, input_specs};

pub use args::{Arguments, BoundArgs};
pub use bounds::Bounds;
pub use compare::{Comparer, Outcome};
pub use models::{Models, Runnable};
pub use report::{Example, ModelInfo, ModelReport, OutputReport, Report, Samples, Share, Skipped, Spread};
pub use sample::{Distance, ModelRow, Row, Verdict, classes};
pub use summary::{Named, summarize};

/// The report inside an `evaluation` artifact.
pub const REPORT_FILE: &str = "report.json";
/// The same for people.
pub const PAGE_FILE: &str = "report.html";

/// The whole stage.
pub fn run(args: &Arguments, context: &Context) -> Result<(), Failure> {
    let bounds = context.resolve::<Bounds>(&args.bounds.flags())?.options;
    let data = args.data.resolve(context)?;
    let models = Models::load(&args.float, &args.quantized)?;
    let all: Vec<&Model> = models.all().map(|m| &m.model).collect();
    let engine = args.engine.open(context, &all)?.engine;
    let dataset = data.open(&input_specs(&models.float.model)?)?;
    bounds.check(dataset.has_labels())?;

    let config = json!({ "engine": engine.name(), "data": data.config()? });
    let inputs = inputs(&models, &data, &dataset, context)?;
    let report = match context.begin(&args.output, Kind::Evaluation, inputs, config)? {
        Begin::UpToDate(artifact) => read(&artifact)?,
        Begin::Write(pending) => {
            let report = evaluate(&models, &data, &dataset, engine.as_ref(), context)?;
            let writer = pending.writer()?;
            writer.write_json(REPORT_FILE, &report)?;
            atomic::write(&writer.path(PAGE_FILE)?, html::page(&report).as_bytes())?;
            let notes = BTreeMap::from([
                ("samples".to_owned(), json!(report.samples.evaluated)),
                ("skipped_samples".to_owned(), json!(report.samples.skipped.len())),
            ]);
            context.finish(writer, notes)?;
            report
        }
    };
    if context.common.json {
        context.print_json(&report)?;
    } else if !context.common.quiet {
        context.print(&table::text(&report))?;
    }
    bounds.apply(&report)
}

fn evaluate(
    models: &Models,
    data: &DataConfig,
    dataset: &Dataset,
    engine: &dyn shiftwise_engine::Engine,
    context: &Context,
) -> Result<Report, Failure> {
    let runnable = models.prepare(engine)?;
    let outputs: Vec<String> = models.float.model.graph.outputs().iter().map(|o| o.name.clone()).collect();
    let progress = context.progress("evaluating", dataset.len() as u64, "samples");
    let labels = labels_path(data);
    let comparer = Comparer {
        models: &runnable,
        outputs: &outputs,
        dataset,
        skip_bad_samples: data.skip_bad_samples,
        labels: &labels,
        labels_wanted: data.labels.is_some(),
        threads: rayon::current_num_threads(),
        interrupt: &context.interrupt,
        progress: &progress,
    };
    let outcomes = comparer.run()?;
    drop(progress);
    if outcomes.iter().all(|o| matches!(o, Outcome::Skipped(_))) {
        let failure = Failure::input("compare models: no sample could be read");
        return Err(match outcomes.into_iter().next() {
            Some(Outcome::Skipped(reason)) => failure.because(reason),
            _ => failure,
        });
    }
    let all = std::iter::once(&models.float).chain(&models.quantized).zip(models.names());
    let named: Vec<Named> = all
        .map(|(m, name)| Named { name, path: m.path.display().to_string(), fingerprint: m.fingerprint })
        .collect();
    let (float, quantized) = named.split_first().ok_or_else(|| Failure::bug("name the models"))?;
    let ids: Vec<&str> = (0..dataset.len()).map(|i| dataset.id(i)).collect();
    Ok(summarize(engine.name(), float, quantized, &outputs, &ids, outcomes))
}

/// Everything that decides about the report, by role.
fn inputs(
    models: &Models,
    data: &DataConfig,
    dataset: &Dataset,
    context: &Context,
) -> Result<BTreeMap<String, Input>, Failure> {
    let hashes: Vec<Fingerprint> = (0..dataset.len())
        .into_par_iter()
        .map(|i| {
            if context.interrupt.requested() {
                return Err(compare::interrupted("before the first sample"));
            }
            Ok(dataset.fingerprint(i)?)
        })
        .collect::<Result<_, Failure>>()?;
    let samples = hashes.iter().enumerate().map(|(i, hash)| (dataset.id(i), *hash));
    let path = data.data.as_ref().map_or_else(String::new, |p| p.display().to_string());
    let labels: Vec<Option<usize>> = (0..dataset.len()).map(|i| dataset.label(i)).collect();
    let mut inputs = BTreeMap::from([
        ("float".to_owned(), models.float.as_input()),
        ("data".to_owned(), Input { path, fingerprint: Fingerprint::combine("samples", samples) }),
        (
            "labels".to_owned(),
            Input { path: labels_path(data), fingerprint: Fingerprint::of_json(&json!(labels)) },
        ),
    ]);
    for (i, model) in models.quantized.iter().enumerate() {
        inputs.insert(format!("quantized {}", i + 1), model.as_input());
    }
    Ok(inputs)
}

/// Where labels come from: the file that was named, or else what lies beside the samples.
fn labels_path(data: &DataConfig) -> String {
    match (&data.labels, &data.data) {
        (Some(labels), _) => labels.display().to_string(),
        (None, Some(data)) => format!("of {}", data.display()),
        (None, None) => String::new(),
    }
}

fn read(artifact: &Artifact) -> Result<Report, Failure> {
    let path = artifact.file(REPORT_FILE)?;
    let text = std::fs::read(&path).map_err(|e| Failure::read(&path, &e))?;
    serde_json::from_slice(&text).map_err(|e| {
        Failure::input(format!("read {}", path.display()))
            .because(e.to_string())
            .with_help("run again with --force")
    })
}
