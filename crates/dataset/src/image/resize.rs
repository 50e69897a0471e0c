//! Changes of size and colour on 8-bit pixels, equal to Pillow's.

use super::Pixels;
use super::decode::MAX_PIXELS;
use crate::Resize;

/// Fraction bits of filter weights: 32 less 8 for the pixel and 2 for sums beyond its range. Rounding the weights
/// otherwise, as faster resizers do, changes one value in seven by 1.
const WEIGHT_BITS: u32 = 22;

/// Bilinear with antialiasing: a triangle filter whose support grows with the reduction. First along rows, then along
/// columns, with 8-bit pixels in between; a side that keeps its length is not filtered.
pub(super) fn resize(pixels: Pixels, to: Resize) -> Result<Pixels, String> {
    let [height, width] = target(&pixels, to)?;
    let Pixels { width: from_width, height: from_height, channels, mut data } = pixels;
    if width != from_width {
        data = along_rows(&data, from_width as usize, channels, &windows(from_width, width));
    }
    if height != from_height {
        data = along_columns(&data, width as usize * channels, &windows(from_height, height));
    }
    Ok(Pixels { width, height, channels, data })
}

/// The inputs of one output: the first one, and the weights from there.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

/// The windows of the outputs along a side that changes from `from` to `to` pixels.
fn windows(from: u32, to: u32) -> Vec<Window> {
    let scale = f64::from(from) / f64::from(to);
    let support = scale.max(1.0);
    (0..to)
        .map(|i| {
            let centre = (f64::from(i) + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as u32;
            let end = ((centre + support + 0.5) as u32).min(from);
            let raw: Vec<f64> = (first..end)
                .map(|x| (1.0 - ((f64::from(x) - centre + 0.5) / support).abs()).max(0.0))
                .collect();
            let sum: f64 = raw.iter().sum();
            let unit = f64::from(1_u32 << WEIGHT_BITS);
            let weights = raw.iter().map(|w| (w / sum * unit + 0.5) as i32).collect();
            Window { first: first as usize, weights }
        })
        .collect()
}

/// The sum of weighted pixels, which starts at one half, as a pixel.
fn pixel(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (WEIGHT_BITS - 1);

fn along_rows(data: &[u8], width: usize, channels: usize, windows: &[Window]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / width * windows.len());
    for row in data.chunks_exact(width * channels) {
        for window in windows {
            let inputs = &row[window.first * channels..];
            for channel in 0..channels {
                let values = inputs[channel..].iter().step_by(channels);
                let sum = values.zip(&window.weights).fold(HALF, |sum, (v, w)| sum + i32::from(*v) * w);
                out.push(pixel(sum));
            }
        }
    }
    out
}

fn along_columns(data: &[u8], stride: usize, windows: &[Window]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stride * windows.len());
    let mut sums = vec![0; stride];
    for window in windows {
        sums.fill(HALF);
        for (row, w) in data[window.first * stride..].chunks_exact(stride).zip(&window.weights) {
            for (sum, v) in sums.iter_mut().zip(row) {
                *sum += i32::from(*v) * w;
            }
        }
        out.extend(sums.iter().map(|sum| pixel(*sum)));
    }
    out
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
