//! Ranges from extremes: of all values, or averaged over samples.

use shiftwise_artifact::stats::TensorView;

use super::CalibrationError;

/// The smallest and the largest finite value.
pub(super) fn observed(range: (f32, f32), symmetric: bool) -> (f32, f32) {
    if !symmetric {
        return range;
    }
    let largest = range.1.max(-range.0);
    (-largest, largest)
}

/// The mean of the samples' smallest values, and that of their largest ones.
pub(super) fn averaged(view: TensorView<'_>, symmetric: bool) -> Result<(f32, f32), CalibrationError> {
    match (view.mean_sample_min(), view.mean_sample_max()) {
        (Some(min), Some(max)) => Ok(observed((min as f32, max as f32), symmetric)),
        _ => Err(CalibrationError::NoAverage),
    }
}
