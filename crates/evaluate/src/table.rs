//! The report as text.

use shiftwise_stage::report::{count, table};

use crate::report::{ModelReport, Report, Share, Spread};

/// As many decimals as this number of samples can tell apart.
pub(crate) fn percent(share: Option<Share>) -> String {
    share.map_or_else(String::new, |s| format!("{:.1$} %", s.percent, decimals(s.of)))
}

/// A difference of two accuracies.
pub(crate) fn points(loss: Option<f64>, of: Option<Share>) -> String {
    // Adding zero turns −0 into 0.
    loss.map_or_else(String::new, |l| format!("{:.1$}", l + 0.0, decimals(of.map_or(0, |s| s.of))))
}

fn decimals(samples: usize) -> usize {
    if samples <= 1000 { 1 } else { 2 }
}

/// The mean of a metric.
pub(crate) fn mean(spread: Option<&Spread>, decimals: usize) -> String {
    spread.map_or_else(|| "–".to_owned(), |s| format!("{:.decimals$}", s.mean))
}

/// The worst value of a metric.
pub(crate) fn worst(spread: Option<&Spread>, decimals: usize) -> String {
    spread.map_or_else(|| "–".to_owned(), |s| format!("{:.decimals$}", s.worst))
}

/// Header and rows of the table of models, without columns that would be empty.
pub(crate) fn models(report: &Report) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let headers = ["model", "top-1", "top-5", "agreement", "loss", "SQNR (dB)", "cosine"];
    let float = &report.float;
    let blank = String::new;
    let first =
        [float.name.clone(), percent(float.top1), percent(float.top5), blank(), blank(), blank(), blank()];
    let row = |m: &ModelReport| {
        let output = m.outputs.first();
        [
            m.info.name.clone(),
            percent(m.info.top1),
            percent(m.info.top5),
            percent(m.agreement),
            points(m.top1_loss, m.info.top1),
            mean(output.and_then(|o| o.sqnr.as_ref()), 2),
            mean(output.and_then(|o| o.cosine.as_ref()), 5),
        ]
    };
    let rows: Vec<[String; 7]> = std::iter::once(first).chain(report.models.iter().map(row)).collect();
    let used: Vec<bool> = (0..headers.len()).map(|c| rows.iter().any(|r| !r[c].is_empty())).collect();
    let keep = |c: &usize| used[*c];
    let kept = (0..headers.len()).filter(keep).map(|c| headers[c]).collect();
    let rows = rows.iter().map(|r| (0..headers.len()).filter(keep).map(|c| r[c].clone()).collect()).collect();
    (kept, rows)
}

/// Header and rows of the table of outputs of a model.
pub(crate) fn outputs(model: &ModelReport) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let headers = vec![
        "output",
        "SQNR (dB)",
        "worst",
        "cosine",
        "worst",
        "PSNR (dB)",
        "worst",
        "L2",
        "worst",
        "max error",
    ];
    let row = |o: &crate::report::OutputReport| {
        let (sqnr, cosine) = (o.sqnr.as_ref(), o.cosine.as_ref());
        let (psnr, l2) = (o.psnr.as_ref(), o.l2.as_ref());
        vec![
            o.name.clone(),
            mean(sqnr, 2),
            worst(sqnr, 2),
            mean(cosine, 5),
            worst(cosine, 5),
            mean(psnr, 2),
            worst(psnr, 2),
            mean(l2, 4),
            worst(l2, 4),
            worst(o.max_abs_error.as_ref(), 4),
        ]
    };
    (headers, model.outputs.iter().map(row).collect())
}

/// What there is to say about samples beside numbers, a sentence each.
pub(crate) fn remarks(report: &Report) -> Vec<String> {
    let samples = &report.samples;
    let evaluated = samples.evaluated as u64;
    let mut lines = vec![match (report.classes, samples.labelled) {
        (_, 0) => format!("{} without labels: no accuracies", count(evaluated, "sample")),
        (_, n) if n == samples.evaluated => format!("{} with labels", count(evaluated, "sample")),
        (_, n) => format!("{}, {n} with labels: accuracies are those of the {n}", count(evaluated, "sample")),
    }];
    if !samples.skipped.is_empty() {
        let left_out = samples.skipped.len() as u64;
        lines.push(format!("{} could not be read, and left out", count(left_out, "sample")));
    }
    for model in &report.models {
        for output in &model.outputs {
            let place = format!("output {:?} of {}", output.name, model.info.name);
            if output.not_finite > 0 {
                let n = count(output.not_finite as u64, "sample");
                lines.push(format!(
                    "{place} or its reference has NaN or infinite values on {n}; not in the metrics"
                ));
            }
            if output.empty > 0 {
                lines.push(format!("{place} is empty on {}", count(output.empty as u64, "sample")));
            }
            if output.exact > 0 {
                let n = count(output.exact as u64, "sample");
                lines
                    .push(format!("{place} equals float exactly on {n}, which count with an error of 1e-30"));
            }
        }
    }
    lines
}

/// The whole text.
pub(crate) fn text(report: &Report) -> String {
    let (headers, rows) = models(report);
    let mut text = table(&headers, rows);
    if report.models.iter().any(|m| m.outputs.len() > 1) {
        for model in &report.models {
            let (headers, rows) = outputs(model);
            text += &format!("\n\n{}\n{}", model.info.name, table(&headers, rows));
        }
    }
    text + "\n" + &remarks(report).join("\n") + &format!("\nrun by {}", report.engine)
}
