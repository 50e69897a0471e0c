//! The picture of one tensor: a histogram with the ends of what methods represent, and a table of them.

use shiftwise_artifact::stats::TensorView;
use shiftwise_quant::QuantType;
use shiftwise_stage::report::count;

use super::bars::Bars;
use super::canvas::{Anchor, Canvas, Color, Font};
use super::terminal::letter;
use super::thresholds::{Threshold, compact, number};

/// Width of pictures.
const WIDTH: u32 = 960;
/// The drawing area, without what is around it.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 936.0;
/// Number of bars: two pixels each.
const BARS: usize = 436;
const HEIGHT: f64 = 300.0;
/// Distance of lines of text.
const LINE: f64 = 18.0;
/// Counts begin here, so that a single value shows.
const LEAST: f64 = 0.5;

pub(super) const BACKGROUND: Color = Color(0xff, 0xff, 0xff);
const INK: Color = Color(0x22, 0x22, 0x22);
const FAINT: Color = Color(0x66, 0x66, 0x66);
const GRID: Color = Color(0xe4, 0xe4, 0xe4);
const FILL: Color = Color(0x9d, 0xb8, 0xd2);

/// Colours of methods: told apart by most eyes, and dark enough on white.
const COLORS: [Color; 10] = [
    Color(0x1f, 0x4f, 0xc8),
    Color(0xd5, 0x5e, 0x00),
    Color(0x00, 0x8a, 0x62),
    Color(0xb8, 0x4f, 0x8f),
    Color(0xb0, 0x7d, 0x00),
    Color(0x00, 0x9a, 0xc8),
    Color(0x00, 0x00, 0x00),
    Color(0xc0, 0x1f, 0x2e),
    Color(0x6a, 0x51, 0xa3),
    Color(0x6b, 0x7b, 0x2a),
];

/// A picture that is ready to be drawn.
#[derive(Debug)]
pub(super) struct Picture {
    title: String,
    subtitle: String,
    bars: Option<Bars>,
    thresholds: Vec<Threshold>,
    finite: u64,
    ty: QuantType,
    /// For each mark its place, its level above the drawing area, and its methods.
    marks: Vec<(f64, usize, Vec<usize>)>,
}

impl Picture {
    pub(super) fn new(view: TensorView<'_>, ty: QuantType) -> Self {
        let thresholds = Threshold::all(view, ty);
        let ends: Vec<_> = thresholds.iter().map(|t| (t.low, t.high, t.clipped > 0)).collect();
        let bars = Bars::new(view, BARS, &ends);
        let mut subtitle =
            format!("{}, {}", count(view.samples(), "sample"), count(view.elements(), "value"));
        if let Some((min, max)) = view.range() {
            subtitle += &format!(" from {} to {}", number(min.into()), number(max.into()));
        }
        for (n, what) in
            [(view.zero_count(), "zero"), (view.nan_count(), "NaN"), (view.inf_count(), "infinite")]
        {
            if n > 0 {
                subtitle += &format!(", {} {what}", compact(n as f64));
            }
        }
        let marks = bars.as_ref().map_or_else(Vec::new, |bars| marks(bars, &thresholds));
        let fits = ((RIGHT - LEFT) / Font::Large.width()) as usize;
        Self {
            title: shortened(view.name(), fits),
            subtitle,
            bars,
            thresholds,
            finite: view.finite_count(),
            ty,
            marks,
        }
    }

    /// Width and height.
    pub(super) fn size(&self) -> (u32, u32) {
        let notes = self.notes().len();
        (WIDTH, (self.bottom() + 44.0 + (notes + self.thresholds.len()) as f64 * LINE + 52.0) as u32)
    }

    /// The upper edge of the drawing area.
    fn top(&self) -> f64 {
        let levels = self.marks.iter().map(|m| m.1 + 1).max().unwrap_or(0);
        64.0 + levels as f64 * 14.0
    }

    fn bottom(&self) -> f64 {
        self.top() + HEIGHT
    }

    /// What lies outside of the axis.
    fn notes(&self) -> Vec<String> {
        let Some(bars) = &self.bars else { return vec!["no finite values".to_owned()] };
        let mut notes = Vec::new();
        let (below, above) = bars.outside;
        if below > 0 {
            notes.push(format!(
                "{} below the axis, down to {}",
                count(below, "value"),
                number(bars.extremes.0)
            ));
        }
        if above > 0 {
            notes.push(format!(
                "{} above the axis, up to {}",
                count(above, "value"),
                number(bars.extremes.1)
            ));
        }
        notes
    }

    pub(super) fn draw(&self, canvas: &mut dyn Canvas) {
        canvas.text((LEFT, 28.0), &self.title, Font::Large, INK, Anchor::Start);
        canvas.text((LEFT, 48.0), &self.subtitle, Font::Small, FAINT, Anchor::Start);
        if let Some(bars) = &self.bars {
            self.vertical_axis(canvas, bars);
            self.horizontal_axis(canvas, bars);
            self.histogram(canvas, bars);
            self.draw_marks(canvas);
        }
        let bottom = self.bottom();
        canvas.line((LEFT, bottom), (RIGHT, bottom), INK, false);
        self.table(canvas, bottom + 44.0);
    }

    fn vertical_axis(&self, canvas: &mut dyn Canvas, bars: &Bars) {
        let label = "values per bar (logarithmic)";
        canvas.text((RIGHT, 48.0), label, Font::Small, FAINT, Anchor::End);
        let mut decade = 1.0;
        while decade <= bars.most() {
            let y = self.height(decade, bars);
            canvas.line((LEFT, y), (RIGHT, y), GRID, false);
            canvas.text((LEFT - 8.0, y + 4.0), &decade_text(decade), Font::Small, FAINT, Anchor::End);
            decade *= 10.0;
        }
    }

    fn horizontal_axis(&self, canvas: &mut dyn Canvas, bars: &Bars) {
        let (step, decimals) = tick(bars.high - bars.low);
        let first = (bars.low / step).ceil();
        let mut i = 0.0;
        while (first + i) * step <= bars.high {
            // Zero without a sign.
            let value = (first + i) * step + 0.0;
            let x = across(value, bars);
            canvas.line((x, self.top()), (x, self.bottom() + 5.0), GRID, false);
            let text = decimals.map_or_else(|| format!("{value:.1e}"), |d| format!("{value:.d$}"));
            canvas.text((x, self.bottom() + 19.0), &text, Font::Small, FAINT, Anchor::Middle);
            i += 1.0;
        }
    }

    /// The height of a count.
    fn height(&self, count: f64, bars: &Bars) -> f64 {
        let part = (count / LEAST).ln() / (bars.most() / LEAST).ln().max(f64::MIN_POSITIVE);
        self.bottom() - part.clamp(0.0, 1.0) * (HEIGHT - 6.0)
    }

    fn histogram(&self, canvas: &mut dyn Canvas, bars: &Bars) {
        let width = (RIGHT - LEFT) / BARS as f64;
        for (i, count) in bars.counts.iter().enumerate().filter(|(_, n)| **n > LEAST) {
            let y = self.height(*count, bars);
            canvas.rect((LEFT + i as f64 * width, y), (width, self.bottom() - y), FILL);
        }
    }

    fn draw_marks(&self, canvas: &mut dyn Canvas) {
        let top = self.top();
        for (x, level, methods) in &self.marks {
            let label_y = top - 5.0 - *level as f64 * 14.0;
            let color = COLORS[methods[0] % COLORS.len()];
            canvas.line((*x, label_y + 2.0), (*x, self.bottom()), color, true);
            let left = x - methods.len() as f64 * Font::Small.width() / 2.0;
            for (k, method) in methods.iter().enumerate() {
                let at = (left + k as f64 * Font::Small.width(), label_y);
                let color = COLORS[method % COLORS.len()];
                canvas.text(at, &letter(*method).to_string(), Font::Small, color, Anchor::Start);
            }
        }
    }

    fn table(&self, canvas: &mut dyn Canvas, mut y: f64) {
        for note in self.notes() {
            canvas.text((LEFT, y), &note, Font::Small, INK, Anchor::Start);
            y += LINE;
        }
        if self.thresholds.is_empty() {
            return;
        }
        // Right edges, but for the first two.
        let columns = [LEFT, LEFT + 24.0, 360.0, 470.0, 580.0, 740.0, 850.0];
        let mut row = |y: f64, cells: [&str; 7], first: Color, rest: Color| {
            for (i, (cell, x)) in cells.into_iter().zip(columns).enumerate() {
                let anchor = if i < 2 { Anchor::Start } else { Anchor::End };
                canvas.text((x, y), cell, Font::Small, if i == 0 { first } else { rest }, anchor);
            }
        };
        let method = format!("method, for {}", self.ty);
        row(y + 6.0, ["", &method, "low", "high", "scale", "clipped", "SQNR"], FAINT, FAINT);
        y += 6.0 + LINE;
        for (i, t) in self.thresholds.iter().enumerate() {
            let mark = letter(i).to_string();
            let (low, high, scale) = (number(t.low), number(t.high), t.scale_text());
            let (clipped, sqnr) = (t.clipped_text(self.finite), t.sqnr_text());
            row(y, [&mark, t.method, &low, &high, &scale, &clipped, &sqnr], COLORS[i % COLORS.len()], INK);
            y += LINE;
        }
    }
}

/// The place of a value.
fn across(value: f64, bars: &Bars) -> f64 {
    LEFT + (value - bars.low) / (bars.high - bars.low) * (RIGHT - LEFT)
}

/// Ends in view from left to right, those at one place together, with levels so that their letters do not overlap.
fn marks(bars: &Bars, thresholds: &[Threshold]) -> Vec<(f64, usize, Vec<usize>)> {
    let mut ends: Vec<(f64, usize)> = thresholds
        .iter()
        .enumerate()
        .flat_map(|(i, t)| [(t.low, i), (t.high, i)])
        .filter(|(value, _)| (bars.low..=bars.high).contains(value))
        .map(|(value, i)| (across(value, bars), i))
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut marks: Vec<(f64, usize, Vec<usize>)> = Vec::new();
    for (x, i) in ends {
        match marks.last_mut() {
            Some((last, _, methods)) if x - *last < 1.5 => methods.push(i),
            _ => marks.push((x, 0, vec![i])),
        }
    }
    // The right end of the letters on each level.
    let mut levels: Vec<f64> = Vec::new();
    for (x, level, methods) in &mut marks {
        methods.sort_unstable();
        methods.dedup();
        let half = methods.len() as f64 * Font::Small.width() / 2.0;
        let free = levels.iter().position(|right| *right + 3.0 < *x - half);
        *level = free.unwrap_or(levels.len());
        if free.is_none() {
            levels.push(0.0);
        }
        levels[*level] = *x + half;
    }
    marks
}

/// The distance of labels on an axis of this length: 1, 2 or 5 times a power of ten; and their decimals, where they are few.
fn tick(length: f64) -> (f64, Option<usize>) {
    let raw = length / 8.0;
    let exponent = raw.log10().floor();
    let power = 10_f64.powf(exponent);
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= raw).unwrap_or(raw);
    let decimals = (-(step.log10() + 1e-9).floor()).max(0.0);
    (step, (decimals <= 5.0 && length < 1e6).then_some(decimals as usize))
}

fn decade_text(decade: f64) -> String {
    match decade {
        d if d < 1e3 => format!("{d:.0}"),
        d if d < 1e6 => format!("{:.0}k", d / 1e3),
        d if d < 1e9 => format!("{:.0}M", d / 1e6),
        d if d < 1e12 => format!("{:.0}G", d / 1e9),
        d => format!("{d:.0e}"),
    }
}

/// A name that fits, without its middle if need be.
fn shortened(name: &str, fits: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= fits {
        return name.to_owned();
    }
    let half = (fits - 3) / 2;
    let text = |part: &[char]| part.iter().collect::<String>();
    text(&letters[..half]) + "..." + &text(&letters[letters.len() - half..])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bell, statistics};
    use super::super::{png::Pixels, svg::Svg, terminal};
    use super::*;

    fn svg(picture: &Picture) -> String {
        let (width, height) = picture.size();
        let mut svg = Svg::new(width, height, BACKGROUND);
        picture.draw(&mut svg);
        svg.finish()
    }

    #[test]
    fn the_text_of_a_bell() {
        let stats = bell();
        let text = terminal::text(stats.tensor("t").unwrap(), QuantType::Uint8);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert!(plain.lines().all(|line| line.chars().count() <= 80), "{plain}");
        insta::assert_snapshot!(plain);
    }

    #[test]
    fn the_picture_of_a_bell() {
        let stats = bell();
        let svg = svg(&Picture::new(stats.tensor("t").unwrap(), QuantType::Int8));
        // Bars are many and say little here.
        let rest: Vec<&str> = svg.lines().filter(|l| !l.contains("fill=\"#9db8d2\"")).collect();
        assert!(svg.lines().count() - rest.len() > 100);
        insta::assert_snapshot!(rest.join("\n"));
    }

    #[test]
    fn pixels_become_a_png_of_the_size() {
        for values in
            [&[0.0, 1.0, 2.5][..], &[3.0; 4], &[0.0; 3], &[f32::NAN], &[-3e38, 3e38], &[1e-40, 1e-39]]
        {
            let stats = statistics(&[values]);
            let picture = Picture::new(stats.tensor("t").unwrap(), QuantType::Uint8);
            let (width, height) = picture.size();
            let mut pixels = Pixels::new(width, height, BACKGROUND);
            picture.draw(&mut pixels);
            let file = pixels.encode().unwrap();
            let mut reader = ::png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
            let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut bytes).unwrap();
            assert_eq!((info.width, info.height), (width, height));
            assert!(bytes.iter().any(|b| *b != 0xff));
            assert!(svg(&picture).ends_with("</svg>\n"));
        }
    }

    #[test]
    fn labels_are_round_numbers() {
        assert_eq!(tick(8.0), (1.0, Some(0)));
        assert_eq!(tick(1.3), (0.2, Some(1)));
        assert_eq!(tick(0.033).1, Some(3));
        assert_eq!((tick(1e-12).1, tick(1e30).1), (None, None));
    }

    #[test]
    fn names_keep_both_ends() {
        assert_eq!(shortened("conv", 9), "conv");
        assert_eq!(shortened("0123456789abc", 9), "012...abc");
    }
}
