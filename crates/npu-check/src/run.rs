//! The program: reads, checks, adjusts, writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use shiftwise_artifact::{Artifact, Fingerprint, Kind, Writer};
use shiftwise_graph::Model;
use shiftwise_quant::{FLOAT_FILE, TENSORS_FILE};
use shiftwise_stage::report::count;
use shiftwise_stage::{Begin, Context, Failure, Flags, LoadedModel, load_model, model_files, save_model};

use crate::report::LIMITS_FILE;
use crate::{Arguments, NpuCheckConfig, Report, Sidecar, check, check_artifact, fix};

/// Files that are written anew; whatever else the artifact holds is passed on.
const OWN_FILES: [&str; 2] = [TENSORS_FILE, LIMITS_FILE];

/// Checks the model that the arguments name, and adjusts it where that was asked for.
pub fn run(args: &Arguments, context: &Context) -> Result<(), Failure> {
    let resolved = context.resolve::<NpuCheckConfig>(&Flags::new())?;
    let config = &resolved.options;
    let loaded = load_model(&args.model, &[Kind::Quantized])?;
    if let Some(output) = &args.output {
        adjust(&loaded, output, config, resolved.config, context)?;
        return if args.strict { strict(output, config, context) } else { Ok(()) };
    }
    let mut violations = check(&loaded.model, config)?;
    if args.strict {
        violations.extend(contradictions(&loaded)?);
    }
    let failed = violations.len() as u64;
    let report = Report::new(config, violations);
    context.say(&report.text());
    context.print_json(&report)?;
    if args.strict { verdict(failed, &loaded.path) } else { Ok(()) }
}

fn adjust(
    loaded: &LoadedModel,
    output: &Path,
    config: &NpuCheckConfig,
    mut resolved: Value,
    context: &Context,
) -> Result<(), Failure> {
    if let Value::Object(fields) = &mut resolved {
        // The limits decide about the result as options do.
        fields.insert("limits".into(), json!(Fingerprint::of_config(&config.target())?));
    }
    let external = config.external_data()?;
    let inputs = BTreeMap::from([("model".to_owned(), loaded.as_input())]);
    let pending = match context.begin(output, Kind::Quantized, inputs, resolved)? {
        Begin::UpToDate(artifact) => return print_again(&artifact, context),
        Begin::Write(pending) => pending,
    };
    let violations = check(&loaded.model, config)?;
    let sidecar = match sidecar(loaded)? {
        Some(sidecar) => sidecar,
        None => Sidecar::of(&loaded.model.graph),
    };
    let fixed = fix(loaded.model.clone(), sidecar, float(loaded)?.as_ref(), config)?;
    let left = check(&fixed.model, config)?;
    let report = Report::new(config, violations).with_fixed(&fixed, left);

    let writer = pending.writer()?;
    pass_on(loaded.artifact.as_ref(), &writer)?;
    save_model(&writer, &fixed.model, &external)?;
    writer.write_json(TENSORS_FILE, fixed.sidecar.json())?;
    writer.write_json(LIMITS_FILE, &report)?;
    let notes = BTreeMap::from([
        ("violations".to_owned(), json!(report.violations.len())),
        ("adjustments".to_owned(), json!(fixed.adjustments.len())),
        ("requantized".to_owned(), json!(fixed.requantized.len())),
    ]);
    context.say(&report.text());
    context.finish(writer, notes)?;
    context.print_json(&report)
}

/// The report of the run that wrote the artifact.
fn print_again(artifact: &Artifact, context: &Context) -> Result<(), Failure> {
    if !context.common.json {
        return Ok(());
    }
    let path = artifact.file(LIMITS_FILE)?;
    let text = std::fs::read_to_string(&path).map_err(|e| Failure::read(&path, &e))?;
    context.print(&text)
}

/// Copies what later stages need and this one does not change: the float model, and reports.
fn pass_on(artifact: Option<&Artifact>, writer: &Writer) -> Result<(), Failure> {
    let Some(artifact) = artifact else { return Ok(()) };
    let model = model_files(artifact)?;
    let own = |name: &str| OWN_FILES.contains(&name) || model.contains(name);
    for name in artifact.manifest().outputs.keys().filter(|n| !own(n)) {
        let (from, to) = (artifact.file(name)?, writer.path(name)?);
        std::fs::copy(&from, &to).map_err(|e| Failure::write(&to, &e))?;
    }
    Ok(())
}

/// Checks what was written, now or by an earlier run.
fn strict(output: &Path, config: &NpuCheckConfig, context: &Context) -> Result<(), Failure> {
    let loaded = load_model(output, &[Kind::Quantized])?;
    let mut left = check(&loaded.model, config)?;
    left.extend(contradictions(&loaded)?);
    let failed = left.len() as u64;
    if failed > 0 {
        context.say(&Report::new(config, left).text());
    }
    verdict(failed, output)
}

fn verdict(violations: u64, path: &Path) -> Result<(), Failure> {
    if violations == 0 {
        return Ok(());
    }
    Err(Failure::check(format!("{} in {}", count(violations, "violation"), path.display())).with_help(
        "--fix -o DIR moves positions into range; scales that are not powers of two need shiftwise-quantize",
    ))
}

/// Where an artifact contradicts itself; nothing for a mere model.
fn contradictions(loaded: &LoadedModel) -> Result<Vec<crate::Finding>, Failure> {
    let Some(sidecar) = sidecar(loaded)? else { return Ok(Vec::new()) };
    Ok(check_artifact(&loaded.model, &sidecar, float(loaded)?.as_ref()))
}

fn sidecar(loaded: &LoadedModel) -> Result<Option<Sidecar>, Failure> {
    let Some(artifact) = &loaded.artifact else { return Ok(None) };
    Sidecar::read(&artifact.file(TENSORS_FILE)?).map(Some)
}

/// The float model of an artifact, if it has one.
fn float(loaded: &LoadedModel) -> Result<Option<Model>, Failure> {
    let file: Option<PathBuf> = loaded
        .artifact
        .as_ref()
        .filter(|a| a.manifest().outputs.contains_key(FLOAT_FILE))
        .map(|a| a.file(FLOAT_FILE))
        .transpose()?;
    Ok(file.map(|f| Model::load(&f)).transpose()?)
}
