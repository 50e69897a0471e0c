//! What shape inference could not find out, and why.

use std::collections::BTreeMap;

use serde::Serialize;

/// Kinds of [`ShapeIssue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeIssueKind {
    /// Types behind this node are not (wholly) known.
    Unknown,
    /// Two sources exclude each other.
    Contradiction,
}

/// One cause of missing or doubtful types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShapeIssue {
    /// The node (or the input of the graph) where it arose, as messages call it.
    pub node: String,
    /// What it is.
    pub kind: ShapeIssueKind,
    /// Why.
    pub reason: String,
}

/// The result of shape inference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShapeReport {
    /// Number of tensors that nodes of the main graph make.
    pub tensors: usize,
    /// How many of them have an element type and a number or a name for each extent.
    pub resolved: usize,
    /// First causes, in execution order.
    pub issues: Vec<ShapeIssue>,
    /// The other tensors, each with the index of its first cause in `issues`.
    pub affected: BTreeMap<String, usize>,
}

impl ShapeReport {
    /// The first cause of what is not known about `tensor`.
    pub fn cause(&self, tensor: &str) -> Option<&ShapeIssue> {
        self.issues.get(*self.affected.get(tensor)?)
    }

    /// Whether everything is known and consistent.
    pub fn is_clean(&self) -> bool {
        self.issues.is_empty() && self.resolved == self.tensors
    }

    pub(super) fn push(&mut self, kind: ShapeIssueKind, node: String, reason: String) -> usize {
        self.issues.push(ShapeIssue { node, kind, reason });
        self.issues.len() - 1
    }
}
