//! Passes: rules that see an immutable model and answer with a patch, a reason why not, or nothing.

use std::collections::HashSet;

use serde::Serialize;

use crate::{GraphError, Model, Node, NodeId, Patch};

/// What a rule says about one node.
#[derive(Debug)]
pub enum Outcome {
    /// The rule is not about this node.
    NoMatch,
    /// The pattern is there, but rewriting would change the result or is not supported: why.
    Refused(String),
    /// Do this; the text says what was done, for the report.
    Rewrite(Box<Patch>, String),
}

impl Outcome {
    /// A rewrite by `patch`, described for the report.
    pub fn rewrite(patch: Patch, what: impl Into<String>) -> Self {
        Self::Rewrite(Box::new(patch), what.into())
    }
}

/// A rewrite rule, asked once for each node in execution order, and its contract: what it requires of a model, and what it ensures.
///
/// Whatever the rule: afterwards the graph is sorted and consistent, and inputs and outputs are what they were, by name and type.
pub trait Rule {
    /// Name in reports and options.
    fn name(&self) -> &'static str;

    /// What must hold of a model; `Err` says why the rule cannot be asked, and is in the report as declined for the graph.
    fn requires(&self, _: &Model) -> Result<(), String> {
        Ok(())
    }

    /// Looks at one node.
    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome;

    /// What holds of each node once the rule was asked, unless it declined that node; `Err` says how it is broken, which is a bug.
    fn ensures(&self, _: &Model, _: &Node) -> Result<(), String> {
        Ok(())
    }

    /// Whether the rule may change declared inputs and outputs: only what converts a model for other users of it.
    fn changes_boundary(&self) -> bool {
        false
    }
}

/// One thing that a pass did or declined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The node, as messages call it.
    pub node: String,
    /// What was done, or why not.
    pub what: String,
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PassReport {
    /// Name of the pass.
    pub pass: String,
    /// Rewrites, in order.
    pub applied: Vec<Note>,
    /// Patterns that were found and left alone, each with its reason.
    pub refused: Vec<Note>,
}

impl PassReport {
    /// A report without entries.
    pub fn new(pass: &str) -> Self {
        Self { pass: pass.into(), ..Self::default() }
    }

    /// Whether the pass changed the graph.
    pub fn changed(&self) -> bool {
        !self.applied.is_empty()
    }
}

/// Runs one rule over every node once, then sorts and checks the graph, and holds the rule to its contract.
///
/// Fails when a patch cannot be applied or leaves the graph inconsistent, and when what the rule ensures does not hold; the error names pass and node.
pub fn run_rule(model: &mut Model, rule: &mut dyn Rule) -> Result<PassReport, GraphError> {
    let pass = rule.name();
    let mut report = PassReport::new(pass);
    if let Err(what) = rule.requires(model) {
        tracing::debug!(pass, reason = what, "declined");
        report.refused.push(Note { node: "graph".into(), what });
        return Ok(report);
    }
    let boundary =
        (!rule.changes_boundary()).then(|| (model.graph.inputs().to_vec(), model.graph.outputs().to_vec()));
    let mut declined = HashSet::new();
    let ids: Vec<NodeId> = model.graph.nodes().map(|(id, _)| id).collect();
    for id in ids {
        let Some(node) = model.graph.node(id) else { continue };
        match rule.visit(model, id, node) {
            Outcome::NoMatch => {}
            Outcome::Refused(what) => {
                let label = node.label();
                tracing::debug!(pass, node = label, reason = what, "declined");
                declined.insert(id);
                report.refused.push(Note { node: label, what });
            }
            Outcome::Rewrite(patch, what) => {
                let label = node.label();
                model.graph.apply(&format!("{pass} at {label}"), *patch)?;
                report.applied.push(Note { node: label, what });
            }
        }
    }
    if report.changed() {
        model.graph.sort();
        model.graph.check(pass)?;
    }
    let broken = |subject: &str, reason: String| GraphError::Inconsistent {
        pass: pass.into(),
        subject: subject.into(),
        reason,
    };
    if boundary
        .is_some_and(|(inputs, outputs)| inputs != model.graph.inputs() || outputs != model.graph.outputs())
    {
        return Err(broken("graph", "the pass changed its inputs or outputs".into()));
    }
    for (_, node) in model.graph.nodes().filter(|(id, _)| !declined.contains(id)) {
        rule.ensures(model, node).map_err(|reason| broken(&node.label(), reason))?;
    }
    Ok(report)
}
