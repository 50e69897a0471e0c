//! A histogram as inline SVG.

use std::fmt::Write;

const BINS: usize = 24;
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 180.0;
/// Room for the labels of the axes.
const LEFT: f64 = 36.0;
const BOTTOM: f64 = 36.0;
const TOP: f64 = 10.0;

/// The histogram of values in decibels; `None` where there are none.
pub(crate) fn svg(values: &[f64]) -> Option<String> {
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    if !(low.is_finite() && high.is_finite()) {
        return None;
    }
    // Whole decibels at the ends; never a width of 0.
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let mut counts = [0_usize; BINS];
    for value in values {
        let at = ((value - low) / (high - low) * BINS as f64) as usize;
        counts[at.min(BINS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let (width, height) = ((WIDTH - LEFT) / BINS as f64, HEIGHT - BOTTOM - TOP);
    let base = HEIGHT - BOTTOM;
    let step = (high - low) / BINS as f64;
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n"
    );
    for (i, count) in counts.iter().enumerate().filter(|(_, c)| **c > 0) {
        let bar = *count as f64 / most as f64 * height;
        let (x, y) = (LEFT + i as f64 * width, base - bar);
        let from = low + i as f64 * step;
        writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{bar:.1}\"><title>{from:.1} to {:.1} dB: {count}</title></rect>",
            width - 1.0,
            from + step,
        )
        .ok();
    }
    writeln!(out, "<line x1=\"{LEFT}\" y1=\"{base}\" x2=\"{WIDTH}\" y2=\"{base}\"/>").ok();
    for quarter in 0..=4 {
        let share = f64::from(quarter) / 4.0;
        let anchor = ["start", "middle", "middle", "middle", "end"][quarter as usize];
        let (x, y) = (LEFT + share * (WIDTH - LEFT), base + 16.0);
        let value = low + share * (high - low);
        writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{value:.1}</text>").ok();
    }
    let middle = LEFT + (WIDTH - LEFT) / 2.0;
    writeln!(out, "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">dB</text>", base + 32.0).ok();
    let end = LEFT - 4.0;
    writeln!(out, "<text x=\"{end}\" y=\"{:.1}\" text-anchor=\"end\">{most}</text>", TOP + 10.0).ok();
    writeln!(out, "<text x=\"{end}\" y=\"{base}\" text-anchor=\"end\">0</text>\n</svg>").ok();
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bar() {
        for values in [&[30.0][..], &[-3.0, 0.0, 12.5, 40.0], &[20.0; 9]] {
            let svg = svg(values).unwrap();
            let counted =
                svg.split(" dB: ").skip(1).map(|s| s[..s.find('<').unwrap()].parse::<usize>().unwrap());
            assert_eq!(counted.sum::<usize>(), values.len());
            assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
        assert!(svg(&[]).is_none());
    }
}
