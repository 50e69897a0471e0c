//! Which nodes run for which layer, and which tensors wait between.
//!
//! A node runs when the first layer that depends on it is asked for; what no layer depends on never runs. Two kinds of nodes are
//! not counted as running but are computed again wherever they are read: those that depend on constants alone, and
//! DequantizeLinear of activations, so that integers wait and not floats.

use std::collections::{HashMap, HashSet};

use shiftwise_graph::{Graph, Node, NodeId};
use shiftwise_quant::Direction;

/// Operators with one computed input whose result is mostly smaller than what they read: these follow their producer at once, where
/// nobody else reads it.
const SHRINKING: [&str; 28] = [
    "QuantizeLinear",
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Clip",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Gelu",
    "Softmax",
    "Add",
    "Mul",
    "BatchNormalization",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "ReduceMean",
    "ReduceMax",
    "ReduceSum",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Slice",
    "Identity",
];

/// How a node is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Runs once.
    Runs,
    /// Is computed again where it is read.
    Repeated,
}

#[derive(Debug)]
struct Planned {
    id: NodeId,
    kind: Kind,
    shrinking: bool,
    quantizes: bool,
    /// What it reads, looking through repeated nodes: graph inputs and results of nodes that run.
    reads: Vec<String>,
    outputs: Vec<String>,
}

/// The way of one model from layer to layer.
#[derive(Debug)]
pub(super) struct Schedule {
    nodes: Vec<Planned>,
    inputs: Vec<String>,
    /// The node that makes a tensor.
    makers: HashMap<String, usize>,
    /// What must be there for each layer, looking through repeated nodes.
    targets: Vec<Vec<String>>,
    done: Vec<bool>,
}

/// What has to be done for one layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Advance {
    /// The nodes that run, by their places.
    pub(super) run: Vec<usize>,
    /// The tensors that wait afterwards: graph inputs and results of nodes that run.
    pub(super) waiting: Vec<String>,
}

impl Schedule {
    /// `shown` are the tensors that each layer asks for.
    pub(super) fn of(graph: &Graph, shown: &[Vec<&str>]) -> Self {
        let mut schedule = Self {
            nodes: Vec::with_capacity(graph.node_count()),
            inputs: graph.inputs().iter().map(|input| input.name.clone()).collect(),
            makers: HashMap::new(),
            targets: Vec::new(),
            done: Vec::new(),
        };
        for (place, (id, node)) in graph.nodes().enumerate() {
            let reads = schedule.behind(names_read(node).iter().map(String::as_str));
            let repeated = if reads.is_empty() {
                !node.op_type.starts_with("Random") && !node.is("Bernoulli")
            } else {
                is_repeated_dequantizer(graph, node)
            };
            let outputs: Vec<String> = node.outputs.iter().filter(|o| !o.is_empty()).cloned().collect();
            schedule.makers.extend(outputs.iter().map(|output| (output.clone(), place)));
            let kind = if repeated { Kind::Repeated } else { Kind::Runs };
            let quantizes = Direction::of(node) == Some(Direction::Quantize);
            let known = node.domain.is_empty() && SHRINKING.contains(&node.op_type.as_str());
            let shrinking = (quantizes || known) && reads.len() == 1;
            schedule.nodes.push(Planned { id, kind, shrinking, quantizes, reads, outputs });
        }
        schedule.done = vec![false; schedule.nodes.len()];
        schedule.targets = shown.iter().map(|names| schedule.behind(names.iter().copied())).collect();
        schedule
    }

    /// The tensors behind names, looking through repeated nodes; each once. Constants have none.
    fn behind<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for name in names {
            match self.makers.get(name).map(|place| &self.nodes[*place]) {
                Some(node) if node.kind == Kind::Repeated => found.extend(node.reads.iter().cloned()),
                Some(_) => found.push(name.into()),
                None if self.inputs.iter().any(|input| input == name) => found.push(name.into()),
                None => {}
            }
        }
        let mut seen = HashSet::new();
        found.retain(|name| seen.insert(name.clone()));
        found
    }

    /// What has to run for a layer, given what has run. Only layers from this one on are still wanted.
    pub(super) fn advance(&self, layer: usize) -> Advance {
        let mut done = self.done.clone();
        self.ancestors(&self.targets[layer..=layer], &mut done);
        let mut wanted = done.clone();
        self.ancestors(&self.targets[layer + 1..], &mut wanted);
        let later: HashSet<&str> = self.targets[layer + 1..].iter().flatten().map(String::as_str).collect();
        // How many nodes still have to read each tensor.
        let mut readers: HashMap<&str, usize> = HashMap::new();
        for place in (0..self.nodes.len()).filter(|place| wanted[*place] && !done[*place]) {
            for read in &self.nodes[place].reads {
                *readers.entry(read).or_default() += 1;
            }
        }
        for (place, node) in self.nodes.iter().enumerate() {
            let [read] = node.reads.as_slice() else { continue };
            // What a layer is shown before it is quantized may get another scale.
            let open = node.quantizes && self.targets[layer].contains(read);
            let follows = node.shrinking
                && !open
                && wanted[place]
                && !done[place]
                && self.makers.get(read).is_some_and(|maker| done[*maker])
                && readers.get(read.as_str()) == Some(&1)
                && !later.contains(read.as_str());
            if follows {
                done[place] = true;
                readers.remove(read.as_str());
            }
        }
        let run = (0..self.nodes.len()).filter(|place| done[*place] && !self.done[*place]).collect();
        let made =
            self.nodes.iter().enumerate().filter(|(place, _)| done[*place]).flat_map(|(_, n)| &n.outputs);
        let waiting = self.inputs.iter().chain(made);
        let waiting =
            waiting.filter(|name| readers.contains_key(name.as_str()) || later.contains(name.as_str()));
        Advance { run, waiting: waiting.cloned().collect() }
    }

    /// Adds every node that runs and that `targets` depend on to `set`, which is closed in this sense.
    fn ancestors(&self, targets: &[Vec<String>], set: &mut [bool]) {
        let mut open: Vec<&String> = targets.iter().flatten().collect();
        while let Some(name) = open.pop() {
            if let Some(place) = self.makers.get(name).copied().filter(|place| !set[*place]) {
                set[place] = true;
                open.extend(&self.nodes[place].reads);
            }
        }
    }

    /// Notes that these nodes ran.
    pub(super) fn commit(&mut self, run: &[usize]) {
        for place in run {
            self.done[*place] = true;
        }
    }

    /// The place of the node that makes a tensor.
    pub(super) fn maker(&self, tensor: &str) -> Option<usize> {
        self.makers.get(tensor).copied()
    }

    /// Whether a node has run.
    pub(super) fn has_run(&self, place: usize) -> bool {
        self.done[place]
    }

    /// The node at a place.
    pub(super) fn id(&self, place: usize) -> NodeId {
        self.nodes[place].id
    }

    /// Whether the node at a place is computed again wherever it is read.
    pub(super) fn is_repeated(&self, place: usize) -> bool {
        self.nodes[place].kind == Kind::Repeated
    }
}

/// A DequantizeLinear with constant parameters.
fn is_repeated_dequantizer(graph: &Graph, node: &Node) -> bool {
    let constant = |i: usize| node.input(i).is_none_or(|name| graph.constant(name).is_some());
    Direction::of(node) == Some(Direction::Dequantize) && constant(1) && constant(2)
}

/// Everything a node reads: its inputs and what its subgraphs capture.
pub(super) fn names_read(node: &Node) -> Vec<String> {
    let captured = node.subgraphs().flat_map(|(_, body)| body.captures());
    node.inputs.iter().filter(|name| !name.is_empty()).cloned().chain(captured).collect()
}
