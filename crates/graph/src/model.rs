//! A model: a graph with its operator sets and descriptions.

use indexmap::IndexMap;

use crate::{Graph, proto};

/// A whole ONNX model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Version of the format.
    pub ir_version: i64,
    /// Tool that wrote the model.
    pub producer_name: String,
    /// Version of that tool.
    pub producer_version: String,
    /// Namespace of the model.
    pub domain: String,
    /// Version of the model itself.
    pub model_version: i64,
    /// Free text.
    pub doc_string: String,
    /// Operator sets: domain (empty for the standard) to version.
    pub opsets: IndexMap<String, i64>,
    /// Key-value pairs for tools.
    pub metadata: Vec<(String, String)>,
    /// Model-local functions, carried through untouched.
    pub functions: Vec<proto::FunctionProto>,
    /// The graph.
    pub graph: Graph,
}

impl Model {
    /// A model around a graph, with one standard operator set.
    pub fn new(graph: Graph, opset: i64) -> Self {
        Self {
            ir_version: 8,
            producer_name: "shiftwise".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            domain: String::new(),
            model_version: 0,
            doc_string: String::new(),
            opsets: IndexMap::from([(String::new(), opset)]),
            metadata: Vec::new(),
            functions: Vec::new(),
            graph,
        }
    }

    /// Version of the standard operator set; 0 when it is not imported.
    pub fn opset(&self) -> i64 {
        self.opsets.get("").copied().unwrap_or(0)
    }
}
