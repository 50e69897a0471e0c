//! The position of a weight's scale, chosen by what its rounding does to the output.

use serde::{Deserialize, Serialize};

use crate::minmse::{best, covering, squared_error};
use crate::{QParams, QuantType, WeightLayout};

/// What the error of a weight's rounding is measured on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightScaleError {
    /// The operator's output: Σ E(x²) · (w − ŵ)², with the mean square of the input channel that w multiplies.
    #[default]
    Output,
    /// The weight alone: Σ (w − ŵ)².
    Weight,
}

/// The symmetric power-of-two parameters whose rounding disturbs the output least.
///
/// Candidates run from one position coarser than the covering one to `finer` positions finer: a few large weights that
/// multiply little may be clipped so that all others get finer steps. `energy` is E(x²) for each input channel, from
/// calibration. With inputs that are uncorrelated across channels and taps this is the mean squared error of the
/// output. Ties go to the coarser scale; where no input channel carries energy the weight alone decides.
pub fn by_output_error(
    values: &[f32],
    layout: WeightLayout,
    energy: &[f64],
    ty: QuantType,
    finer: u32,
) -> QParams {
    let start = covering(values, ty);
    let offsets = -1..=i32::try_from(finer).unwrap_or(i32::MAX).min(32);
    let taps = layout.taps().max(1);
    let weight = |channel: usize| energy.get(channel).copied().unwrap_or(0.0);
    if layout.runs().all(|(input, _)| weight(input) <= 0.0) {
        return best(start, offsets, |p| values.iter().map(|v| squared_error(p, *v)).sum());
    }
    best(start, offsets, |p| {
        let runs = layout.runs().zip(values.chunks(taps));
        runs.map(|((input, _), run)| weight(input) * run.iter().map(|v| squared_error(p, *v)).sum::<f64>())
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shiftwise_graph::Node;

    #[test]
    fn a_large_weight_on_a_silent_channel_does_not_decide() {
        let node = Node::new("Conv", "c", &["x", "w"], &["y"]).with("group", 2);
        let layout = WeightLayout::of(&node, &[2, 1, 1, 4]).unwrap();
        let values = [50.0, 40.0, 30.0, 45.0, 0.5, -0.3, 0.2, 0.11];
        let loud = by_output_error(&values, layout, &[1.0, 1.0], QuantType::Int8, 8);
        let silent = by_output_error(&values, layout, &[0.0, 1.0], QuantType::Int8, 8);
        assert!(silent.scale < loud.scale / 16.0, "{} {}", silent.scale, loud.scale);
        assert_eq!(by_output_error(&values, layout, &[0.0, 0.0], QuantType::Int8, 8), loud);
    }
}
