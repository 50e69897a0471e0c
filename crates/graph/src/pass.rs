//! Passes: rules that see an immutable model and answer with a patch, a reason why not, or nothing.

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

/// A rewrite rule, asked once for each node in execution order.
pub trait Rule {
    /// Name in reports and options.
    fn name(&self) -> &'static str;
    /// Looks at one node.
    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome;
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

/// Runs one rule over every node once, then sorts and checks the graph.
///
/// Fails when a patch cannot be applied or leaves the graph inconsistent; the error names pass and node.
pub fn run_rule(model: &mut Model, rule: &mut dyn Rule) -> Result<PassReport, GraphError> {
    let mut report = PassReport::new(rule.name());
    let ids: Vec<NodeId> = model.graph.nodes().map(|(id, _)| id).collect();
    for id in ids {
        let Some(node) = model.graph.node(id) else { continue };
        let label = node.label();
        match rule.visit(model, id, node) {
            Outcome::NoMatch => {}
            Outcome::Refused(what) => {
                tracing::debug!(pass = rule.name(), node = label, reason = what, "declined");
                report.refused.push(Note { node: label, what });
            }
            Outcome::Rewrite(patch, what) => {
                model.graph.apply(&format!("{} at {label}", rule.name()), *patch)?;
                report.applied.push(Note { node: label, what });
            }
        }
    }
    model.graph.sort();
    model.graph.check(rule.name())?;
    Ok(report)
}
