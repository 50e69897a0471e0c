//! The activation behind a layer.

use shiftwise_graph::{Graph, Node, Tensor};

use super::op::axis_of;
use crate::layer::Activation;

/// The activation behind a layer, before the rank of its input is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Behind {
    /// One that does not depend on the rank.
    Plain(Activation),
    /// PRelu; with several slopes, their axis counted from the last one.
    PRelu { slope: Vec<f32>, from_end: Option<usize> },
    /// Softmax; before opset 13 over all axes from this one on.
    Softmax { axis: i64, flattens: bool },
}

impl Behind {
    /// Reads a node whose first input is `tensor`; `None` for one that is no activation, or has parameters that are computed.
    pub(super) fn parse(graph: &Graph, opset: i64, node: &Node, tensor: &str) -> Option<Self> {
        let contributed = node.domain == "com.microsoft" && node.op_type == "Gelu";
        if node.input(0) != Some(tensor) || !(node.domain.is_empty() || contributed) {
            return None;
        }
        let scalar = |index: usize, name: &str, default: f32| match node.input(index) {
            Some(bound) => graph.constant(bound).and_then(Tensor::scalar_f32),
            None => Some(node.float(name).unwrap_or(default)),
        };
        Some(Self::Plain(match node.op_type.as_str() {
            "Relu" => Activation::Relu,
            "LeakyRelu" => Activation::LeakyRelu(node.float("alpha").unwrap_or(0.01)),
            "PRelu" => {
                let slope = graph.constant(node.input(1)?)?;
                let mut long = slope.dims().iter().rev().enumerate().filter(|(_, d)| **d != 1);
                let from_end = long.next().map(|(i, _)| i);
                if long.next().is_some() {
                    return None;
                }
                return Some(Self::PRelu { slope: slope.to_f32()?, from_end });
            }
            "Clip" => {
                Activation::Clip(scalar(1, "min", f32::NEG_INFINITY)?, scalar(2, "max", f32::INFINITY)?)
            }
            "Sigmoid" => Activation::Sigmoid,
            "Tanh" => Activation::Tanh,
            "Gelu" => Activation::Gelu(node.text("approximate") == Some("tanh")),
            "Softmax" => {
                let flattens = opset < 13;
                let axis = node.int("axis").unwrap_or(if flattens { 1 } else { -1 });
                return Some(Self::Softmax { axis, flattens });
            }
            _ => return None,
        }))
    }

    /// The activation on values of this rank.
    pub(super) fn resolve(&self, rank: usize) -> Result<Activation, String> {
        match self {
            Self::Plain(activation) => Ok(activation.clone()),
            Self::PRelu { from_end: Some(axis), .. } if axis + 2 != rank => {
                Err("its PRelu has slopes for something other than channels".into())
            }
            Self::PRelu { slope, .. } => Ok(Activation::PRelu(slope.clone())),
            Self::Softmax { axis, flattens } => {
                let axis = axis_of(*axis, rank)?;
                if *flattens && axis + 1 != rank {
                    return Err("its Softmax is over several axes".into());
                }
                Ok(Activation::Softmax(axis))
            }
        }
    }
}
