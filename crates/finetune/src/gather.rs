//! A layer's samples, on their way to the methods that choose its integers.

use rayon::prelude::*;
use shiftwise_graph::{Graph, Model, Value};

use crate::FinetuneConfig;
use crate::adapt::{Twin, adapt};
use crate::adaptive::{self, AdaOptions, OutputGrid, Refused};
use crate::frontier::{Layer, Pair};
use crate::input::Input;
use crate::layer::{Activation, Op};
use crate::least_squares::{self, Look, Residual, Untunable};
use crate::limits::Limits;
use crate::round::{Found, least_squares};
use crate::tuned::{LayerReport, Outcome};

/// How often the pull towards the float weights is made stronger.
const PULLS: usize = 4;
/// Only where at least this share of the error comes from rounding and cutting what is read, another scale of it is tried.
const ROUNDED: f64 = 0.2;
/// With more inputs of an output, the scale of what a layer reads is not tried: it would take longer than all the rest.
const TRIED: usize = 1200;

/// Samples that one message names.
const NAMED: usize = 8;

/// What the methods of a run need to know.
pub(crate) struct Methods<'a> {
    pub(crate) config: &'a FinetuneConfig,
    /// How weights are trained, if they are.
    pub(crate) training: Option<AdaOptions>,
    /// How many samples there are.
    pub(crate) samples: usize,
    /// What messages call them.
    pub(crate) name: &'a SampleName<'a>,
}

/// What messages call a sample, by its place in the walk.
pub(crate) type SampleName<'a> = dyn Fn(usize) -> String + Sync + 'a;

/// Takes the samples of one layer for all methods of the run.
pub(crate) struct Gatherer<'a> {
    methods: &'a Methods<'a>,
    layer: &'a Layer,
    weights: Vec<f32>,
    dims: Vec<usize>,
    bias: Option<Vec<f32>>,
    /// The quantization of the layer's output, where it is part of what is trained.
    output: Option<OutputGrid>,
    /// How what it reads is quantized, where that is chosen here.
    input: Option<Input<'a>>,
    graph: &'a Graph,
    limits: &'a Limits,
    begun: Option<Result<Begun, String>>,
}

/// What is known with the first sample.
struct Begun {
    op: Op,
    moments: Option<Result<least_squares::Collector, String>>,
    positions: Option<Result<adaptive::Collector, String>>,
    /// What is left out.
    note: Option<String>,
}

impl Methods<'_> {
    /// Whether samples come with the inputs of the float model.
    pub(crate) fn mixes_inputs(&self) -> bool {
        self.training.as_ref().is_some_and(|options| options.drop_ratio < 1.0)
    }

    /// Why a layer cannot be tuned, with the names of samples.
    fn why(&self, reason: &Untunable) -> String {
        let Untunable::NonFinite { first, last } = *reason else { return reason.to_string() };
        let names: Vec<String> = (first..=last).take(NAMED).map(self.name).collect();
        let more = if last - first >= NAMED { ", …" } else { "" };
        format!(
            "infinity or NaN in the layer's input, weights or output, in one of the samples {}{more}",
            names.join(", ")
        )
    }
}

impl<'a> Gatherer<'a> {
    /// For a layer of these models.
    ///
    /// Fails, saying why, where its float weights cannot be used.
    pub(crate) fn new(
        methods: &'a Methods<'a>,
        layer: &'a Layer,
        float: &Model,
        graph: &'a Graph,
        limits: &'a Limits,
    ) -> Result<Self, String> {
        let weights = float.graph.constant(&layer.float_weight).ok_or("its float weights are no constant")?;
        let values = weights.to_f32().ok_or("its float weights are no floats")?;
        let bias = layer.float_bias.as_ref().and_then(|name| float.graph.constant(name)?.to_f32());
        let params = layer.output_params(graph).filter(|_| methods.config.output_qdq);
        let output = params.and_then(|p| OutputGrid::new(p.scale, p.zero_point, p.ty.full_range()));
        let dims = weights.dims().to_vec();
        let input = layer.reading.as_ref().and_then(|reading| Input::of(reading, limits));
        Ok(Self { methods, layer, weights: values, dims, bias, output, input, graph, limits, begun: None })
    }

    /// Adds samples, in ascending order. The first ones choose the scale of what the layer reads.
    pub(crate) fn add(&mut self, pairs: Vec<Pair>) {
        if self.begun.is_none()
            && let Some(mut input) = self.input
        {
            let mut choose = || -> Result<(), String> {
                if self.rounded(&input, &pairs)? < ROUNDED {
                    return Ok(());
                }
                input.choose(self.limits, &pairs, |input, read| self.trial(input, &pairs, read))
            };
            if let Err(reason) = choose() {
                tracing::debug!("what {} reads keeps its scale: {reason}", self.layer.node);
            }
            self.input = Some(input);
        }
        let input = self.input;
        let pairs: Vec<Pair> = match input {
            None => pairs,
            Some(input) => {
                let read = |pair: Pair| Pair { x: input.quantized(&pair.x), ..pair };
                pairs.into_par_iter().map(read).collect()
            }
        };
        for pair in pairs {
            if self.begun.is_none() {
                self.begun = Some(self.begin(pair.x.shape(), pair.y.shape()));
            }
            let Some(Ok(begun)) = &mut self.begun else { return };
            let (Some(x), Some(y)) = (pair.x.as_f32(), pair.y.as_f32()) else {
                self.begun = Some(Err("its input or output is not float32".into()));
                return;
            };
            if let Some(Ok(collector)) = &mut begun.moments {
                collector.add(pair.sample, x, y);
            }
            if let Some(Ok(collector)) = &mut begun.positions {
                collector.add(pair.sample, x, y, pair.x_float.as_ref().and_then(Value::as_f32));
            }
        }
    }

    fn begin(&self, x_dims: &[usize], y_dims: &[usize]) -> Result<Begun, String> {
        let Self { methods, layer, .. } = self;
        let op = layer.op(x_dims)?;
        let config = methods.config;
        let moments = config.solves().then(|| self.moments(&op, x_dims));
        let mut note = None;
        let positions = methods.training.is_some().then(|| {
            let (collector, left_out) = self.positions(&op, x_dims, y_dims)?;
            note = left_out;
            Ok(collector)
        });
        Ok(Begun { op, moments, positions, note })
    }

    fn moments(&self, op: &Op, x_dims: &[usize]) -> Result<least_squares::Collector, String> {
        let (at, samples) = (self.layer.index as u64, self.methods.samples);
        let sampling = self.methods.config.sampling();
        Look::new(op, x_dims, &self.dims, &self.weights, at, samples, &sampling)
            .and_then(|look| least_squares::Collector::new(look, sampling.max_bytes))
            .map_err(|e| e.to_string())
    }

    /// How much of the error of some samples, with the float weights, comes from how the input is quantized.
    fn rounded(&self, input: &Input<'_>, pairs: &[Pair]) -> Result<f64, String> {
        let x_dims = pairs.first().ok_or("there are no samples")?.x.shape();
        let op = self.layer.op(x_dims)?;
        let (at, samples) = (self.layer.index as u64, self.methods.samples);
        let sampling = self.methods.config.sampling();
        let error = |quantized: bool| {
            let look = Look::new(&op, x_dims, &self.dims, &self.weights, at, samples, &sampling)?;
            let mut residual = Residual::new(look);
            for pair in pairs {
                let x = if quantized { &input.quantized(&pair.x) } else { &pair.x };
                if let (Some(x), Some(y)) = (x.as_f32(), pair.y.as_f32()) {
                    residual.add(pair.sample, x, y)?;
                }
            }
            residual.finish()
        };
        let error = |quantized| error(quantized).map_err(|e: least_squares::Untunable| e.to_string());
        let share = 1.0 - error(false)? / error(true)?.max(f64::MIN_POSITIVE);
        tracing::debug!("{}: {share:.3} of the error comes from rounding what it reads", self.layer.node);
        Ok(share)
    }

    /// The error on held-out positions of some samples that least squares leaves if this is what they read.
    fn trial(&self, input: &Input<'_>, pairs: &[Pair], read: &[Value]) -> Result<f64, String> {
        let x_dims = pairs.first().ok_or("there are no samples")?.x.shape();
        let op = self.layer.op(x_dims)?;
        let mut collector = self.moments(&op, x_dims)?;
        if collector.geometry().inputs > TRIED {
            return Err("it has many inputs".into());
        }
        for (pair, x) in pairs.iter().zip(read) {
            let (Some(x), Some(y)) = (x.as_f32(), pair.y.as_f32()) else { continue };
            collector.add(pair.sample, x, y);
        }
        let problem = collector.finish().map_err(|e| e.to_string())?;
        let limits = input.limits(self.limits);
        let search = self.methods.config.search();
        let found = least_squares(self.layer, &op, self.graph, &problem, &limits, &search, 0)?;
        Ok(found.report.after.map_or(f64::INFINITY, |share| share.held_out))
    }

    /// A collector for training, and what is left out of it.
    fn positions(
        &self,
        op: &Op,
        x_dims: &[usize],
        y_dims: &[usize],
    ) -> Result<(adaptive::Collector, Option<String>), String> {
        let Self { methods, layer, dims, .. } = self;
        let sampling = methods.config.training_sampling();
        let (at, mixes) = (layer.index as u64, methods.mixes_inputs());
        let collector = |activation: &Activation| {
            adaptive::Collector::new(op, activation, x_dims, dims, at, methods.samples, &sampling, mixes)
        };
        let whole = match layer.activation(y_dims) {
            Ok(activation) => match collector(&activation) {
                Err(refused @ Refused::Activation(_)) => Err(refused.to_string()),
                other => Ok(other.map_err(|e| e.to_string())?),
            },
            Err(why) => Err(why),
        };
        match whole {
            Ok(collector) => match self.output {
                Some(output) => Ok((collector.through(output), None)),
                None => Ok((collector, None)),
            },
            // Without an activation that is not for training, the layer's own output is what is to be met.
            Err(why) => {
                let collector = collector(&Activation::None).map_err(|e| e.to_string())?;
                Ok((collector, Some(format!("trained on its output before the activation: {why}"))))
            }
        }
    }

    /// Chooses the layer's integers.
    pub(crate) fn finish(self) -> Found {
        let (graph, input) = (self.graph, self.input);
        let mut found = self.chosen();
        // A scale that was chosen for other integers says nothing about those of now.
        if let Some(input) = input.filter(|_| found.report.outcome == Outcome::Tuned) {
            found.input = input.constant(graph);
            found.report.input_moved = input.moved;
        }
        found
    }

    fn chosen(self) -> Found {
        let (methods, layer, graph) = (self.methods, self.layer, self.graph);
        let limits =
            &self.input.as_ref().map_or_else(|| self.limits.clone(), |input| input.limits(self.limits));
        let skipped =
            |reason: String| Found::nothing(LayerReport::skipped(&layer.node, &layer.op_type, reason));
        let begun = match self.begun {
            None => return skipped("there are no samples".into()),
            Some(Err(reason)) => return skipped(reason),
            Some(Ok(begun)) => begun,
        };
        let Begun { op, moments, positions, note } = begun;
        let solved = moments.map(|collector| {
            let problem = collector?.finish().map_err(|e| methods.why(&e))?;
            least_squares(layer, &op, graph, &problem, limits, &self.methods.config.search(), PULLS)
        });
        let (Some(positions), Some(options)) = (positions, &self.methods.training) else {
            return match solved {
                Some(solved) => solved.unwrap_or_else(skipped),
                None => skipped("no method was chosen".into()),
            };
        };
        let algorithm = self.methods.config.algorithm;
        let (first, unsolved) = match solved {
            Some(Ok(found)) => (Some(found), None),
            Some(Err(reason)) => (None, Some(format!("least squares was left out: {reason}"))),
            None => (None, None),
        };
        let twin = Twin { layer, op: &op, weights: &self.weights, bias: self.bias };
        let trained = positions.and_then(|collector| {
            let problem = collector.finish().map_err(|e| match &e {
                Refused::Layer(reason) => methods.why(reason),
                other => other.to_string(),
            })?;
            adapt(&twin, graph, &problem, algorithm, options, first.as_ref())
        });
        match (trained, first) {
            (Ok(mut found), _) => {
                found.report.reason = note.or(unsolved);
                found
            }
            (Err(reason), Some(mut first)) => {
                first.report.reason = Some(format!("{} was left out: {reason}", algorithm.title()));
                first
            }
            (Err(reason), None) => skipped(reason),
        }
    }
}
