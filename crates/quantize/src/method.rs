//! From options to methods, and what of them makes no sense together.

use shiftwise_quant::calibration::{
    DEFAULT_BINS, DEFAULT_CANDIDATES, DEFAULT_PERCENTILE, Method, MseMode, ScaleKind, Target, WeightMethod,
};
use shiftwise_stage::Failure;

use crate::config::{CalibrateMethod, FloatMode, Pof2Mode, QuantizeConfig, WeightCalibrateMethod};

/// How scales are chosen, checked.
#[derive(Clone, Debug)]
pub(crate) struct Methods {
    /// For activations.
    pub(crate) activations: Method,
    /// The form of their parameters.
    pub(crate) target: Target,
    /// For constants with float scales.
    pub(crate) weights: WeightMethod,
}

impl Methods {
    /// Fails where an option was given that nothing reads, or options contradict each other.
    pub(crate) fn of(config: &QuantizeConfig) -> Result<Self, Failure> {
        unread(config)?;
        contradicting(config)?;
        let percentile = config.percentile.unwrap_or(DEFAULT_PERCENTILE);
        let activations = match config.calibrate_method {
            CalibrateMethod::MinMse => Method::MinMse {
                mode: match config.min_mse_mode_pof2_scale.unwrap_or_default() {
                    Pof2Mode::All => MseMode::All,
                    Pof2Mode::MostCommon => MseMode::MostCommon,
                    Pof2Mode::Percentile => MseMode::Percentile(percentile),
                },
            },
            _ if config.calib_moving_average => Method::MovingAverage,
            CalibrateMethod::NonOverflow => Method::NonOverflow,
            CalibrateMethod::MinMax => Method::MinMax,
            CalibrateMethod::Percentile => Method::Percentile { percentile },
            CalibrateMethod::LayerwisePercentile => Method::LayerwisePercentile {
                candidates: config.percentile_candidates.clone().unwrap_or(DEFAULT_CANDIDATES.to_vec()),
                metric: config.lwp_metric.unwrap_or_default(),
            },
            CalibrateMethod::Entropy => Method::Entropy {
                bins: config.num_bins.unwrap_or(DEFAULT_BINS),
                quantized_bins: config.num_quantized_bins.unwrap_or(DEFAULT_BINS),
            },
        };
        let scale = if config.power_of_two_scale { ScaleKind::PowerOfTwo } else { ScaleKind::Float };
        let target = Target {
            ty: config.activation_type,
            scale,
            symmetric: config.activation_symmetric,
            symmetric_range: config.calib_tensor_range_symmetric,
        };
        activations.check(target).map_err(|e| Failure::usage(e.to_string()))?;
        let weights = match (config.weight_calibrate_method, config.min_mse_mode_float_scale) {
            (None | Some(WeightCalibrateMethod::MinMax), _) => WeightMethod::MinMax,
            (Some(WeightCalibrateMethod::MinMse), mode) => match mode.unwrap_or_default() {
                FloatMode::Percentile => WeightMethod::MinMsePercentile,
                FloatMode::HistCenter => WeightMethod::MinMseHistCenter,
                FloatMode::All => WeightMethod::MinMseAll,
            },
        };
        Ok(Self { activations, target, weights })
    }
}

/// Options that were given although the others leave nobody to read them.
fn unread(config: &QuantizeConfig) -> Result<(), Failure> {
    use CalibrateMethod as M;
    let method = config.calibrate_method;
    let mode = config.min_mse_mode_pof2_scale;
    let (minmse, pof2) = (method == M::MinMse, config.power_of_two_scale);
    let weight_minmse = config.weight_calibrate_method == Some(WeightCalibrateMethod::MinMse);
    let in_percentile_mode = minmse && mode == Some(Pof2Mode::Percentile);
    let rows = [
        (
            "percentile",
            config.percentile.is_some(),
            method == M::Percentile || in_percentile_mode,
            "calibrate_method = \"percentile\", or min_mse_mode_pof2_scale = \"percentile\"",
        ),
        (
            "percentile_candidates",
            config.percentile_candidates.is_some(),
            method == M::LayerwisePercentile,
            "calibrate_method = \"layerwise_percentile\"",
        ),
        (
            "lwp_metric",
            config.lwp_metric.is_some(),
            method == M::LayerwisePercentile,
            "calibrate_method = \"layerwise_percentile\"",
        ),
        (
            "num_bins",
            config.num_bins.is_some(),
            method == M::Entropy,
            "calibrate_method = \"entropy\"; histograms of other methods have a fixed resolution of 2^-10 of a value",
        ),
        (
            "num_quantized_bins",
            config.num_quantized_bins.is_some(),
            method == M::Entropy,
            "calibrate_method = \"entropy\"",
        ),
        (
            "calib_moving_average",
            config.calib_moving_average,
            matches!(method, M::MinMax | M::NonOverflow),
            "calibrate_method = \"minmax\" or \"nonoverflow\"",
        ),
        (
            "min_mse_mode_pof2_scale",
            mode.is_some(),
            minmse && pof2,
            "calibrate_method = \"minmse\" and power_of_two_scale = true",
        ),
        (
            "weight_calibrate_method",
            config.weight_calibrate_method.is_some(),
            !pof2,
            "power_of_two_scale = false; weight_scale_error decides on powers of two",
        ),
        (
            "min_mse_mode_float_scale",
            config.min_mse_mode_float_scale.is_some(),
            weight_minmse,
            "weight_calibrate_method = \"minmse\"",
        ),
    ];
    match rows.into_iter().find(|(_, given, read, _)| *given && !*read) {
        None => Ok(()),
        Some((name, _, _, needs)) => Err(Failure::usage(format!("use {name}: nothing reads it"))
            .because(format!("it is for {needs}"))
            .with_help(format!("remove {name}, or change what it needs"))),
    }
}

/// Options that cannot be had together.
fn contradicting(config: &QuantizeConfig) -> Result<(), Failure> {
    if config.calibrate_method != CalibrateMethod::MinMse {
        return Ok(());
    }
    let symmetric = config.activation_symmetric;
    if config.min_mse_mode_pof2_scale == Some(Pof2Mode::MostCommon) && !symmetric {
        return Err(Failure::usage(
            "use min_mse_mode_pof2_scale = \"most_common\" with activation_symmetric = false",
        )
        .because("samples vote on symmetric scales")
        .with_help("use min_mse_mode_pof2_scale = \"all\", or symmetric activations"));
    }
    match config.calib_tensor_range_symmetric {
        Some(range) if range != symmetric => Err(Failure::usage(format!(
            "use calib_tensor_range_symmetric = {range} with calibrate_method = \"minmse\" and activation_symmetric = {symmetric}"
        ))
        .because("minmse chooses scales, whose range is as symmetric as they are")
        .with_help("remove calib_tensor_range_symmetric, or change activation_symmetric")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shiftwise_stage::ExitStatus;

    fn refused(config: &QuantizeConfig, names: &[&str]) {
        let failure = Methods::of(config).unwrap_err();
        assert_eq!(failure.status, ExitStatus::Usage);
        let text = failure.render();
        assert!(names.iter().all(|name| text.contains(name)), "{text}");
    }

    #[test]
    fn an_option_that_nothing_reads_is_named_with_what_it_needs() {
        let base = QuantizeConfig::default();
        let with = |change: fn(&mut QuantizeConfig)| {
            let mut config = base.clone();
            change(&mut config);
            config
        };
        refused(&with(|c| c.percentile = Some(99.0)), &["percentile", "calibrate_method"]);
        refused(
            &with(|c| c.percentile_candidates = Some(vec![99.0])),
            &["percentile_candidates", "layerwise"],
        );
        refused(
            &with(|c| c.lwp_metric = Some(shiftwise_quant::calibration::ErrorMetric::Mse)),
            &["lwp_metric"],
        );
        refused(&with(|c| c.num_bins = Some(2048)), &["num_bins", "entropy"]);
        refused(&with(|c| c.num_quantized_bins = Some(64)), &["num_quantized_bins", "entropy"]);
        refused(&with(|c| c.calib_moving_average = true), &["calib_moving_average", "minmax"]);
        refused(
            &with(|c| c.weight_calibrate_method = Some(WeightCalibrateMethod::MinMse)),
            &["weight_calibrate_method", "power_of_two_scale"],
        );
        refused(
            &with(|c| {
                c.power_of_two_scale = false;
                c.min_mse_mode_float_scale = Some(FloatMode::All);
            }),
            &["min_mse_mode_float_scale", "weight_calibrate_method"],
        );
        refused(
            &with(|c| {
                c.power_of_two_scale = false;
                c.min_mse_mode_pof2_scale = Some(Pof2Mode::All);
            }),
            &["min_mse_mode_pof2_scale", "power_of_two_scale"],
        );
    }

    #[test]
    fn options_that_contradict_each_other_are_named() {
        let most_common = QuantizeConfig {
            activation_symmetric: false,
            min_mse_mode_pof2_scale: Some(Pof2Mode::MostCommon),
            ..QuantizeConfig::default()
        };
        refused(&most_common, &["min_mse_mode_pof2_scale", "activation_symmetric"]);
        let range = QuantizeConfig { calib_tensor_range_symmetric: Some(false), ..QuantizeConfig::default() };
        refused(&range, &["calib_tensor_range_symmetric", "activation_symmetric", "minmse"]);
        let bins = QuantizeConfig {
            calibrate_method: CalibrateMethod::Entropy,
            num_bins: Some(64),
            ..QuantizeConfig::default()
        };
        refused(&bins, &["num_quantized_bins", "num_bins"]);
        let percentile = QuantizeConfig {
            calibrate_method: CalibrateMethod::Percentile,
            percentile: Some(0.0),
            ..QuantizeConfig::default()
        };
        refused(&percentile, &["percentile", "100"]);
    }
}
