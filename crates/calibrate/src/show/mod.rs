//! `show`: statistics for people and, with `--json`, for programs.

mod bars;
mod canvas;
mod files;
mod plot;
mod png;
mod summary;
mod svg;
mod terminal;
mod thresholds;

use std::path::PathBuf;

use clap::Args;
use rayon::prelude::*;
use shiftwise_artifact::stats::{STATS_FILE, Stats, TensorView};
use shiftwise_artifact::{Artifact, Kind};
use shiftwise_quant::QuantType;
use shiftwise_stage::report::count;
use shiftwise_stage::{Context, Failure};

use self::summary::{Summary, overview};
use self::thresholds::Threshold;

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The statistics: an artifact of `shiftwise-calibrate collect`
    #[arg(value_name = "STATS")]
    pub stats: PathBuf,

    /// Tensors to show in detail, with a histogram and what each calibration method would choose; a table of all of them without
    #[arg(value_name = "TENSOR")]
    pub tensors: Vec<String>,

    /// Draw the histograms: of one tensor into an .svg or .png file, of several or all of them into a directory, one .svg each
    #[arg(long, value_name = "FILE.svg|FILE.png|DIR")]
    pub plot: Option<PathBuf>,

    /// The type for which methods choose: uint8, int8, uint16 or int16
    #[arg(long = "type", value_name = "TYPE", default_value = "uint8", value_parser = quant_type)]
    pub quant_type: QuantType,
}

fn quant_type(text: &str) -> Result<QuantType, String> {
    let types = [QuantType::Uint8, QuantType::Int8, QuantType::Uint16, QuantType::Int16];
    let found = types.into_iter().find(|ty| ty.to_string() == text.to_lowercase());
    found.ok_or_else(|| "it is none of uint8, int8, uint16, int16".to_owned())
}

/// Prints the statistics, and draws them if asked to.
pub fn show(args: &ShowArgs, context: &Context) -> Result<(), Failure> {
    let artifact = Artifact::open(&args.stats, Kind::Stats)?;
    let stats = Stats::open(&artifact.file(STATS_FILE)?)?;
    let chosen: Vec<TensorView<'_>> = if args.tensors.is_empty() {
        stats.tensors().collect()
    } else {
        args.tensors.iter().map(|name| find(&stats, name)).collect::<Result<_, _>>()?
    };
    if let Some(path) = &args.plot {
        let written = files::write(path, &chosen, args.quant_type)?;
        context.say(&format!("drew {} into {}", count(written as u64, "histogram"), path.display()));
    }
    if context.common.json {
        let ty = args.quant_type;
        let summaries: Vec<_> = chosen
            .par_iter()
            .map(|t| Summary { thresholds: Threshold::all(*t, ty), ..Summary::of(*t) })
            .collect();
        return context.print_json(&summaries);
    }
    if args.tensors.is_empty() {
        context.print(&overview(&chosen))?;
        let seen = count(stats.samples_seen(), "sample");
        return context.print(&format!("{} over {seen}", count(chosen.len() as u64, "tensor")));
    }
    chosen.iter().try_for_each(|t| context.print(&terminal::text(*t, args.quant_type)))
}

fn find<'a>(stats: &'a Stats, name: &str) -> Result<TensorView<'a>, Failure> {
    stats.tensor(name).ok_or_else(|| {
        let names: Vec<&str> = stats.tensors().map(TensorView::name).collect();
        let near = names.iter().copied().filter(|n| n.contains(name)).take(5).collect::<Vec<_>>();
        let help = if near.is_empty() {
            "run `show` without a name for the list of tensors; `collect --all` collects every float tensor"
                .to_owned()
        } else {
            format!("did you mean {}?", near.join(", "))
        };
        Failure::input(format!("find statistics of tensor {name:?}")).with_help(help)
    })
}

#[cfg(test)]
mod testing {
    use shiftwise_artifact::Fingerprint;
    use shiftwise_artifact::stats::{Accumulator, Plan, Stats, TensorSpec};

    /// The statistics of samples of one tensor, called `t`.
    pub(super) fn statistics(samples: &[&[f32]]) -> Stats {
        let mut accumulator = Accumulator::new(vec![TensorSpec::flat("t", &[-1])]).unwrap();
        for (i, values) in samples.iter().enumerate() {
            accumulator.begin(&[i as u64]).unwrap();
            accumulator.observe(0, values, 1).unwrap();
            accumulator.finish();
        }
        let plan = Plan::whole(Fingerprint::of_bytes(b"test"), samples.len() as u64);
        Stats::from_accumulators(&plan, &[accumulator]).unwrap()
    }

    /// Something like the output of a convolution: a bell with a few outliers.
    pub(super) fn bell() -> Stats {
        let uniform = |i: u64| {
            let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 24) as f32
        };
        let sample = |s: u64| -> Vec<f32> {
            (0..5000_u64)
                .map(|i| (0..12).map(|k| uniform(s * 60_000 + i * 12 + k)).sum::<f32>() - 5.5)
                .collect()
        };
        let (a, mut b) = (sample(0), sample(1));
        b.extend([7.25, 7.5, -6.0]);
        statistics(&[&a, &b])
    }
}
