//! A short way to write graphs down, for tests and for small models made by programs.

use indexmap::IndexMap;

use crate::{Attribute, Graph, Model, Node, Tensor, ValueInfo};

/// Collects nodes and constants; tensors are called by their names.
#[derive(Default)]
pub struct Builder {
    inputs: Vec<ValueInfo>,
    initializers: IndexMap<String, Tensor>,
    nodes: Vec<Node>,
}

impl Builder {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a float32 input.
    #[must_use]
    pub fn input(mut self, name: &str, dims: &[usize]) -> Self {
        self.inputs.push(ValueInfo::f32(name, dims));
        self
    }

    /// Adds an input of any type.
    #[must_use]
    pub fn input_info(mut self, info: ValueInfo) -> Self {
        self.inputs.push(info);
        self
    }

    /// Adds a constant.
    #[must_use]
    pub fn constant(mut self, name: &str, tensor: Tensor) -> Self {
        self.initializers.insert(name.into(), tensor);
        self
    }

    /// Adds a node that is called like its first output.
    #[must_use]
    pub fn node(self, op_type: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        self.node_with(op_type, inputs, outputs, &[])
    }

    /// Adds a node with attributes.
    #[must_use]
    pub fn node_with(
        mut self,
        op_type: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> Self {
        let mut node = Node::new(op_type, outputs.first().copied().unwrap_or(""), inputs, outputs);
        for (name, value) in attributes {
            node.attributes.insert((*name).into(), value.clone());
        }
        self.nodes.push(node);
        self
    }

    /// The model, with float32 outputs of these shapes.
    pub fn build(self, outputs: &[(&str, &[usize])], opset: i64) -> Model {
        let outputs = outputs.iter().map(|(name, dims)| ValueInfo::f32(name, dims)).collect();
        let mut graph = Graph::new("built", self.inputs, outputs, self.initializers, self.nodes);
        graph.sort();
        Model::new(graph, opset)
    }
}
