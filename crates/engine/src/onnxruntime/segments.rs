//! Splits a model so that the watched tensors of one piece fit into a limit.
//!
//! ONNX Runtime keeps every output of a session alive until its run ends, whether it was asked for or not. So the nodes, in
//! execution order, are cut into consecutive segments, each a session of its own: tensors that cross a cut are outputs of one
//! segment and inputs of the next ones. Every node runs once and every weight is loaded once, however small the limit is.

use std::collections::{BTreeSet, HashMap, HashSet};

use indexmap::{IndexMap, IndexSet};
use shiftwise_graph::{Dim, Graph, Model, Node, Patch, TensorType, Value, ValueInfo, ValueType};

use crate::{EngineError, TensorId};

/// A part of the model, to be run after those before it.
pub(super) struct Segment {
    pub model: Model,
    /// What it reads: inputs of the whole model, and outputs of earlier segments.
    pub inputs: Vec<String>,
    /// What it makes, in the order of their nodes.
    pub outputs: Vec<Output>,
    /// What is not read any more after it.
    pub dead: Vec<String>,
}

/// A tensor that leaves its segment.
pub(super) struct Output {
    pub name: String,
    /// Where it is watched.
    pub watched: Option<TensorId>,
    /// Whether a later segment reads it, or it is an output of the model.
    pub kept: bool,
}

/// How a model is run.
pub(super) struct Plan {
    pub segments: Vec<Segment>,
    /// Where the outputs of the model come from.
    pub results: Vec<Source>,
}

/// Where an output of the model comes from.
pub(super) enum Source {
    /// It is this input of the model.
    Feed(usize),
    /// It is known.
    Constant(Value),
    /// A segment makes it.
    Made(String),
}

/// What is known of tensors: by their names.
pub(super) type Types = HashMap<String, TensorType>;

/// Bytes of a tensor; `None` where an extent is not known.
pub(super) fn bytes(ty: Option<&TensorType>) -> Option<u64> {
    let ty = ty?;
    let count = ty.fixed_dims()?.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
    u64::try_from(ty.dtype.bytes_for(count)?).ok()
}

/// Splits `model` so that the estimated bytes of what a segment is asked for stay within `limit`, as far as single nodes allow.
///
/// A tensor of unknown size counts as much as the largest one of known size. `types` hold for every run; `sizes` are types for
/// estimates only, which may be those of one run.
pub(super) fn plan(
    model: &Model,
    watched: &[String],
    types: &Types,
    sizes: &Types,
    limit: Option<u64>,
) -> Result<Plan, EngineError> {
    let graph = &model.graph;
    let feed = |name: &str| graph.inputs().iter().position(|i| i.name == name);
    let results = graph.outputs().iter().map(|output| {
        let name = &output.name;
        match (feed(name), graph.initializer(name)) {
            (Some(i), _) => Ok(Source::Feed(i)),
            (None, Some(tensor)) => Value::from_tensor(tensor)
                .map(Source::Constant)
                .map_err(|e| EngineError::Constant { name: name.clone(), reason: e.to_string() }),
            (None, None) => Ok(Source::Made(name.clone())),
        }
    });
    let results: Vec<Source> = results.collect::<Result<_, _>>()?;
    let made =
        results.iter().filter_map(|r| if let Source::Made(name) = r { Some(name.as_str()) } else { None });
    let walk = Walk::new(graph, watched, (types, sizes), &made.collect());
    let ranges = walk.cut(limit.unwrap_or(u64::MAX));
    let mut segments = Vec::with_capacity(ranges.len());
    let whole = ranges.len() == 1;
    for range in ranges {
        let segment = if whole { walk.whole(model)? } else { walk.part(model, range) };
        if !segment.outputs.is_empty() {
            segments.push(segment);
        }
    }
    // The last segment that reads a tensor is the last that needs it.
    let mut seen: HashSet<String> = walk.results.iter().map(|n| (*n).to_owned()).collect();
    for segment in segments.iter_mut().rev() {
        let inputs = segment.inputs.iter().filter(|i| walk.producer.contains_key(i.as_str()));
        segment.dead = inputs.filter(|i| seen.insert((*i).clone())).cloned().collect();
    }
    Ok(Plan { segments, results })
}

struct Walk<'m> {
    graph: &'m Graph,
    /// In execution order, without constants: those go where they are read.
    nodes: Vec<&'m Node>,
    /// Where each tensor is made.
    producer: HashMap<&'m str, usize>,
    /// Where each tensor is read last; outputs of the model are read behind everything.
    last: HashMap<&'m str, usize>,
    watched: HashMap<&'m str, TensorId>,
    results: BTreeSet<&'m str>,
    types: &'m Types,
    sizes: &'m Types,
    /// What a tensor of unknown size counts.
    unknown: u64,
}

impl<'m> Walk<'m> {
    fn new(
        graph: &'m Graph,
        watched: &'m [String],
        (types, sizes): (&'m Types, &'m Types),
        made: &BTreeSet<&str>,
    ) -> Self {
        let results: BTreeSet<&'m str> =
            graph.outputs().iter().map(|o| o.name.as_str()).filter(|n| made.contains(n)).collect();
        let watched: HashMap<&str, TensorId> =
            watched.iter().enumerate().map(|(i, name)| (name.as_str(), TensorId(i))).collect();
        let stays = |node: &Node| {
            !node.is("Constant")
                || node
                    .outputs
                    .iter()
                    .any(|o| watched.contains_key(o.as_str()) || results.contains(o.as_str()))
        };
        let nodes: Vec<&Node> = graph.nodes().map(|(_, n)| n).filter(|n| stays(n)).collect();
        let (mut producer, mut last) = (HashMap::new(), HashMap::new());
        for (i, node) in nodes.iter().enumerate() {
            for name in node.outputs.iter().filter(|o| !o.is_empty()) {
                producer.insert(name.as_str(), i);
            }
        }
        for (i, node) in nodes.iter().enumerate() {
            for name in reads(node) {
                if let Some((name, _)) = producer.get_key_value(name.as_str()) {
                    last.insert(*name, i);
                }
            }
        }
        last.extend(results.iter().map(|name| (*name, usize::MAX)));
        let unknown = producer.keys().filter_map(|name| bytes(sizes.get(*name))).max().unwrap_or(0);
        Self { graph, nodes, producer, last, watched, results, types, sizes, unknown }
    }

    fn size(&self, name: &str) -> u64 {
        bytes(self.sizes.get(name)).unwrap_or(self.unknown)
    }

    fn outputs(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = &'m str> + '_ {
        self.nodes[range].iter().flat_map(|n| &n.outputs).map(String::as_str).filter(|o| !o.is_empty())
    }

    /// Consecutive ranges of nodes: each as long as the limit allows.
    fn cut(&self, limit: u64) -> Vec<std::ops::Range<usize>> {
        let total: u64 = self.watched.keys().map(|name| self.size(name)).fold(0, u64::saturating_add);
        if total <= limit || self.nodes.is_empty() {
            return std::iter::once(0..self.nodes.len()).collect();
        }
        let (mut ranges, mut start) = (Vec::new(), 0);
        // What was made before and is read later, of which something was made where the type is not known.
        let (mut alive, mut untyped): (IndexSet<&str>, usize) = (IndexSet::new(), 0);
        // Bytes that come in, that are watched since the last cut, and that nobody watches but a later node reads.
        let (mut carried, mut seen, mut crossing) = (0u64, 0u64, 0u64);
        let mut candidate: Option<usize> = None;
        let mut i = 0;
        let mut state_at_candidate = None;
        while i < self.nodes.len() {
            for name in self.outputs(i..i + 1) {
                let lives = self.last.get(name).is_some_and(|last| *last > i);
                if self.watched.contains_key(name) {
                    seen = seen.saturating_add(self.size(name));
                } else if lives {
                    crossing = crossing.saturating_add(self.size(name));
                }
                if lives {
                    alive.insert(name);
                    untyped += usize::from(!self.types.contains_key(name));
                }
            }
            let dead: Vec<&str> = alive.iter().copied().filter(|n| self.last.get(n) == Some(&i)).collect();
            for name in dead {
                alive.swap_remove(name);
                untyped -= usize::from(!self.types.contains_key(name));
                if !self.watched.contains_key(name) && self.producer.get(name).is_some_and(|p| *p >= start) {
                    crossing = crossing.saturating_sub(self.size(name));
                }
            }
            let cost = carried.saturating_add(seen).saturating_add(crossing);
            if cost > limit
                && let Some(end) = candidate
            {
                ranges.push(start..end);
                start = end;
                // Go on from the cut with what was alive there.
                (alive, untyped) = state_at_candidate.take().unwrap_or_default();
                carried = alive.iter().map(|n| self.size(n)).fold(0, u64::saturating_add);
                (seen, crossing, candidate) = (0, 0, None);
                i = end;
                continue;
            }
            if untyped == 0 {
                candidate = Some(i + 1);
                state_at_candidate = Some((alive.clone(), untyped));
            }
            i += 1;
        }
        ranges.push(start..self.nodes.len());
        ranges
    }

    /// What leaves a range, in the order of the nodes.
    fn leaving(&self, range: std::ops::Range<usize>) -> Vec<Output> {
        let end = range.end;
        let outputs = self.outputs(range).filter_map(|name| {
            let watched = self.watched.get(name).copied();
            let kept = self.last.get(name).is_some_and(|last| *last >= end);
            (watched.is_some() || kept).then(|| Output { name: name.to_owned(), watched, kept })
        });
        outputs.collect()
    }

    fn info(&self, name: &str) -> ValueInfo {
        let known = self.types.get(name).cloned();
        ValueInfo { name: name.to_owned(), ty: known.map_or(ValueType::Other(None), ValueType::Tensor) }
    }

    fn whole(&self, model: &Model) -> Result<Segment, EngineError> {
        let outputs = self.leaving(0..self.nodes.len());
        let inputs = self.graph.inputs().to_vec();
        let mut model = model.clone();
        let mut patch = Patch::new();
        // ONNX Runtime infers types for itself.
        let named = outputs.iter().map(|o| ValueInfo { name: o.name.clone(), ty: ValueType::Other(None) });
        patch.set_boundary(inputs.clone(), named.collect());
        model.graph.apply("watch", patch).map_err(|e| EngineError::Graph(e.to_string()))?;
        let inputs = inputs.into_iter().map(|i| i.name).collect();
        Ok(Segment { model, inputs, outputs, dead: Vec::new() })
    }

    fn part(&self, model: &Model, range: std::ops::Range<usize>) -> Segment {
        let mut own: HashSet<&str> = HashSet::new();
        let (mut nodes, mut inputs, mut initializers) = (Vec::new(), IndexMap::new(), IndexMap::new());
        for node in &self.nodes[range.clone()] {
            for name in reads(node) {
                if own.contains(name.as_str())
                    || inputs.contains_key(&name)
                    || initializers.contains_key(&name)
                {
                    continue;
                }
                if let Some(tensor) = self.graph.initializer(&name) {
                    initializers.insert(name, tensor.clone());
                } else if let Some(input) = self.graph.inputs().iter().find(|i| i.name == name) {
                    inputs.insert(name, unsized_input(input));
                } else if self.producer.contains_key(name.as_str()) {
                    let info = self.info(&name);
                    inputs.insert(name, unsized_input(&info));
                } else if let Some((_, constant)) = self.graph.producer(&name) {
                    own.extend(constant.outputs.iter().map(String::as_str));
                    nodes.push(constant.clone());
                }
            }
            own.extend(node.outputs.iter().map(String::as_str));
            nodes.push((*node).clone());
        }
        let outputs = self.leaving(range);
        let named = outputs.iter().map(|o| ValueInfo { name: o.name.clone(), ty: ValueType::Other(None) });
        let names: Vec<String> = inputs.keys().cloned().collect();
        let graph = Graph::new(
            &self.graph.name,
            inputs.into_values().collect(),
            named.collect(),
            initializers,
            nodes,
        );
        let model = Model {
            ir_version: model.ir_version,
            producer_name: model.producer_name.clone(),
            producer_version: model.producer_version.clone(),
            domain: model.domain.clone(),
            model_version: model.model_version,
            doc_string: String::new(),
            opsets: model.opsets.clone(),
            metadata: Vec::new(),
            functions: model.functions.clone(),
            graph,
        };
        Segment { model, inputs: names, outputs, dead: Vec::new() }
    }
}

/// The input of a segment: named extents may mean different things in different runs, so they are left open.
fn unsized_input(info: &ValueInfo) -> ValueInfo {
    let ty = match &info.ty {
        ValueType::Tensor(t) => {
            let open = |d: &Dim| d.known().map_or(Dim::Unknown, Dim::Known);
            let shape = t.shape.as_ref().map(|dims| dims.iter().map(open).collect());
            ValueType::Tensor(TensorType { dtype: t.dtype, shape })
        }
        other @ ValueType::Other(_) => other.clone(),
    };
    ValueInfo { name: info.name.clone(), ty }
}

/// Every name that a node reads, in its subgraphs, too.
fn reads(node: &Node) -> impl Iterator<Item = String> + '_ {
    let captured = node.subgraphs().flat_map(|(_, g)| g.captures());
    node.inputs.iter().filter(|i| !i.is_empty()).cloned().chain(captured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shiftwise_graph::{Builder, DataType};

    const LEN: usize = 100;

    /// A chain whose first tensor is read again at the end.
    fn chain(length: usize) -> (Model, Types) {
        let mut builder = Builder::new().input("x", &[LEN]);
        let name = |i: usize| if i == 0 { "x".to_owned() } else { format!("t{i}") };
        for i in 0..length {
            builder = builder.node("Neg", &[&name(i)], &[&name(i + 1)]);
        }
        let model = builder.node("Add", &["t1", &name(length)], &["y"]).build(&[("y", &[LEN])], 13);
        let made = (1..=length).map(name).chain(["y".to_owned()]);
        (model, made.map(|n| (n, TensorType::fixed(DataType::Float, &[LEN]))).collect())
    }

    fn names(model: &Model) -> Vec<String> {
        model.graph.nodes().map(|(_, n)| n.outputs[0].clone()).collect()
    }

    #[test]
    fn segments_keep_within_the_limit_and_have_every_node_once() {
        let (model, types) = chain(20);
        let all = names(&model);
        let tensor = LEN as u64 * 4;
        for count in [3u64, 4, 7, 15] {
            let plan = plan(&model, &all, &types, &types, Some(count * tensor)).unwrap();
            assert!(plan.segments.len() > 1);
            let nodes: Vec<String> = plan.segments.iter().flat_map(|s| names(&s.model)).collect();
            assert_eq!(nodes, all, "each once, in order");
            let mut carried: BTreeSet<&str> = BTreeSet::new();
            for segment in &plan.segments {
                let held =
                    carried.len() + segment.outputs.iter().filter(|o| o.watched.is_some() || o.kept).count();
                assert!(held as u64 <= count, "{held} tensors under a limit of {count}");
                let inputs = segment.inputs.iter().filter(|i| *i != "x");
                assert!(inputs.clone().all(|i| carried.contains(i.as_str())));
                carried.extend(segment.outputs.iter().filter(|o| o.kept).map(|o| o.name.as_str()));
                for name in &segment.dead {
                    assert!(carried.remove(name.as_str()), "{name} was there");
                }
            }
            assert_eq!(carried, BTreeSet::from(["y"]));
        }
        assert_eq!(plan(&model, &all, &types, &types, Some(21 * tensor)).unwrap().segments.len(), 1);
        assert_eq!(plan(&model, &all, &types, &types, Some(1)).unwrap().segments.len(), all.len());
        assert_eq!(plan(&model, &all, &types, &types, None).unwrap().segments.len(), 1);
    }

    #[test]
    fn there_is_no_cut_where_a_type_is_not_known() {
        let (model, mut types) = chain(4);
        types.remove("t1");
        let all = names(&model);
        let plan = plan(&model, &all, &types, &types, Some(1)).unwrap();
        assert_eq!(plan.segments.len(), 1, "t1 is alive until the end");
    }
}
