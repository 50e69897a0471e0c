//! Files to 8-bit RGB, the way Pillow's `convert("RGB")` does it.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, ImageReader, Limits};

use super::{Pixels, jpeg};

/// The largest image that is decoded: beyond it a small file could exhaust the memory.
pub(super) const MAX_PIXELS: u64 = 1 << 28;

/// Decodes by content, not by file name. Alpha is dropped, palettes and grey are expanded, 16 bits per colour become
/// 8, EXIF orientation is not applied.
pub(super) fn decode(bytes: &[u8]) -> Result<Pixels, String> {
    let format = image::guess_format(bytes).map_err(|_| match bytes.len() {
        0 => "the file is empty".to_owned(),
        _ => "the content is not a PNG, JPEG, BMP or WebP image".to_owned(),
    })?;
    if format == ImageFormat::Jpeg {
        return jpeg::decode(bytes);
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 8);
    reader.limits(limits);
    let image = reader.decode().map_err(|e| e.to_string())?;
    let (width, height) = (image.width(), image.height());
    let data: Vec<u8> = match image {
        DynamicImage::ImageLuma8(i) => i.into_raw().into_iter().flat_map(|v| [v; 3]).collect(),
        DynamicImage::ImageLumaA8(i) => i.into_raw().chunks_exact(2).flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageRgb8(i) => i.into_raw(),
        DynamicImage::ImageRgba8(i) => {
            i.into_raw().chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect()
        }
        // Pillow saturates these at 255, others take the upper byte: whatever was guessed would be wrong for somebody.
        DynamicImage::ImageLuma16(_) => {
            return Err("16-bit grey has no agreed meaning in 8 bits; save the image with 8 bits".to_owned());
        }
        DynamicImage::ImageLumaA16(i) => i.into_raw().chunks_exact(2).flat_map(|p| [high(p[0]); 3]).collect(),
        DynamicImage::ImageRgb16(i) => i.into_raw().into_iter().map(high).collect(),
        DynamicImage::ImageRgba16(i) => {
            i.into_raw().chunks_exact(4).flat_map(|p| [high(p[0]), high(p[1]), high(p[2])]).collect()
        }
        other => return Err(format!("pixels of type {:?} are not supported", other.color())),
    };
    Ok(Pixels { width, height, channels: 3, data })
}

/// The upper byte, which is what Pillow keeps of 16 bits.
fn high(value: u16) -> u8 {
    (value >> 8) as u8
}
