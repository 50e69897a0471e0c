//! Pictures as PNG files.

use std::convert::Infallible;

use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::iso_8859_1::{FONT_7X13, FONT_9X18_BOLD};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Alignment, Text};

use super::canvas::{Anchor, Canvas, Color, Font};

/// Red, green and blue of every pixel, row by row.
#[derive(Debug)]
pub(super) struct Pixels {
    width: u32,
    height: u32,
    bytes: Vec<u8>,
}

impl Pixels {
    pub(super) fn new(width: u32, height: u32, background: Color) -> Self {
        let Color(r, g, b) = background;
        Self { width, height, bytes: [r, g, b].repeat(width as usize * height as usize) }
    }

    /// The file.
    pub(super) fn encode(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.bytes)?;
        writer.finish()?;
        Ok(file)
    }

    fn set(&mut self, x: i64, y: i64, color: Rgb888) {
        if (0..i64::from(self.width)).contains(&x) && (0..i64::from(self.height)).contains(&y) {
            let at = 3 * (y * i64::from(self.width) + x) as usize;
            self.bytes[at..at + 3].copy_from_slice(&[color.r(), color.g(), color.b()]);
        }
    }
}

impl OriginDimensions for Pixels {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl DrawTarget for Pixels {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(point, color) in pixels {
            self.set(point.x.into(), point.y.into(), color);
        }
        Ok(())
    }
}

impl Canvas for Pixels {
    fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), color: Color) {
        let (left, top) = (x.round() as i32, y.round() as i32);
        let (right, bottom) = ((x + width).round() as i32, (y + height).round() as i32);
        let size = Size::new((right - left).max(0) as u32, (bottom - top).max(0) as u32);
        let Ok(()) = self.fill_solid(&Rectangle::new(Point::new(left, top), size), rgb(color));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), color: Color, dashed: bool) {
        let (dx, dy) = (to.0.floor() - from.0.floor(), to.1.floor() - from.1.floor());
        let steps = dx.abs().max(dy.abs()).max(1.0);
        for i in 0..=steps as i64 {
            if dashed && i % 8 >= 5 {
                continue;
            }
            let part = i as f64 / steps;
            let (x, y) = (from.0.floor() + dx * part, from.1.floor() + dy * part);
            self.set(x.round() as i64, y.round() as i64, rgb(color));
        }
    }

    fn text(&mut self, at: (f64, f64), text: &str, font: Font, color: Color, anchor: Anchor) {
        let font: &MonoFont<'_> = match font {
            Font::Small => &FONT_7X13,
            Font::Large => &FONT_9X18_BOLD,
        };
        let alignment = match anchor {
            Anchor::Start => Alignment::Left,
            Anchor::Middle => Alignment::Center,
            Anchor::End => Alignment::Right,
        };
        // What would be two lines is one here.
        let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let at = Point::new(at.0.round() as i32, at.1.round() as i32);
        let style = MonoTextStyle::new(font, rgb(color));
        let Ok(_) = Text::with_alignment(&text, at, style, alignment).draw(self);
    }
}

fn rgb(Color(r, g, b): Color) -> Rgb888 {
    Rgb888::new(r, g, b)
}
