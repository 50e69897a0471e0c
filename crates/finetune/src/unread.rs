//! Options that were given although the method of the run leaves nobody to read them.

use serde_json::Value;
use shiftwise_stage::options::preset;
use shiftwise_stage::{Context, Failure, Flags};

use crate::FinetuneConfig;
use crate::config::Algorithm;

/// Fails where an option was given that nothing reads. What a preset says is no request, and neither is a switch that is off.
///
/// A file may name defaults, as `--print-config` writes them.
pub(crate) fn check(context: &Context, flags: &Flags, config: &FinetuneConfig) -> Result<(), Failure> {
    let merged = context.merged(flags)?;
    let below = preset(&merged.preset)?;
    let [wanted, default] = [config, &FinetuneConfig::default()].map(|c| serde_json::to_value(c).ok());
    let of = |all: &Option<Value>, name: &str| all.as_ref().and_then(|all| all.get(name)).cloned();
    let is_given = |name: &str| {
        let value = merged.table.get(name);
        let off = value.is_some_and(|value| value.as_bool() == Some(false));
        let usual = context.common.config.is_some() && of(&wanted, name) == of(&default, name);
        value.is_some() && value != below.get(name) && !off && !usual
    };
    match rows(config).into_iter().find(|(name, read, _)| !read && is_given(name)) {
        None => Ok(()),
        Some((name, _, needs)) => Err(Failure::usage(format!("use {name}: nothing reads it"))
            .because(format!("it is for {needs}"))
            .with_help(format!("remove {name}, or change what it needs"))),
    }
}

/// Options that not every method reads: whether this one does, and what it takes.
fn rows(config: &FinetuneConfig) -> [(&'static str, bool, &'static str); 19] {
    const TRAINING: &str = "algorithm = \"adaround\" or \"adaquant\"";
    const SOLVING: &str = "algorithm = \"least_squares\", or finetune_begin = \"least_squares\"";
    const ADAROUND: &str = "algorithm = \"adaround\"";
    let (trains, solves) = (config.algorithm.trains(), config.solves());
    let rounds = config.algorithm == Algorithm::AdaRound;
    [
        ("finetune_begin", trains, TRAINING),
        ("num_iterations", trains, TRAINING),
        ("learning_rate", trains, TRAINING),
        ("finetune_batch_size", trains, TRAINING),
        ("early_stop", trains, TRAINING),
        (
            "num_batches",
            trains && config.early_stop,
            "early_stop = true, with algorithm = \"adaround\" or \"adaquant\"",
        ),
        ("drop_ratio", trains, TRAINING),
        ("lr_adjust", trains, TRAINING),
        ("output_qdq", trains, TRAINING),
        ("reg_param", rounds, ADAROUND),
        ("beta_range", rounds, ADAROUND),
        (
            "warm_start",
            rounds || (trains && config.early_stop),
            "algorithm = \"adaround\", or early_stop = true with algorithm = \"adaquant\"",
        ),
        ("update_bias", config.algorithm == Algorithm::AdaQuant, "algorithm = \"adaquant\""),
        ("finetune_regularization", solves, SOLVING),
        ("finetune_sweeps", solves, SOLVING),
        ("finetune_order", solves, SOLVING),
        (
            "finetune_input_scales",
            config.chooses_inputs(),
            "least squares on one machine: neither finetune_float_inputs nor parallel",
        ),
        ("parallel", !config.finetune_float_inputs, "finetune_float_inputs = false, and no --layers"),
        ("output_index", config.selective_update, "selective_update = true"),
    ]
}
