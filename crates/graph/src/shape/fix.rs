//! Fixes open dimensions to numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Attribute, Dim, Graph, GraphError, Model, Node, Patch, ValueInfo, ValueType};

/// What a fix names.
enum Target<'a> {
    /// A named dimension, wherever it stands.
    Symbol(String),
    /// One axis of one input, which has no name.
    Axis(&'a str, usize),
    /// An axis that has this extent already.
    Fixed(usize),
}

/// Replaces open dimensions by numbers in inputs, outputs and recorded types, also in subgraphs.
///
/// A key is the name of a dimension (`batch`) or one axis of an input (`images[0]`); where that axis has a name, the
/// name is replaced everywhere. Returns what was done, one sentence each.
///
/// Fails, without any change, when no dimension has the name (the message lists those that exist), when the axis is
/// not there or is fixed to another number already, and for an extent of 0.
pub fn fix_dims(model: &mut Model, fixes: &BTreeMap<String, usize>) -> Result<Vec<String>, GraphError> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut places: BTreeMap<(String, usize), usize> = BTreeMap::new();
    let mut done = Vec::new();
    for (key, extent) in fixes {
        let fail = |reason: String| GraphError::Dimension { name: key.clone(), reason };
        if *extent == 0 || i64::try_from(*extent).is_err() {
            return Err(fail(format!("{extent} is not an extent to run with")));
        }
        match target(&model.graph, key).map_err(fail)? {
            Target::Fixed(n) if n == *extent => done.push(format!("{key} is {extent} already")),
            Target::Fixed(n) => return Err(fail(format!("the model fixes it to {n} already"))),
            Target::Axis(input, axis) => {
                places.insert((input.into(), axis), *extent);
                done.push(format!("{key} = {extent}"));
            }
            Target::Symbol(symbol) => match names.insert(symbol.clone(), *extent) {
                Some(other) if other != *extent => {
                    return Err(fail(format!(
                        "dimension {symbol:?} is asked to be both {other} and {extent}"
                    )));
                }
                _ => done.push(format!("{symbol} = {extent}")),
            },
        }
    }
    done.dedup();
    let mut patch = Patch::new();
    let names = names.into_iter().map(|(name, extent)| (name, Dim::Known(extent))).collect();
    rewrite(&model.graph, &names, &places, &mut patch);
    if !patch.is_empty() {
        model.graph.apply("fix-dim", patch)?;
    }
    Ok(done)
}

fn target<'a>(graph: &Graph, key: &'a str) -> Result<Target<'a>, String> {
    let existing = symbols(graph);
    if existing.contains(key) {
        return Ok(Target::Symbol(key.into()));
    }
    let place = key.strip_suffix(']').and_then(|k| k.rsplit_once('['));
    let Some((input, axis)) = place else {
        let list = existing.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(if existing.is_empty() {
            "no dimension of the model has a name; use input[axis]=value for an open axis of an input".into()
        } else {
            format!("no dimension has this name; the model has {list}; input[axis]=value is possible too")
        });
    };
    let Some(info) = graph.inputs().iter().find(|v| v.name == input) else {
        let list = graph.inputs().iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(format!("the model has no input {input:?}; its inputs are {list}"));
    };
    let axis: usize = axis.trim().parse().map_err(|_| format!("{axis:?} is not an axis"))?;
    let Some(shape) = info.ty.tensor().and_then(|t| t.shape.as_ref()) else {
        return Err(format!("input {input:?} has no declared shape"));
    };
    match shape.get(axis) {
        None => Err(format!("input {input:?} has {} axes, counted from 0", shape.len())),
        Some(Dim::Known(n)) => Ok(Target::Fixed(*n)),
        Some(Dim::Symbol(s)) => Ok(Target::Symbol(s.clone())),
        Some(Dim::Unknown) => Ok(Target::Axis(input, axis)),
    }
}

fn all_types(graph: &Graph) -> impl Iterator<Item = &ValueType> {
    graph.inputs().iter().chain(graph.outputs()).map(|v| &v.ty).chain(graph.types.values())
}

/// Names of dimensions at the boundary and among recorded types.
fn symbols(graph: &Graph) -> BTreeSet<String> {
    let dims = all_types(graph).filter_map(|t| t.tensor()?.shape.as_ref()).flatten();
    dims.filter_map(|d| match d {
        Dim::Symbol(s) => Some(s.clone()),
        _ => None,
    })
    .collect()
}

/// The type with its names replaced; `None` when there is nothing to replace.
fn replaced(ty: &ValueType, names: &BTreeMap<String, Dim>) -> Option<ValueType> {
    let mut tensor = ty.tensor()?.clone();
    let mut changed = false;
    for dim in tensor.shape.as_mut()? {
        if let Dim::Symbol(s) = dim
            && let Some(new) = names.get(s)
        {
            *dim = new.clone();
            changed = true;
        }
    }
    changed.then_some(ValueType::Tensor(tensor))
}

/// Replaces names everywhere, and unnamed axes of inputs.
pub(super) fn rewrite(
    graph: &Graph,
    names: &BTreeMap<String, Dim>,
    places: &BTreeMap<(String, usize), usize>,
    patch: &mut Patch,
) {
    let boundary = |values: &[ValueInfo]| -> Vec<ValueInfo> {
        values
            .iter()
            .map(|v| ValueInfo {
                name: v.name.clone(),
                ty: replaced(&v.ty, names).unwrap_or_else(|| v.ty.clone()),
            })
            .collect()
    };
    let (mut inputs, outputs) = (boundary(graph.inputs()), boundary(graph.outputs()));
    for input in &mut inputs {
        let ValueType::Tensor(ty) = &mut input.ty else { continue };
        for (axis, dim) in ty.shape.iter_mut().flatten().enumerate() {
            if let Some(n) = places.get(&(input.name.clone(), axis)) {
                *dim = Dim::Known(*n);
            }
        }
    }
    if inputs != graph.inputs() || outputs != graph.outputs() {
        patch.set_boundary(inputs, outputs);
    }
    for (name, ty) in graph.types() {
        if let Some(ValueType::Tensor(ty)) = replaced(ty, names) {
            patch.set_type(name, ty);
        }
    }
    for (id, node) in graph.nodes() {
        for (attribute, body) in subgraphs(node, names) {
            patch.set_attribute(id, &attribute, Attribute::Graph(Box::new(body)));
        }
    }
}

/// The subgraphs of a node in which a name was replaced.
fn subgraphs(node: &Node, names: &BTreeMap<String, Dim>) -> Vec<(String, Graph)> {
    let mut changed = Vec::new();
    for (attribute, body) in node.subgraphs() {
        let mut patch = Patch::new();
        rewrite(body, names, &BTreeMap::new(), &mut patch);
        if patch.is_empty() {
            continue;
        }
        let mut body = body.clone();
        // Types and attributes of nodes that are there cannot be refused.
        if body.apply("fix-dim", patch).is_ok() {
            changed.push((attribute.into(), body));
        }
    }
    changed
}
