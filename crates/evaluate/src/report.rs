//! What a report holds.

use serde::{Deserialize, Serialize};
use shiftwise_artifact::Fingerprint;

use crate::sample::Row;

/// The result of an evaluation: what `report.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What ran the models.
    pub engine: String,
    /// How many samples there were.
    pub samples: Samples,
    /// Number of classes, where the first output is one vector of class scores.
    pub classes: Option<usize>,
    /// The float model.
    pub float: ModelInfo,
    /// The quantized models, in the order of the command line.
    pub models: Vec<ModelReport>,
    /// Every sample.
    pub rows: Vec<Row>,
}

/// Counts of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// Those that were compared.
    pub evaluated: usize,
    /// Those of them that have a label.
    pub labelled: usize,
    /// Those that could not be read.
    pub skipped: Vec<Skipped>,
}

/// A sample that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Name of the sample.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A model, and how often it is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// A short name; the whole path where two models would have the same.
    pub name: String,
    /// What the user named.
    pub path: String,
    /// What identifies its content.
    pub fingerprint: Fingerprint,
    /// How often the highest score is that of the label; none without labels.
    pub top1: Option<Share>,
    /// How often the label is among the five highest scores; none without labels, or with five classes or fewer.
    pub top5: Option<Share>,
}

/// A part of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// The same in percent.
    pub percent: f64,
}

/// A quantized model against the float model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// Which model, and how often it is right.
    #[serde(flatten)]
    pub info: ModelInfo,
    /// Points of top-1 accuracy below the float model.
    pub top1_loss: Option<f64>,
    /// Points of top-5 accuracy below the float model.
    pub top5_loss: Option<f64>,
    /// How often the highest score is that of the float model.
    pub agreement: Option<Share>,
    /// Every output, in the order of the float model.
    pub outputs: Vec<OutputReport>,
    /// Samples with another prediction than that of the float model: first those where the float model was right, the least
    /// SQNR first among equals.
    pub changed: Vec<Example>,
    /// Samples with the least SQNR of the first output; those without one come first.
    pub worst: Vec<Example>,
}

/// How far one output is from that of the float model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputReport {
    /// Its name in the float model.
    pub name: String,
    /// Samples on which it agrees in every bit of its values.
    pub exact: usize,
    /// Samples that are left out below, because one of the models gives NaN or infinite values.
    pub not_finite: usize,
    /// Samples that are left out below, because there are no elements.
    pub empty: usize,
    /// Cosine similarity; worst is the least.
    pub cosine: Option<Spread>,
    /// Euclidean distance; worst is the greatest.
    pub l2: Option<Spread>,
    /// Peak signal to noise, in decibels; worst is the least.
    pub psnr: Option<Spread>,
    /// Signal to quantization noise, in decibels; the mean is that of the decibels of the samples, worst is the least.
    pub sqnr: Option<Spread>,
    /// Largest difference of an element; worst is the greatest.
    pub max_abs_error: Option<Spread>,
}

/// A metric over samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The worst.
    pub worst: f64,
    /// The first sample that has it.
    pub worst_sample: String,
}

/// A sample worth a look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Name of the sample.
    pub id: String,
    /// Its class, where it is known.
    pub label: Option<usize>,
    /// What the float model predicts.
    pub float: Option<usize>,
    /// What the quantized model predicts.
    pub quantized: Option<usize>,
    /// SQNR of the first output, in decibels; none where it is not defined.
    pub sqnr: Option<f64>,
}
