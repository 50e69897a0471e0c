//! Pictures as SVG documents that need nothing else.

use std::fmt::Write;

use super::canvas::{Anchor, Canvas, Color, Font};

/// A document under way.
#[derive(Debug)]
pub(super) struct Svg(String);

impl Svg {
    pub(super) fn new(width: u32, height: u32, background: Color) -> Self {
        let mut svg = Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"'DejaVu Sans Mono', Menlo, Consolas, monospace\">\n"
        ));
        svg.rect((0.0, 0.0), (width.into(), height.into()), background);
        svg
    }

    pub(super) fn finish(self) -> String {
        self.0 + "</svg>\n"
    }
}

impl Canvas for Svg {
    fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), color: Color) {
        let fill = hex(color);
        let _ = writeln!(
            self.0,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{fill}\"/>",
            short(x),
            short(y),
            short(width),
            short(height)
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), color: Color, dashed: bool) {
        let dashes = if dashed { " stroke-dasharray=\"5 3\"" } else { "" };
        // In the middle of pixels, where lines are sharp.
        let at = |v: f64| short(v.floor() + 0.5);
        let _ = writeln!(
            self.0,
            "<path d=\"M{} {}L{} {}\" stroke=\"{}\"{dashes}/>",
            at(from.0),
            at(from.1),
            at(to.0),
            at(to.1),
            hex(color)
        );
    }

    fn text(&mut self, at: (f64, f64), text: &str, font: Font, color: Color, anchor: Anchor) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        // Letters of these fonts are 0.602 of their size wide.
        let size = short(font.width() / 0.602);
        let _ = writeln!(
            self.0,
            "<text x=\"{}\" y=\"{}\" font-size=\"{size}\" fill=\"{}\"{anchor} xml:space=\"preserve\">{}</text>",
            short(at.0),
            short(at.1),
            hex(color),
            escaped(text)
        );
    }
}

fn hex(Color(r, g, b): Color) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// A coordinate with two decimals at most.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text as XML, without what XML 1.0 cannot have.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("a<b>&\"\u{1}é"), "a&lt;b&gt;&amp;&quot;\u{fffd}é");
        assert_eq!([0.0, 10.0, 1.5, 0.333].map(short), ["0", "10", "1.5", "0.33"]);
    }
}
