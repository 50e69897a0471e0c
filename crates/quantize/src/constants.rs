//! Scales of weights and biases.

use rayon::prelude::*;
use shiftwise_artifact::stats::Stats;
use shiftwise_graph::{Model, Node};
use shiftwise_quant::calibration::{WeightMethod, float_weight};
use shiftwise_quant::minmse::{covering, over_values};
use shiftwise_quant::{
    Decision, Placement, QParams, QuantType, Role, WeightLayout, WeightScaleError, by_output_error,
    input_channel_axis,
};

use crate::Decisions;
use crate::config::{CalibrateMethod, QuantizeConfig};
use crate::method::Methods;

/// Type of all constants: what the NPU multiplies with.
const TYPE: QuantType = QuantType::Int8;

/// Decides every weight, and every bias with a scale of its own, in parallel; the order of the decisions is that of the sites.
pub(crate) fn decide(
    decisions: &mut Decisions,
    model: &Model,
    placement: &Placement,
    stats: &Stats,
    config: &QuantizeConfig,
    methods: &Methods,
) {
    let int32_bias = config.has_int32_bias();
    let sites: Vec<(&String, Role)> = placement
        .sites
        .iter()
        .filter(|(_, s)| s.role == Role::Weight || (s.role == Role::Bias && !int32_bias))
        .map(|(t, s)| (t, s.role))
        .collect();
    let decided: Vec<(String, Decision)> = sites
        .into_par_iter()
        .filter_map(|(tensor, role)| {
            let values = model.graph.initializer(tensor)?.to_f32()?;
            let decision = match role {
                _ if !config.power_of_two_scale => float(&values, methods.weights),
                Role::Bias => alone(&values, config),
                _ => weight(tensor, &values, model, stats, config),
            };
            Some((tensor.clone(), decision))
        })
        .collect();
    decisions.extend(decided);
}

/// A constant by its own values: least squared error as for activations, and otherwise the extremes, as all of its values are known.
fn alone(values: &[f32], config: &QuantizeConfig) -> Decision {
    let (params, method) = match config.calibrate_method {
        CalibrateMethod::MinMse => (over_values(values, TYPE), "minmse"),
        _ => (covering(values, TYPE), "nonoverflow"),
    };
    Decision { params, method: method.into() }
}

fn float(values: &[f32], method: WeightMethod) -> Decision {
    let note = match method {
        WeightMethod::MinMax => "minmax",
        WeightMethod::MinMsePercentile => "minmse percentile",
        WeightMethod::MinMseHistCenter => "minmse hist_center",
        WeightMethod::MinMseAll => "minmse all",
    };
    Decision { params: float_weight(values, TYPE, method), method: note.into() }
}

fn weight(tensor: &str, values: &[f32], model: &Model, stats: &Stats, config: &QuantizeConfig) -> Decision {
    if config.weight_scale_error == WeightScaleError::Weight {
        return alone(values, config);
    }
    match output_error(tensor, values, model, stats, config) {
        Some(params) => Decision { params, method: "output error".into() },
        // A constant that no operator multiplies channel by channel, such as an operand of Add.
        None => alone(values, config),
    }
}

fn output_error(
    tensor: &str,
    values: &[f32],
    model: &Model,
    stats: &Stats,
    config: &QuantizeConfig,
) -> Option<QParams> {
    let dims = model.graph.initializer(tensor)?.dims();
    let [user] = model.graph.uses(tensor) else { return None };
    let node = model.graph.node(user.node).filter(|_| user.input == Some(1))?;
    let layout = WeightLayout::of(node, dims)?;
    let energy = energy(model, node, stats, layout.inputs())?;
    Some(by_output_error(values, layout, &energy, TYPE, config.weight_candidates_below))
}

/// Mean squares of the channels of a node's input.
fn energy(model: &Model, node: &Node, stats: &Stats, channels: usize) -> Option<Vec<f64>> {
    let input = node.input(0)?;
    let view = stats.tensor(input)?;
    let axis = input_channel_axis(node, model.graph.tensor_type(input)?.rank()?)?;
    if view.channels() != channels || view.spec().channel_axis != Some(axis as u32) {
        return None;
    }
    (0..channels).map(|c| view.channel_mean_sq(c)).collect()
}
