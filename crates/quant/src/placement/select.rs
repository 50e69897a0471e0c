//! Which nodes take part.

use std::collections::{BTreeSet, HashSet};

use shiftwise_graph::{Model, Node, NodeId};

use super::PlacementOptions;

/// The options select nodes that are not there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SelectError {
    /// A pattern matches nothing.
    #[error("find a node for {pattern:?} of {option}{hint}")]
    NoSuchNode {
        /// The option.
        option: &'static str,
        /// The pattern.
        pattern: String,
        /// The nearest names, as a sentence.
        hint: String,
    },
    /// A regular expression cannot be read.
    #[error("read {pattern:?} of {option} as a regular expression: {reason}")]
    Pattern {
        /// The option.
        option: &'static str,
        /// The pattern.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
}

/// Operators that are quantized unless the options say otherwise.
pub fn default_op_types() -> &'static [&'static str] {
    &[
        "Add",
        "ArgMax",
        "AveragePool",
        "Clip",
        "Concat",
        "Conv",
        "ConvTranspose",
        "DepthToSpace",
        "Div",
        "EmbedLayerNormalization",
        "Erf",
        "Gather",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "HardSigmoid",
        "InstanceNormalization",
        "LayerNormalization",
        "LeakyRelu",
        "LpNormalization",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mul",
        "PRelu",
        "Pad",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Slice",
        "Softmax",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Sub",
        "Tanh",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
}

pub(super) struct Selection(HashSet<NodeId>);

impl Selection {
    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.0.contains(&id)
    }

    pub(super) fn of(model: &Model, options: &PlacementOptions) -> Result<Self, SelectError> {
        let mut op_types: BTreeSet<&str> = if options.op_types_to_quantize.is_empty() {
            default_op_types().iter().copied().collect()
        } else {
            options.op_types_to_quantize.iter().map(String::as_str).collect()
        };
        op_types.extend(options.extra_op_types_to_quantize.iter().map(String::as_str));
        let included = Patterns::new(model, "nodes_to_quantize", &options.nodes_to_quantize)?;
        let excluded = Patterns::new(model, "nodes_to_exclude", &options.nodes_to_exclude)?;
        let selected = model.graph.nodes().filter(|(_, node)| {
            op_types.contains(node.op_type.as_str())
                && (options.nodes_to_quantize.is_empty() || included.matches(node))
                && !excluded.matches(node)
                && !reads_infinity(model, node)
        });
        Ok(Self(selected.map(|(id, _)| id).collect()))
    }
}

/// A constant with an infinity cannot be given a scale; masks of attention layers are such.
fn reads_infinity(model: &Model, node: &Node) -> bool {
    node.inputs.iter().any(|input| {
        let values = model.graph.constant(input).and_then(shiftwise_graph::Tensor::to_f32);
        values.is_some_and(|v| v.iter().any(|x| x.is_infinite()))
    })
}

struct Patterns(Vec<Pattern>);

enum Pattern {
    Glob(String),
    Regex(regex::Regex),
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Glob(pattern) => glob(pattern.as_bytes(), name.as_bytes()),
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

impl Patterns {
    fn new(model: &Model, option: &'static str, patterns: &[String]) -> Result<Self, SelectError> {
        let mut list = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let compiled = if pattern.starts_with('^') {
                Pattern::Regex(regex::Regex::new(pattern).map_err(|e| SelectError::Pattern {
                    option,
                    pattern: pattern.clone(),
                    reason: e.to_string(),
                })?)
            } else {
                Pattern::Glob(pattern.clone())
            };
            if !model.graph.nodes().any(|(_, n)| compiled.matches(&n.name)) {
                let nearest = nearest(model, pattern);
                let hint = nearest.map_or_else(String::new, |n| format!("; the nearest name is {n:?}"));
                return Err(SelectError::NoSuchNode { option, pattern: pattern.clone(), hint });
            }
            list.push(compiled);
        }
        Ok(Self(list))
    }

    fn matches(&self, node: &Node) -> bool {
        self.0.iter().any(|p| p.matches(&node.name))
    }
}

fn nearest(model: &Model, wanted: &str) -> Option<String> {
    let names = model.graph.nodes().map(|(_, n)| n.name.as_str()).filter(|n| !n.is_empty());
    names.min_by_key(|n| strsim::levenshtein(n, wanted)).map(ToString::to_string)
}

/// `*` stands for any run of characters, everything else for itself.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|b| *b == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.windows(part.len().max(1)).position(|w| part.is_empty() || w == part) {
            Some(at) => rest = &rest[at + part.len()..],
            None if part.is_empty() => {}
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn globs_match_like_a_shell() {
        let cases = [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abbc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
            ("head*", "/head/conv", false),
        ];
        for (pattern, name, wanted) in cases {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), wanted, "{pattern} {name}");
        }
    }
}
