//! The program: reads, prepares, writes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shiftwise_artifact::{Artifact, Kind, MANIFEST_FILE};
use shiftwise_engine::{Engine, embedded};
use shiftwise_stage::{Begin, Context, Failure, load_model, load_stats, save_model};

use crate::{Arguments, PreprocessConfig, prepare_with};

/// What each pass did or declined, in a `prepared` artifact.
pub const REWRITES_FILE: &str = "rewrites.json";

/// Prepares the model that the arguments name, unless that was done before.
pub fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let resolved = context.resolve::<PreprocessConfig>(&arguments.flags()?)?;
    let external = resolved.options.external_data()?;
    let engine = embedded();
    // Shapes of a file are inferred on the way, as options say.
    let kinds: &[Kind] = if arguments.model.join(MANIFEST_FILE).exists() { &[Kind::Prepared] } else { &[] };
    let loaded = load_model(&arguments.model, kinds)?;
    let statistics = match (&arguments.stats, resolved.options.range_safe_equalization) {
        (Some(dir), true) => Some(load_stats(dir, &loaded)?),
        (None, false) => None,
        (None, true) => {
            return Err(Failure::usage("equalize: range_safe_equalization needs statistics of the model")
                .with_help(
                    "collect them on the prepared model, then prepare that once more with --stats DIR",
                ));
        }
        (Some(_), false) => {
            return Err(Failure::usage("use --stats: range_safe_equalization = false was set"));
        }
    };

    let mut config = resolved.config;
    if let Value::Object(fields) = &mut config {
        // It computes the constants.
        fields.insert("engine".into(), engine.name().into());
    }
    let mut inputs = BTreeMap::from([("model".to_owned(), loaded.as_input())]);
    inputs.extend(statistics.as_ref().map(|s| ("stats".to_owned(), s.as_input())));
    let pending = match context.begin(&arguments.output, Kind::Prepared, inputs, config)? {
        Begin::UpToDate(artifact) => return print_again(&artifact, context),
        Begin::Write(pending) => pending,
    };

    let stats = statistics.as_ref().map(|s| &s.stats);
    let prepared = prepare_with(loaded.model, &resolved.options, &engine, stats)?;
    for warning in &prepared.rewrites.warnings {
        tracing::warn!("{warning}");
    }
    let writer = pending.writer()?;
    save_model(&writer, &prepared.model, &external)?;
    writer.write_json(REWRITES_FILE, &prepared.rewrites)?;
    context.say(&prepared.rewrites.summary());
    let notes = BTreeMap::from([
        ("nodes_before".to_owned(), json!(prepared.rewrites.nodes_before)),
        ("nodes_after".to_owned(), json!(prepared.rewrites.nodes_after)),
    ]);
    context.finish(writer, notes)?;
    context.print_json(&prepared.rewrites)
}

/// The report of the run that wrote the artifact.
fn print_again(artifact: &Artifact, context: &Context) -> Result<(), Failure> {
    if !context.common.json {
        return Ok(());
    }
    let path = artifact.file(REWRITES_FILE)?;
    let text = std::fs::read_to_string(&path).map_err(|e| Failure::read(&path, &e))?;
    context.print(&text)
}
