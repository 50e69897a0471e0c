//! What a layer has: the integers, scales and bias with which a method begins.

use shiftwise_graph::{Graph, Tensor};

use crate::constants::Stored;
use crate::frontier::{Bias, Layer};
use crate::layer::Op;
use crate::least_squares::{Scales, Start};
use crate::round::Found;

/// Weights and bias of a layer.
pub(crate) struct Present {
    pub(crate) weight: Stored,
    /// The bias, where it is stored as integers.
    pub(crate) bias: Option<Stored>,
    /// What the operator multiplies its bias with.
    pub(crate) beta: f64,
    /// The same as methods take it; the bias is what is added, beta included.
    pub(crate) start: Start,
}

impl Present {
    /// As the model has it.
    ///
    /// Fails, saying why, for constants of a form that cannot be chosen.
    pub(crate) fn of(layer: &Layer, op: &Op, graph: &Graph, channels: usize) -> Result<Self, String> {
        let weight = Stored::of(graph, &layer.weight, channels)?;
        let beta = if let Op::Gemm { beta, .. } = op { f64::from(*beta) } else { 1.0 };
        let bias = match &layer.bias {
            Some(Bias::Quantized(constant)) => Some(Stored::of(graph, constant, channels)?),
            _ => None,
        };
        let values = match &layer.bias {
            None => vec![0.0; channels],
            Some(Bias::Quantized(_)) => bias.as_ref().map(Stored::values).unwrap_or_default(),
            Some(Bias::Float(name)) => {
                floats(graph.constant(name)).ok_or_else(|| format!("its bias {name:?} is no constant"))?
            }
        };
        if values.len() != channels {
            return Err(format!("its bias has {} elements for {channels} channels", values.len()));
        }
        let start = Start {
            q: weight.q.clone(),
            scales: weight.scales.clone(),
            bias: values.iter().map(|b| b * beta).collect(),
        };
        Ok(Self { weight, bias, beta, start })
    }

    /// With what a method found instead.
    pub(crate) fn with(&self, layer: &Layer, found: &Found) -> Self {
        let changed = |stored: &Stored, name: &str| {
            let mut stored = stored.clone();
            if let Some(constant) = found.constants.iter().find(|c| c.integers == name) {
                stored.q = Stored::integers_of(&constant.tensor);
                if constant.scale.1.is_some() {
                    stored.scales = Scales::Single(constant.params.scale);
                }
            }
            stored
        };
        let weight = changed(&self.weight, &layer.weight.integers);
        let bias = match (&layer.bias, &self.bias) {
            (Some(Bias::Quantized(constant)), Some(bias)) => Some(changed(bias, &constant.integers)),
            _ => None,
        };
        let float = found.float_bias.as_ref().and_then(|(_, tensor)| floats(Some(tensor)));
        let values = bias.as_ref().map(Stored::values).or(float);
        let start = Start {
            q: weight.q.clone(),
            scales: weight.scales.clone(),
            bias: values
                .map_or_else(|| self.start.bias.clone(), |v| v.iter().map(|b| b * self.beta).collect()),
        };
        Self { weight, bias, beta: self.beta, start }
    }
}

fn floats(tensor: Option<&Tensor>) -> Option<Vec<f64>> {
    Some(tensor?.to_f32()?.into_iter().map(f64::from).collect())
}
