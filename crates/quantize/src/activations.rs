//! Scales of activations, from histograms.

use shiftwise_artifact::stats::Stats;
use shiftwise_quant::calibration::{Method, MseMode, ScaleKind, Target, choose};
use shiftwise_quant::{Decision, Placement, QParams, Role};
use shiftwise_stage::Failure;

use crate::Decisions;
use crate::config::{CalibrateMethod, QuantizeConfig};

/// Decides every activation that does not share the parameters of another.
pub(crate) fn decide(
    placement: &Placement,
    stats: &Stats,
    config: &QuantizeConfig,
) -> Result<Decisions, Failure> {
    let mut decisions = Decisions::new();
    for (tensor, site) in &placement.sites {
        if site.role == Role::Activation && placement.provider(tensor) == tensor {
            decisions.insert(tensor.clone(), one(tensor, placement, stats, config)?);
        }
    }
    Ok(decisions)
}

fn one(
    tensor: &str,
    placement: &Placement,
    stats: &Stats,
    config: &QuantizeConfig,
) -> Result<Decision, Failure> {
    let ty = config.activation_type;
    if let Some((min, max)) = placement.known_range.get(tensor) {
        let params = QParams::power_of_two(*min, *max, ty, true);
        return Ok(Decision { params, method: format!("known range {min} to {max}") });
    }
    let source = placement.range_of.get(tensor).map_or(tensor, String::as_str);
    let view = stats.tensor(source).ok_or_else(|| {
        Failure::mismatch(format!("find statistics of tensor {source:?}")).with_help(
            "collect statistics with the same options, or of all tensors: shiftwise-calibrate collect --all",
        )
    })?;
    if view.nan_count() + view.inf_count() > 0 {
        tracing::warn!(
            "tensor {source:?} has {} NaN and {} infinite values of {}; its scale comes from the others",
            view.nan_count(),
            view.inf_count(),
            view.elements()
        );
    }
    let method = match config.calibrate_method {
        CalibrateMethod::MinMse => Method::MinMse { mode: MseMode::All },
        CalibrateMethod::NonOverflow => Method::NonOverflow,
    };
    let choice = choose(view, &method, Target::new(ty, ScaleKind::PowerOfTwo))
        .map_err(|e| Failure::input(format!("quantize {tensor:?}")).because(e.to_string()))?;
    let method = if source == tensor { choice.note } else { format!("{} of {source}", choice.note) };
    Ok(Decision { params: choice.params, method })
}
