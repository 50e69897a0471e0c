//! Constant channels: what a channel that never varies contributes belongs into the bias.
//!
//! Folding a BatchNormalization divides by the square root of the variance. A channel that is dead has next to none, so it
//! gets a huge weight which multiplies a constant, and one scale for the whole tensor then wipes out the living channels.
//! Zeroing such weights and moving their contribution into the bias changes nothing on the calibration data.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::WeightLayout;

/// What calibration saw of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelRange {
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
}

impl ChannelRange {
    /// The value that stands for the channel if it varies by at most `tolerance`.
    fn constant(self, tolerance: f32) -> Option<f32> {
        let middle = f32::midpoint(self.min, self.max);
        (self.max - self.min <= tolerance).then_some(if self.min == self.max { self.min } else { middle })
    }
}

/// Everything the rule needs to know of one operator.
#[derive(Debug)]
pub struct Operator<'a> {
    /// Channels of the weight.
    pub layout: WeightLayout,
    /// Whether zeros are padded around the input, so that the border does not see the constant.
    pub padded: bool,
    /// Ranges of the input's channels and the step of the input's scale.
    pub input: Option<(&'a [ChannelRange], f32)>,
    /// Ranges of the output's channels, behind the activation that is fused into the operator, and the step of the
    /// output's scale. The activation must return its own outputs unchanged, as Relu and Clip do.
    pub output: Option<(&'a [ChannelRange], f32)>,
    /// Largest variation that counts as constant, as a fraction of the step.
    pub threshold: f32,
}

/// One absorbed channel, for the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Absorbed {
    /// `input` or `output`.
    pub side: Side,
    /// The channel.
    pub channel: usize,
    /// Its constant value.
    pub value: f32,
    /// The largest weight that was set to zero.
    pub largest_weight: f32,
}

/// Which side of the operator is constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The channel of the input that the weights multiply.
    Input,
    /// The channel of the output that they make.
    Output,
}

/// Sets weights of constant channels to zero and corrects the bias; says which.
///
/// Input side: y_o = Σ_c w_oc x_c + b_o with x_c = v becomes b_o += v Σ_taps w_oc, w_oc = 0. With zero padding only where
/// v is zero or |v| Σ_taps |w_oc| stays below half a step of the output for every o. Output side: the channel is v
/// whatever comes in, so w_o = 0 and b_o = v. Only channels whose weights are not zero already are reported.
pub fn absorb_constant_channels(weight: &mut [f32], bias: &mut [f32], op: &Operator<'_>) -> Vec<Absorbed> {
    let constant = |side: Option<(&[ChannelRange], f32)>, channel: usize| {
        let (ranges, step) = side?;
        ranges.get(channel)?.constant(op.threshold * step)
    };
    let taps = op.layout.taps().max(1);
    let mut by_input = vec![Vec::new(); op.layout.inputs()];
    let mut by_output = vec![Vec::new(); op.layout.outputs()];
    for (run, (input, output)) in op.layout.runs().enumerate() {
        by_input[input].push((run * taps..(run + 1) * taps, output));
        by_output[output].push(run * taps..(run + 1) * taps);
    }

    let mut absorbed = Vec::new();
    for (channel, runs) in by_output.into_iter().enumerate() {
        let Some(value) = constant(op.output, channel) else { continue };
        let mut largest_weight = 0f32;
        for run in runs {
            largest_weight = largest(&weight[run.clone()], largest_weight);
            weight[run].fill(0.0);
        }
        if largest_weight > 0.0 {
            bias[channel] = value;
            absorbed.push(Absorbed { side: Side::Output, channel, value, largest_weight });
        }
    }

    let half_step = op.output.map_or(0.0, |(_, step)| f64::from(step) / 2.0);
    for (channel, runs) in by_input.into_iter().enumerate() {
        let Some(value) = constant(op.input, channel) else { continue };
        let reach = |run: &Range<usize>| {
            f64::from(value.abs()) * weight[run.clone()].iter().map(|w| f64::from(w.abs())).sum::<f64>()
        };
        if op.padded && value != 0.0 && runs.iter().any(|(run, _)| reach(run) >= half_step) {
            continue;
        }
        let mut largest_weight = 0f32;
        for (run, output) in runs {
            let sum: f64 = weight[run.clone()].iter().map(|w| f64::from(*w)).sum();
            bias[output] = (f64::from(bias[output]) + f64::from(value) * sum) as f32;
            largest_weight = largest(&weight[run.clone()], largest_weight);
            weight[run].fill(0.0);
        }
        if largest_weight > 0.0 {
            absorbed.push(Absorbed { side: Side::Input, channel, value, largest_weight });
        }
    }
    absorbed
}

fn largest(weights: &[f32], so_far: f32) -> f32 {
    weights.iter().fold(so_far, |m, w| m.max(w.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shiftwise_graph::Node;

    fn range(min: f32, max: f32) -> ChannelRange {
        ChannelRange { min, max }
    }

    fn conv(groups: i64, dims: &[usize]) -> WeightLayout {
        WeightLayout::of(&Node::new("Conv", "c", &["x", "w"], &["y"]).with("group", groups), dims).unwrap()
    }

    #[test]
    fn a_constant_input_moves_into_the_bias() {
        let (mut weight, mut bias) = (vec![2.0, 10.0, 3.0, 20.0], vec![1.0, 1.0]);
        let input = [range(-1.0, 1.0), range(0.5, 0.5)];
        let op = Operator {
            layout: conv(1, &[2, 2, 1]),
            padded: false,
            input: Some((&input, 0.1)),
            output: None,
            threshold: 0.0,
        };
        let absorbed = absorb_constant_channels(&mut weight, &mut bias, &op);
        assert_eq!(weight, [2.0, 0.0, 3.0, 0.0]);
        assert_eq!(bias, [6.0, 11.0]);
        assert_eq!(absorbed, [Absorbed { side: Side::Input, channel: 1, value: 0.5, largest_weight: 20.0 }]);
    }

    #[test]
    fn padding_forbids_a_constant_that_the_border_would_miss() {
        let input = [range(0.5, 0.5)];
        let output = [range(-1.0, 1.0)];
        for (weight, step, wanted) in [(9.0, 0.1, 9.0), (0.001, 0.1, 0.0)] {
            let (mut weight, mut bias) = (vec![weight], vec![0.0]);
            let op = Operator {
                layout: conv(1, &[1, 1, 1]),
                padded: true,
                input: Some((&input, 0.1)),
                output: Some((&output, step)),
                threshold: 0.0,
            };
            absorb_constant_channels(&mut weight, &mut bias, &op);
            assert_eq!(weight, [wanted]);
        }
    }

    #[test]
    fn a_constant_output_is_its_bias() {
        let (mut weight, mut bias) = (vec![50.0, 60.0, 0.5, 0.25], vec![-900.0, 0.0]);
        let output = [range(0.0, 0.0), range(0.0, 4.0)];
        let op = Operator {
            layout: conv(2, &[2, 1, 2]),
            padded: true,
            input: None,
            output: Some((&output, 0.05)),
            threshold: 0.01,
        };
        let absorbed = absorb_constant_channels(&mut weight, &mut bias, &op);
        assert_eq!((weight, bias), (vec![0.0, 0.0, 0.5, 0.25], vec![0.0, 0.0]));
        assert_eq!(absorbed[0].largest_weight, 60.0);
    }
}
