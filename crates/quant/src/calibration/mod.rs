//! From the statistics of one tensor to its scale and zero point.
//!
//! A [`Method`] chooses a range or a scale, [`choose`] applies it. Everything is a pure function of one tensor's statistics, so another
//! method, or another percentile, takes no further look at the data. NaNs and infinities never decide; a tensor without extent gets
//! scale 1 and a legal zero point by every method.

mod entropy;
mod error;
mod float;
mod histogram;
mod layerwise;
mod minmax;
mod percentile;
mod pof2;
mod weights;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shiftwise_artifact::stats::{TensorView, VoteKind};

pub use error::ErrorMetric;
pub use pof2::most_common;
pub use weights::{WeightMethod, float_weight};

use crate::{QParams, QuantType};
use histogram::Histogram;

/// Percentile where none is given.
pub const DEFAULT_PERCENTILE: f64 = 99.999;
/// Candidates of the layer-wise percentile where none are given.
pub const DEFAULT_CANDIDATES: [f64; 3] = [99.99, 99.999, 99.999_99];
/// Bins, and quantized bins, of the entropy method where none are given.
pub const DEFAULT_BINS: usize = 128;
/// The most bins that the entropy method takes: its time grows with their square.
pub const MOST_BINS: usize = 8192;

/// What the values of a tensor become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleKind {
    /// Scales are powers of two.
    PowerOfTwo,
    /// Scales are any float.
    Float,
}

/// What is chosen: parameters of this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Type of the integers.
    pub ty: QuantType,
    /// Form of the scale.
    pub scale: ScaleKind,
    /// Whether the zero point is the middle of the type.
    pub symmetric: bool,
    /// Whether ranges are made symmetric around zero; `None` for what is usual for the method: a percentile of magnitudes, and the
    /// two ends of the values for all others. Positions by least squared error have the range of their parameters.
    pub symmetric_range: Option<bool>,
}

impl Target {
    /// Symmetric parameters, and ranges as usual.
    pub fn new(ty: QuantType, scale: ScaleKind) -> Self {
        Self { ty, scale, symmetric: true, symmetric_range: None }
    }

    /// Parameters for a range; `None` where it has no extent.
    fn params(self, (lo, hi): (f32, f32)) -> Option<QParams> {
        let covering = QParams::covering(lo, hi, self.ty, self.symmetric)?;
        Some(match self.scale {
            ScaleKind::PowerOfTwo => covering.to_power_of_two(),
            ScaleKind::Float => covering,
        })
    }
}

/// How a histogram becomes a range, or a scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Method {
    /// The observed extremes.
    MinMax,
    /// The samples' extremes, averaged.
    MovingAverage,
    /// The observed extremes, for scales that are powers of two: the power nearest to the covering scale.
    NonOverflow,
    /// What holds this part of the values.
    Percentile {
        /// In percent, above 0 and up to 100.
        percentile: f64,
    },
    /// Of several percentiles, the one with the least error.
    LayerwisePercentile {
        /// In percent; earlier ones win ties.
        candidates: Vec<f64>,
        /// What is least.
        metric: ErrorMetric,
    },
    /// The least divergence of the quantized distribution from the observed one.
    Entropy {
        /// Uniform bins over the range between plus and minus the largest magnitude; at most [`MOST_BINS`].
        bins: usize,
        /// Bins of the quantized distribution: 2 to `bins`.
        quantized_bins: usize,
    },
    /// The least squared error.
    MinMse {
        /// What it is computed over. Float scales have [`MseMode::All`] only.
        mode: MseMode,
    },
}

/// What the least squared error is computed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MseMode {
    /// All values.
    #[default]
    All,
    /// Each sample for itself; the samples vote.
    MostCommon,
    /// The values within a percentile range.
    Percentile(f64),
}

/// What a method chose.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The range that was chosen; for scales by least squared error what the integers stand for. Scales that are powers of two may
    /// represent a little less, or more: [`QParams::representable`].
    pub range: (f32, f32),
    /// Scale and zero point.
    pub params: QParams,
    /// The method and what it decided by, for reports.
    pub note: String,
}

/// Why nothing can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// Sums of samples' extremes were too large to be kept.
    #[error("average the samples' ranges: their extremes are too large; use minmax without a moving average")]
    NoAverage,
    /// The statistics do not say what samples elected.
    #[error(
        "let samples vote: these statistics have no votes; collect them again: shiftwise-calibrate collect"
    )]
    NoVotes,
    /// Samples vote for symmetric scales that are powers of two.
    #[error("let samples vote on {0}: votes are for symmetric scales that are powers of two")]
    NotVotedOn(&'static str),
    /// A mode of minimum squared error that float scales do not have.
    #[error(
        "choose a float scale by mode \"percentile\" of minmse: that mode is for scales that are powers of two"
    )]
    NotForFloat,
    /// A parameter is out of its range.
    #[error("use {name} = {value}: it must be {wanted}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        wanted: String,
    },
}

impl Method {
    /// Whether the parameters of the method, and the form of scale, make sense.
    pub fn check(&self, target: Target) -> Result<(), CalibrationError> {
        let wrong = |name, value: String, wanted: &str| {
            Err(CalibrationError::Parameter { name, value, wanted: wanted.to_owned() })
        };
        let percent = |name, value: f64| {
            if value > 0.0 && value <= 100.0 {
                return Ok(());
            }
            wrong(name, value.to_string(), "above 0 and at most 100")
        };
        match self {
            Self::MinMax | Self::MovingAverage | Self::NonOverflow => Ok(()),
            Self::Percentile { percentile } => percent("percentile", *percentile),
            Self::LayerwisePercentile { candidates, .. } => {
                if candidates.is_empty() {
                    return wrong("percentile_candidates", "[]".into(), "a list of at least one percentile");
                }
                candidates.iter().try_for_each(|p| percent("percentile_candidates", *p))
            }
            Self::Entropy { bins, quantized_bins } => {
                if !(2..=MOST_BINS).contains(bins) {
                    return wrong("num_bins", bins.to_string(), &format!("2 to {MOST_BINS}"));
                }
                if !(2..=*bins).contains(quantized_bins) {
                    let wanted = format!("2 to num_bins, which is {bins}");
                    return wrong("num_quantized_bins", quantized_bins.to_string(), &wanted);
                }
                Ok(())
            }
            Self::MinMse { mode: MseMode::All } => Ok(()),
            Self::MinMse { mode: MseMode::MostCommon } if target.scale == ScaleKind::Float => {
                Err(CalibrationError::NotVotedOn("float scales"))
            }
            Self::MinMse { mode: MseMode::MostCommon } if !target.symmetric => {
                Err(CalibrationError::NotVotedOn("asymmetric scales"))
            }
            Self::MinMse { mode: MseMode::MostCommon } => Ok(()),
            Self::MinMse { mode: MseMode::Percentile(p) } => {
                if target.scale == ScaleKind::Float {
                    return Err(CalibrationError::NotForFloat);
                }
                percent("percentile", *p)
            }
        }
    }
}

/// Chooses scale and zero point of one tensor.
///
/// The scale is finite, positive and a normal number whatever the statistics hold. Where the chosen range has no extent but the
/// tensor has (a percentile of a tensor that is almost always zero), the observed range decides, and the note says so.
///
/// # Errors
/// Parameters or a form of scale that the method does not take ([`Method::check`]), and statistics which lack what it needs.
pub fn choose(view: TensorView<'_>, method: &Method, target: Target) -> Result<Choice, CalibrationError> {
    method.check(target)?;
    let Some(histogram) = Histogram::of(view) else { return Ok(no_extent(target)) };
    choose_from(view, &histogram, method, target)
}

fn choose_from(
    view: TensorView<'_>,
    histogram: &Histogram,
    method: &Method,
    target: Target,
) -> Result<Choice, CalibrationError> {
    let observed = histogram.range;
    if target.params(observed).is_none() {
        return Ok(no_extent(target));
    }
    let symmetric_range = target.symmetric_range.unwrap_or(false);
    let by_magnitude = target.symmetric_range.unwrap_or(true);
    let (range, note) = match method {
        Method::MinMax => (minmax::observed(observed, symmetric_range), "minmax".to_owned()),
        Method::NonOverflow => (minmax::observed(observed, symmetric_range), "nonoverflow".to_owned()),
        Method::MovingAverage => (minmax::averaged(view, symmetric_range)?, "moving average".to_owned()),
        Method::Percentile { percentile } => {
            (percentile::range(histogram, *percentile, by_magnitude), format!("percentile {percentile}"))
        }
        Method::LayerwisePercentile { candidates, metric } => {
            match layerwise::range(histogram, candidates, *metric, by_magnitude, target) {
                Some((range, percent)) => (range, format!("layerwise_percentile {percent}")),
                None => ((0.0, 0.0), "layerwise_percentile".to_owned()),
            }
        }
        Method::Entropy { bins, quantized_bins } => {
            let (lo, hi) = entropy::range(histogram, *bins, *quantized_bins).unwrap_or((0.0, 0.0));
            let range = (observed.0.max(lo), observed.1.min(hi));
            (minmax::observed(range, symmetric_range), format!("entropy {bins}/{quantized_bins}"))
        }
        Method::MinMse { mode } => return minmse(view, histogram, *mode, target),
    };
    if let Some(params) = target.params(range) {
        return Ok(Choice { range, params, note });
    }
    Ok(fall_back(observed, target, &note))
}

fn minmse(
    view: TensorView<'_>,
    histogram: &Histogram,
    mode: MseMode,
    target: Target,
) -> Result<Choice, CalibrationError> {
    let (params, note) = match mode {
        MseMode::All if target.scale == ScaleKind::Float => {
            let range = float::range(histogram, target);
            return Ok(match target.params(range) {
                Some(params) => Choice { range, params, note: "minmse".into() },
                None => fall_back(histogram.range, target, "minmse"),
            });
        }
        MseMode::All => (pof2::all(histogram, target), "minmse".to_owned()),
        MseMode::MostCommon => {
            let votes = votes(view, target.ty).ok_or(CalibrationError::NoVotes)?;
            let (params, count) = most_common(&votes, target.ty).ok_or(CalibrationError::NoVotes)?;
            (params, format!("minmse most_common {count}/{}", votes.values().sum::<u64>()))
        }
        MseMode::Percentile(percent) => {
            let note = format!("minmse percentile {percent}");
            match pof2::percentile(histogram, percent, target) {
                Some(params) => (params, note),
                None => return Ok(fall_back(histogram.range, target, &note)),
            }
        }
    };
    let (lo, hi) = params.representable();
    Ok(Choice { range: (lo.max(f32::MIN), hi.min(f32::MAX)), params, note })
}

/// Positions that samples elected; `None` where the statistics do not say.
fn votes(view: TensorView<'_>, ty: QuantType) -> Option<BTreeMap<i32, u64>> {
    let kind = match ty {
        QuantType::Uint8 => VoteKind::Uint8,
        QuantType::Int8 => VoteKind::Int8,
        QuantType::Uint16 => VoteKind::Uint16,
        QuantType::Int16 => VoteKind::Int16,
        QuantType::Int32 => return None,
    };
    Some(view.votes(kind)).filter(|votes| !votes.is_empty())
}

fn fall_back(observed: (f32, f32), target: Target, note: &str) -> Choice {
    match target.params(observed) {
        Some(params) => {
            Choice { range: observed, params, note: format!("observed range, as {note} has no extent") }
        }
        None => no_extent(target),
    }
}

fn no_extent(target: Target) -> Choice {
    let params = QParams::affine(0.0, 0.0, target.ty, target.symmetric);
    Choice { range: (0.0, 0.0), params, note: "no extent".into() }
}

/// What every method would choose for symmetric parameters with its default settings, by the method's name; methods that the
/// statistics do not suffice for are left out.
///
/// Positions are chosen by `nonoverflow` and the `minmse` ones, float scales by all others.
pub fn survey(view: TensorView<'_>, ty: QuantType) -> Vec<(&'static str, Choice)> {
    let Some(histogram) = Histogram::of(view) else { return Vec::new() };
    let entropy = Method::Entropy { bins: DEFAULT_BINS, quantized_bins: DEFAULT_BINS };
    let layerwise = Method::LayerwisePercentile {
        candidates: DEFAULT_CANDIDATES.to_vec(),
        metric: ErrorMetric::default(),
    };
    let minmse = |mode| Method::MinMse { mode };
    let methods = [
        ("minmax", Method::MinMax, ScaleKind::Float),
        ("moving average", Method::MovingAverage, ScaleKind::Float),
        ("percentile", Method::Percentile { percentile: DEFAULT_PERCENTILE }, ScaleKind::Float),
        ("layerwise_percentile", layerwise, ScaleKind::Float),
        ("entropy", entropy, ScaleKind::Float),
        ("minmse float", minmse(MseMode::All), ScaleKind::Float),
        ("nonoverflow", Method::NonOverflow, ScaleKind::PowerOfTwo),
        ("minmse", minmse(MseMode::All), ScaleKind::PowerOfTwo),
        ("minmse most_common", minmse(MseMode::MostCommon), ScaleKind::PowerOfTwo),
        ("minmse percentile", minmse(MseMode::Percentile(DEFAULT_PERCENTILE)), ScaleKind::PowerOfTwo),
    ];
    let choose = |(name, method, scale): (&'static str, Method, ScaleKind)| {
        Some((name, choose_from(view, &histogram, &method, Target::new(ty, scale)).ok()?))
    };
    methods.into_iter().filter_map(choose).collect()
}

#[cfg(test)]
pub(crate) mod testing {
    use shiftwise_artifact::Fingerprint;
    use shiftwise_artifact::stats::{Accumulator, Plan, Stats, TensorSpec};

    use super::histogram::Histogram;

    /// The statistics of samples of one tensor, called `t`.
    pub(crate) fn statistics(samples: &[&[f32]]) -> Stats {
        let mut accumulator = Accumulator::new(vec![TensorSpec::flat("t", &[-1])]).unwrap();
        for (i, values) in samples.iter().enumerate() {
            accumulator.begin(&[i as u64]).unwrap();
            accumulator.observe(0, values, 1).unwrap();
            accumulator.finish();
        }
        let plan = Plan::whole(Fingerprint::of_bytes(b"test"), samples.len() as u64);
        Stats::from_accumulators(&plan, &[accumulator]).unwrap()
    }

    pub(crate) fn with_histogram(samples: &[&[f32]], check: impl FnOnce(&Histogram)) {
        check(&Histogram::of(statistics(samples).tensor("t").unwrap()).unwrap());
    }
}
