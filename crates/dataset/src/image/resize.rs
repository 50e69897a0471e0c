//! Changes of size and colour on 8-bit pixels, equal to Pillow's.

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::Pixels;
use super::decode::MAX_PIXELS;
use crate::Resize;

/// Bilinear with antialiasing: a triangle filter whose support grows with the reduction.
pub(super) fn resize(pixels: Pixels, to: Resize) -> Result<Pixels, String> {
    let [height, width] = target(&pixels, to)?;
    if [height, width] == [pixels.height, pixels.width] {
        return Ok(pixels);
    }
    let kind = if pixels.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let fail = |e: &dyn std::fmt::Display| format!("cannot resize: {e}");
    let source = Image::from_vec_u8(pixels.width, pixels.height, pixels.data, kind).map_err(|e| fail(&e))?;
    let mut resized = Image::new(width, height, kind);
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false);
    Resizer::new().resize(&source, &mut resized, &options).map_err(|e| fail(&e))?;
    Ok(Pixels { width, height, channels: pixels.channels, data: resized.into_vec() })
}

/// Height and width after the resize.
fn target(pixels: &Pixels, to: Resize) -> Result<[u32; 2], String> {
    let (height, width) = (u64::from(pixels.height), u64::from(pixels.width));
    let [h, w] = match to {
        Resize::Exact(size) => size.map(u64::from),
        Resize::Shorter(size) => {
            let size = u64::from(size);
            let short = height.min(width).max(1);
            [size * height / short, size * width / short]
        }
    };
    match (u32::try_from(h), u32::try_from(w)) {
        (Ok(a), Ok(b)) if h * w <= MAX_PIXELS => Ok([a, b]),
        _ => Err(format!("resizing {height} x {width} makes {h} x {w} pixels, which are too many")),
    }
}

/// The centre; one pixel nearer to the upper left where it cannot be exact.
pub(super) fn crop(pixels: &Pixels, [height, width]: [u32; 2]) -> Result<Pixels, String> {
    if height > pixels.height || width > pixels.width {
        return Err(format!(
            "the image is {} x {} (height x width), too small for crop {height} x {width}; set resize in the recipe",
            pixels.height, pixels.width
        ));
    }
    let top = ((pixels.height - height) / 2) as usize;
    let left = ((pixels.width - width) / 2) as usize;
    let stride = pixels.width as usize * pixels.channels;
    let row = width as usize * pixels.channels;
    let data = pixels
        .data
        .chunks_exact(stride.max(1))
        .skip(top)
        .take(height as usize)
        .flat_map(|line| &line[left * pixels.channels..][..row])
        .copied()
        .collect();
    Ok(Pixels { width, height, channels: pixels.channels, data })
}

/// Luma by ITU-R 601-2 in 16-bit fixed point, rounded.
pub(super) fn gray(pixels: &Pixels) -> Pixels {
    let data = pixels
        .data
        .chunks_exact(3)
        .map(|p| {
            let [r, g, b] = [p[0], p[1], p[2]].map(u32::from);
            ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
        })
        .collect();
    Pixels { width: pixels.width, height: pixels.height, channels: 1, data }
}
