//! What can go wrong with a model, as fragments that fit "failed to …".

use std::path::PathBuf;

/// An error of reading, checking, editing or writing a model.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The file could not be opened or mapped.
    #[error("read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are not an ONNX model.
    #[error(
        "decode {path} as an ONNX model: {reason}; the file may be truncated or not ONNX at all",
        path = path.display()
    )]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// The model decodes but uses something that the format forbids or that is not supported.
    #[error("read {what}: {reason}")]
    Malformed {
        /// The tensor, node or field.
        what: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// External data is missing, too short, or outside of the model's directory.
    #[error("read external data of tensor {tensor:?}: {reason}")]
    External {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// The graph broke one of its invariants.
    #[error("keep the graph consistent after {pass}: {subject}: {reason}")]
    Inconsistent {
        /// The pass after which it was found (`load` for a fresh model).
        pass: String,
        /// The node or tensor.
        subject: String,
        /// What is wrong.
        reason: String,
    },
    /// A patch asks for an edit that would break the graph.
    #[error("apply the patch of {pass}: {reason}")]
    Patch {
        /// The pass that made the patch.
        pass: String,
        /// What is wrong.
        reason: String,
    },
    /// A dimension cannot be fixed as asked.
    #[error("fix dimension {name:?}: {reason}")]
    Dimension {
        /// The name of the dimension, or the axis of an input, as given.
        name: String,
        /// Why, and what there is.
        reason: String,
    },
    /// The model is too large for one protobuf file.
    #[error(
        "write the model: {bytes} bytes exceed the protobuf limit of 2 GiB; store weights as external data"
    )]
    TooLarge {
        /// The size.
        bytes: usize,
    },
}

impl GraphError {
    pub(crate) fn malformed(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Malformed { what: what.into(), reason: reason.into() }
    }
}
