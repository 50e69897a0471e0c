//! A layer's samples, on their way to the methods that choose its integers.

use shiftwise_graph::{Graph, Model, Value};

use crate::FinetuneConfig;
use crate::adapt::{Twin, adapt};
use crate::adaptive::{self, AdaOptions, OutputGrid, Refused};
use crate::frontier::{Layer, Pair};
use crate::layer::{Activation, Op};
use crate::least_squares;
use crate::limits::Limits;
use crate::round::{Found, least_squares};
use crate::tuned::LayerReport;

/// What the methods of a run need to know.
pub(crate) struct Methods<'a> {
    pub(crate) config: &'a FinetuneConfig,
    /// How weights are trained, if they are.
    pub(crate) training: Option<AdaOptions>,
    /// How many samples there are.
    pub(crate) samples: usize,
}

/// Takes the samples of one layer for all methods of the run.
pub(crate) struct Gatherer<'a> {
    methods: &'a Methods<'a>,
    layer: &'a Layer,
    weights: Vec<f32>,
    dims: Vec<usize>,
    bias: Option<Vec<f32>>,
    /// The quantization of the layer's output, where it is part of what is trained.
    output: Option<OutputGrid>,
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
}

impl<'a> Gatherer<'a> {
    /// For a layer of these models.
    ///
    /// Fails, saying why, where its float weights cannot be used.
    pub(crate) fn new(
        methods: &'a Methods<'a>,
        layer: &'a Layer,
        float: &Model,
        graph: &Graph,
    ) -> Result<Self, String> {
        let weights = float.graph.constant(&layer.float_weight).ok_or("its float weights are no constant")?;
        let values = weights.to_f32().ok_or("its float weights are no floats")?;
        let bias = layer.float_bias.as_ref().and_then(|name| float.graph.constant(name)?.to_f32());
        let params = layer.output_params(graph).filter(|_| methods.config.output_qdq);
        let output = params.and_then(|p| OutputGrid::new(p.scale, p.zero_point, p.ty.full_range()));
        let dims = weights.dims().to_vec();
        Ok(Self { methods, layer, weights: values, dims, bias, output, begun: None })
    }

    /// Adds samples, in ascending order.
    pub(crate) fn add(&mut self, pairs: Vec<Pair>) {
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
        let at = layer.index as u64;
        let (config, samples) = (methods.config, methods.samples);
        let moments = config.solves().then(|| {
            let sampling = config.sampling();
            least_squares::Collector::new(&op, x_dims, &self.dims, &self.weights, at, samples, &sampling)
                .map_err(|e| e.to_string())
        });
        let mut note = None;
        let positions = methods.training.is_some().then(|| {
            let (collector, left_out) = self.positions(&op, x_dims, y_dims)?;
            note = left_out;
            Ok(collector)
        });
        Ok(Begun { op, moments, positions, note })
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

    /// Chooses the layer's integers; `graph` has those of now.
    pub(crate) fn finish(self, graph: &Graph, limits: &Limits) -> Found {
        let layer = self.layer;
        let skipped = |reason: String| Found {
            constants: Vec::new(),
            float_bias: None,
            report: LayerReport::skipped(&layer.node, &layer.op_type, reason),
        };
        let begun = match self.begun {
            None => return skipped("there are no samples".into()),
            Some(Err(reason)) => return skipped(reason),
            Some(Ok(begun)) => begun,
        };
        let Begun { op, moments, positions, note } = begun;
        let solved = moments.map(|collector| {
            let problem = collector?.finish().map_err(|e| e.to_string())?;
            least_squares(layer, &op, graph, &problem, limits, &self.methods.config.search())
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
            let problem = collector.finish().map_err(|e| e.to_string())?;
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
