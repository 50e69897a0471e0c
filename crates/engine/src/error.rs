//! What can go wrong, as fragments that fit "failed to …".

use std::fmt;

/// A node that an engine cannot compute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The node, as messages call it.
    pub node: String,
    /// Its operator, with the domain where it is not the standard one.
    pub op: String,
    /// Why not, and what to do where something can be done.
    pub why: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.why)
    }
}

/// An error of preparing or running a model.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The model has nodes that the engine cannot compute.
    #[error("prepare the model for {engine}: {} of its nodes cannot be computed:{}", nodes.len(), list(nodes))]
    Unsupported {
        /// Name of the engine.
        engine: String,
        /// All of them.
        nodes: Vec<Unsupported>,
    },
    /// A watched name is not a tensor of the graph.
    #[error("watch tensor {name:?}: the graph has no such tensor")]
    UnknownTensor {
        /// The name.
        name: String,
    },
    /// A watched name is an input or a constant, which runs do not show.
    #[error("watch tensor {name:?}: it is {what}, known without a run; only what nodes compute is shown")]
    NotComputed {
        /// The name.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// A constant of the model cannot be read.
    #[error("prepare the model: constant {name:?}: {reason}")]
    Constant {
        /// The constant.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The graph is not one that can be run.
    #[error("prepare the model: {0}")]
    Graph(String),
    /// An output is a sequence or an optional value that is not there, and only tensors can be given out.
    #[error("give out {name:?}: it is not a tensor; choose tensors as outputs of the model")]
    NotATensor {
        /// The output.
        name: String,
    },
    /// A feed does not fit the inputs of the model.
    #[error("feed input {name:?}: {reason}")]
    Feed {
        /// The input.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A node could not compute its result.
    #[error("run {node}: {reason}")]
    Node {
        /// The node.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// ONNX Runtime cannot be found, loaded or used.
    #[error(transparent)]
    OnnxRuntime(#[from] crate::OrtError),
}

fn list(nodes: &[Unsupported]) -> String {
    nodes.iter().fold(String::new(), |list, n| list + "\n  " + &n.to_string())
}
