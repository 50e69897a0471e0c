//! The numbers of a tensor, and the table of all tensors.

use serde::Serialize;
use shiftwise_artifact::stats::{TensorView, layout};
use shiftwise_stage::report::table;

use super::thresholds::Threshold;

/// Statistics of one tensor as `--json` prints them.
#[derive(Debug, Serialize)]
pub(super) struct Summary<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a [i64],
    pub(super) samples: u64,
    pub(super) elements: u64,
    pub(super) min: Option<f32>,
    pub(super) max: Option<f32>,
    pub(super) mean: Option<f64>,
    pub(super) mean_sample_min: Option<f64>,
    pub(super) mean_sample_max: Option<f64>,
    pub(super) zeros: u64,
    pub(super) nans: u64,
    pub(super) infinities: u64,
    pub(super) channels: usize,
    pub(super) constant_channels: usize,
    /// What methods would choose; empty where nobody asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) thresholds: Vec<Threshold>,
}

impl<'a> Summary<'a> {
    pub(super) fn of(t: TensorView<'a>) -> Self {
        let constant = t.channel_mins().iter().zip(t.channel_maxs()).filter(|(lo, hi)| lo == hi).count();
        Self {
            name: t.name(),
            shape: &t.spec().shape,
            samples: t.samples(),
            elements: t.elements(),
            min: t.min(),
            max: t.max(),
            mean: mean(t),
            mean_sample_min: t.mean_sample_min(),
            mean_sample_max: t.mean_sample_max(),
            zeros: t.zero_count(),
            nans: t.nan_count(),
            infinities: t.inf_count(),
            channels: t.channels(),
            constant_channels: constant,
            thresholds: Vec::new(),
        }
    }
}

/// The mean over all channels, from exact sums; from bins where there are none.
fn mean(t: TensorView<'_>) -> Option<f64> {
    let n = t.finite_count();
    if n == 0 {
        return None;
    }
    let sum = if t.channels() > 0 {
        (0..t.channels()).map(|c| t.channel_sum(c)).sum::<Option<f64>>()?
    } else {
        t.bins().map(|(bin, count)| layout::bin_center(bin) * count as f64).sum()
    };
    Some(sum / n as f64)
}

/// The table of all tensors.
pub(super) fn overview(tensors: &[TensorView<'_>]) -> String {
    let number = |v: Option<f32>| v.map_or_else(|| "–".into(), |v| format!("{v:.5}"));
    let rows = tensors.iter().map(|t| {
        let s = Summary::of(*t);
        let share = |n: u64| {
            if n == 0 { "–".into() } else { format!("{:.2} %", n as f64 * 100.0 / s.elements as f64) }
        };
        [
            s.name.to_owned(),
            number(s.min),
            number(s.max),
            s.mean.map_or_else(|| "–".into(), |m| format!("{m:.5}")),
            share(s.zeros),
            share(s.nans + s.infinities),
            if s.channels == 0 { "–".into() } else { format!("{} of {}", s.constant_channels, s.channels) },
        ]
    });
    table(&["tensor", "min", "max", "mean", "zeros", "NaN, inf", "constant channels"], rows)
}
