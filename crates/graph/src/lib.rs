//! ONNX in memory: messages, constants, a graph with indices, edits through patches, shape inference.
//!
//! Weights are borrowed from memory maps and never copied without need. A [`Graph`] answers questions by tensor name in
//! constant time; it changes through a [`Patch`], after which it is checked, or is rebuilt as a whole ([`Rebuild`]). This crate computes nothing, knows
//! nothing of quantization, and must never write a file: it hands out bytes.

mod builder;
mod dtype;
mod error;
mod external;
mod graph;
mod inline;
mod load;
mod map;
mod model;
mod node;
mod order;
mod pass;
mod patch;
pub mod proto;
mod rebuild;
mod save;
mod shape;
mod tensor;
mod types;
mod value;

pub use builder::Builder;
pub use dtype::DataType;
pub use error::GraphError;
pub use external::external_locations;
pub use graph::{Graph, NodeId, Shared, Use};
pub use map::release_mapped_weights;
pub use model::Model;
pub use node::{Attribute, Node};
pub use pass::{Note, Outcome, PassReport, Rule, run_rule};
pub use patch::Patch;
pub use rebuild::{Rebuild, Rebuilt, Scope, map_element_types};
pub use save::{Encoded, Weights};
pub use shape::{ShapeIssue, ShapeIssueKind, ShapeReport, fix_dims, infer_shapes};
pub use tensor::{Tensor, TensorData};
pub use types::{Dim, TensorType, ValueInfo, ValueType};
pub use value::Value;
