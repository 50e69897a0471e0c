//! `rewrites.json`: what each pass did or declined, and why.

use serde::Serialize;
use shiftwise_graph::{PassReport, ShapeReport};
use shiftwise_stage::report::count;

use crate::REWRITES_FILE;
use crate::equalize::Equalized;
use crate::passes::{Recognized, name};

/// What was done to a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rewrites {
    /// Nodes before.
    pub nodes_before: usize,
    /// Nodes after.
    pub nodes_after: usize,
    /// What later stages will not like.
    pub warnings: Vec<String>,
    /// Passes in the order in which they ran first.
    pub passes: Vec<PassReport>,
    /// What range-safe equalization did, layer by layer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub equalized: Vec<Equalized>,
    /// Activations of two nodes that are left as they are.
    pub recognized: Vec<Recognized>,
    /// Which shapes of the result are not known, with first causes.
    pub shapes: ShapeReport,
}

impl Rewrites {
    /// Adds the report of a pass. Where it ran before, rewrites are appended, and the refusals of this run replace those
    /// before, which it looked at again.
    pub(crate) fn add(&mut self, report: PassReport) {
        match self.passes.iter_mut().find(|p| p.pass == report.pass) {
            Some(before) => {
                before.applied.extend(report.applied);
                before.refused = report.refused;
            }
            None => self.passes.push(report),
        }
    }

    /// How many rewrites a pass made.
    pub fn applied(&self, pass: &str) -> usize {
        self.passes.iter().find(|p| p.pass == pass).map_or(0, |p| p.applied.len())
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let did = [
            (name::FIX_DIMENSIONS, "fixed", "dimension"),
            (name::CONVERT_OPSET, "made", "conversion to another opset"),
            (name::FUSE_INSTANCE_NORM, "fused", "instance normalization"),
            (name::FUSE_L2_NORM, "fused", "L2 normalization"),
            (name::FUSE_LAYER_NORM, "fused", "layer normalization"),
            (name::FUSE_GELU, "fused", "Gelu"),
            (name::FUSE_ACTIVATIONS, "fused", "sigmoid"),
            (name::MERGE_DIMENSIONS, "merged", "dimension"),
            (name::CHANNELS_LAST, "made channels-last", "tensor"),
            (name::FOLD_BATCH_NORM, "folded", "batch normalization"),
            (name::CONSTANTS, "removed", "Constant node"),
            (name::CONSTANT_FOLDING, "evaluated", "constant node"),
            (name::REMOVE_IDENTITY, "removed", "node that does nothing"),
            (name::DEAD_CODE, "removed", "unused node"),
            (name::COPY_SHARED, "gave copies of shared constants to", "node"),
            (name::COPY_BIASES, "gave copies of shared biases to", "node"),
        ];
        let mut parts: Vec<String> = Vec::new();
        for (pass, verb, noun) in did {
            let n = self.applied(pass) as u64;
            if n > 0 {
                parts.push(format!("{verb} {}", plural(n, noun)));
            }
        }
        if parts.is_empty() {
            parts.push("changed nothing".into());
        }
        if self.applied(name::CONVERT_FP16_TO_FP32) > 0 {
            parts.insert(0, "turned float16 into float32".into());
        }
        let refused: usize = self.passes.iter().map(|p| p.refused.len()).sum();
        let declined = match refused as u64 {
            0 => String::new(),
            n => format!("; declined {}, see {REWRITES_FILE}", count(n, "rewrite")),
        };
        format!("{}; {} → {} nodes{declined}", parts.join(", "), self.nodes_before, self.nodes_after)
    }
}

fn plural(n: u64, noun: &str) -> String {
    match noun {
        "conversion to another opset" if n > 1 => format!("{n} conversions to another opset"),
        "node that does nothing" if n > 1 => format!("{n} nodes that do nothing"),
        _ => count(n, noun),
    }
}
