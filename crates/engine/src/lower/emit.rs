//! Writes the nodes that take the place of another.

use std::collections::HashSet;

use shiftwise_graph::{Graph, Node, NodeId, Patch, Tensor};

/// Every name of a model, of tensors and of nodes, at any depth: rewrites add none twice.
pub(super) struct Names(HashSet<String>);

impl Names {
    pub(super) fn of(graph: &Graph) -> Self {
        let mut names = Self(HashSet::new());
        names.add(graph);
        names
    }

    fn add(&mut self, graph: &Graph) {
        self.0.extend(graph.inputs().iter().chain(graph.outputs()).map(|v| v.name.clone()));
        self.0.extend(graph.initializers().map(|(name, _)| name.to_string()));
        for (_, node) in graph.nodes() {
            self.0.insert(node.name.clone());
            self.0.extend(node.inputs.iter().chain(&node.outputs).cloned());
            for (_, body) in node.subgraphs() {
                self.add(body);
            }
        }
    }

    /// `wanted`, or `wanted_1`, `wanted_2`, … : the first that is free.
    fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_string();
        let mut count = 0u64;
        while !self.0.insert(name.clone()) {
            count += 1;
            name = format!("{wanted}_{count}");
        }
        name
    }
}

/// The replacement of one node, under construction.
pub(super) struct Emit<'a> {
    id: NodeId,
    pub(super) node: &'a Node,
    names: &'a mut Names,
    patch: Patch,
    domains: Vec<&'static str>,
}

impl<'a> Emit<'a> {
    pub(super) fn new(id: NodeId, node: &'a Node, names: &'a mut Names) -> Self {
        Self { id, node, names, patch: Patch::new(), domains: Vec::new() }
    }

    /// An input that must be there.
    pub(super) fn input(&self, index: usize) -> Result<&'a str, String> {
        self.node.input(index).ok_or_else(|| format!("its input {index} is missing"))
    }

    /// A name for something that the replacement adds.
    fn fresh(&mut self, what: &str) -> String {
        let base = self.node.outputs.first().map_or("", String::as_str);
        self.names.fresh(&format!("{base}_{what}"))
    }

    /// Adds a constant and gives its name.
    pub(super) fn constant(&mut self, what: &str, tensor: Tensor) -> String {
        let name = self.fresh(what);
        self.patch.set_initializer(name.as_str(), tensor);
        name
    }

    /// Adds a node that makes one new tensor and gives the name of that.
    pub(super) fn step(&mut self, what: &str, mut node: Node) -> String {
        let name = self.fresh(what);
        node.name.clone_from(&name);
        node.outputs = vec![name.clone()];
        self.patch.insert_before(self.id, node);
        name
    }

    /// Adds the node that makes what the replaced one made, under its name.
    pub(super) fn last(&mut self, mut node: Node) {
        node.name.clone_from(&self.node.name);
        node.outputs.clone_from(&self.node.outputs);
        node.doc_string.clone_from(&self.node.doc_string);
        node.metadata.clone_from(&self.node.metadata);
        self.patch.replace(self.id, node);
    }

    /// Notes that the result has nodes of this domain.
    pub(super) fn uses(&mut self, domain: &'static str) {
        if !domain.is_empty() && !self.domains.contains(&domain) {
            self.domains.push(domain);
        }
    }

    pub(super) fn done(self) -> (Patch, Vec<&'static str>) {
        (self.patch, self.domains)
    }
}

/// A node of the standard domain; outputs come later.
pub(super) fn op(op_type: &str, inputs: &[&str]) -> Node {
    Node::new(op_type, "", inputs, &[])
}
