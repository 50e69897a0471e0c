//! The report as one HTML page that needs nothing else.

use std::fmt::Write;

use crate::histogram;
use crate::report::{Example, ModelReport, Report};
use crate::table;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;border-bottom:1px solid #8886}h3{font-size:1rem}\
div.wide{overflow-x:auto}table{border-collapse:collapse}\
th,td{text-align:right;padding:.2rem .8rem;border-bottom:1px solid #8884;font-variant-numeric:tabular-nums}\
th:first-child,td:first-child{text-align:left;overflow-wrap:anywhere}\
svg{max-width:100%;height:auto}svg rect{fill:#3b78c2}svg text{fill:currentColor;font-size:12px}\
svg line{stroke:currentColor}.note{opacity:.75}code{overflow-wrap:anywhere}";

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut out = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n",
    );
    let title = format!("Evaluation of {}", report.float.name);
    out += &format!(
        "<title>{0}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
        escape(&title)
    );
    let (headers, rows) = table::models(report);
    out += &grid(&headers, &rows);
    for line in table::remarks(report) {
        paragraph(&mut out, &line);
    }
    paragraph(
        &mut out,
        "Agreement: predictions equal to those of the float model. Loss: points of top-1 accuracy below it. SQNR and cosine: \
         means over samples, of the first output.",
    );
    for (m, model) in report.models.iter().enumerate() {
        section(&mut out, report, m, model);
    }
    if !report.samples.skipped.is_empty() {
        out += "<h2>Samples left out</h2>\n";
        let rows: Vec<_> =
            report.samples.skipped.iter().map(|s| vec![s.id.clone(), s.reason.clone()]).collect();
        out += &grid(&["sample", "reason"], &rows);
    }
    out += "<h2>Models</h2>\n";
    let infos = std::iter::once(&report.float).chain(report.models.iter().map(|m| &m.info));
    let rows: Vec<_> = infos.map(|i| vec![i.name.clone(), i.path.clone(), i.fingerprint.short()]).collect();
    out += &grid(&["model", "path", "fingerprint"], &rows);
    paragraph(&mut out, &format!("Run by the engine {}.", report.engine));
    out + "</body>\n</html>\n"
}

fn section(out: &mut String, report: &Report, m: usize, model: &ModelReport) {
    *out += &format!("<h2>{}</h2>\n<h3>Outputs</h3>\n", escape(&model.info.name));
    let (headers, rows) = table::outputs(model);
    *out += &grid(&headers, &rows);
    if let Some(first) = model.outputs.first() {
        let metrics = report.rows.iter().filter_map(|r| r.models[m].outputs.first()?.metrics());
        // Exact samples have the SQNR of an error that was made up.
        let values: Vec<f64> = metrics.filter(|m| m.max_abs_error > 0.0).map(|m| m.sqnr).collect();
        if let Some(svg) = histogram::svg(&values) {
            *out += &format!("<h3>SQNR of {} by sample</h3>\n{svg}", escape(&first.name));
        }
    }
    if report.classes.is_some() {
        *out += "<h3>Changed predictions</h3>\n";
        let all = report.rows.iter().filter(|r| r.models[m].verdict.prediction != r.float.prediction).count();
        paragraph(out, &format!("{all} in all; first those where the float model is right."));
        examples(out, &model.changed, report);
    }
    *out += "<h3>Samples of least SQNR</h3>\n";
    examples(out, &model.worst, report);
}

fn examples(out: &mut String, list: &[Example], report: &Report) {
    if list.is_empty() {
        return;
    }
    let class = |c: Option<usize>| c.map_or_else(|| "–".to_owned(), |c| c.to_string());
    let mut headers = vec!["sample", "SQNR (dB)"];
    if report.classes.is_some() {
        headers.extend(["label", "float", "quantized"]);
    }
    let rows: Vec<Vec<String>> = list
        .iter()
        .map(|e| {
            let sqnr = e.sqnr.map_or_else(|| "–".to_owned(), |s| format!("{s:.2}"));
            let all = [e.id.clone(), sqnr, class(e.label), class(e.float), class(e.quantized)];
            all.into_iter().take(headers.len()).collect()
        })
        .collect();
    *out += &grid(&headers, &rows);
}

fn paragraph(out: &mut String, text: &str) {
    writeln!(out, "<p class=\"note\">{}</p>", escape(text)).ok();
}

fn grid<S: AsRef<str>>(headers: &[&str], rows: &[Vec<S>]) -> String {
    let mut out = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    for header in headers {
        write!(out, "<th>{}</th>", escape(header)).ok();
    }
    out += "</tr></thead>\n<tbody>\n";
    for row in rows {
        out += "<tr>";
        for cell in row {
            write!(out, "<td>{}</td>", escape(cell.as_ref())).ok();
        }
        out += "</tr>\n";
    }
    out + "</tbody>\n</table></div>\n"
}

/// Text inside elements and quoted attributes; control characters, which no document may have, are replaced.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("a<b>&\"'\u{1}é"), "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}é");
    }
}
