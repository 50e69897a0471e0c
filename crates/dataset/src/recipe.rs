//! How an image becomes the input of a model, written in TOML.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{DataError, Result};

/// The keys of a recipe file.
const KEYS: [&str; 8] = ["resize", "crop", "channels", "layout", "scale", "divide", "mean", "std"];

/// How an image becomes the input of a model.
///
/// The steps happen in this order: decode to 8-bit RGB, `channels`, `resize`, `crop`, then in float32 arithmetic
/// `(x * scale - mean) / std` or `(x / divide - mean) / std` with x in 0..=255, then `layout`.
///
/// When nothing about numbers is given (`scale`, `divide`, `mean`, `std`), float inputs take x / 255 and uint8 inputs
/// take x. With `mean` or `std` one of `scale` and `divide` must be given, because statistics in units of 0..1 and of
/// 0..255 are both common and a wrong guess would silently spoil every sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Bilinear resize with antialiasing, as Pillow does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// Cut this from the centre, after `resize`; smaller images are an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// Which channels in which order; RGB by default.
    pub channels: Channels,
    /// Order of the dimensions; NCHW by default.
    pub layout: Layout,
    /// Multiply pixels by this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Divide pixels by this. The last bit differs from multiplying with the rounded inverse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divide: Option<f64>,
    /// Subtract this: one number, or one for each channel in the order of `channels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<PerChannel>,
    /// Divide by this: one number, or one for each channel in the order of `channels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<PerChannel>,
}

/// The size that an image is brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of pixels, or [height, width]")]
pub enum Resize {
    /// The shorter side becomes this; the longer side becomes size * long / short, rounded down.
    Shorter(u32),
    /// Height and width, whatever the proportions were.
    Exact([u32; 2]),
}

/// The size that is cut from the centre.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of pixels, or [height, width]")]
pub enum Crop {
    /// A square with this side.
    Square(u32),
    /// Height and width.
    Exact([u32; 2]),
}

impl Crop {
    /// Height and width.
    pub fn size(self) -> [u32; 2] {
        match self {
            Self::Square(side) => [side, side],
            Self::Exact(size) => size,
        }
    }
}

/// The channels of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red, as OpenCV has them.
    Bgr,
    /// One channel of luma, weighted as ITU-R 601-2 does: 0.299 R + 0.587 G + 0.114 B.
    Gray,
}

impl Channels {
    /// Number of channels.
    pub fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Gray => 1,
        }
    }
}

/// The order of the dimensions of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Layout {
    /// Batch, channels, height, width.
    #[default]
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}

/// A number for every channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a list with one number for each channel")]
pub enum PerChannel {
    /// The same for all.
    All(f64),
    /// One for each, in the order of `channels`.
    Each(Vec<f64>),
}

impl PerChannel {
    /// The numbers, rounded to float32. `None` when their number is not the number of channels.
    pub(crate) fn values(&self, channels: usize) -> Option<Vec<f32>> {
        match self {
            Self::All(v) => Some(vec![*v as f32; channels]),
            Self::Each(values) => {
                (values.len() == channels).then(|| values.iter().map(|v| *v as f32).collect())
            }
        }
    }
}

impl Recipe {
    /// Reads a recipe file.
    ///
    /// # Errors
    /// [`DataError::Read`], and [`DataError::Recipe`] which names the line or the key and the nearest key that exists.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(DataError::read(path))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads the text of a recipe; `origin` stands for it in messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let fail = |reason: String| DataError::Recipe { origin: origin.to_owned(), reason };
        let table: toml::Table =
            toml::from_str(text).map_err(|e| fail(e.to_string().trim_end().to_owned()))?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(fail(unknown(key)));
        }
        // From the text again, so that messages show the line.
        let recipe: Self = toml::from_str(text).map_err(|e| fail(e.to_string().trim_end().to_owned()))?;
        recipe.check(origin)?;
        Ok(recipe)
    }

    /// Checks what the types do not: sizes and numbers that make no sense.
    pub(crate) fn check(&self, origin: &str) -> Result<()> {
        let fail = |reason: String| Err(DataError::Recipe { origin: origin.to_owned(), reason });
        let resize = match self.resize {
            Some(Resize::Shorter(side)) => [side, side],
            Some(Resize::Exact(size)) => size,
            None => [1, 1],
        };
        for (key, size) in [("resize", resize), ("crop", self.crop.map_or([1, 1], Crop::size))] {
            if size.iter().any(|s| !(1..=MAX_SIDE).contains(s)) {
                return fail(format!("{key} must be between 1 and {MAX_SIDE} pixels"));
            }
        }
        if let (Some(Resize::Exact([h, w])), Some(crop)) = (self.resize, self.crop) {
            let [ch, cw] = crop.size();
            if ch > h || cw > w {
                return fail(format!("crop {ch} x {cw} does not fit into resize {h} x {w}"));
            }
        }
        if self.scale.is_some() && self.divide.is_some() {
            return fail("scale and divide exclude each other; keep one".to_owned());
        }
        if (self.mean.is_some() || self.std.is_some()) && self.scale.is_none() && self.divide.is_none() {
            return fail(
                "mean and std need scale or divide beside them: divide = 255 when they are meant for values in \
                 0..1, scale = 1 when they are meant for 0..255"
                    .to_owned(),
            );
        }
        for (key, number) in [("scale", self.scale), ("divide", self.divide)] {
            if number.is_some_and(|n| !usable(n as f32)) {
                return fail(format!("{key} must be a finite number other than 0"));
            }
        }
        let channels = self.channels.count();
        for (key, numbers) in [("mean", &self.mean), ("std", &self.std)] {
            let Some(numbers) = numbers else { continue };
            let Some(values) = numbers.values(channels) else {
                return fail(format!("{key} must be one number or {channels}, one for each channel"));
            };
            if values.iter().any(|v| !v.is_finite() || (key == "std" && !usable(*v))) {
                let except = if key == "std" { " other than 0" } else { "" };
                return fail(format!("{key} must be finite numbers{except}"));
            }
        }
        Ok(())
    }

    /// Whether the recipe says anything about numbers.
    pub(crate) fn normalizes(&self) -> bool {
        self.scale.is_some() || self.divide.is_some() || self.mean.is_some() || self.std.is_some()
    }
}

/// The longest side that a recipe may ask for.
const MAX_SIDE: u32 = 65_535;

fn usable(value: f32) -> bool {
    value.is_finite() && value != 0.0
}

/// What to say about a key that does not exist.
fn unknown(key: &str) -> String {
    let near = KEYS
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&key.to_lowercase(), known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().div_ceil(2));
    match near {
        Some((_, known)) => format!("there is no key {key:?}; did you mean {known:?}?"),
        None => format!("there is no key {key:?}; the keys are {}", KEYS.join(", ")),
    }
}
