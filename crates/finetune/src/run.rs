//! The program: reads, tunes layer by layer, writes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use shiftwise_artifact::{Artifact, Input, Kind, MANIFEST_FILE, work_dir};
use shiftwise_dataset::Dataset;
use shiftwise_graph::Model;
use shiftwise_quant::FLOAT_FILE;
use shiftwise_stage::report::count;
use shiftwise_stage::{Begin, Context, Failure, LoadedModel, Part, data_input, input_specs, load_model};

use crate::checkpoint::Checkpoint;
use crate::frontier::{FloatInput, Layer, find_layers};
use crate::merge::{SETTING, merge, settle};
use crate::output::{write_model, write_part};
use crate::shares::{costs, cut};
use crate::tuning::Tuning;
use crate::{Arguments, FinetuneConfig, unread};

/// Finetunes a model or a share of its layers, or joins shares.
pub fn run(args: &Arguments, context: &Context) -> Result<(), Failure> {
    if args.merge.is_empty() { tune(args, context) } else { merge(args, context) }
}

/// Finetunes, or goes on where an earlier run was stopped, or says that it is done.
fn tune(args: &Arguments, context: &Context) -> Result<(), Failure> {
    let resolved = context.resolve::<FinetuneConfig>(&args.flags())?;
    let config = &resolved.options;
    unread::check(context, &args.flags(), config)?;
    config.external_data()?;
    if args.layers.is_some() {
        check_alone(config)?;
    }
    let training = config.algorithm.trains().then(|| config.training()).transpose();
    let training = training.map_err(|e| Failure::usage(format!("read option {e}")))?;
    let data = args.data.resolve(context)?;
    let source = Source::new(load_model(&args.model, &[Kind::Quantized])?, config)?;
    let Source { loaded, float, reference } = &source;
    let chosen = args.engine.open(context, &[&loaded.model, float])?;
    let dataset = data.open(&input_specs(&loaded.model)?)?;
    let mut places = readable(&dataset, data.skip_bad_samples)?;
    if let Some(most) = config.data_size {
        places.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
    spread(&mut places);
    let mut inputs = BTreeMap::from([
        ("model".to_owned(), loaded.as_input()),
        ("data".to_owned(), data_input(&data, &dataset)?),
    ]);
    inputs.extend(reference.clone().map(|reference| ("reference".to_owned(), reference)));
    let mut settings = json!({
        "engine": chosen.engine.name(),
        "data": data.config()?,
        "options": resolved.config,
    });
    let mut kind = Kind::Quantized;
    if let Some(part) = args.layers {
        settings[SETTING] = json!(part.to_string());
        kind = Kind::Layers;
    }
    let work = work_dir(&args.output)?;
    let pending = match context.begin(&args.output, kind, inputs, settings)? {
        Begin::UpToDate(artifact) => return context.print_json(&artifact.manifest().notes),
        Begin::Write(pending) => pending,
    };
    let (mut layers, left) = chosen_layers(&source, config)?;
    if let Some(part) = args.layers {
        layers = share(part, &source, layers, places.len(), config)?;
    }
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
    let (model, done) = tuning.all(loaded, float, layers.clone())?;
    let artifact = if args.layers.is_some() {
        write_part(context, &pending, &layers, &done)?
    } else {
        let (model, done) =
            if config.finetune_float_inputs { settle(&loaded.model, &layers, done)? } else { (model, done) };
        write_model(context, &pending, config, source.artifact()?, &model, &done, &left)?
    };
    checkpoint.discard()?;
    context.print_json(&artifact.manifest().notes)
}

/// Whether the options let layers be tuned without each other.
fn check_alone(config: &FinetuneConfig) -> Result<(), Failure> {
    let (option, why) = if !config.finetune_float_inputs {
        (
            "finetune_float_inputs=false",
            "a layer that reads what the layers before it give has to wait for them",
        )
    } else if config.selective_update {
        ("selective_update=true", "whether the whole model comes nearer depends on the other layers")
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!("tune a share of the layers with {option}: {why}"))
        .with_help("leave the option or --layers out"))
}

/// A quantized model and the float model that it is to come near to.
pub(crate) struct Source {
    pub(crate) loaded: LoadedModel,
    pub(crate) float: Model,
    /// The float model, where it is not the one that was quantized.
    pub(crate) reference: Option<Input>,
}

impl Source {
    pub(crate) fn new(loaded: LoadedModel, config: &FinetuneConfig) -> Result<Self, Failure> {
        let own = with_float(&loaded)?.file(FLOAT_FILE)?;
        let reference = config.ref_model_path.as_deref().map(|path| load_model(path, &[Kind::Prepared]));
        let (float, reference) = match reference.transpose()? {
            Some(reference) => (reference.model.clone(), Some(reference.as_input())),
            None => (Model::load(&own)?, None),
        };
        Ok(Self { loaded, float, reference })
    }

    /// The artifact of the quantized model.
    pub(crate) fn artifact(&self) -> Result<&Artifact, Failure> {
        with_float(&self.loaded)
    }
}

fn with_float(loaded: &LoadedModel) -> Result<&Artifact, Failure> {
    let artifact = loaded.artifact.as_ref().filter(|a| a.manifest().outputs.contains_key(FLOAT_FILE));
    artifact.ok_or_else(|| {
        let path = loaded.path.display();
        let quantized = loaded.model.graph.nodes().any(|(_, node)| node.op_type == "DequantizeLinear");
        let (goal, why) = if quantized {
            (
                format!("find the float model of {path}"),
                "it is beside the quantized one in the directory of an artifact",
            )
        } else {
            (format!("finetune {path}: it is not quantized"), "it has no DequantizeLinear node")
        };
        let folder = loaded.path.parent().filter(|dir| quantized && dir.join(MANIFEST_FILE).exists());
        Failure::input(goal).because(why).with_help(folder.map_or_else(
            || "give the output directory of shiftwise-quantize or shiftwise-npu-check".to_owned(),
            |dir| format!("give the directory itself: {}", dir.display()),
        ))
    })
}

/// Brings samples into an order that says nothing: the first of them are to stand for all.
fn spread(places: &mut [usize]) {
    let spread = |i: &usize| (*i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    places.sort_by_key(|i| (spread(i), *i));
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

/// A node that stays as it is.
pub(crate) struct Left {
    pub(crate) op: String,
    pub(crate) node: String,
    pub(crate) reason: String,
}

/// The layers that the options choose, and nodes that cannot be tuned.
pub(crate) fn chosen_layers(
    source: &Source,
    config: &FinetuneConfig,
) -> Result<(Vec<Layer>, Vec<Left>), Failure> {
    let quantized = &source.loaded.model;
    let (mut layers, skipped) = find_layers(quantized, &source.float);
    let left = skipped.into_iter().map(|skipped| {
        let node = quantized.graph.nodes().find(|(_, n)| n.name == skipped.node);
        let op = node.map(|(_, n)| n.op_type.clone()).unwrap_or_default();
        Left { op, node: skipped.node, reason: skipped.reason }
    });
    let mut left: Vec<Left> = left.collect();
    if config.finetune_float_inputs {
        layers.retain(|layer| match FloatInput::of(&quantized.graph, layer) {
            Ok(_) => true,
            Err(reason) => {
                left.push(Left { op: layer.op_type.clone(), node: layer.node.clone(), reason });
                false
            }
        });
    }
    let known: BTreeSet<&str> =
        layers.iter().map(|l| l.node.as_str()).chain(left.iter().map(|l| l.node.as_str())).collect();
    if let Some(unknown) = config.finetune_layers.iter().find(|name| !known.contains(name.as_str())) {
        return Err(Failure::usage(format!("tune layer {unknown:?}: there is no such layer")).with_help(
            "finetune_layers has names of nodes with weights, as in the report of a run over all",
        ));
    }
    let ops: BTreeSet<&str> = layers.iter().map(|l| l.op_type.as_str()).collect();
    let types = &config.finetune_op_types;
    if !types.is_empty() && !ops.is_empty() && !types.iter().any(|op| ops.contains(op.as_str())) {
        let ops: Vec<&str> = ops.into_iter().collect();
        return Err(Failure::usage(format!(
            "tune {}: the model has no such layer to tune",
            types.join(", ")
        ))
        .with_help(format!("finetune_op_types may name {}", ops.join(", "))));
    }
    let wanted = |name: &str, op: &str| {
        let by_name = config.finetune_layers.is_empty() || config.finetune_layers.iter().any(|l| l == name);
        let by_op = config.finetune_op_types.is_empty() || config.finetune_op_types.iter().any(|t| t == op);
        by_name && by_op
    };
    layers.retain(|l| wanted(&l.node, &l.op_type));
    if layers.is_empty() {
        let why = left.first().map_or("it has no node with quantized weights", |l| &l.reason);
        return Err(Failure::input(format!("find a layer to tune: {why}")));
    }
    Ok((layers, left))
}

/// The layers of a share.
fn share(
    part: Part,
    source: &Source,
    layers: Vec<Layer>,
    samples: usize,
    config: &FinetuneConfig,
) -> Result<Vec<Layer>, Failure> {
    if part.of > layers.len() as u64 {
        let layers = count(layers.len() as u64, "layer");
        return Err(Failure::usage(format!("tune share {part}: the model has {layers} to tune"))
            .with_help("make fewer shares"));
    }
    let costs = costs(&source.float, &layers, samples, config.sampling().positions);
    tracing::debug!("estimated costs of layers: {costs:?}");
    let range = cut(&costs, part.of as usize).into_iter().nth(part.index as usize - 1).unwrap_or_default();
    Ok(layers.into_iter().skip(range.start).take(range.len()).collect())
}
