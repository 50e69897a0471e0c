//! `show`: statistics for people and, with `--json`, for programs.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use shiftwise_artifact::stats::{STATS_FILE, Stats, TensorView, layout};
use shiftwise_artifact::{Artifact, Kind};
use shiftwise_stage::report::{count, table};
use shiftwise_stage::{Context, Failure};

/// Width of the longest bar of a histogram.
const BAR: usize = 50;
/// Channels listed for one tensor.
const CHANNELS: usize = 12;

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The statistics: an artifact of `shiftwise-calibrate collect`
    #[arg(value_name = "STATS")]
    pub stats: PathBuf,

    /// Tensors to show in detail; a table of all of them without
    #[arg(value_name = "TENSOR")]
    pub tensors: Vec<String>,
}

/// Statistics of one tensor as `--json` prints them.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    name: &'a str,
    shape: &'a [i64],
    samples: u64,
    elements: u64,
    min: Option<f32>,
    max: Option<f32>,
    mean: Option<f64>,
    mean_sample_min: Option<f64>,
    mean_sample_max: Option<f64>,
    zeros: u64,
    nans: u64,
    infinities: u64,
    channels: usize,
    constant_channels: usize,
}

/// Prints the statistics.
pub fn show(args: &ShowArgs, context: &Context) -> Result<(), Failure> {
    let artifact = Artifact::open(&args.stats, Kind::Stats)?;
    let stats = Stats::open(&artifact.file(STATS_FILE)?)?;
    let chosen: Vec<TensorView<'_>> = if args.tensors.is_empty() {
        stats.tensors().collect()
    } else {
        args.tensors.iter().map(|name| find(&stats, name)).collect::<Result<_, _>>()?
    };
    if context.common.json {
        return context.print_json(&chosen.iter().map(|t| summary(*t)).collect::<Vec<_>>());
    }
    if args.tensors.is_empty() {
        context.print(&overview(&chosen))?;
        let seen = count(stats.samples_seen(), "sample");
        return context.print(&format!("{} over {seen}", count(chosen.len() as u64, "tensor")));
    }
    chosen.iter().try_for_each(|t| context.print(&detail(*t)))
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

fn summary(t: TensorView<'_>) -> Summary<'_> {
    let constant = t.channel_mins().iter().zip(t.channel_maxs()).filter(|(lo, hi)| lo == hi).count();
    Summary {
        name: t.name(),
        shape: &t.spec().shape,
        samples: t.samples(),
        elements: t.elements(),
        min: t.min(),
        max: t.max(),
        mean: mean(t),
        mean_sample_min: t.mean_sample_min(),
        mean_sample_max: t.mean_sample_max(),
        zeros: t.zero_count(),
        nans: t.nan_count(),
        infinities: t.inf_count(),
        channels: t.channels(),
        constant_channels: constant,
    }
}

/// The mean over all channels, from exact sums; from bins where there are none.
fn mean(t: TensorView<'_>) -> Option<f64> {
    let n = t.finite_count();
    if n == 0 {
        return None;
    }
    let sum = if t.channels() > 0 {
        (0..t.channels()).map(|c| t.channel_sum(c)).sum::<Option<f64>>()?
    } else {
        t.bins().map(|(bin, count)| layout::bin_center(bin) * count as f64).sum()
    };
    Some(sum / n as f64)
}

fn overview(tensors: &[TensorView<'_>]) -> String {
    let number = |v: Option<f32>| v.map_or_else(|| "–".into(), |v| format!("{v:.5}"));
    let rows = tensors.iter().map(|t| {
        let s = summary(*t);
        let share = |n: u64| {
            if n == 0 { "–".into() } else { format!("{:.2} %", n as f64 * 100.0 / s.elements as f64) }
        };
        [
            s.name.to_owned(),
            number(s.min),
            number(s.max),
            s.mean.map_or_else(|| "–".into(), |m| format!("{m:.5}")),
            share(s.zeros),
            share(s.nans + s.infinities),
            if s.channels == 0 { "–".into() } else { format!("{} of {}", s.constant_channels, s.channels) },
        ]
    });
    table(&["tensor", "min", "max", "mean", "zeros", "NaN, inf", "constant channels"], rows)
}

fn detail(t: TensorView<'_>) -> String {
    let s = summary(t);
    let mut text = format!(
        "{}\n  shape {:?}, {}, {} values\n  min {:?}  max {:?}  mean {}\n  mean of sample minima {}  maxima {}\n  zeros {}  NaN {}  infinite {}\n",
        s.name,
        s.shape,
        count(s.samples, "sample"),
        s.elements,
        s.min.unwrap_or(f32::NAN),
        s.max.unwrap_or(f32::NAN),
        s.mean.map_or_else(|| "–".into(), |m| format!("{m:.6}")),
        s.mean_sample_min.map_or_else(|| "–".into(), |m| format!("{m:.6}")),
        s.mean_sample_max.map_or_else(|| "–".into(), |m| format!("{m:.6}")),
        s.zeros,
        s.nans,
        s.infinities,
    );
    if s.channels > 0 {
        text += &format!("  {}, {} constant\n", count(s.channels as u64, "channel"), s.constant_channels);
        let channels = t.channel_mins().iter().zip(t.channel_maxs()).enumerate().take(CHANNELS);
        for (c, (lo, hi)) in channels {
            let mean = t.channel_mean(c).map_or_else(|| "–".into(), |m| format!("{m:.5}"));
            text += &format!("    {c:>5}  {lo:>12.5} … {hi:<12.5} mean {mean}\n");
        }
        if s.channels > CHANNELS {
            text += &format!("    … and {} more\n", s.channels - CHANNELS);
        }
    }
    text + &histogram(t)
}

/// Counts by binade, a bar each, from the most negative to the most positive.
fn histogram(t: TensorView<'_>) -> String {
    let mut binades: Vec<(usize, u64)> = Vec::new();
    for (bin, n) in t.bins() {
        let page = layout::page_of(bin);
        match binades.last_mut() {
            Some((last, total)) if *last == page => *total += n,
            _ => binades.push((page, n)),
        }
    }
    let most = binades.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1);
    let mut text = String::from("  values by power of two\n");
    for (page, n) in binades {
        let first = (page * layout::PAGE_BINS) as u32;
        let edge = layout::bin_lower(first);
        let label = if edge.abs() < f32::MIN_POSITIVE { "0".into() } else { format!("{edge:e}") };
        let bar = "█".repeat(((n as f64 / most as f64) * BAR as f64).ceil() as usize);
        text += &format!("    {label:>16} {bar} {n}\n");
    }
    text
}
