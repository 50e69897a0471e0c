//! Rebuilding a graph node by node, with the bodies of control flow: for conversions that change a little everywhere.

use std::collections::HashSet;

use crate::{Attribute, Graph, Node, NodeId, Note, Tensor, TensorType, ValueType, proto};

/// The graphs around a node, as they were before: what its inputs mean.
#[derive(Debug)]
pub struct Scope<'g> {
    /// Outermost first.
    graphs: Vec<&'g Graph>,
}

impl<'g> Scope<'g> {
    fn owner(&self, tensor: &str) -> Option<&'g Graph> {
        self.graphs.iter().rev().copied().find(|g| g.defines(tensor))
    }

    /// The constant behind `tensor`, in this graph or one around it.
    pub fn constant(&self, tensor: &str) -> Option<&'g Tensor> {
        self.owner(tensor)?.constant(tensor)
    }

    /// What is known of the type of `tensor`, in this graph or one around it.
    pub fn tensor_type(&self, tensor: &str) -> Option<TensorType> {
        self.owner(tensor)?.tensor_type(tensor)
    }
}

/// What stands in the place of nodes, as it grows.
#[derive(Debug, Default)]
pub struct Rebuilt {
    nodes: Vec<Node>,
    constants: Vec<(String, Tensor)>,
    taken: HashSet<String>,
}

impl Rebuilt {
    /// Adds a node behind those that are there.
    pub fn node(&mut self, node: Node) {
        self.nodes.push(node);
    }

    /// Adds a constant to the graph of the node, and gives its name.
    pub fn constant(&mut self, wanted: &str, tensor: Tensor) -> String {
        let name = self.fresh_name(wanted);
        self.constants.push((name.clone(), tensor));
        name
    }

    /// A name that stands for nothing in the whole model: `wanted`, or `wanted_1`, `wanted_2`, …
    pub fn fresh_name(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut count = 0u64;
        while !self.taken.insert(name.clone()) {
            count += 1;
            name = format!("{wanted}_{count}");
        }
        name
    }

    fn take_names(&mut self, graph: &Graph) {
        self.taken.extend(graph.inputs.iter().chain(&graph.outputs).map(|v| v.name.clone()));
        self.taken.extend(graph.initializers.keys().cloned());
        for (_, node) in graph.nodes() {
            self.taken.extend(node.inputs.iter().chain(&node.outputs).cloned());
            node.subgraphs().for_each(|(_, body)| self.take_names(body));
        }
    }
}

/// A conversion of everything in a graph.
pub trait Rebuild {
    /// Puts into `new` what stands in the place of `node`, whose bodies are rebuilt already; `Err` says why that cannot be.
    fn node(&mut self, scope: &Scope<'_>, node: Node, new: &mut Rebuilt) -> Result<(), String>;

    /// What a constant becomes.
    fn tensor(&mut self, tensor: &Tensor) -> Tensor {
        tensor.clone()
    }

    /// What a declared or inferred type becomes.
    fn value_type(&mut self, ty: &ValueType) -> ValueType {
        ty.clone()
    }
}

impl Graph {
    /// The graph after a conversion. Names of values stay; order is kept as the conversion gives nodes.
    ///
    /// Fails with the node that cannot be converted, and why.
    pub fn rebuilt(&self, rebuild: &mut dyn Rebuild) -> Result<Self, Note> {
        let mut new = Rebuilt::default();
        new.take_names(self);
        let mut graph = build(&mut Scope { graphs: Vec::new() }, self, rebuild, &mut new)?;
        graph.sort();
        Ok(graph)
    }
}

fn build<'g>(
    scope: &mut Scope<'g>,
    graph: &'g Graph,
    rebuild: &mut dyn Rebuild,
    new: &mut Rebuilt,
) -> Result<Graph, Note> {
    scope.graphs.push(graph);
    let (nodes, constants) = (std::mem::take(&mut new.nodes), std::mem::take(&mut new.constants));
    for (_, node) in graph.nodes() {
        let mut attributes = node.attributes.clone();
        for (name, attribute) in &mut attributes {
            if let Some(Attribute::Graph(body)) = node.attributes.get(name) {
                *attribute = Attribute::Graph(Box::new(build(scope, body, rebuild, new)?));
            }
        }
        let label = node.label();
        let node = Node { attributes, ..without_attributes(node) };
        rebuild.node(scope, node, new).map_err(|what| Note { node: label, what })?;
    }
    scope.graphs.pop();
    let nodes = std::mem::replace(&mut new.nodes, nodes);
    let constants = std::mem::replace(&mut new.constants, constants);
    let mut result = graph.empty_like();
    result.order = (0..nodes.len() as u32).map(NodeId).collect();
    result.nodes = nodes.into_iter().map(Some).collect();
    result.initializers = graph.initializers.iter().map(|(k, t)| (k.clone(), rebuild.tensor(t))).collect();
    result.initializers.extend(constants);
    for value in result.inputs.iter_mut().chain(&mut result.outputs) {
        value.ty = rebuild.value_type(&value.ty);
    }
    result.types = graph.types.iter().map(|(k, ty)| (k.clone(), rebuild.value_type(ty))).collect();
    result.reindex();
    Ok(result)
}

/// All of a node but its attributes, which may be large.
fn without_attributes(node: &Node) -> Node {
    Node {
        name: node.name.clone(),
        op_type: node.op_type.clone(),
        domain: node.domain.clone(),
        inputs: node.inputs.clone(),
        outputs: node.outputs.clone(),
        attributes: indexmap::IndexMap::new(),
        overload: node.overload.clone(),
        doc_string: node.doc_string.clone(),
        metadata: node.metadata.clone(),
    }
}

impl Graph {
    /// The same without nodes, constants and types.
    fn empty_like(&self) -> Self {
        Self {
            name: self.name.clone(),
            doc_string: self.doc_string.clone(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            annotations: self.annotations.clone(),
            metadata: self.metadata.clone(),
            ..Self::default()
        }
    }
}

/// A type with other element types, also inside of sequences and optional values.
pub fn map_element_types(message: &proto::TypeProto, map: &dyn Fn(i32) -> i32) -> proto::TypeProto {
    let mut message = message.clone();
    map_in_place(&mut message, map);
    message
}

fn map_in_place(message: &mut proto::TypeProto, map: &dyn Fn(i32) -> i32) {
    match &mut message.value {
        Some(proto::TypeValue::TensorType(t)) => t.elem_type = map(t.elem_type),
        Some(proto::TypeValue::SequenceType(t) | proto::TypeValue::OptionalType(t)) => {
            t.elem_type.iter_mut().for_each(|inner| map_in_place(inner, map));
        }
        _ => {}
    }
}
