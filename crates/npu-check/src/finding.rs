//! What is wrong with a model, one place at a time.

use std::fmt;

use serde::Serialize;
use serde_json::Number;
use shiftwise_quant::npu::Violation;

/// What a value may be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Legal {
    /// From, to; both included.
    Range(i32, i32),
    /// In words.
    Words(String),
}

impl fmt::Display for Legal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(from, to) if from == to => from.fmt(f),
            Self::Range(from, to) => write!(f, "{from}..{to}"),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// A tensor and its position.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorAt {
    /// What it is to the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<shiftwise_quant::npu::Part>,
    /// The tensor.
    pub tensor: String,
    /// Fraction bits, where the scale is a power of two.
    pub position: Option<i32>,
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Name of the node, or of the constant.
    pub node: String,
    /// Operator of the node.
    pub op: String,
    /// The rule.
    pub rule: String,
    /// What was measured.
    pub quantity: String,
    /// Its value.
    pub value: Number,
    /// What it may be.
    pub legal: Legal,
    /// The tensors that take part.
    pub tensors: Vec<TensorAt>,
}

impl Finding {
    /// About one tensor.
    pub(crate) fn about(
        tensor: &str,
        rule: &str,
        quantity: impl Into<String>,
        value: Number,
        legal: &str,
        position: Option<i32>,
    ) -> Self {
        Self {
            node: String::new(),
            op: String::new(),
            rule: rule.into(),
            quantity: quantity.into(),
            value,
            legal: Legal::Words(legal.into()),
            tensors: vec![TensorAt { part: None, tensor: tensor.into(), position }],
        }
    }

    /// The same, at a node.
    pub(crate) fn at(mut self, node: &shiftwise_graph::Node) -> Self {
        self.node =
            if node.name.is_empty() { node.output(0).unwrap_or("").into() } else { node.name.clone() };
        self.op.clone_from(&node.op_type);
        self
    }
}

impl From<Violation> for Finding {
    fn from(v: Violation) -> Self {
        let at = |t: shiftwise_quant::npu::TensorPosition| TensorAt {
            part: Some(t.part),
            tensor: t.tensor,
            position: Some(t.position.get()),
        };
        Self {
            node: v.node,
            op: v.op,
            rule: v.rule.name().into(),
            quantity: v.quantity,
            value: v.value.into(),
            legal: Legal::Range(v.range.0, v.range.1),
            tensors: v.tensors.into_iter().map(at).collect(),
        }
    }
}

/// A number of a report; what JSON cannot hold becomes 0.
pub(crate) fn number(value: f32) -> Number {
    // Through text, so that 0.1 stays 0.1.
    value.to_string().parse::<f64>().ok().and_then(Number::from_f64).unwrap_or_else(|| 0.into())
}
