//! Scales of activations, from histograms.

use rayon::prelude::*;
use shiftwise_artifact::stats::Stats;
use shiftwise_quant::calibration::{CalibrationError, ScaleKind, choose};
use shiftwise_quant::{Decision, Placement, QParams, Role};
use shiftwise_stage::Failure;

use crate::Decisions;
use crate::method::Methods;

/// Decides every activation that does not share the parameters of another, in parallel; the order of the decisions is that of the
/// sites.
pub(crate) fn decide(placement: &Placement, stats: &Stats, methods: &Methods) -> Result<Decisions, Failure> {
    let sites: Vec<&String> = placement
        .sites
        .iter()
        .filter(|(tensor, site)| site.role == Role::Activation && placement.provider(tensor) == *tensor)
        .map(|(tensor, _)| tensor)
        .collect();
    let decide = |tensor: &&String| one(tensor, placement, stats, methods);
    let decided: Vec<Result<Decision, Failure>> = sites.par_iter().map(decide).collect();
    // The first failure in the order of the sites, whichever came first.
    sites.into_iter().zip(decided).map(|(tensor, decision)| Ok((tensor.clone(), decision?))).collect()
}

fn one(tensor: &str, placement: &Placement, stats: &Stats, methods: &Methods) -> Result<Decision, Failure> {
    let target = methods.target;
    if let Some((min, max)) = placement.known_range.get(tensor) {
        let params = QParams::affine(*min, *max, target.ty, target.symmetric);
        let params = match target.scale {
            ScaleKind::PowerOfTwo => params.to_power_of_two(),
            ScaleKind::Float => params,
        };
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
    let choice = choose(view, &methods.activations, target).map_err(|e| {
        let doing = format!("choose a scale for tensor {source:?}");
        match e {
            CalibrationError::NoVotes => Failure::mismatch(doing).because(e.to_string()).with_help(
                "collect again with this version, or use min_mse_mode_pof2_scale = \"all\", which needs no votes",
            ),
            _ => Failure::input(doing).because(e.to_string()),
        }
    })?;
    let method = if source == tensor { choice.note } else { format!("{} of {source}", choice.note) };
    Ok(Decision { params: choice.params, method })
}
