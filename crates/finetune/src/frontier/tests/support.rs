//! Models to walk through, and what whole runs of them show.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use shiftwise_engine::{Engine, Flow, PrepareOptions, Watch, embedded};
use shiftwise_graph::{Graph, Model, Tensor, Value, infer_shapes};
use shiftwise_kernels::quantize::Grid;
use shiftwise_quant::{Decision, Placement, PlacementOptions, Position, QParams, QuantType, Role, emit};

use super::super::*;

pub(super) type Sample = Vec<(String, Value)>;

/// Values that look like noise in [-1, 1].
pub(super) fn noise(count: usize, seed: usize) -> Vec<f32> {
    let value = |i: usize| (((i + 1) * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
    (0..count).map(value).collect()
}

pub(super) fn weights(dims: &[usize], seed: usize) -> Tensor {
    Tensor::f32(dims, &noise(dims.iter().product(), seed))
}

pub(super) fn samples(float: &Model, count: usize) -> Vec<Sample> {
    let sample = |index: usize| {
        let inputs = float.graph.inputs().iter().enumerate();
        let value = |(i, input): (usize, &shiftwise_graph::ValueInfo)| {
            let dims = input.ty.tensor().and_then(|ty| ty.shape.clone()).expect("a shape");
            let dims: Vec<usize> = dims.iter().map(|d| d.known().unwrap_or(1)).collect();
            let count = dims.iter().product();
            (input.name.clone(), Value::f32(&dims, noise(count, 31 * index + i)))
        };
        inputs.map(value).collect()
    };
    (0..count).map(sample).collect()
}

/// The tensors of these names on each sample, in a run of the whole model.
pub(super) fn whole(
    engine: &dyn Engine,
    model: &Model,
    names: &BTreeSet<String>,
    samples: &[Sample],
) -> Vec<BTreeMap<String, Value>> {
    let graph = &model.graph;
    let watched = names.iter().filter(|n| graph.producer(n).is_some()).cloned().collect();
    let session = engine.prepare(model, &PrepareOptions::watching(Watch::Named(watched))).unwrap();
    let run = |sample: &Sample| {
        let mut seen: BTreeMap<String, Value> = sample.iter().cloned().collect();
        session
            .run(sample, &mut |id, value| {
                seen.insert(session.watched()[id.index()].clone(), value.clone());
                Flow::Continue
            })
            .unwrap();
        seen
    };
    samples.iter().map(run).collect()
}

/// Quantizes a model with powers of two that cover what the samples show.
pub(super) fn quantize(float: &Model, samples: &[Sample]) -> Model {
    let mut typed = float.clone();
    // Only tensors that are known to be floats are quantized.
    infer_shapes(&mut typed);
    let float = &typed;
    let placement = Placement::of(float, &PlacementOptions::default()).unwrap();
    let names: BTreeSet<String> = placement.sites.keys().cloned().collect();
    let mut largest: BTreeMap<String, f32> = BTreeMap::new();
    for seen in whole(&embedded(), float, &names, samples) {
        for (name, value) in seen {
            let most = value.as_f32().unwrap_or(&[]).iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let entry = largest.entry(name).or_default();
            *entry = entry.max(most);
        }
    }
    let decide = |(name, site): (&String, &shiftwise_quant::Site)| {
        let of_constant = || {
            let values = float.graph.initializer(name).and_then(Tensor::to_f32).unwrap_or_default();
            values.iter().fold(0.0f32, |m, v| m.max(v.abs()))
        };
        let most = largest.get(name).copied().unwrap_or_else(of_constant);
        let ty = if site.role == Role::Activation { QuantType::Uint8 } else { QuantType::Int8 };
        let params = QParams::at(ty, Position::nearest(most.max(1e-6) / 100.0));
        (name.clone(), Decision { params, method: "test".into() })
    };
    let decisions: IndexMap<String, Decision> = placement.sites.iter().map(decide).collect();
    emit(float, &placement, &decisions).unwrap().model
}

pub(super) fn options(folder: &tempfile::TempDir, max_memory: u64, chunk: usize) -> Options {
    Options { folder: folder.path().into(), max_memory, chunk, float_inputs: false }
}

/// The integers of a layer with the lowest bit turned over: other ones, that are still valid.
pub(super) fn turned(graph: &Graph, layer: &Layer) -> Vec<(String, Tensor)> {
    let name = &layer.weight.integers;
    let old = graph.constant(name).unwrap();
    let bytes: Vec<u8> = old.raw().unwrap().iter().map(|b| b ^ 1).collect();
    vec![(name.clone(), Tensor::from_raw(old.dtype(), old.dims().to_vec(), bytes.into()).unwrap())]
}

pub(super) struct Walked {
    /// Of each layer that was visited.
    pub(super) pairs: BTreeMap<usize, Vec<Pair>>,
    pub(super) model: Model,
    pub(super) usage: Usage,
    pub(super) runs: [Vec<u32>; 2],
    /// Bytes that waited behind each layer.
    pub(super) waited: Vec<u64>,
}

/// Visits the layers from `first` on, and turns over the integers of each where asked to.
pub(super) fn walk(
    engine: &dyn Engine,
    [float, quantized]: [&Model; 2],
    samples: &[Sample],
    options: Options,
    first: usize,
    tune: bool,
) -> Walked {
    let (layers, _) = find_layers(quantized, float);
    let load = |i: usize| Ok(samples[i].clone());
    let never = || false;
    let count = layers.len();
    let mut frontier =
        Frontier::new(engine, float, quantized.clone(), layers, samples.len(), &load, &never, options)
            .unwrap();
    let (mut pairs, mut waited) = (BTreeMap::new(), Vec::new());
    for k in first..count {
        let seen: &mut Vec<Pair> = pairs.entry(k).or_default();
        frontier
            .layer(k, true, |chunk| {
                seen.extend(chunk);
                Ok::<_, FrontierError>(())
            })
            .unwrap();
        let usage = frontier.scratch().usage();
        waited.push(usage.memory + usage.file);
        if tune {
            let constants = turned(&frontier.model().graph, &frontier.layers()[k]);
            frontier.tune(k, &constants).unwrap();
        }
    }
    let (usage, runs) = (frontier.scratch().usage(), frontier.runs().clone());
    Walked { pairs, model: frontier.finish(), usage, runs, waited }
}

/// The grid of what a layer reads, as the model has it.
fn grid(graph: &Graph, reading: &Reading) -> Grid {
    let scale = graph.constant(&reading.scale).and_then(Tensor::scalar_f32).unwrap();
    let (qmin, qmax) = reading.ty.full_range();
    Grid { scale, zero_point: reading.zero_point as i32, qmin: qmin as i32, qmax: qmax as i32 }
}

fn bits(value: &Value) -> (Vec<usize>, Vec<u8>) {
    (value.shape().to_vec(), value.to_bytes())
}

/// Fails unless every pair is what whole runs of the float and of the final quantized model show.
pub(super) fn compare(engine: &dyn Engine, float: &Model, walked: &Walked, samples: &[Sample]) {
    let (layers, _) = find_layers(&walked.model, float);
    let names =
        |get: &dyn Fn(&Layer) -> Vec<String>| layers.iter().flat_map(get).collect::<BTreeSet<String>>();
    let of_float =
        whole(engine, float, &names(&|l| vec![l.float_input.clone(), l.float_output.clone()]), samples);
    let shown = names(&|l| vec![l.shown().to_owned(), l.input.clone()]);
    let of_quantized = whole(engine, &walked.model, &shown, samples);
    for (k, pairs) in &walked.pairs {
        let layer = &layers[*k];
        assert_eq!(
            pairs.iter().map(|p| p.sample).collect::<Vec<_>>(),
            (0..samples.len()).collect::<Vec<_>>()
        );
        for (pair, (f, q)) in pairs.iter().zip(of_float.iter().zip(&of_quantized)) {
            assert!(bits(&pair.x) == bits(&q[layer.shown()]), "input of {}", layer.node);
            if let Some(reading) = &layer.reading {
                let read = on_grid(&pair.x, grid(&walked.model.graph, reading)).unwrap();
                assert!(bits(&read) == bits(&q[&layer.input]), "what {} reads", layer.node);
            }
            assert!(bits(&pair.y) == bits(&f[&layer.float_output]), "output of {}", layer.node);
            assert_eq!(bits(pair.x_float.as_ref().unwrap()), bits(&f[&layer.float_input]), "{}", layer.node);
            let op = layer.op(pair.x.shape());
            assert!(op.is_ok() && layer.activation(pair.y.shape()).is_ok(), "{}: {op:?}", layer.node);
        }
    }
}

/// All of the above on one model: with and without memory, in one go and resumed, tuned and as it is.
pub(super) fn check(float: &Model, samples: &[Sample]) {
    let engine = &embedded();
    let quantized = quantize(float, samples);
    let models = [float, &quantized];
    let folder = tempfile::tempdir().unwrap();
    let in_memory = walk(engine, models, samples, options(&folder, u64::MAX, 3), 0, true);
    assert_eq!(in_memory.usage.file_peak, 0);
    compare(engine, float, &in_memory, samples);
    for runs in &in_memory.runs {
        assert!(runs.iter().all(|n| *n <= 1), "{runs:?}");
        assert!(runs.contains(&1));
    }
    let on_disk = walk(engine, models, samples, options(&folder, 0, 4), 0, true);
    compare(engine, float, &on_disk, samples);
    assert_eq!(on_disk.usage.memory_peak, 0);
    let two_cuts = on_disk.waited.windows(2).map(|cuts| cuts[0] + cuts[1]).max();
    let most = two_cuts.max(on_disk.waited.first().copied()).unwrap_or(0);
    assert!(on_disk.usage.file_peak <= most, "{} of {most}", on_disk.usage.file_peak);
    compare(engine, float, &walk(engine, models, samples, options(&folder, 0, 1), 0, false), samples);
    let count = in_memory.pairs.len();
    for first in [1, count / 2, count - 1] {
        if first < count {
            let resumed =
                walk(engine, [float, &in_memory.model], samples, options(&folder, 4096, 2), first, false);
            assert_eq!(resumed.pairs.len(), count - first);
            compare(engine, float, &resumed, samples);
            for (k, pairs) in &resumed.pairs {
                let same = |(a, b): (&Pair, &Pair)| bits(&a.x) == bits(&b.x) && bits(&a.y) == bits(&b.y);
                assert!(pairs.iter().zip(&in_memory.pairs[k]).all(same));
            }
        }
    }
}
