//! What can go wrong on the way, as fragments that fit "failed to …".

use std::fmt;

use shiftwise_engine::EngineError;
use shiftwise_graph::GraphError;

use super::{Layer, ScratchError};

/// Any error of a caller's own.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One of the two models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The float model.
    Float,
    /// The quantized model.
    Quantized,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Quantized => "quantized",
        })
    }
}

/// Why a walk cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FrontierError {
    /// The caller said stop.
    #[error("go on: it was interrupted")]
    Interrupted,
    /// A layer that is not there, or that both models have passed.
    #[error("visit layer {layer}: there is no such layer, or it was passed; visit layers in ascending order")]
    Passed {
        /// Its index.
        layer: usize,
    },
    /// A layer does not fit the models.
    #[error("walk to layer {layer:?}: {reason}")]
    Layer {
        /// The node.
        layer: String,
        /// What is wrong.
        reason: String,
    },
    /// A constant cannot be given to a layer.
    #[error("give layer {layer:?} the constant {constant:?}: {reason}")]
    Constant {
        /// The node.
        layer: String,
        /// The constant.
        constant: String,
        /// What is wrong.
        reason: String,
    },
    /// A part of a model cannot be prepared.
    #[error("prepare a part of the {model} model: {cause}")]
    Prepare {
        /// The model.
        model: Which,
        /// What the engine said.
        #[source]
        cause: EngineError,
    },
    /// A part of a model cannot be run on a sample.
    #[error("run the {model} model on a sample: {cause}")]
    Run {
        /// The model.
        model: Which,
        /// The sample.
        sample: usize,
        /// What the engine said.
        #[source]
        cause: EngineError,
    },
    /// A sample does not have a value for an input.
    #[error("run the {model} model on a sample, which has no value for {tensor:?}")]
    Missing {
        /// The model.
        model: Which,
        /// The input.
        tensor: String,
        /// The sample.
        sample: usize,
    },
    /// A sample cannot be read.
    #[error("read a sample: {cause}")]
    Load {
        /// The sample.
        sample: usize,
        /// Why not.
        #[source]
        cause: BoxError,
    },
    /// Values cannot wait.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The quantized model cannot be edited.
    #[error(transparent)]
    Graph(GraphError),
}

impl FrontierError {
    /// The sample that it is about, in the order of the walk.
    pub fn sample(&self) -> Option<usize> {
        match self {
            Self::Run { sample, .. } | Self::Missing { sample, .. } | Self::Load { sample, .. } => {
                Some(*sample)
            }
            _ => None,
        }
    }

    pub(super) fn layer(layer: &Layer, reason: impl Into<String>) -> Self {
        Self::Layer { layer: layer.node.clone(), reason: reason.into() }
    }
}
