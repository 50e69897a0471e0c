//! What was done, for people, for programs and for later stages.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use shiftwise_quant::{Absorbed, Role, Side, TensorRecord};
use shiftwise_stage::report::count;

use crate::{ClipToRelu, Decisions};

/// Channels absorbed in one operator.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AbsorbedIn {
    /// The operator, as messages call it.
    pub node: String,
    /// Its channels.
    pub channels: Vec<Absorbed>,
}

/// The report of this stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Quantized activations.
    pub activations: usize,
    /// Quantized weights.
    pub weights: usize,
    /// Quantized biases.
    pub biases: usize,
    /// How many tensors got their parameters by which method.
    pub methods: BTreeMap<String, usize>,
    /// Constant channels, by operator.
    pub absorbed: Vec<AbsorbedIn>,
    /// What became of each Clip, where they were to become Relu.
    pub clip_to_relu: Vec<ClipToRelu>,
}

/// The sidecar of a quantized model.
#[derive(Debug, Serialize)]
pub(crate) struct Sidecar<'a> {
    tensors: &'a [TensorRecord],
    absorbed: &'a [AbsorbedIn],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    clip_to_relu: &'a [ClipToRelu],
}

impl Report {
    pub(crate) fn new(tensors: &[TensorRecord], absorbed: Vec<AbsorbedIn>, decisions: &Decisions) -> Self {
        let of = |role: Role| tensors.iter().filter(|t| t.role == role).count();
        let mut methods = BTreeMap::new();
        for decision in decisions.values() {
            let name = decision.method.split(" of ").next().unwrap_or_default();
            *methods.entry(name.to_owned()).or_default() += 1;
        }
        Self {
            activations: of(Role::Activation),
            weights: of(Role::Weight),
            biases: of(Role::Bias),
            methods,
            absorbed,
            clip_to_relu: Vec::new(),
        }
    }

    pub(crate) fn sidecar<'a>(&'a self, tensors: &'a [TensorRecord]) -> Sidecar<'a> {
        Sidecar { tensors, absorbed: &self.absorbed, clip_to_relu: &self.clip_to_relu }
    }

    /// For the manifest, from where reruns print it again.
    pub(crate) fn notes(&self) -> BTreeMap<String, Value> {
        let Self { activations, weights, biases, methods, absorbed, clip_to_relu } = self;
        let mut notes = vec![
            ("activations", json!(activations)),
            ("weights", json!(weights)),
            ("biases", json!(biases)),
            ("methods", json!(methods)),
            ("absorbed", json!(absorbed)),
        ];
        if !clip_to_relu.is_empty() {
            notes.push(("clip_to_relu", json!(clip_to_relu)));
        }
        notes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// A few lines for people.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "quantized {}, {} and {}",
            count(self.activations as u64, "activation"),
            count(self.weights as u64, "weight"),
            self.biases,
        );
        text += if self.biases == 1 { " bias" } else { " biases" };
        if !self.clip_to_relu.is_empty() {
            let all = self.clip_to_relu.len();
            let converted = self.clip_to_relu.iter().filter(|c| c.declined.is_none()).count();
            text += &format!("\nturned {converted} of {} into Relu", count(all as u64, "Clip node"));
        }
        let channels = |side: Side| {
            self.absorbed.iter().flat_map(|a| &a.channels).filter(|c| c.side == side).count() as u64
        };
        if !self.absorbed.is_empty() {
            text += &format!(
                "\nabsorbed {} and {} in {}",
                count(channels(Side::Input), "constant input channel"),
                count(channels(Side::Output), "constant output channel"),
                count(self.absorbed.len() as u64, "operator"),
            );
            let largest = self.absorbed.iter().flat_map(|a| a.channels.iter().map(move |c| (a, c)));
            if let Some((a, c)) = largest.max_by(|x, y| x.1.largest_weight.total_cmp(&y.1.largest_weight)) {
                text += &format!("; the largest weight among them was {} in {}", c.largest_weight, a.node);
            }
        }
        text
    }
}
