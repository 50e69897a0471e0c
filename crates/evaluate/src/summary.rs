//! From samples to the report.

use shiftwise_artifact::Fingerprint;
use shiftwise_quant::Metrics;

use crate::compare::Outcome;
use crate::report::{Example, ModelInfo, ModelReport, OutputReport, Report, Samples, Share, Skipped, Spread};
use crate::sample::{Distance, Row, TOP, Verdict};

/// How many samples a list of examples has.
const EXAMPLES: usize = 20;

/// A model by its names.
#[derive(Clone, Debug)]
pub struct Named {
    /// A short name.
    pub name: String,
    /// What the user named.
    pub path: String,
    /// What identifies its content.
    pub fingerprint: Fingerprint,
}

/// Sums up samples, in their order.
///
/// `outputs` are the outputs of the float model; `ids` are the names of the samples of `outcomes`.
pub fn summarize(
    engine: String,
    float: &Named,
    quantized: &[Named],
    outputs: &[String],
    ids: &[&str],
    outcomes: Vec<Outcome>,
) -> Report {
    let (mut rows, mut counts, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for (id, outcome) in ids.iter().zip(outcomes) {
        match outcome {
            Outcome::Compared { row, classes } => {
                rows.push(row);
                counts.push(classes);
            }
            Outcome::Skipped(reason) => skipped.push(Skipped { id: (*id).to_owned(), reason }),
        }
    }
    let classes = counts.first().copied().flatten().filter(|c| counts.iter().all(|n| *n == Some(*c)));
    if classes.is_none() {
        // Vectors of changing length, or only some vectors, are no class scores.
        for row in &mut rows {
            row.label = None;
            row.float = Verdict::default();
            row.models.iter_mut().for_each(|m| m.verdict = Verdict::default());
        }
    }
    let float_info = info(float, classes, rows.iter().map(|r| (r.label, r.float)));
    let models = quantized.iter().enumerate().map(|(m, named)| {
        let verdicts = rows.iter().map(|r| (r.label, r.models[m].verdict));
        let info = info(named, classes, verdicts);
        let same =
            |r: &&Row| r.float.prediction.is_some() && r.float.prediction == r.models[m].verdict.prediction;
        ModelReport {
            top1_loss: loss(float_info.top1, info.top1),
            top5_loss: loss(float_info.top5, info.top5),
            agreement: classes.map(|_| Share::new(rows.iter().filter(same).count(), rows.len())),
            outputs: outputs.iter().enumerate().map(|(o, name)| output(name, &rows, m, o)).collect(),
            changed: changed(&rows, m),
            worst: worst(&rows, m),
            info,
        }
    });
    let models = models.collect();
    let labelled = rows.iter().filter(|r| r.label.is_some()).count();
    let samples = Samples { evaluated: rows.len(), labelled, skipped };
    Report { engine, samples, classes, float: float_info, models, rows }
}

impl Share {
    /// `count` of `of`; nothing of nothing is 0 %.
    pub fn new(count: usize, of: usize) -> Self {
        Self { count, of, percent: percent(count as f64, of) }
    }
}

fn percent(count: f64, of: usize) -> f64 {
    if of == 0 { 0.0 } else { count * 100.0 / of as f64 }
}

/// From counts, so that it is as exact as the division.
fn loss(float: Option<Share>, other: Option<Share>) -> Option<f64> {
    let (float, other) = float.zip(other)?;
    Some(percent(float.count as f64 - other.count as f64, float.of))
}

fn info(
    named: &Named,
    classes: Option<usize>,
    verdicts: impl Iterator<Item = (Option<usize>, Verdict)>,
) -> ModelInfo {
    let (mut labelled, mut top1, mut top5) = (0, 0, 0);
    for (label, verdict) in verdicts {
        let Some(label) = label else { continue };
        labelled += 1;
        top1 += usize::from(verdict.prediction == Some(label));
        top5 += usize::from(verdict.top5 == Some(true));
    }
    let known = labelled > 0;
    ModelInfo {
        name: named.name.clone(),
        path: named.path.clone(),
        fingerprint: named.fingerprint,
        top1: known.then(|| Share::new(top1, labelled)),
        top5: (known && classes.is_some_and(|c| c > TOP)).then(|| Share::new(top5, labelled)),
    }
}

fn output(name: &str, rows: &[Row], model: usize, output: usize) -> OutputReport {
    let distances = || rows.iter().map(|r| (r.id.as_str(), &r.models[model].outputs[output]));
    let metrics: Vec<(&str, &Metrics)> =
        distances().filter_map(|(id, d)| d.metrics().map(|m| (id, m))).collect();
    let count = |of: &Distance| distances().filter(|(_, d)| *d == of).count();
    let low = |value: fn(&Metrics) -> f64| spread(&metrics, value, 1.0);
    let high = |value: fn(&Metrics) -> f64| spread(&metrics, value, -1.0);
    OutputReport {
        name: name.to_owned(),
        exact: metrics.iter().filter(|(_, m)| m.max_abs_error == 0.0).count(),
        not_finite: count(&Distance::NotFinite),
        empty: count(&Distance::Empty),
        cosine: low(|m| m.cosine),
        l2: high(|m| m.l2),
        psnr: low(|m| m.psnr),
        sqnr: low(|m| m.sqnr),
        max_abs_error: high(|m| m.max_abs_error),
    }
}

/// Mean and worst; the worst is the least of the values times `sign`.
fn spread(metrics: &[(&str, &Metrics)], value: fn(&Metrics) -> f64, sign: f64) -> Option<Spread> {
    let mut worst = *metrics.first()?;
    for (id, m) in metrics {
        if sign * value(m) < sign * value(worst.1) {
            worst = (id, m);
        }
    }
    let sum: f64 = metrics.iter().map(|(_, m)| value(m)).sum();
    Some(Spread { mean: sum / metrics.len() as f64, worst: value(worst.1), worst_sample: worst.0.to_owned() })
}

fn example(row: &Row, model: usize) -> Example {
    let other = &row.models[model];
    Example {
        id: row.id.clone(),
        label: row.label,
        float: row.float.prediction,
        quantized: other.verdict.prediction,
        sqnr: other.outputs.first().and_then(Distance::metrics).map(|m| m.sqnr),
    }
}

/// Undefined comes before everything.
fn by_sqnr(a: &Example, b: &Example) -> std::cmp::Ordering {
    let key = |e: &Example| e.sqnr.unwrap_or(f64::NEG_INFINITY);
    key(a).total_cmp(&key(b))
}

fn changed(rows: &[Row], model: usize) -> Vec<Example> {
    let mut list: Vec<Example> =
        rows.iter().map(|r| example(r, model)).filter(|e| e.float != e.quantized).collect();
    let was_right = |e: &Example| e.label.is_some() && e.float == e.label;
    list.sort_by(|a, b| was_right(b).cmp(&was_right(a)).then(by_sqnr(a, b)));
    list.truncate(EXAMPLES);
    list
}

fn worst(rows: &[Row], model: usize) -> Vec<Example> {
    let mut list: Vec<Example> = rows.iter().map(|r| example(r, model)).collect();
    list.sort_by(by_sqnr);
    list.truncate(EXAMPLES);
    list
}
