//! What is kept of one sample: predictions and distances, never tensors.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use shiftwise_graph::Value;
use shiftwise_quant::{Comparison, Metrics};

/// How many classes count for top-5.
pub(crate) const TOP: usize = 5;

/// What a model says about a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The class of the highest score, the first of several; none where the output is not one vector of class scores,
    /// or has NaN in it.
    pub prediction: Option<usize>,
    /// Whether the label is among the five highest scores, where there is a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top5: Option<bool>,
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the sample.
    pub id: String,
    /// Its class, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<usize>,
    /// What the float model says.
    pub float: Verdict,
    /// What the quantized models say and give, in their order.
    pub models: Vec<ModelRow>,
}

/// One sample of one quantized model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRow {
    /// What it says.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How far each output is from that of the float model, in the order of its outputs.
    pub outputs: Vec<Distance>,
}

/// How far an output is from its reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// Both have finite values only.
    Finite(Metrics),
    /// One of them has NaN or infinite values: no distance is defined.
    NotFinite,
    /// Both have no elements.
    Empty,
}

impl Distance {
    /// The distance between two tensors of as many elements.
    pub fn between(reference: &Value, other: &Value) -> Self {
        let (reference, other) = (floats(reference), floats(other));
        if reference.is_empty() {
            Self::Empty
        } else if reference.iter().chain(other.iter()).all(|v| v.is_finite()) {
            Self::Finite(Comparison::of(&reference, &other).metrics())
        } else {
            Self::NotFinite
        }
    }

    /// The metrics, where they are defined.
    pub fn metrics(&self) -> Option<&Metrics> {
        match self {
            Self::Finite(metrics) => Some(metrics),
            _ => None,
        }
    }
}

/// Number of classes, where an output is one vector of class scores: at least two elements along a single axis.
pub fn classes(output: &Value) -> Option<usize> {
    let mut axes = output.shape().iter().filter(|d| **d != 1);
    match (axes.next(), axes.next()) {
        (Some(classes), None) if *classes >= 2 => Some(*classes),
        _ => None,
    }
}

impl Verdict {
    /// What an output says; nothing where it is not one vector of class scores.
    pub fn of(output: &Value, label: Option<usize>) -> Self {
        if classes(output).is_none() {
            return Self::default();
        }
        let scores = floats(output);
        if scores.iter().any(|s| s.is_nan()) {
            return Self { prediction: None, top5: label.map(|_| false) };
        }
        let mut best = 0;
        for (class, score) in scores.iter().enumerate() {
            if *score > scores[best] {
                best = class;
            }
        }
        Self { prediction: Some(best), top5: label.map(|label| rank(&scores, label) < TOP) }
    }
}

/// How many classes come before this one: those of higher scores, and of equal scores with a lower number.
fn rank(scores: &[f32], class: usize) -> usize {
    let Some(own) = scores.get(class) else { return usize::MAX };
    scores.iter().enumerate().filter(|(i, s)| *s > own || (*s == own && *i < class)).count()
}

/// The elements as float32; other types are rounded to it.
fn floats(value: &Value) -> Cow<'_, [f32]> {
    macro_rules! cast {
        ($array:expr) => {
            $array.iter().map(|v| *v as f32).collect::<Vec<f32>>().into()
        };
    }
    match value {
        Value::F32(a) => a.as_slice().map_or_else(|| a.iter().copied().collect(), Cow::Borrowed),
        Value::F64(a) => cast!(a),
        Value::F16(a) => a.iter().map(|v| v.to_f32()).collect(),
        Value::Bf16(a) => a.iter().map(|v| v.to_f32()).collect(),
        Value::I64(a) => cast!(a),
        Value::I32(a) => cast!(a),
        Value::I16(a) => cast!(a),
        Value::I8(a) => cast!(a),
        Value::U64(a) => cast!(a),
        Value::U32(a) => cast!(a),
        Value::U16(a) => cast!(a),
        Value::U8(a) => cast!(a),
        Value::Bool(a) => a.iter().map(|v| f32::from(u8::from(*v))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(values: &[f32]) -> Value {
        Value::f32(&[1, values.len(), 1, 1], values.to_vec())
    }

    #[test]
    fn ties_go_to_the_lower_class() {
        let output = scores(&[1.0, 3.0, 3.0, 0.0]);
        assert_eq!(Verdict::of(&output, None), Verdict { prediction: Some(1), top5: None });
        assert_eq!(rank(&[1.0, 3.0, 3.0, 0.0], 2), 1);
        let flat = scores(&[0.0; 7]);
        assert_eq!(Verdict::of(&flat, Some(4)).top5, Some(true));
        assert_eq!(Verdict::of(&flat, Some(5)).top5, Some(false));
    }

    #[test]
    fn nan_is_no_prediction_and_no_distance() {
        let (good, bad) = (scores(&[1.0, 2.0]), scores(&[f32::NAN, 2.0]));
        assert_eq!(Verdict::of(&bad, Some(1)), Verdict { prediction: None, top5: Some(false) });
        assert_eq!(Distance::between(&good, &bad), Distance::NotFinite);
        assert_eq!(Distance::between(&good, &scores(&[1.0, f32::INFINITY])), Distance::NotFinite);
        assert!(Distance::between(&good, &good).metrics().is_some());
        assert_eq!(Distance::between(&scores(&[]), &scores(&[])), Distance::Empty);
    }

    #[test]
    fn only_vectors_are_class_scores() {
        assert_eq!(classes(&Value::f32(&[1, 10], vec![0.0; 10])), Some(10));
        assert_eq!(classes(&Value::f32(&[1, 1], vec![0.0])), None);
        assert_eq!(classes(&Value::f32(&[1, 2, 3], vec![0.0; 6])), None);
        assert_eq!(Verdict::of(&Value::f32(&[1, 2, 3], vec![0.0; 6]), None), Verdict::default());
    }
}
