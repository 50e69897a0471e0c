//! What nobody reads is removed.

use shiftwise_graph::{GraphError, Model, Note, PassReport, Patch};

use super::name;

/// Removes nodes none of whose outputs is read or an output of the graph.
///
/// Fails only where the graph was inconsistent before.
pub fn dead_code(model: &mut Model) -> Result<PassReport, GraphError> {
    let mut report = PassReport::new(name::DEAD_CODE);
    let graph = &mut model.graph;
    // Readers go before what they read.
    let ids: Vec<_> = graph.nodes().map(|(id, _)| id).rev().collect();
    for id in ids {
        let Some(node) = graph.node(id) else { continue };
        let unread = |o: &String| graph.uses(o).is_empty() && !graph.is_output(o);
        if node.outputs.iter().all(unread) {
            let note = Note { node: node.label(), what: "nobody reads what it makes".into() };
            let mut patch = Patch::new();
            patch.remove(id);
            for output in node.outputs.iter().filter(|o| !o.is_empty()) {
                patch.forget_type(output);
            }
            graph.apply(name::DEAD_CODE, patch)?;
            report.applied.push(note);
        }
    }
    graph.sort();
    graph.check(name::DEAD_CODE)?;
    Ok(report)
}

/// Removes initializers that nobody reads, in the graph or a subgraph, and that are no outputs.
///
/// Fails only where the graph was inconsistent before.
pub fn unused_constants(model: &mut Model) -> Result<PassReport, GraphError> {
    let mut report = PassReport::new(name::UNUSED_CONSTANTS);
    let graph = &mut model.graph;
    let unread = |name: &str| graph.uses(name).is_empty() && !graph.is_output(name);
    let unused: Vec<String> =
        graph.initializers().map(|(name, _)| name).filter(|n| unread(n)).map(str::to_owned).collect();
    let mut patch = Patch::new();
    for initializer in unused {
        let what = "nobody reads it".into();
        report.applied.push(Note { node: format!("initializer {initializer:?}"), what });
        patch.remove_initializer(initializer);
    }
    graph.apply(name::UNUSED_CONSTANTS, patch)?;
    graph.check(name::UNUSED_CONSTANTS)?;
    Ok(report)
}
