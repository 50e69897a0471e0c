//! A batch normalization as a scale and a shift for each channel.

use shiftwise_graph::{Graph, Node};

use super::layer::floats;

/// The epsilon of ONNX.
const DEFAULT_EPSILON: f32 = 1e-5;

/// y = scale·(x − mean) + beta, one of each for every channel.
pub(super) struct Affine {
    pub(super) scale: Vec<f64>,
    pub(super) mean: Vec<f64>,
    pub(super) beta: Vec<f64>,
}

impl Affine {
    /// Reads a BatchNormalization.
    ///
    /// Fails where a parameter is not a constant with one element a channel, or a variance is not positive.
    pub(super) fn of(graph: &Graph, node: &Node) -> Result<Self, String> {
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

    /// (b − mean)·scale + beta for one channel.
    pub(super) fn shift(&self, channel: usize, bias: f64) -> f64 {
        (bias - self.mean[channel]) * self.scale[channel] + self.beta[channel]
    }
}

fn parameter(graph: &Graph, node: &Node, input: usize, what: &str) -> Result<Vec<f64>, String> {
    let name = node.input(input).ok_or_else(|| format!("its {what} is missing"))?;
    let tensor = graph.initializer(name).ok_or_else(|| format!("its {what} {name:?} is not constant"))?;
    floats(tensor).map_err(|reason| format!("its {what} {name:?} {reason}"))
}
