//! What becomes of a layer: constants for the model, and a line for the report.

use serde::{Deserialize, Serialize};
use shiftwise_graph::Tensor;
use shiftwise_quant::{Position, QParams};

use crate::least_squares::Errors;

/// New parameters and integers of one constant.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    /// The initializer of the integers.
    pub(crate) integers: String,
    /// Type, scale and zero point.
    pub(crate) params: QParams,
    /// The initializer of the scale, and the new scale where it has moved.
    pub(crate) scale: (String, Option<Tensor>),
    /// The integers.
    pub(crate) tensor: Tensor,
}

/// What happened to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It has new integers.
    Tuned,
    /// Nothing better was found on the samples that were held out.
    Kept,
    /// It could not be tuned.
    Skipped,
}

/// Mean squared errors of a layer's output as shares of its variance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// On the positions that the integers were fitted to.
    pub fitted: f64,
    /// On positions that were held out.
    pub held_out: f64,
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// The node.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// What happened.
    pub outcome: Outcome,
    /// Why it was left as it was, or what was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What found its integers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Steps of its training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u64>,
    /// Errors with the integers that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Share>,
    /// Errors with the integers that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Share>,
    /// How many of its weights have another integer.
    #[serde(default)]
    pub changed: u64,
    /// Number of its weights.
    #[serde(default)]
    pub weights: u64,
    /// Position of the weights before and after, where their scale is a power of two and has moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<(Position, Position)>,
    /// Position of the input before and after, where it has moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_moved: Option<(Position, Position)>,
}

impl Share {
    /// Errors as shares of the variances of what the float model gives.
    pub(crate) fn of(errors: Errors, signal: Errors) -> Self {
        Self {
            fitted: errors.fit / signal.fit.max(f64::MIN_POSITIVE),
            held_out: errors.held_out / signal.held_out.max(f64::MIN_POSITIVE),
        }
    }
}

impl LayerReport {
    /// A layer that stays as it is.
    pub fn skipped(node: &str, op: &str, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::of(node, op, Outcome::Skipped) }
    }

    /// A layer of which nothing else is known.
    pub(crate) fn of(node: &str, op: &str, outcome: Outcome) -> Self {
        Self {
            node: node.to_owned(),
            op: op.to_owned(),
            outcome,
            reason: None,
            method: None,
            iterations: None,
            before: None,
            after: None,
            changed: 0,
            weights: 0,
            moved: None,
            input_moved: None,
        }
    }

    /// In one line for people.
    pub fn text(&self, seconds: f64) -> String {
        let decibels = |share: f64| format!("{:.1}", -10.0 * share.max(1e-12).log10());
        match (self.before, self.after) {
            (Some(before), Some(after)) => {
                let moved =
                    self.moved.map(|(old, new)| format!(", position {old} → {new}")).unwrap_or_default();
                let input =
                    self.input_moved.map(|(old, new)| format!(", input {old} → {new}")).unwrap_or_default();
                let changed = 100.0 * self.changed as f64 / self.weights.max(1) as f64;
                let kept = if self.outcome == Outcome::Kept { ", kept as it was" } else { "" };
                let steps = self.iterations.map(|n| format!(", {n} steps")).unwrap_or_default();
                let reason = self.reason.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
                format!(
                    "SQNR {} → {} dB, held out {} → {} dB, {changed:.0} % of weights{moved}{input}{kept}{steps}{reason}, {seconds:.2} s",
                    decibels(before.fitted),
                    decibels(after.fitted),
                    decibels(before.held_out),
                    decibels(after.held_out),
                )
            }
            _ => format!("left as it is: {}", self.reason.as_deref().unwrap_or("")),
        }
    }
}
