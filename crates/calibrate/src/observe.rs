//! One tensor of one sample into an accumulator.

use shiftwise_artifact::stats::{Accumulator, ChannelSample, TensorSample};
use shiftwise_graph::Value;
use shiftwise_kernels::histogram::{self, Front};
use shiftwise_kernels::stats::{ChannelStats, channel_stats};
use shiftwise_stage::Failure;

/// Elements of a tensor from which on a table in front of the histogram pays for its flush.
const LARGE: usize = 1 << 11;

/// Counts the values of a tensor, and adds its extremes and sums. `front` is empty before and after.
///
/// Fails for a tensor that is not float32, or does not have the channels that were planned.
pub fn observe(
    accumulator: &mut Accumulator,
    front: &mut Front,
    tensor: usize,
    value: &Value,
) -> Result<(), Failure> {
    let spec = accumulator.specs()[tensor].clone();
    let values = value.as_f32().ok_or_else(|| {
        Failure::input(format!(
            "collect tensor {:?}: its elements are {}, not float32",
            spec.name,
            value.dtype()
        ))
        .with_help("convert the model to float32 first")
    })?;
    let channels = (spec.channels as usize).max(1);
    let axis = spec.channel_axis.map_or(0, |a| a as usize);
    let planned = spec.channels == 0 || value.shape().get(axis) == Some(&channels);
    if !planned {
        return Err(Failure::input(format!(
            "collect tensor {:?}: it has shape {:?}, where {channels} channels were inferred on axis {axis}",
            spec.name,
            value.shape()
        ))
        .with_help("the model declares shapes that its operators do not keep; prepare it again"));
    }
    let inner = if spec.channels == 0 { values.len() } else { value.shape()[axis + 1..].iter().product() };
    if inner == 1 && channels > 1 {
        // Channels lie side by side: planes of one element are not worth a kernel.
        return Ok(accumulator.observe(tensor, values, inner)?);
    }

    let bins = accumulator.bins_mut(tensor);
    let large = values.len() >= LARGE;
    let plane = inner.max(1);
    let mut samples = vec![ChannelSample::default(); channels];
    let (mut nans, mut infinities) = (0, 0);
    let mut channel = 0;
    let mut add = |plane: &[f32], seen: ChannelStats| {
        nans += seen.nan;
        infinities += seen.inf;
        let sample = &mut samples[channel];
        channel = if channel + 1 == channels { 0 } else { channel + 1 };
        sample.count += plane.len() as u64 - seen.nan - seen.inf;
        // Adding zero turns −0 into +0: which of them comes first must not show in the file.
        sample.min = sample.min.min(seen.min) + 0.0;
        sample.max = sample.max.max(seen.max) + 0.0;
        sample.sum += seen.sum;
        sample.sum_sq += seen.sum_sq;
    };
    if large {
        front.observe(values, plane, add);
    } else {
        histogram::accumulate(values, bins);
        values.chunks(plane).for_each(|plane| add(plane, channel_stats(plane)));
    }
    let (min, max) =
        samples.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), s| (lo.min(s.min), hi.max(s.max)));
    let range = (min <= max).then_some((min, max));
    if large {
        front.flush(bins, range.unwrap_or((0.0, 0.0)));
    }
    let sample = TensorSample {
        elements: values.len() as u64,
        nans,
        infinities,
        range,
        channels: if spec.channels == 0 { &[] } else { &samples },
        elected: [None; 4],
    };
    Ok(accumulator.add_sample(tensor, &sample)?)
}
