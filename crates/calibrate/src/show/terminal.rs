//! One tensor for the terminal: numbers, a histogram, and a table of thresholds, in 80 columns.

use anstyle::{AnsiColor, Style};
use shiftwise_artifact::stats::TensorView;
use shiftwise_quant::QuantType;
use shiftwise_stage::report::{count, table};

use super::bars::Bars;
use super::summary::Summary;
use super::thresholds::{Threshold, compact, number};

/// Rows of the histogram.
const ROWS: usize = 24;
/// Width of the longest bar.
const BAR: usize = 40;
/// Width of the values beside bars.
const LABEL: usize = 11;
/// Channels listed for one tensor.
const CHANNELS: usize = 12;
/// What fills one eighth of a character, two eighths, …
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

const BARS: Style = AnsiColor::Cyan.on_default();
const MARKS: Style = AnsiColor::Yellow.on_default().bold();
const HEADING: Style = Style::new().bold();

/// The text; colours are removed by whoever prints where they are not wanted.
pub(super) fn text(view: TensorView<'_>, ty: QuantType) -> String {
    let mut text = numbers(view);
    let thresholds = Threshold::all(view, ty);
    let ends: Vec<_> = thresholds.iter().map(|t| (t.low, t.high, t.clipped > 0)).collect();
    let Some(bars) = Bars::new(view, ROWS, &ends) else {
        return text + "  no finite values\n";
    };
    text += &format!("\n  {HEADING}values{HEADING:#} (bars show the logarithm of the count)\n");
    text += &histogram(&bars, &thresholds);
    text +=
        &format!("\n  {HEADING}what methods would choose for {ty}{HEADING:#}, marked above where in view\n");
    let rows = thresholds.iter().enumerate().map(|(i, t)| {
        [
            format!("  {MARKS}{}{MARKS:#}", letter(i)),
            t.method.to_owned(),
            number(t.low),
            number(t.high),
            t.scale_text(),
            t.clipped_text(view.finite_count()),
            t.sqnr_text(),
        ]
    });
    text + &aligned(&["", "method", "low", "high", "scale", "clipped", "SQNR"], rows) + "\n"
}

/// The table, whose first column may have colours: they take no room.
fn aligned(headers: &[&str], rows: impl Iterator<Item = [String; 7]>) -> String {
    let (mut marks, mut plain) = (Vec::new(), Vec::new());
    for [mark, rest @ ..] in rows {
        marks.push(mark);
        plain.push(rest);
    }
    let lines = table(&headers[1..], plain);
    let mut text = String::new();
    for (i, line) in lines.lines().enumerate() {
        let mark = if i == 0 { "   " } else { marks.get(i - 1).map_or("   ", String::as_str) };
        text += &format!("{mark}  {line}\n");
    }
    text.trim_end().to_owned()
}

/// The mark of a method.
pub(super) fn letter(index: usize) -> char {
    char::from(b'a' + (index % 26) as u8)
}

/// Which methods have an end at each bar.
pub(super) fn marks(bars: &Bars, thresholds: &[Threshold]) -> Vec<String> {
    let mut marks = vec![String::new(); bars.counts.len()];
    for (i, t) in thresholds.iter().enumerate() {
        for at in [t.low, t.high].into_iter().filter_map(|end| bars.place(end)) {
            if !marks[at].contains(letter(i)) {
                marks[at].push(letter(i));
            }
        }
    }
    marks
}

fn histogram(bars: &Bars, thresholds: &[Threshold]) -> String {
    let mut text = String::new();
    let mut outside = |n: u64, where_to: String| {
        if n > 0 {
            text += &format!("  {:>LABEL$} {} {where_to}\n", "", count(n, "value"));
        }
        std::mem::take(&mut text)
    };
    let below = outside(bars.outside.0, format!("below, down to {}", number(bars.extremes.0)));
    let above = outside(bars.outside.1, format!("above, up to {}", number(bars.extremes.1)));
    let mut text = below;
    let most = bars.most().ln_1p();
    for (i, (n, marks)) in bars.counts.iter().zip(marks(bars, thresholds)).enumerate() {
        // A bar for whatever there is.
        let eighths = if *n > 0.0 { ((n.ln_1p() / most * (8 * BAR) as f64) as usize).max(1) } else { 0 };
        let bar = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
        let width = eighths / 8 + usize::from(eighths % 8 > 0);
        let n = if *n > 0.0 { compact(*n) } else { String::new() };
        let label = number(bars.edge(i));
        text += &format!("  {label:>LABEL$}");
        if eighths > 0 {
            text += &format!(" {BARS}{bar}{BARS:#} {n}");
        }
        if !marks.is_empty() {
            let used = if eighths > 0 { width + n.len() + 2 } else { 0 };
            text += &" ".repeat((BAR + 10).saturating_sub(used));
            text += &format!("{MARKS}◂ {marks}{MARKS:#}");
        }
        text.push('\n');
    }
    text += &format!("  {:>LABEL$}\n", number(bars.high));
    text + &above
}

fn numbers(view: TensorView<'_>) -> String {
    let s = Summary::of(view);
    let or_none = |v: Option<f64>| v.map_or_else(|| "–".into(), |m| format!("{m:.6}"));
    let extreme = |v: Option<f32>| v.map_or_else(|| "–".into(), |v| format!("{v:?}"));
    let mut text = format!(
        "{HEADING}{}{HEADING:#}\n  shape {:?}, {}, {} values\n  min {}  max {}  mean {}\n  mean of sample minima {}  maxima {}\n  zeros {}  NaN {}  infinite {}\n",
        s.name,
        s.shape,
        count(s.samples, "sample"),
        s.elements,
        extreme(s.min),
        extreme(s.max),
        or_none(s.mean),
        or_none(s.mean_sample_min),
        or_none(s.mean_sample_max),
        s.zeros,
        s.nans,
        s.infinities,
    );
    if s.channels > 0 {
        text += &format!("  {}, {} constant\n", count(s.channels as u64, "channel"), s.constant_channels);
        let channels = view.channel_mins().iter().zip(view.channel_maxs()).enumerate().take(CHANNELS);
        for (c, (lo, hi)) in channels {
            let mean = view.channel_mean(c).map_or_else(|| "–".into(), |m| format!("{m:.5}"));
            text += &format!("    {c:>5}  {lo:>12.5} … {hi:<12.5} mean {mean}\n");
        }
        if s.channels > CHANNELS {
            text += &format!("    … and {} more\n", s.channels - CHANNELS);
        }
    }
    text
}
