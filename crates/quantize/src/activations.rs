//! Scales of activations, from histograms.

use shiftwise_artifact::stats::{Stats, TensorView, layout};
use shiftwise_quant::minmse::{Bin, over_bins};
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
    let (min, max) = view.range().unwrap_or((0.0, 0.0));
    let (params, name) = match config.calibrate_method {
        CalibrateMethod::MinMse => (over_bins(&bins(view), min, max, ty), "minmse"),
        CalibrateMethod::NonOverflow => (QParams::power_of_two(min, max, ty, true), "nonoverflow"),
    };
    let method = if source == tensor { name.into() } else { format!("{name} of {source}") };
    Ok(Decision { params, method })
}

fn bins(view: TensorView<'_>) -> Vec<Bin> {
    view.bins()
        .map(|(bin, count)| Bin { center: layout::bin_center(bin), width: layout::bin_width(bin), count })
        .collect()
}
