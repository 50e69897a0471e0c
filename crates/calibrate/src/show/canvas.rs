//! What pictures are drawn on.

/// Red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Color(pub(super) u8, pub(super) u8, pub(super) u8);

/// Where a text is with respect to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// The two sizes of letters, which all have the same width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Font {
    /// 7 pixels wide, 13 high.
    Small,
    /// 9 pixels wide, 18 high.
    Large,
}

impl Font {
    /// Width of a letter.
    pub(super) fn width(self) -> f64 {
        match self {
            Self::Small => 7.0,
            Self::Large => 9.0,
        }
    }
}

/// A surface with a light background; coordinates are pixels from the top left corner.
pub(super) trait Canvas {
    /// Fills a rectangle.
    fn rect(&mut self, corner: (f64, f64), size: (f64, f64), color: Color);

    /// Draws a horizontal or vertical line, one pixel wide.
    fn line(&mut self, from: (f64, f64), to: (f64, f64), color: Color, dashed: bool);

    /// Writes one line of text whose baseline runs through `at`.
    fn text(&mut self, at: (f64, f64), text: &str, font: Font, color: Color, anchor: Anchor);
}
