//! From the shares of the layers to the model that one machine would have made of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shiftwise_artifact::{Artifact, Fingerprint, Input, Kind};
use shiftwise_graph::{Model, Tensor};
use shiftwise_quant::Position;
use shiftwise_stage::report::count;
use shiftwise_stage::{Begin, Context, Failure, LoadedModel, Part, load_model};

use crate::checkpoint::Done;
use crate::frontier::Layer;
use crate::limits::Limits;
use crate::output::{CONSTANTS_FILE, LAYERS_FILE, PartLayer, constants_of, write_model};
use crate::run::{Source, chosen_layers};
use crate::tuned::Outcome;
use crate::whole::failure;
use crate::{Arguments, FinetuneConfig};

/// Why a layer that was tuned alone is not tuned with the others.
const BROKEN: &str = "its new positions, together with those of other layers, break a limit of the NPU";

/// The setting that tells shares from models, and from each other.
pub(crate) const SETTING: &str = "layers";

/// Joins the shares that the arguments name, or says that it is done.
pub(crate) fn merge(args: &Arguments, context: &Context) -> Result<(), Failure> {
    let given = context.resolve::<FinetuneConfig>(&args.flags())?;
    let loaded = load_model(&args.model, &[Kind::Quantized])?;
    let parts = Parts::open(&args.merge, &loaded)?;
    let common = &context.common;
    let is_given = common.config.is_some() || common.preset.is_some() || !common.set.is_empty();
    if is_given && parts.settings.get("options") != Some(&given.config) {
        return Err(Failure::mismatch("merge shares: options are not those that they were tuned with")
            .with_help("leave options out, as the shares have them, or tune the shares anew"));
    }
    let config = parts.settings.get("options").cloned().unwrap_or_default();
    let config: FinetuneConfig = serde_json::from_value(config).map_err(|e| {
        Failure::mismatch(format!("use {}: its options are not known here", parts.first.display()))
            .because(e.to_string())
    })?;
    let source = Source::new(loaded, &config)?;
    let mut inputs = BTreeMap::from([
        ("model".to_owned(), source.loaded.as_input()),
        ("data".to_owned(), parts.data.clone()),
    ]);
    if source.reference.as_ref().map(|r| r.fingerprint) != parts.reference {
        return Err(Failure::mismatch(
            "merge shares: the model of ref_model_path has changed since they were tuned",
        )
        .with_help("tune all shares anew, with --force"));
    }
    inputs.extend(source.reference.clone().map(|reference| ("reference".to_owned(), reference)));
    let pending = match context.begin(&args.output, Kind::Quantized, inputs, parts.settings.clone())? {
        Begin::UpToDate(artifact) => return context.print_json(&artifact.manifest().notes),
        Begin::Write(pending) => pending,
    };
    let (layers, left) = chosen_layers(&source, &config)?;
    let done = parts.layers(&layers)?;
    let (model, done) = settle(&source.loaded.model, &layers, done)?;
    let artifact = write_model(context, &pending, &config, source.artifact()?, &model, &done, &left)?;
    context.print_json(&artifact.manifest().notes)
}

/// Shares that make a whole.
struct Parts<'a> {
    /// What the finetuned model is made by: the settings of each share, without its number.
    settings: Value,
    data: Input,
    reference: Option<Fingerprint>,
    first: &'a Path,
    /// By number.
    opened: BTreeMap<Part, (&'a Path, Artifact)>,
}

impl<'a> Parts<'a> {
    /// Opens shares. They must be all of one tuning of this model.
    fn open(paths: &'a [PathBuf], loaded: &LoadedModel) -> Result<Self, Failure> {
        let mut found: Option<Self> = None;
        for path in paths {
            let refuse = |why: String| Failure::mismatch(format!("use {} as a share: {why}", path.display()));
            if !path.exists() {
                return Err(Failure::input(format!("read {}: there is no such share", path.display()))
                    .with_help("name what shiftwise-finetune --layers wrote with -o"));
            }
            let artifact = Artifact::open(path, Kind::Layers)?;
            artifact.verify()?;
            let manifest = artifact.manifest();
            let mut settings = manifest.config.clone();
            let part = settings.as_object_mut().and_then(|settings| settings.remove(SETTING));
            let part = part.as_ref().and_then(Value::as_str).and_then(|part| part.parse::<Part>().ok());
            let (Some(part), Some(data)) = (part, manifest.inputs.get("data").cloned()) else {
                return Err(refuse("its manifest does not say which it is".into()));
            };
            if manifest.inputs.get("model").map(|model| model.fingerprint) != Some(loaded.fingerprint) {
                let model = loaded.path.display();
                return Err(refuse(format!("it was tuned for another model than {model}")));
            }
            let reference = manifest.inputs.get("reference").map(|reference| reference.fingerprint);
            let Some(this) = &mut found else {
                let opened = BTreeMap::from([(part, (path.as_path(), artifact))]);
                found = Some(Self { settings, data, reference, first: path, opened });
                continue;
            };
            let other = this.first.display();
            let of = this.opened.keys().next().map_or(0, |part| part.of);
            if data.fingerprint != this.data.fingerprint {
                return Err(refuse(format!("it was tuned on other samples than {other}")));
            }
            if reference != this.reference {
                return Err(refuse(format!("it was tuned towards another reference model than {other}")));
            }
            if let Some(differs) = difference(&this.settings, &settings) {
                return Err(refuse(format!("{differs} differs from that of {other}")));
            }
            if part.of != of {
                return Err(refuse(format!("it is share {part}, but {other} is one of {of}")));
            }
            if let Some((first, _)) = this.opened.get(&part) {
                return Err(refuse(format!("it is share {part}, and so is {}", first.display())));
            }
            this.opened.insert(part, (path, artifact));
        }
        let found = found.ok_or_else(|| Failure::usage("merge shares: none is given"))?;
        let of = found.opened.keys().next().map_or(0, |part| part.of);
        let missing: Vec<Part> = Part::all(of).filter(|part| !found.opened.contains_key(part)).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let number = count(missing.len() as u64, "share");
        let again: Vec<String> = missing.iter().map(|part| format!("--layers {part}")).collect();
        Err(Failure::mismatch(format!("merge shares: {number} of {of} missing"))
            .with_help(format!("tune with {}, and name the outputs here, too", again.join(", "))))
    }

    /// What was found for each layer. Together the shares must have these layers, no more and no less.
    fn layers(&self, layers: &[Layer]) -> Result<Vec<Done>, Failure> {
        let mut done = Vec::with_capacity(layers.len());
        for (path, artifact) in self.opened.values() {
            let refuse = |why: String| {
                Failure::mismatch(format!("use {} as a share: {why}", path.display()))
                    .with_help("tune all shares anew with one version of the program, with --force")
            };
            let file = artifact.file(LAYERS_FILE)?;
            let text = std::fs::read(&file).map_err(|e| Failure::read(&file, &e))?;
            let lines: Vec<PartLayer> = serde_json::from_slice(&text).map_err(|e| refuse(e.to_string()))?;
            let constants = Model::load(&artifact.file(CONSTANTS_FILE)?)?;
            for line in lines {
                let name = &line.record.report.node;
                let next = layers.get(done.len());
                if next.is_none_or(|next| next.index != line.index || next.node != *name) {
                    let next = next.map_or("no layer".to_owned(), |layer| format!("{:?}", layer.node));
                    return Err(refuse(format!("it has layer {name:?} where the model has {next}")));
                }
                let found = constants_of(&constants, &line.constants);
                let found = found.ok_or_else(|| refuse(format!("it has no constants of layer {name:?}")))?;
                done.push(Done { constants: found, record: line.record });
            }
        }
        match layers.get(done.len()) {
            None => Ok(done),
            Some(layer) => Err(Failure::mismatch(format!("merge shares: none has layer {:?}", layer.node))
                .with_help("tune all shares anew with one version of the program, with --force")),
        }
    }
}

/// The first setting, as a path, in which two configurations differ.
fn difference(a: &Value, b: &Value) -> Option<String> {
    let (Value::Object(a), Value::Object(b)) = (a, b) else { return (a != b).then(String::new) };
    let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
    keys.into_iter().find_map(|key| {
        let inner = difference(a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null))?;
        Some(if inner.is_empty() { key.clone() } else { format!("{key}.{inner}") })
    })
}

/// Gives a model the constants that were found for each layer as if it were the only one.
///
/// Each kept the limits of the NPU with the other layers as they were. One that breaks them with what the layers before it have become
/// stays as it was, and its report says so.
pub(crate) fn settle(
    model: &Model,
    layers: &[Layer],
    mut done: Vec<Done>,
) -> Result<(Model, Vec<Done>), Failure> {
    let mut model = model.clone();
    let mut limits = Limits::of(&model);
    for (layer, done) in layers.iter().zip(&mut done) {
        let moves = moves(&limits, &done.constants);
        let allowed = moves.as_ref().is_some_and(|moves| moves.is_empty() || limits.allow(moves));
        if allowed {
            for (scale, position) in moves.unwrap_or_default() {
                limits.set(scale, position);
            }
        } else {
            give_up(done);
            tracing::warn!("layer {:?} is kept as it was: {BROKEN}", layer.node);
        }
        layer.give(&mut model, &done.constants).map_err(|e| failure(&e, &|i| i.to_string()))?;
    }
    Ok((model, done))
}

/// The scales that constants move, and where to; nothing where one that is bound to powers of two is none.
fn moves<'a>(limits: &Limits, constants: &'a [(String, Tensor)]) -> Option<Vec<(&'a str, Position)>> {
    let mut moves = Vec::new();
    for (name, tensor) in constants {
        if let Some(old) = limits.position(name) {
            let new = tensor.scalar_f32().and_then(Position::of)?;
            if new != old {
                moves.push((name.as_str(), new));
            }
        }
    }
    Some(moves)
}

/// The layer stays as it was.
fn give_up(done: &mut Done) {
    done.constants.clear();
    done.record.params.clear();
    let report = &mut done.record.report;
    report.outcome = Outcome::Kept;
    report.reason = Some(BROKEN.into());
    (report.method, report.iterations) = (None, None);
    report.after = report.before;
    report.changed = 0;
    report.moved = None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Record;
    use crate::frontier::find_layers;
    use crate::tuned::{LayerReport, Share};
    use shiftwise_graph::Builder;
    use shiftwise_quant::{QParams, QuantType};

    /// Two convolutions after each other, as floats and quantized, with all positions 4.
    fn models() -> [Model; 2] {
        let dims = [1, 1, 2, 2];
        let weights = || Tensor::f32(&[1, 1, 1, 1], &[0.5]);
        let float = Builder::new()
            .input("x", &dims)
            .constant("w", weights())
            .constant("v", weights())
            .node("Conv", &["x", "w"], &["y"])
            .node("Conv", &["y", "v"], &["z"])
            .build(&[("z", &dims)], 13);
        let mut quantized = Builder::new().input("x", &dims);
        for name in ["x", "y", "z", "w", "v"] {
            quantized = quantized.constant(&format!("{name}_scale"), Tensor::f32(&[], &[0.0625]));
        }
        let quantized = quantized
            .constant("zero", Tensor::i8(&[], &[0]))
            .constant("w_quantized", Tensor::i8(&[1, 1, 1, 1], &[8]))
            .constant("v_quantized", Tensor::i8(&[1, 1, 1, 1], &[8]))
            .node("QuantizeLinear", &["x", "x_scale", "zero"], &["x_q"])
            .node("DequantizeLinear", &["x_q", "x_scale", "zero"], &["x_d"])
            .node("DequantizeLinear", &["w_quantized", "w_scale", "zero"], &["w_d"])
            .node("DequantizeLinear", &["v_quantized", "v_scale", "zero"], &["v_d"])
            .node("Conv", &["x_d", "w_d"], &["y"])
            .node("QuantizeLinear", &["y", "y_scale", "zero"], &["y_q"])
            .node("DequantizeLinear", &["y_q", "y_scale", "zero"], &["y_d"])
            .node("Conv", &["y_d", "v_d"], &["z"])
            .node("QuantizeLinear", &["z", "z_scale", "zero"], &["z_q"])
            .node("DequantizeLinear", &["z_q", "z_scale", "zero"], &["z_d"])
            .build(&[("z_d", &dims)], 13);
        [float, quantized]
    }

    fn tuned(name: &str, position: i32) -> Done {
        let at = Position::new(position);
        let [scale, integers] = ["scale", "quantized"].map(|what| format!("{name}_{what}"));
        let constants = vec![
            (integers.clone(), Tensor::i8(&[1, 1, 1, 1], &[7])),
            (scale, Tensor::f32(&[], &[at.scale()])),
        ];
        let report = LayerReport {
            outcome: Outcome::Tuned,
            reason: None,
            before: Some(Share { fitted: 0.5, held_out: 0.5 }),
            after: Some(Share { fitted: 0.25, held_out: 0.25 }),
            changed: 1,
            weights: 1,
            moved: Some((Position::new(4), at)),
            ..LayerReport::skipped(name, "Conv", "")
        };
        let params = vec![(integers, QParams::at(QuantType::Int8, at))];
        Done { constants, record: Record { report, params, seconds: 0.0 } }
    }

    #[test]
    fn moves_that_break_a_limit_are_taken_back_and_said() {
        let [float, quantized] = models();
        let (layers, skipped) = find_layers(&quantized, &float);
        assert_eq!((layers.len(), skipped.len()), (2, 0));
        let done = vec![tuned("w", 90), tuned("v", 5)];
        let (model, done) = settle(&quantized, &layers, done).unwrap();
        let constant = |model: &Model, name: &str| model.graph.constant(name).cloned();
        for name in ["w_quantized", "w_scale"] {
            assert_eq!(constant(&model, name), constant(&quantized, name), "{name}");
        }
        assert_eq!(constant(&model, "v_quantized"), Some(Tensor::i8(&[1, 1, 1, 1], &[7])));
        assert_eq!(constant(&model, "v_scale"), Some(Tensor::f32(&[], &[0.03125])));
        let report = &done[0].record.report;
        assert_eq!((report.outcome, report.reason.as_deref()), (Outcome::Kept, Some(BROKEN)));
        assert_eq!((report.after, report.changed, report.moved), (report.before, 0, None));
        assert!(done[0].constants.is_empty() && done[0].record.params.is_empty());
        assert_eq!(done[1].record.report.outcome, Outcome::Tuned);
    }

    #[test]
    fn a_scale_that_is_no_power_of_two_any_more_is_taken_back() {
        let [float, quantized] = models();
        let (layers, _) = find_layers(&quantized, &float);
        let mut odd = tuned("w", 4);
        odd.constants[1].1 = Tensor::f32(&[], &[0.1]);
        let (model, done) = settle(&quantized, &layers, vec![odd, tuned("v", 4)]).unwrap();
        assert_eq!(done[0].record.report.outcome, Outcome::Kept);
        assert_eq!(model.graph.constant("w_scale"), quantized.graph.constant("w_scale"));
    }

    #[test]
    fn what_differs_has_a_path() {
        let a = serde_json::json!({ "engine": "embedded", "options": { "finetune_seed": 0, "x": 1 } });
        let mut b = a.clone();
        assert_eq!(difference(&a, &b), None);
        b["options"]["finetune_seed"] = 1.into();
        assert_eq!(difference(&a, &b).as_deref(), Some("options.finetune_seed"));
        b = a.clone();
        b["engine"] = "ort".into();
        assert_eq!(difference(&a, &b).as_deref(), Some("engine"));
    }
}
