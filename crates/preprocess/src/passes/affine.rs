//! A scale and a shift for each channel.

use std::ops::Range;

use shiftwise_graph::{Graph, Node};

use super::layer::floats;

/// The epsilon of ONNX.
const DEFAULT_EPSILON: f32 = 1e-5;

/// y = scale·(x − mean) + beta, one of each for every channel.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    pub(super) scale: Vec<f64>,
    pub(super) mean: Vec<f64>,
    pub(super) beta: Vec<f64>,
}

impl Affine {
    /// y = scale·x + beta.
    pub(super) fn new(scale: Vec<f64>, beta: Vec<f64>) -> Self {
        Self { mean: vec![0.0; scale.len()], scale, beta }
    }

    /// Reads a BatchNormalization.
    ///
    /// Fails where it trains or its further outputs are used, where a parameter is not a constant with one element a channel, or a variance is not positive.
    pub(super) fn of_batch_norm(graph: &Graph, node: &Node) -> Result<Self, String> {
        if node.int("training_mode").unwrap_or(0) != 0 {
            return Err("its training_mode is on".into());
        }
        let read = |o: &&String| !o.is_empty() && (!graph.uses(o).is_empty() || graph.is_output(o));
        if let Some(output) = node.outputs.iter().skip(1).find(read) {
            return Err(format!("its further output {output:?} is used"));
        }
        let [gamma, beta, mean, var] = [(1, "scale"), (2, "bias"), (3, "mean"), (4, "variance")]
            .map(|(i, what)| parameter(graph, node, i, what));
        let (gamma, beta, mean, var) = (gamma?, beta?, mean?, var?);
        if [beta.len(), mean.len(), var.len()].iter().any(|n| *n != gamma.len()) {
            return Err("its parameters have different lengths".into());
        }
        let epsilon = f64::from(node.float("epsilon").unwrap_or(DEFAULT_EPSILON));
        let mut scale = Vec::with_capacity(gamma.len());
        for (channel, (gamma, var)) in gamma.iter().zip(&var).enumerate() {
            let spread = var + epsilon;
            // NaN is not positive either.
            if !(spread > 0.0 && spread.is_finite()) {
                return Err(format!(
                    "the variance of channel {channel} plus epsilon is {spread}, not positive"
                ));
            }
            scale.push(gamma / spread.sqrt());
        }
        Ok(Self { scale, mean, beta })
    }

    pub(super) fn channels(&self) -> usize {
        self.scale.len()
    }

    /// The part for some of the channels.
    pub(super) fn part(&self, channels: Range<usize>) -> Option<Self> {
        let of = |all: &[f64]| all.get(channels.clone()).map(<[f64]>::to_vec);
        Some(Self { scale: of(&self.scale)?, mean: of(&self.mean)?, beta: of(&self.beta)? })
    }

    /// (b − mean)·scale + beta for one channel.
    pub(super) fn shift(&self, channel: usize, bias: f64) -> f64 {
        (bias - self.mean[channel]) * self.scale[channel] + self.beta[channel]
    }

    /// Whether weights stay as they are.
    pub(super) fn keeps_scale(&self) -> bool {
        self.scale.iter().all(|s| *s == 1.0)
    }

    /// Whether 0 becomes 0.
    pub(super) fn keeps_zero(&self) -> bool {
        self.mean.iter().chain(&self.beta).all(|v| *v == 0.0)
    }
}

fn parameter(graph: &Graph, node: &Node, input: usize, what: &str) -> Result<Vec<f64>, String> {
    let name = node.input(input).ok_or_else(|| format!("its {what} is missing"))?;
    let tensor = graph.initializer(name).ok_or_else(|| format!("its {what} {name:?} is not constant"))?;
    floats(tensor).map_err(|reason| format!("its {what} {name:?} {reason}"))
}
