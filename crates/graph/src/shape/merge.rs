//! Named extents that must be equal become one.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::options::{Env, ShapeOptions};
use super::report::ShapeReport;
use super::{fix, infer};
use crate::{Dim, Graph, GraphError, Model, Patch};

/// Merges named extents where they meet in an operator that needs equal ones (broadcasting, joining, matrix products): everywhere,
/// into the name that the inputs of the model declare first, else the first in alphabetical order, or into the number that one of
/// them meets. Returns what was done, one sentence each.
///
/// This trusts the model: an extent that is 1 in some run, and would broadcast, is taken for the other one, too.
///
/// # Errors
/// Those of a patch, which renaming does not cause.
pub fn merge_dims(model: &mut Model, options: &ShapeOptions) -> Result<Vec<String>, GraphError> {
    let mut done = Vec::new();
    loop {
        let env = Env { opsets: &model.opsets, options, meetings: Some(RefCell::default()) };
        infer::graph(&model.graph, &env, None, &mut ShapeReport::default());
        let meetings = env.meetings.map(RefCell::into_inner).unwrap_or_default();
        let merged = merged(&model.graph, &meetings);
        if merged.is_empty() {
            return Ok(done);
        }
        let mut patch = Patch::new();
        fix::rewrite(&model.graph, &merged, &BTreeMap::new(), &mut patch);
        if patch.is_empty() {
            // Names that stand in no declared type, such as those inside of a body, cannot be replaced.
            return Ok(done);
        }
        model.graph.apply("merging of dimensions", patch)?;
        done.extend(merged.into_iter().map(|(name, dim)| format!("{name} is {dim}")));
    }
}

/// What each name that goes is replaced by.
fn merged(graph: &Graph, meetings: &[(Dim, Dim)]) -> BTreeMap<String, Dim> {
    let declared = graph.inputs().iter().filter_map(|v| v.ty.tensor()?.shape.as_ref()).flatten();
    let mut order: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, dim) in declared.enumerate() {
        if let Dim::Symbol(name) = dim {
            order.entry(name).or_insert(place);
        }
    }
    let rank = |name: &str| (order.get(name).copied().unwrap_or(usize::MAX), name.to_owned());
    let mut to: BTreeMap<String, Dim> = BTreeMap::new();
    for (a, b) in meetings {
        match (resolved(&to, a), resolved(&to, b)) {
            (Dim::Symbol(a), Dim::Symbol(b)) if a != b => {
                let (kept, gone) = if rank(&a) < rank(&b) { (a, b) } else { (b, a) };
                to.insert(gone, Dim::Symbol(kept));
            }
            (Dim::Symbol(name), Dim::Known(n)) | (Dim::Known(n), Dim::Symbol(name)) => {
                to.insert(name, Dim::Known(n));
            }
            // Two numbers exclude each other, which inference reports.
            _ => {}
        }
    }
    to.keys().map(|name| (name.clone(), resolved(&to, &Dim::Symbol(name.clone())))).collect()
}

/// What an extent is in the end. No name leads back to itself: only names that lead nowhere are given somewhere to lead.
fn resolved(to: &BTreeMap<String, Dim>, dim: &Dim) -> Dim {
    let mut dim = dim;
    while let Dim::Symbol(name) = dim
        && let Some(next) = to.get(name)
    {
        dim = next;
    }
    dim.clone()
}
