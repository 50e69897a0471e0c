//! A part of a model as a model of its own.

use std::collections::{BTreeSet, HashMap};

use indexmap::{IndexMap, IndexSet};
use shiftwise_graph::{Graph, Model, Tensor, TensorType, ValueInfo, ValueType};

use super::schedule::{Schedule, names_read};

/// Nodes of a model and what goes in and out of them.
#[derive(Debug)]
pub(super) struct Segment {
    /// Places of the nodes, ascending; those that are computed again wherever they are read included.
    nodes: BTreeSet<usize>,
    /// Tensors that are fed.
    pub(super) inputs: Vec<String>,
    /// Tensors that it gives: those of the wanted ones that it makes.
    pub(super) outputs: Vec<String>,
}

impl Segment {
    /// The nodes at `run`, and what has to be computed again for them and for the tensors that are `wanted`.
    pub(super) fn of(graph: &Graph, schedule: &Schedule, run: &[usize], wanted: &IndexSet<String>) -> Self {
        let mut nodes: BTreeSet<usize> = run.iter().copied().collect();
        let mut inputs = IndexSet::new();
        let mut open: Vec<usize> = run.to_vec();
        let repeated =
            wanted.iter().filter_map(|name| schedule.maker(name).filter(|p| schedule.is_repeated(*p)));
        for place in repeated {
            if nodes.insert(place) {
                open.push(place);
            }
        }
        while let Some(place) = open.pop() {
            let Some(node) = graph.node(schedule.id(place)) else { continue };
            for name in names_read(node) {
                match schedule.maker(&name) {
                    Some(maker) if nodes.contains(&maker) => {}
                    Some(maker) if schedule.is_repeated(maker) => {
                        nodes.insert(maker);
                        open.push(maker);
                    }
                    None if !graph.is_input(&name) => {}
                    _ => drop(inputs.insert(name)),
                }
            }
        }
        let made = |name: &&String| schedule.maker(name).is_some_and(|place| nodes.contains(&place));
        let outputs = wanted.iter().filter(made).cloned().collect();
        inputs.sort_unstable();
        Self { nodes, inputs: inputs.into_iter().collect(), outputs }
    }

    /// The model of these nodes. `fed` says what is known of the type of an input, `types` of other tensors.
    pub(super) fn model(
        &self,
        model: &Model,
        schedule: &Schedule,
        fed: impl Fn(&str) -> ValueType,
        types: &HashMap<String, TensorType>,
    ) -> Model {
        let graph = &model.graph;
        let places = self.nodes.iter().filter_map(|place| graph.node(schedule.id(*place)));
        let nodes: Vec<_> = places.cloned().collect();
        let mut constants: IndexMap<String, Tensor> = IndexMap::new();
        for name in nodes.iter().flat_map(names_read) {
            if let Some(tensor) = graph.initializer(&name) {
                constants.insert(name, tensor.clone());
            }
        }
        let known = |name: &String| types.get(name).cloned();
        let inputs = self.inputs.iter().map(|name| ValueInfo { name: name.clone(), ty: fed(name) }).collect();
        let output = |name: &String| {
            let ty = known(name).map_or(ValueType::Other(None), ValueType::Tensor);
            ValueInfo { name: name.clone(), ty }
        };
        let outputs: Vec<ValueInfo> = self.outputs.iter().map(output).collect();
        let inner = nodes.iter().flat_map(|n| &n.outputs).filter(|o| !self.outputs.contains(o));
        let mut patch = shiftwise_graph::Patch::new();
        for (name, ty) in inner.filter_map(|name| Some((name, known(name)?))) {
            patch.set_type(name.as_str(), ty);
        }
        let mut part = Graph::new(&graph.name, inputs, outputs, constants, nodes);
        // Types of tensors cannot conflict with anything.
        if let Err(error) = part.apply("cut", patch) {
            tracing::debug!(%error, "types of a part of a model are left out");
        }
        Model { graph: part, ..with_empty_graph(model) }
    }
}

/// All of a model but its graph.
fn with_empty_graph(model: &Model) -> Model {
    Model {
        ir_version: model.ir_version,
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        domain: model.domain.clone(),
        model_version: model.model_version,
        doc_string: String::new(),
        opsets: model.opsets.clone(),
        metadata: Vec::new(),
        functions: model.functions.clone(),
        graph: Graph::default(),
    }
}
