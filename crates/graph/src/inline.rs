//! Replaces calls of a model's own functions by what the functions consist of.

use std::collections::{BTreeMap, HashMap, HashSet};

use indexmap::IndexMap;

use crate::{Attribute, Graph, GraphError, Model, Node, NodeId, proto};

/// Functions may call functions, but not without end.
const DEEPEST: usize = 64;

type Key = (String, String, String);

/// A function, decoded once.
struct Function {
    inputs: Vec<String>,
    outputs: Vec<String>,
    nodes: Vec<Node>,
    /// Attributes that a call may leave out, with the values that they have then.
    defaults: Vec<(String, Attribute)>,
}

impl Model {
    /// The model without functions of its own, every call of one replaced by the nodes of its body: the same results under the
    /// same names, with new names for what is inside. `None` where the model has no functions.
    ///
    /// Fails when a function calls itself, is written for another operator set than the model, or is malformed.
    pub fn without_functions(&self) -> Result<Option<Self>, GraphError> {
        if self.functions.is_empty() {
            return Ok(None);
        }
        let mut opsets = self.opsets.clone();
        let mut functions = HashMap::new();
        for message in &self.functions {
            for import in &message.opset_import {
                let domain = standard(&import.domain);
                let version = *opsets.entry(domain.clone()).or_insert(import.version);
                if version != import.version {
                    return Err(GraphError::malformed(
                        format!("function {:?}", message.name),
                        format!(
                            "it is written for version {} of operator set {:?}, and the model for {version}: inline it before",
                            import.version,
                            if domain.is_empty() { "ai.onnx" } else { &domain },
                        ),
                    ));
                }
            }
            let key = (standard(&message.domain), message.name.clone(), message.overload.clone());
            functions.insert(key, Function::decode(message)?);
        }
        let mut inliner = Inliner { functions: &functions, taken: HashSet::new() };
        inliner.take_names(&self.graph);
        let graph = inliner.graph(self.graph.clone(), 0)?;
        let called = |domain: &str| functions.keys().any(|(d, ..)| d == domain) && !domain.is_empty();
        opsets.retain(|domain, _| !called(domain) || uses_domain(&graph, domain));
        Ok(Some(Self { graph, opsets, functions: Vec::new(), ..self.clone() }))
    }
}

fn standard(domain: &str) -> String {
    if domain == "ai.onnx" { String::new() } else { domain.into() }
}

fn uses_domain(graph: &Graph, domain: &str) -> bool {
    graph.nodes().any(|(_, n)| n.domain == domain || n.subgraphs().any(|(_, g)| uses_domain(g, domain)))
}

impl Function {
    fn decode(message: &proto::FunctionProto) -> Result<Self, GraphError> {
        let nodes = message.node.iter().cloned().map(Node::from_proto).collect::<Result<_, _>>()?;
        let carrier = proto::NodeProto { attribute: message.attribute_proto.clone(), ..Default::default() };
        let defaults = Node::from_proto(carrier)?.attributes.into_iter().collect();
        Ok(Self { inputs: message.input.clone(), outputs: message.output.clone(), nodes, defaults })
    }
}

struct Inliner<'f> {
    functions: &'f HashMap<Key, Function>,
    /// Names that exist.
    taken: HashSet<String>,
}

impl Inliner<'_> {
    fn take_names(&mut self, graph: &Graph) {
        self.taken.extend(graph.inputs.iter().map(|v| v.name.clone()));
        self.taken.extend(graph.initializers.keys().map(str::to_owned));
        for (_, node) in graph.nodes() {
            self.taken.extend(node.outputs.iter().cloned());
            for (_, body) in node.subgraphs() {
                self.take_names(body);
            }
        }
    }

    fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_string();
        let mut n = 1;
        while !self.taken.insert(name.clone()) {
            n += 1;
            name = format!("{wanted}_{n}");
        }
        name
    }

    fn graph(&mut self, mut graph: Graph, depth: usize) -> Result<Graph, GraphError> {
        let nodes: Vec<Node> = graph.nodes().map(|(_, node)| node.clone()).collect();
        let nodes = self.nodes(nodes, depth)?;
        graph.order = (0..nodes.len() as u32).map(NodeId).collect();
        graph.nodes = nodes.into_iter().map(Some).collect();
        graph.pending.clear();
        graph.reindex();
        Ok(graph)
    }

    fn nodes(&mut self, nodes: Vec<Node>, depth: usize) -> Result<Vec<Node>, GraphError> {
        let functions = self.functions;
        let mut result = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            for attribute in node.attributes.values_mut() {
                if let Attribute::Graph(body) = attribute {
                    **body = self.graph(std::mem::take(&mut **body), depth)?;
                }
            }
            let key = (node.domain.clone(), node.op_type.clone(), node.overload.clone());
            match functions.get(&key) {
                None => result.push(node),
                Some(_) if depth == DEEPEST => {
                    return Err(GraphError::malformed(node.label(), "its function calls itself"));
                }
                Some(function) => {
                    let body = self.body(function, &node);
                    result.extend(self.nodes(body, depth + 1)?);
                }
            }
        }
        Ok(result)
    }

    /// The nodes of a function with the names and attributes of a call.
    fn body(&mut self, function: &Function, call: &Node) -> Vec<Node> {
        let first = call.outputs.iter().find(|o| !o.is_empty()).map_or("", String::as_str);
        let prefix = if call.name.is_empty() { first } else { &call.name };
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (i, formal) in function.inputs.iter().enumerate() {
            names.insert(formal.clone(), call.input(i).unwrap_or("").into());
        }
        let mut nodes = Vec::with_capacity(function.nodes.len());
        for (i, formal) in function.outputs.iter().enumerate() {
            let Some(actual) = call.output(i) else { continue };
            match names.get(formal) {
                // What comes out as it came in, or comes out twice.
                Some(source) => nodes.push(Node::new("Identity", "", &[source], &[actual])),
                None => {
                    names.insert(formal.clone(), actual.into());
                }
            }
        }
        // Copies of what the function makes itself stand behind it.
        let made = |node: &Node| node.inputs.iter().any(|i| call.outputs.contains(i));
        let (behind, mut nodes): (Vec<Node>, Vec<Node>) = nodes.into_iter().partition(made);
        for node in &function.nodes {
            let mut node = node.clone();
            self.rename(&mut node, &mut names, prefix);
            if !node.name.is_empty() {
                node.name = format!("{prefix}/{}", node.name);
            }
            bind(&mut node, &call.attributes, &function.defaults);
            nodes.push(node);
        }
        nodes.extend(behind);
        nodes
    }

    /// Gives a node, and what is inside it, the names that `names` says, and new ones to what is not in there.
    fn rename(&mut self, node: &mut Node, names: &mut BTreeMap<String, String>, prefix: &str) {
        for input in node.inputs.iter_mut().filter(|n| !n.is_empty()) {
            *input = self.renamed(input, names, prefix);
        }
        for attribute in node.attributes.values_mut() {
            if let Attribute::Graph(body) = attribute {
                self.rename_graph(body, names, prefix);
            }
        }
        for output in node.outputs.iter_mut().filter(|n| !n.is_empty()) {
            *output = self.renamed(output, names, prefix);
        }
    }

    fn renamed(&mut self, name: &str, names: &mut BTreeMap<String, String>, prefix: &str) -> String {
        if let Some(known) = names.get(name) {
            return known.clone();
        }
        let fresh = self.fresh(&format!("{prefix}/{name}"));
        names.insert(name.into(), fresh.clone());
        fresh
    }

    fn rename_graph(&mut self, graph: &mut Graph, names: &mut BTreeMap<String, String>, prefix: &str) {
        // Other bodies may use the same names for tensors of their own.
        let mut inner = names.clone();
        graph.inputs.for_each_mut(|input| {
            inner.remove(&input.name);
            input.name = self.renamed(&input.name, &mut inner, prefix);
        });
        let initializers = std::mem::take(&mut graph.initializers);
        for (name, tensor) in initializers {
            inner.remove(&name);
            graph.initializers.insert(self.renamed(&name, &mut inner, prefix), tensor);
        }
        graph.types.clear();
        let order: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
        for id in order {
            if let Some(node) = &mut graph.nodes[id.0 as usize] {
                self.rename(node, &mut inner, prefix);
            }
        }
        graph.outputs.for_each_mut(|output| output.name = self.renamed(&output.name, &mut inner, prefix));
        graph.reindex();
    }
}

/// Puts the attributes of a call where the function refers to them.
fn bind(node: &mut Node, given: &IndexMap<String, Attribute>, defaults: &[(String, Attribute)]) {
    let value = |name: &str| {
        given.get(name).or_else(|| defaults.iter().find(|(n, _)| n == name).map(|(_, value)| value)).cloned()
    };
    let attributes = std::mem::take(&mut node.attributes);
    for (name, mut attribute) in attributes {
        match &mut attribute {
            Attribute::Other(message) if !message.ref_attr_name.is_empty() => {
                // What neither the call nor the function sets has the operator's default.
                let Some(value) = value(&message.ref_attr_name) else { continue };
                attribute = value;
            }
            Attribute::Graph(body) => {
                for node in body.nodes.iter_mut().flatten() {
                    bind(node, given, defaults);
                }
            }
            _ => {}
        }
        node.attributes.insert(name, attribute);
    }
}
