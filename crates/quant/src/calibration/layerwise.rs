//! Of several percentiles, the one whose scale disturbs this tensor least.

use super::error::{self, ErrorMetric};
use super::histogram::Histogram;
use super::{Target, percentile};

/// The range of the best candidate, and the candidate. Ties go to the earlier one; candidates whose range has no extent
/// do not take part.
///
/// Each candidate is judged by the parameters that the tensor would get with it.
pub(super) fn range(
    histogram: &Histogram,
    candidates: &[f64],
    metric: ErrorMetric,
    by_magnitude: bool,
    target: Target,
) -> Option<((f32, f32), f64)> {
    let mut best = None;
    let mut least = f64::INFINITY;
    for percent in candidates {
        let range = percentile::range(histogram, *percent, by_magnitude);
        let Some(params) = target.params(range) else { continue };
        let error = error::total(histogram, &params, target.symmetric, metric);
        if error < least {
            (best, least) = (Some((range, *percent)), error);
        }
    }
    best
}
