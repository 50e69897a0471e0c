//! One tensor of one sample into an accumulator.

use shiftwise_artifact::stats::{Accumulator, ChannelSample, TensorSample};
use shiftwise_graph::Value;
use shiftwise_kernels::histogram::Front;
use shiftwise_kernels::stats::ChannelStats;
use shiftwise_stage::Failure;

use crate::elect::elect;

/// Counts the values of a tensor, and adds its extremes and sums. `front` is empty before and after.
///
/// Fails for a tensor that is not float32, or does not have the channels that were planned.
pub fn observe(
    accumulator: &mut Accumulator,
    front: &mut Front,
    tensor: usize,
    value: &Value,
) -> Result<(), Failure> {
    let specs = accumulator.specs().clone();
    let spec = &specs[tensor];
    let values = value.as_f32().ok_or_else(|| {
        Failure::input(format!(
            "collect tensor {:?}: its elements are {}, not float32",
            spec.name,
            value.dtype()
        ))
        .with_help("prepare the model with convert_fp16_to_fp32 = true")
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
    // Channels that lie side by side are not worth a kernel each.
    let interleaved = inner == 1 && channels > 1;
    let plane = if interleaved { values.len() } else { inner };

    let mut samples = vec![ChannelSample::default(); channels];
    let (mut nans, mut infinities) = (0, 0);
    let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
    let mut channel = 0;
    front.observe(values, plane.max(1), |plane, seen: ChannelStats| {
        nans += seen.nan;
        infinities += seen.inf;
        (min, max) = (min.min(seen.min), max.max(seen.max));
        if interleaved {
            return;
        }
        let sample = &mut samples[channel];
        channel = if channel + 1 == channels { 0 } else { channel + 1 };
        sample.count += plane.len() as u64 - seen.nan - seen.inf;
        sample.min = sample.min.min(seen.min);
        sample.max = sample.max.max(seen.max);
        sample.sum += seen.sum;
        sample.sum_sq += seen.sum_sq;
    });
    if interleaved {
        for row in values.chunks(channels) {
            samples.iter_mut().zip(row).for_each(|(sample, value)| sample.push(*value));
        }
    }
    for sample in &mut samples {
        // Adding zero turns −0 into +0: which of them comes first must not show in the file.
        (sample.min, sample.max) = (sample.min + 0.0, sample.max + 0.0);
    }
    let range = (min <= max).then_some((min + 0.0, max + 0.0));
    let elected = range.map_or([None; 4], |range| elect(front, range));
    front.flush(accumulator.bins_mut(tensor), range.unwrap_or((0.0, 0.0)));
    let sample = TensorSample {
        elements: values.len() as u64,
        nans,
        infinities,
        range,
        channels: if spec.channels == 0 { &[] } else { &samples },
        elected,
    };
    Ok(accumulator.add_sample(tensor, &sample)?)
}
