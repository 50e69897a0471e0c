//! The graph: nodes, constants, types, and indices that answer by tensor name in constant time.

use std::collections::HashMap;

use indexmap::IndexMap;

use crate::{Node, Tensor, TensorType, ValueInfo, ValueType, proto};

/// Identity of a node within one graph; stays valid until that node is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

/// One place where a tensor is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The reader.
    pub node: NodeId,
    /// Which of its inputs; `None` when one of its subgraphs captures the name.
    pub input: Option<usize>,
}

/// Why a tensor cannot be treated as private to one consumer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Shared {
    #[error("{0:?} is an output of the graph")]
    GraphOutput(String),
    #[error("{0:?} is captured by a subgraph")]
    Captured(String),
    #[error("{0:?} has {1} uses")]
    SeveralUses(String, usize),
    #[error("{0:?} is not used")]
    Unused(String),
}

/// A graph. Read through the accessors; edited only through [`crate::Patch`].
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Name of the graph.
    pub name: String,
    /// Free text.
    pub doc_string: String,
    pub(crate) nodes: Vec<Option<Node>>,
    /// Execution order as of the last sort; may name nodes that were removed since.
    pub(crate) order: Vec<NodeId>,
    /// Nodes inserted since the last sort, each with the node that it should stand before.
    pub(crate) pending: Vec<(Option<NodeId>, NodeId)>,
    pub(crate) initializers: IndexMap<String, Tensor>,
    pub(crate) inputs: Vec<ValueInfo>,
    pub(crate) outputs: Vec<ValueInfo>,
    pub(crate) types: IndexMap<String, ValueType>,
    pub(crate) producers: HashMap<String, NodeId>,
    pub(crate) uses: HashMap<String, Vec<Use>>,
    pub(crate) annotations: Vec<proto::TensorAnnotation>,
    pub(crate) metadata: Vec<(String, String)>,
}

impl PartialEq for Graph {
    /// Equality of content, in order; identities of nodes do not count.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.nodes().map(|(_, n)| n).eq(other.nodes().map(|(_, n)| n))
            && self.initializers == other.initializers
            && self.inputs == other.inputs
            && self.outputs == other.outputs
            && self.types == other.types
    }
}

impl Graph {
    /// Builds a graph and its indices. Nothing is checked: see [`Graph::check`].
    pub fn new(
        name: &str,
        inputs: Vec<ValueInfo>,
        outputs: Vec<ValueInfo>,
        initializers: IndexMap<String, Tensor>,
        nodes: Vec<Node>,
    ) -> Self {
        let order = (0..nodes.len() as u32).map(NodeId).collect();
        let mut graph = Self {
            name: name.into(),
            nodes: nodes.into_iter().map(Some).collect(),
            order,
            initializers,
            inputs,
            outputs,
            ..Self::default()
        };
        graph.reindex();
        graph
    }

    /// Nodes in execution order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        let pending = self.pending.iter().map(|(_, id)| id);
        self.order.iter().chain(pending).filter_map(|id| Some((*id, self.node(*id)?)))
    }

    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes().count()
    }

    /// The node with this identity, unless it was removed.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)?.as_ref()
    }

    /// The node that makes `tensor`.
    pub fn producer(&self, tensor: &str) -> Option<(NodeId, &Node)> {
        let id = *self.producers.get(tensor)?;
        Some((id, self.node(id)?))
    }

    /// Every place that reads `tensor`, in execution order of the last sort; graph outputs do not count.
    pub fn uses(&self, tensor: &str) -> &[Use] {
        self.uses.get(tensor).map_or(&[], Vec::as_slice)
    }

    /// The nodes that read `tensor`, each once.
    pub fn consumers(&self, tensor: &str) -> impl Iterator<Item = (NodeId, &Node)> {
        let uses = self.uses(tensor);
        uses.iter().enumerate().filter_map(move |(i, u)| {
            if uses[..i].iter().any(|earlier| earlier.node == u.node) {
                return None;
            }
            Some((u.node, self.node(u.node)?))
        })
    }

    /// The one reader of `tensor`, if it is private to it: used once, not a graph output, not captured by a
    /// subgraph. Every rule that drops or changes a tensor asks here.
    pub fn sole_consumer(&self, tensor: &str) -> Result<(NodeId, &Node), Shared> {
        if self.is_output(tensor) {
            return Err(Shared::GraphOutput(tensor.into()));
        }
        match self.uses(tensor) {
            [] => Err(Shared::Unused(tensor.into())),
            [one] if one.input.is_none() => Err(Shared::Captured(tensor.into())),
            [one] => self.node(one.node).map(|n| (one.node, n)).ok_or_else(|| Shared::Unused(tensor.into())),
            many if many.iter().any(|u| u.input.is_none()) => Err(Shared::Captured(tensor.into())),
            many => Err(Shared::SeveralUses(tensor.into(), many.len())),
        }
    }

    /// The constant behind `tensor`: an initializer, or the value of a Constant node.
    pub fn constant(&self, tensor: &str) -> Option<&Tensor> {
        if let Some(t) = self.initializers.get(tensor) {
            return Some(t);
        }
        let (_, node) = self.producer(tensor)?;
        if node.is("Constant") { node.tensor("value") } else { None }
    }

    /// The initializer of this name.
    pub fn initializer(&self, tensor: &str) -> Option<&Tensor> {
        self.initializers.get(tensor)
    }

    /// All initializers, in file order.
    pub fn initializers(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.initializers.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// Inputs that must be fed (initializers are not among them).
    pub fn inputs(&self) -> &[ValueInfo] {
        &self.inputs
    }

    /// Outputs.
    pub fn outputs(&self) -> &[ValueInfo] {
        &self.outputs
    }

    /// Whether `tensor` is fed from outside.
    pub fn is_input(&self, tensor: &str) -> bool {
        self.inputs.iter().any(|v| v.name == tensor)
    }

    /// Whether `tensor` is an output of the graph.
    pub fn is_output(&self, tensor: &str) -> bool {
        self.outputs.iter().any(|v| v.name == tensor)
    }

    /// What is known of the type of `tensor`, from inputs, outputs, initializers and inferred types.
    pub fn tensor_type(&self, tensor: &str) -> Option<TensorType> {
        if let Some(t) = self.initializers.get(tensor) {
            return Some(TensorType::fixed(t.dtype(), t.dims()));
        }
        if let Some(t) = self.types.get(tensor) {
            return t.tensor().cloned();
        }
        let boundary = self.inputs.iter().chain(&self.outputs).find(|v| v.name == tensor);
        boundary.and_then(|v| v.ty.tensor().cloned())
    }

    /// Types of intermediate tensors, as declared or inferred.
    pub fn types(&self) -> impl Iterator<Item = (&str, &ValueType)> {
        self.types.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// Key-value pairs for tools.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// Every name that stands for a value: to make fresh ones that do not clash.
    pub fn has_name(&self, tensor: &str) -> bool {
        self.initializers.contains_key(tensor)
            || self.producers.contains_key(tensor)
            || self.uses.contains_key(tensor)
            || self.is_input(tensor)
            || self.is_output(tensor)
    }

    /// `wanted`, or `wanted_1`, `wanted_2`, … : the first that is free.
    pub fn fresh_name(&self, wanted: &str) -> String {
        let mut name = wanted.to_string();
        let mut count = 0u64;
        while self.has_name(&name) {
            count += 1;
            name = format!("{wanted}_{count}");
        }
        name
    }

    /// Rebuilds the indices from the nodes.
    pub(crate) fn reindex(&mut self) {
        self.producers.clear();
        self.uses.clear();
        let ids: Vec<NodeId> = self.nodes().map(|(id, _)| id).collect();
        for id in ids {
            self.index_node(id);
        }
    }

    pub(crate) fn index_node(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(id.0 as usize).and_then(Option::as_ref) else { return };
        for output in node.outputs.iter().filter(|o| !o.is_empty()) {
            self.producers.insert(output.clone(), id);
        }
        for (i, input) in node.inputs.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
            self.uses.entry(input.clone()).or_default().push(Use { node: id, input: Some(i) });
        }
        for (_, subgraph) in node.subgraphs() {
            for name in subgraph.captures() {
                self.uses.entry(name).or_default().push(Use { node: id, input: None });
            }
        }
    }

    pub(crate) fn unindex_node(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(id.0 as usize).and_then(Option::as_ref) else { return };
        for output in &node.outputs {
            if self.producers.get(output) == Some(&id) {
                self.producers.remove(output);
            }
        }
        let captured: Vec<String> = node.subgraphs().flat_map(|(_, g)| g.captures()).collect();
        for input in node.inputs.iter().chain(&captured) {
            if let Some(uses) = self.uses.get_mut(input) {
                uses.retain(|u| u.node != id);
                if uses.is_empty() {
                    self.uses.remove(input);
                }
            }
        }
    }

    /// Whether the name means something of this graph's own.
    pub(crate) fn defines(&self, name: &str) -> bool {
        self.initializers.contains_key(name) || self.producers.contains_key(name) || self.is_input(name)
    }

    /// Whether `new` would not reach every place in this subgraph that captures `old`.
    pub(crate) fn hides(&self, old: &str, new: &str) -> bool {
        if self.defines(old) || !self.captures().iter().any(|n| n == old) {
            return false;
        }
        self.defines(new) || self.nodes().any(|(_, n)| n.subgraphs().any(|(_, g)| g.hides(old, new)))
    }

    /// Makes everything in this subgraph that captures `old` capture `new`.
    pub(crate) fn rename_captured(&mut self, old: &str, new: &str) {
        if self.defines(old) {
            return;
        }
        for node in self.nodes.iter_mut().flatten() {
            for input in node.inputs.iter_mut().filter(|n| *n == old) {
                new.clone_into(input);
            }
            node.rename_captured(old, new);
        }
        for output in self.outputs.iter_mut().filter(|v| v.name == old) {
            new.clone_into(&mut output.name);
        }
        self.reindex();
    }

    /// Names that this graph, used as a subgraph, reads from the graphs around it; each once, in order.
    pub fn captures(&self) -> Vec<String> {
        let mut names = indexmap::IndexSet::new();
        for (_, node) in self.nodes() {
            let inner = node.subgraphs().flat_map(|(_, g)| g.captures());
            for name in node.inputs.iter().cloned().chain(inner) {
                if !name.is_empty() && !self.defines(&name) {
                    names.insert(name);
                }
            }
        }
        for output in &self.outputs {
            if !self.defines(&output.name) {
                names.insert(output.name.clone());
            }
        }
        names.into_iter().collect()
    }
}
