//! From a model to a plan.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use shiftwise_graph::{Graph, Model, Node, NodeId, Value, release_mapped_weights};
use smallvec::SmallVec;

use crate::args::{Arg, Args, Datum, Kernel, Outcome};
use crate::plan::{Plan, Read, Slot, Step};
use crate::pool::Workspace;
use crate::{EngineError, TensorId, Unsupported, Watch, fuse, ops};

/// Versions of the standard operator set whose meaning the operators here follow.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=23;

/// Every node that cannot be computed, those in bodies of other nodes included.
pub(crate) fn unsupported(model: &Model) -> Vec<Unsupported> {
    let mut found = Vec::new();
    unsupported_in(model, &model.graph, &mut found);
    found
}

fn unsupported_in(model: &Model, graph: &Graph, found: &mut Vec<Unsupported>) {
    for (_, node) in graph.nodes() {
        let before = found.len();
        for (_, body) in node.subgraphs() {
            unsupported_in(model, body, found);
        }
        // A node whose body is refused is not to blame itself.
        if found.len() == before
            && let Some(why) = refusal(model, graph, node)
        {
            let op = if node.domain.is_empty() {
                node.op_type.clone()
            } else {
                format!("{}.{}", node.domain, node.op_type)
            };
            found.push(Unsupported { node: node.label(), op, why });
        }
    }
}

fn refusal(model: &Model, graph: &Graph, node: &Node) -> Option<String> {
    let domain = |d: &str| if d == "ai.onnx" { String::new() } else { d.to_string() };
    if model.functions.iter().any(|f| f.name == node.op_type && domain(&f.domain) == node.domain) {
        return Some("it calls a function of the model; inline the model's functions first".into());
    }
    let opset = model.opset();
    if node.domain.is_empty() && !OPSETS.contains(&opset) {
        return Some(format!(
            "opset {opset} is not known; versions {} to {} are: convert the model",
            OPSETS.start(),
            OPSETS.end()
        ));
    }
    for (i, input) in node.inputs.iter().enumerate() {
        if let Some(tensor) = graph.initializer(input)
            && tensor.dtype().bits().is_none_or(|b| b < 8)
        {
            return Some(format!("input {i} is a {} tensor, which cannot be computed with", tensor.dtype()));
        }
    }
    ops::compile(node, opset).err()
}

/// Bytes of weights that are in memory twice, mapped and copied.
const COPIED_AT_ONCE: usize = 8 << 20;

/// A group of nodes, compiled.
struct Item<'m> {
    label: String,
    kernel: Kernel,
    inputs: Vec<Option<&'m str>>,
    outputs: Vec<Option<&'m str>>,
}

/// A group that has a step: whether it was computed in advance, and what is shown after it.
type Kept<'m> = (Item<'m>, bool, Vec<(TensorId, &'m str)>);

/// Makes the plan of a model without unsupported nodes.
pub(crate) fn plan(model: &Model, watch: &Watch) -> Result<Plan, EngineError> {
    let graph = &model.graph;
    graph.check("prepare").map_err(|e| EngineError::Graph(e.to_string()))?;
    let watched = watched(model, watch)?;
    build(graph, model.opset(), &watched, &[])
}

/// The plan of a body of a node, whose inputs are those of the graph and then `captured` of the graphs around it.
pub(crate) fn body(graph: &Graph, opset: i64, captured: &[String]) -> Outcome<Plan> {
    build(graph, opset, &BTreeSet::new(), captured).map_err(|e| e.to_string())
}

/// What the bodies of a node read from the graphs around it; each name once, in order.
pub(crate) fn captures(node: &Node) -> Vec<String> {
    let mut names = indexmap::IndexSet::new();
    for (_, body) in node.subgraphs() {
        names.extend(body.captures());
    }
    names.into_iter().collect()
}

fn build(
    graph: &Graph,
    opset: i64,
    watched: &BTreeSet<&str>,
    captured: &[String],
) -> Result<Plan, EngineError> {
    let reads: HashMap<NodeId, Vec<String>> = graph
        .nodes()
        .filter(|(_, node)| node.subgraphs().next().is_some())
        .map(|(id, node)| (id, captures(node)))
        .collect();
    let live = live(graph, watched, &reads);
    let mut constants: HashMap<&str, Value> = HashMap::new();
    let mut copied = 0;
    let mut read_constant = |name: &str| -> Result<Option<Value>, EngineError> {
        let Some(tensor) = graph.initializer(name) else { return Ok(None) };
        let value = Value::from_tensor(tensor)
            .map_err(|e| EngineError::Constant { name: name.into(), reason: e.to_string() })?;
        copied += tensor.raw().map_or(0, bytes::Bytes::len);
        if copied >= COPIED_AT_ONCE {
            copied = 0;
            release_mapped_weights();
        }
        Ok(Some(value))
    };
    let mut items = Vec::new();
    for group in fuse::groups(graph, &live, watched) {
        let item = item(&group, opset, &reads)?;
        for name in item.inputs.iter().copied().flatten() {
            if !constants.contains_key(name)
                && let Some(value) = read_constant(name)?
            {
                constants.insert(name, value);
            }
        }
        items.push(item);
    }
    for output in graph.outputs() {
        if let Some(value) = read_constant(&output.name)? {
            constants.insert(&output.name, value);
        }
    }
    Ok(assemble(graph, captured, watched, items, constants))
}

/// The watched names, each of which a node makes.
fn watched<'m>(model: &'m Model, watch: &'m Watch) -> Result<BTreeSet<&'m str>, EngineError> {
    let graph = &model.graph;
    match watch {
        Watch::None => Ok(BTreeSet::new()),
        Watch::All => Ok(graph
            .nodes()
            .filter(|(_, n)| !n.is("Constant"))
            .flat_map(|(_, n)| n.outputs.iter().map(String::as_str).filter(|o| !o.is_empty()))
            .collect()),
        Watch::Named(names) => {
            for name in names {
                let what = if graph.is_input(name) {
                    "an input of the graph"
                } else if graph.initializer(name).is_some() {
                    "a constant"
                } else if graph.producer(name).is_some() {
                    continue;
                } else {
                    return Err(EngineError::UnknownTensor { name: name.clone() });
                };
                return Err(EngineError::NotComputed { name: name.clone(), what });
            }
            Ok(names.iter().map(String::as_str).collect())
        }
    }
}

/// The nodes that outputs or watched tensors depend on, in execution order.
fn live<'m>(
    graph: &'m Graph,
    watched: &BTreeSet<&'m str>,
    reads: &'m HashMap<NodeId, Vec<String>>,
) -> Vec<(NodeId, &'m Node)> {
    let mut wanted: BTreeSet<&str> = watched.clone();
    wanted.extend(graph.outputs().iter().map(|o| o.name.as_str()));
    let mut live: Vec<(NodeId, &Node)> = Vec::new();
    for (id, node) in graph.nodes().collect::<Vec<_>>().into_iter().rev() {
        if node.outputs.iter().any(|o| !o.is_empty() && wanted.contains(o.as_str())) {
            wanted.extend(node.inputs.iter().chain(reads.get(&id).into_iter().flatten()).map(String::as_str));
            live.push((id, node));
        }
    }
    live.reverse();
    live
}

fn item<'m>(
    group: &fuse::Group<'m>,
    opset: i64,
    reads: &'m HashMap<NodeId, Vec<String>>,
) -> Result<Item<'m>, EngineError> {
    let last = group.nodes.last().ok_or_else(|| EngineError::Graph("a group without nodes".into()))?.1;
    let nodes: SmallVec<[&Node; 3]> = group.nodes.iter().map(|(_, node)| *node).collect();
    let compiled = match nodes.as_slice() {
        [node] => ops::compile(node, opset),
        nodes => ops::compile_group(nodes, opset),
    };
    let kernel = compiled.map_err(|reason| EngineError::Node { node: last.label(), reason })?;
    let mut inputs = Vec::new();
    for (i, (id, node)) in group.nodes.iter().enumerate() {
        // Members after the first read the one before through their first input.
        inputs.extend((usize::from(i > 0)..node.inputs.len()).map(|k| node.input(k)));
        inputs.extend(reads.get(id).into_iter().flatten().map(|name| Some(name.as_str())));
        if group.nodes.len() > 1 {
            // Every member has its full number of places, so that the group's kernel finds them.
            let places = ops::places(node).saturating_sub(usize::from(i > 0));
            let have = node.inputs.len().saturating_sub(usize::from(i > 0));
            inputs.extend((have..places).map(|_| None));
        }
    }
    let outputs = (0..last.outputs.len()).map(|k| last.output(k)).collect();
    Ok(Item { label: last.label(), kernel, inputs, outputs })
}

/// Evaluates what is constant, numbers the slots, finds last uses.
fn assemble<'m>(
    graph: &'m Graph,
    captured: &'m [String],
    watched: &BTreeSet<&'m str>,
    items: Vec<Item<'m>>,
    mut constants: HashMap<&'m str, Value>,
) -> Plan {
    let mut names: Vec<String> = Vec::new();
    let mut ws = Workspace::default();
    let mut kept: Vec<Kept<'m>> = Vec::new();
    for item in items {
        let folded = fold(&item, &mut constants, &mut ws);
        let mut shown = Vec::new();
        for name in item.outputs.iter().flatten().filter(|n| watched.contains(**n)) {
            shown.push((TensorId(names.len()), *name));
            names.push((*name).into());
        }
        if !folded || !shown.is_empty() {
            kept.push((item, folded, shown));
        }
    }

    let mut slots: BTreeMap<&str, Slot> = BTreeMap::new();
    let slot_of = |slots: &mut BTreeMap<&'m str, Slot>, name: &'m str| {
        let next = slots.len();
        *slots.entry(name).or_insert(next)
    };
    let mut last_use: HashMap<&str, usize> = HashMap::new();
    for (i, (item, folded, _)) in kept.iter().enumerate() {
        if !folded {
            for name in item.inputs.iter().chain(&item.outputs).flatten() {
                last_use.insert(name, i);
            }
        }
    }
    let results: Vec<Slot> = graph.outputs().iter().map(|o| slot_of(&mut slots, o.name.as_str())).collect();
    // Never freed, never overwritten: what runs borrow, and what they return.
    let lasting: BTreeSet<&str> =
        graph.outputs().iter().map(|v| v.name.as_str()).chain(constants.keys().copied()).collect();
    let mut steps = Vec::with_capacity(kept.len());
    for (i, (item, folded, shown)) in kept.into_iter().enumerate() {
        let dies = |name: &str| last_use.get(name) == Some(&i) && !lasting.contains(name);
        let shown = shown.into_iter().map(|(id, name)| (id, slot_of(&mut slots, name))).collect();
        if folded {
            let (inputs, outputs, dead) = (Vec::new(), Vec::new(), Vec::new());
            steps.push(Step { label: item.label, kernel: None, inputs, outputs, shown, dead });
            continue;
        }
        let inputs: Vec<Option<Read>> = item
            .inputs
            .iter()
            .map(|name| {
                let name = (*name)?;
                let once = item.inputs.iter().flatten().filter(|n| **n == name).count() == 1;
                Some(Read { slot: slot_of(&mut slots, name), last: once && dies(name) })
            })
            .collect();
        let outputs: Vec<Option<Slot>> =
            item.outputs.iter().map(|name| name.map(|n| slot_of(&mut slots, n))).collect();
        let ending: BTreeSet<&str> =
            item.inputs.iter().chain(&item.outputs).flatten().copied().filter(|n| dies(n)).collect();
        let dead = ending.into_iter().map(|n| slot_of(&mut slots, n)).collect();
        steps.push(Step { label: item.label, kernel: Some(item.kernel), inputs, outputs, shown, dead });
    }
    let mut held: Vec<(Slot, Value)> =
        slots.iter().filter_map(|(name, slot)| Some((*slot, constants.remove(name)?))).collect();
    held.sort_by_key(|(slot, _)| *slot);
    let inputs = graph.inputs().iter().map(|v| v.name.as_str()).chain(captured.iter().map(String::as_str));
    Plan {
        watched: names,
        slots: slots.len(),
        constants: held,
        feeds: inputs.map(|name| slots.get(name).copied()).collect(),
        steps,
        results,
    }
}

/// Computes a group whose inputs are all constant. What fails is left to runs, which name the node.
fn fold<'m>(item: &Item<'m>, constants: &mut HashMap<&'m str, Value>, ws: &mut Workspace) -> bool {
    let mut args = SmallVec::new();
    for input in &item.inputs {
        args.push(match input {
            None => Arg::None,
            Some(name) => match constants.get(name) {
                Some(v) => Arg::Shared(v),
                None => return false,
            },
        });
    }
    let Ok(results) = (item.kernel)(&mut Args(args), ws) else { return false };
    if results.len() < item.outputs.len() || !results.iter().all(|d| matches!(d, Datum::Tensor(_))) {
        return false;
    }
    for (name, datum) in item.outputs.iter().zip(results) {
        if let (Some(name), Datum::Tensor(value)) = (name, datum) {
            constants.insert(name, value);
        }
    }
    true
}
