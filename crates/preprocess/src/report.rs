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
        let mut rest = 0;
        let mut parts: Vec<String> = Vec::new();
        for phrase in PHRASES {
            match self.applied(phrase.pass) {
                0 => {}
                n if parts.len() < SAID => parts.push(phrase.say(n as u64)),
                n => rest += n,
            }
        }
        if rest > 0 {
            parts.push(format!("{} of other kinds", count(rest as u64, "rewrite")));
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

/// Kinds of rewrites that the summary names; what there is besides is counted.
const SAID: usize = 6;

/// How the summary calls the rewrites of a pass: verb, one, several.
struct Phrase {
    pass: &'static str,
    verb: &'static str,
    one: &'static str,
    several: &'static str,
}

impl Phrase {
    fn say(&self, n: u64) -> String {
        let Self { verb, one, several, .. } = self;
        if n == 1 { format!("{verb} 1 {one}") } else { format!("{verb} {n} {several}") }
    }
}

/// In the order in which the summary names them. Passes that are not here are not worth a word.
const PHRASES: &[Phrase] = &[
    phrase(name::FIX_DIMENSIONS, "fixed", "dimension", "dimensions"),
    phrase(name::MERGE_DIMENSIONS, "merged", "dimension", "dimensions"),
    phrase(name::CHANNELS_LAST, "made channels-last", "tensor", "tensors"),
    phrase(name::CONVERT_OPSET, "made", "conversion to another opset", "conversions to another opset"),
    phrase(name::FUSE_INSTANCE_NORM, "fused", "instance normalization", "instance normalizations"),
    phrase(name::FUSE_L2_NORM, "fused", "L2 normalization", "L2 normalizations"),
    phrase(name::FUSE_LAYER_NORM, "fused", "layer normalization", "layer normalizations"),
    phrase(name::FUSE_GELU, "fused", "Gelu", "Gelus"),
    phrase(name::FUSE_ACTIVATIONS, "fused", "sigmoid", "sigmoids"),
    phrase(name::FOLD_BATCH_NORM, "folded", "batch normalization", "batch normalizations"),
    phrase(name::FOLD_ARITHMETIC, "folded", "sum or product", "sums and products"),
    phrase(name::FOLD_PAD, "folded", "Pad", "Pads"),
    phrase(name::FUSE_GEMM, "made", "Gemm", "Gemms"),
    phrase(name::STEM_EQUALIZATION, "equalized", "first convolution", "first convolutions"),
    phrase(name::REPLACE_CLIP6_RELU, "replaced", "Clip", "Clips"),
    phrase(name::CROSS_LAYER_EQUALIZATION, "equalized", "layer", "layers"),
    phrase(name::RANGE_SAFE_EQUALIZATION, "equalized", "layer by ranges", "layers by ranges"),
    phrase(name::BATCH_NORM_TO_CONV, "converted", "BatchNormalization", "BatchNormalizations"),
    phrase(name::REDUCE_MEAN_TO_POOL, "converted", "ReduceMean", "ReduceMeans"),
    phrase(name::SPLIT_POOL, "split", "pooling", "poolings"),
    phrase(name::SPLIT_TO_SLICE, "converted", "Split", "Splits"),
    phrase(name::COPY_SHARED, "gave copies of shared constants to", "node", "nodes"),
    phrase(name::COPY_BIASES, "gave copies of shared biases to", "node", "nodes"),
    phrase(name::CONSTANTS, "removed", "Constant node", "Constant nodes"),
    phrase(name::CONSTANT_FOLDING, "evaluated", "constant node", "constant nodes"),
    phrase(name::INLINE_BRANCHES, "inlined", "If", "Ifs"),
    phrase(name::REMOVE_IDENTITY, "removed", "node that does nothing", "nodes that do nothing"),
    phrase(name::DEAD_CODE, "removed", "unused node", "unused nodes"),
    phrase(name::MERGE_DUPLICATES, "merged", "duplicate", "duplicates"),
    phrase(name::MERGE_TRANSPOSES, "merged", "Transpose", "Transposes"),
    phrase(name::TRANSPOSED_GEMM, "merged", "Gemm with Transposes", "Gemms with Transposes"),
    phrase(name::MERGE_RESHAPES, "merged", "Reshape", "Reshapes"),
    phrase(name::RESOLVE_RESHAPES, "resolved", "Reshape", "Reshapes"),
    phrase(name::MERGE_CASTS, "merged", "Cast", "Casts"),
    phrase(name::MERGE_CLIPS, "merged", "Clip", "Clips"),
    phrase(name::MERGE_ARITHMETIC, "simplified", "operation", "operations"),
];

const fn phrase(pass: &'static str, verb: &'static str, one: &'static str, several: &'static str) -> Phrase {
    Phrase { pass, verb, one, several }
}
