//! From the bytes of an image file to the input of a model.

mod decode;
mod jpeg;
mod normalize;
mod resize;

use std::path::Path;

use shiftwise_graph::Value;

use crate::{Channels, DataError, Recipe, Resize, Result};

pub(crate) use normalize::Target;

/// File name extensions that are taken for images.
pub(crate) const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "bmp", "webp"];

/// Decoded pixels, row-major with interleaved channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pixels {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// 3 (red, green, blue) or 1.
    pub(crate) channels: usize,
    pub(crate) data: Vec<u8>,
}

/// Decodes and transforms the bytes of `path`; the value has the shape `[1, C, H, W]` or `[1, H, W, C]`.
pub(crate) fn load(bytes: &[u8], path: &Path, recipe: &Recipe, target: Target) -> Result<Value> {
    let fail = |reason: String| DataError::decode(path, reason);
    let mut pixels = decode::decode(bytes).map_err(fail)?;
    if pixels.width == 0 || pixels.height == 0 {
        return Err(fail("the image has no pixels".to_owned()));
    }
    if recipe.channels == Channels::Gray {
        pixels = resize::gray(&pixels);
    }
    if let Some(to) = recipe.resize {
        pixels = resize::resize(pixels, to).map_err(fail)?;
    }
    if let Some(crop) = recipe.crop {
        pixels = resize::crop(&pixels, crop.size()).map_err(fail)?;
    }
    Ok(normalize::normalize(&pixels, recipe, target))
}

/// Height and width of every image after the recipe, where the recipe alone decides them.
pub(crate) fn known_size(recipe: &Recipe) -> Option<[u32; 2]> {
    match (recipe.crop, recipe.resize) {
        (Some(crop), _) => Some(crop.size()),
        (None, Some(Resize::Exact(size))) => Some(size),
        _ => None,
    }
}
