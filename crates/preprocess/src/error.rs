//! Why a model cannot be prepared, as fragments that fit "failed to …".

use std::fmt;

use shiftwise_engine::Unsupported;
use shiftwise_graph::GraphError;
use shiftwise_stage::{ExitStatus, Failure};

/// Nodes that one message lists.
const LISTED: usize = 30;

const FIX_HELP: &str = "name a dimension of the model, or one axis of one input: --fix-dim 'input[2]=224'";

/// A dimension of an input that has no extent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicDim {
    /// The input.
    pub input: String,
    /// Which dimension.
    pub axis: usize,
    /// Its name in the model, where it has one.
    pub symbol: Option<String>,
}

impl DynamicDim {
    /// The key that fixes it.
    pub fn key(&self) -> String {
        self.symbol.clone().unwrap_or_else(|| format!("{}[{}]", self.input, self.axis))
    }
}

impl fmt::Display for DynamicDim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dimension {} of input {:?} is dynamic", self.axis, self.input)?;
        self.symbol.iter().try_for_each(|s| write!(f, " (named {s:?})"))
    }
}

/// Why a model cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PreprocessError {
    #[error("prepare the model: its opset is {0}, older than 10, whose operators have another meaning")]
    Opset(i64),
    #[error("convert the model to opset {asked}: it has opset {has}, and versions are only raised")]
    OpsetDown { has: i64, asked: i64 },
    #[error("convert the model to opset {asked}: versions {oldest} to {newest} are converted to")]
    OpsetRange { asked: i64, oldest: i64, newest: i64 },
    #[error("prepare the model: it does not import the standard operator set")]
    NoOpset,
    #[error("prepare the model: it is quantized already: {0}")]
    Quantized(String),
    #[error("prepare the model: {} of its nodes cannot be computed by {engine}", nodes.len())]
    Unsupported { engine: String, nodes: Vec<Unsupported> },
    #[error("prepare the model: {} of its inputs must be fixed", count(dims.len()))]
    Dynamic { dims: Vec<DynamicDim> },
    #[error("prepare the model: input {0:?} has no known rank")]
    NoRank(String),
    #[error("prepare the model: input {0:?} is not a tensor")]
    NotATensor(String),
    #[error("fix dimension {key:?}: {reason}")]
    Fix { key: String, reason: String },
    #[error(transparent)]
    Graph(#[from] GraphError),
}

fn count(n: usize) -> String {
    if n == 1 { "a dimension".into() } else { format!("{n} dimensions") }
}

impl From<PreprocessError> for Failure {
    fn from(error: PreprocessError) -> Self {
        let failure = Self::from_error(ExitStatus::Input, &error);
        match error {
            PreprocessError::Graph(error) => error.into(),
            PreprocessError::Opset(_) => failure.with_help(
                "convert it to opset 13 or later, for example in Python: \
                 onnx.save(onnx.version_converter.convert_version(onnx.load(\"old.onnx\"), 13), \"new.onnx\")",
            ),
            PreprocessError::OpsetDown { has, .. } => Self { status: ExitStatus::Usage, ..failure }.with_help(format!(
                "leave convert_opset_version away, or set it to {has} or more; for an older one export the model again"
            )),
            PreprocessError::OpsetRange { .. } => Self { status: ExitStatus::Usage, ..failure }
                .with_help("set convert_opset_version to one of these, or leave it away"),
            PreprocessError::NoOpset => failure.with_help("export the model again, with opset 13 or later"),
            PreprocessError::Quantized(_) => failure.with_help(
                "give the float model it was made from; shiftwise-npu-check reads quantized models as they are",
            ),
            PreprocessError::Unsupported { nodes, .. } => {
                let more = nodes.len().saturating_sub(LISTED);
                let mut failure =
                    nodes.iter().take(LISTED).fold(failure, |f, node| f.because(node.to_string()));
                if more > 0 {
                    failure = failure.because(format!("and {more} more"));
                }
                failure.with_help("export the model with standard operators, without these nodes")
            }
            PreprocessError::Dynamic { dims } => {
                let mut keys: Vec<String> = Vec::new();
                for key in dims.iter().map(DynamicDim::key) {
                    if !keys.contains(&key) {
                        keys.push(key);
                    }
                }
                let flags: Vec<String> = keys.iter().map(|k| format!("--fix-dim {}", quoted(k))).collect();
                dims.iter()
                    .fold(failure, |f, dim| f.because(dim.to_string()))
                    .with_help(format!("give extents: {}", flags.join(" ")))
            }
            PreprocessError::NoRank(name) => {
                failure.with_help(format!("give its shape: --set 'fix_shapes.{name}=[1, 3, 224, 224]'"))
            }
            PreprocessError::NotATensor(_) => failure.with_help("export the model with tensors as inputs"),
            PreprocessError::Fix { .. } => {
                Self { status: ExitStatus::Usage, ..failure }.with_help(FIX_HELP)
            }
        }
    }
}

/// `key=N`, in quotes where a shell would look at it.
fn quoted(key: &str) -> String {
    let plain = key.chars().all(|c| c.is_alphanumeric() || "_-.:/".contains(c));
    if plain { format!("{key}=N") } else { format!("'{key}=N'") }
}
