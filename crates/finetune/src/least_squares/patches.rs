//! Which inputs an output position reads.

use rayon::prelude::*;

use crate::layer::{Op, Window};

use super::{Geometry, Untunable};

/// Stands for an input outside the image.
const OUTSIDE: usize = usize::MAX;

/// The positions of a layer's output, and what each of them reads.
///
/// A position is a pixel of an output image, or a row of a matrix; it has one value of every output channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches {
    geometry: Geometry,
    kind: Kind,
    x_len: usize,
    y_len: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// Rows of a matrix, times a factor.
    Rows { rows: usize, factor: f32 },
    /// Pixels.
    Image {
        window: Window,
        transposed: bool,
        batch: usize,
        channels: usize,
        input: [usize; 2],
        output: [usize; 2],
    },
}

impl Patches {
    /// The positions of an operator with input and weights of these dimensions.
    pub fn new(op: &Op, x_dims: &[usize], w_dims: &[usize]) -> Result<Self, Untunable> {
        let geometry = Geometry::new(op, x_dims, w_dims)?;
        let fail = |why| Untunable::Shape { x: x_dims.to_vec(), w: w_dims.to_vec(), why };
        let kind = match *op {
            Op::Conv(window) => image(geometry, window, None, x_dims),
            Op::ConvTranspose(window, extra) => image(geometry, window, Some(extra), x_dims),
            Op::Gemm { alpha, .. } => rows(geometry, alpha, x_dims),
            _ => rows(geometry, 1.0, x_dims),
        }
        .map_err(fail)?;
        let count = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let positions = match &kind {
            Kind::Rows { rows, .. } => Some(*rows),
            Kind::Image { batch, output: [h, w], .. } => count(&[*batch, *h, *w]),
        };
        let y_len = positions.and_then(|n| n.checked_mul(geometry.channels()));
        let (Some(x_len), Some(y_len)) = (count(x_dims), y_len) else {
            return Err(fail("too many elements"));
        };
        Ok(Self { geometry, kind, x_len, y_len })
    }

    /// Groups, outputs and inputs.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Positions of a sample's output.
    pub fn positions(&self) -> usize {
        self.y_len / self.geometry.channels()
    }

    /// Elements of a sample's input.
    pub fn x_len(&self) -> usize {
        self.x_len
    }

    /// Elements of a sample's output.
    pub fn y_len(&self) -> usize {
        self.y_len
    }

    /// Whether a sample is as large as it should be.
    pub(super) fn check(&self, sample: usize, x: &[f32], y: &[f32]) -> Result<(), Untunable> {
        for (what, found, expected) in
            [("the input", x.len(), self.x_len), ("the output", y.len(), self.y_len)]
        {
            if found != expected {
                return Err(Untunable::Length { what, sample, found, expected });
            }
        }
        Ok(())
    }

    /// Writes what the positions read: input `k` of group `g` at position `p` to
    /// `out[(g · inputs + k) · stride + at + p]`. The factor of a product is multiplied in.
    pub fn gather(&self, x: &[f32], positions: &[usize], out: &mut [f32], stride: usize, at: usize) {
        assert_eq!(x.len(), self.x_len, "input of the layer");
        assert!(at + positions.len() <= stride, "room for the positions");
        let n = positions.len();
        match &self.kind {
            Kind::Rows { factor, .. } => {
                let inputs = self.geometry.inputs;
                out.par_chunks_mut(stride).with_min_len(64).take(inputs).enumerate().for_each(|(k, row)| {
                    for (value, &p) in row[at..at + n].iter_mut().zip(positions) {
                        *value = x[p * inputs + k] * factor;
                    }
                });
            }
            Kind::Image { window, batch, channels, input: [h, w], .. } => {
                let taps = window.kernel[0] * window.kernel[1];
                let plane = h * w;
                let offsets = self.offsets(positions);
                let rows = out.par_chunks_mut(taps * stride).take(*channels).enumerate();
                rows.with_min_len(8).for_each(|(channel, rows)| {
                    let image = &x[channel * plane..][..((batch - 1) * channels + 1) * plane];
                    for (row, offsets) in rows.chunks_mut(stride).zip(offsets.chunks(n.max(1))) {
                        for (value, &offset) in row[at..at + n].iter_mut().zip(offsets) {
                            *value = image.get(offset).copied().unwrap_or(0.0);
                        }
                    }
                });
            }
        }
    }

    /// Writes what is there of a layer's output: output `o` of group `g` at position `p` to
    /// `out[(g · outputs + o) · stride + at + p]`.
    pub fn gather_output(&self, y: &[f32], positions: &[usize], out: &mut [f32], stride: usize, at: usize) {
        assert_eq!(y.len(), self.y_len, "output of the layer");
        assert!(at + positions.len() <= stride, "room for the positions");
        let channels = self.geometry.channels();
        let plane = match &self.kind {
            Kind::Rows { .. } => 1,
            Kind::Image { output: [h, w], .. } => h * w,
        };
        out.par_chunks_mut(stride).with_min_len(64).take(channels).enumerate().for_each(|(channel, row)| {
            for (value, &p) in row[at..][..positions.len()].iter_mut().zip(positions) {
                *value = y[(p / plane * channels + channel) * plane + p % plane];
            }
        });
    }

    /// For each tap, where each position reads: from the first element of a channel in the first image on.
    fn offsets(&self, positions: &[usize]) -> Vec<usize> {
        let Kind::Image { window, transposed, channels, input: [h, w], output: [oh, ow], .. } = &self.kind
        else {
            return Vec::new();
        };
        let place = |tap: [usize; 2], p: usize| {
            let (image, oy, ox) = (p / (oh * ow), p / ow % oh, p % ow);
            let along = |axis: usize, out: usize, size: usize| {
                let ahead = tap[axis] * window.dilation[axis];
                if *transposed {
                    let reach = (out + window.pads[axis]).checked_sub(ahead)?;
                    let at = reach / window.stride[axis];
                    (reach.is_multiple_of(window.stride[axis]) && at < size).then_some(at)
                } else {
                    (out * window.stride[axis] + ahead).checked_sub(window.pads[axis]).filter(|&at| at < size)
                }
            };
            let (iy, ix) = (along(0, oy, *h)?, along(1, ox, *w)?);
            Some(image * channels * h * w + iy * w + ix)
        };
        let taps = (0..window.kernel[0]).flat_map(|y| (0..window.kernel[1]).map(move |x| [y, x]));
        taps.flat_map(|tap| positions.iter().map(move |&p| place(tap, p).unwrap_or(OUTSIDE))).collect()
    }
}

fn rows(geometry: Geometry, factor: f32, x_dims: &[usize]) -> Result<Kind, &'static str> {
    let (&depth, leading) = x_dims.split_last().ok_or("the input has no dimensions")?;
    if depth != geometry.inputs {
        return Err("the rows of the input are not as long as the columns of the weights");
    }
    let rows = leading.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or("too many elements")?;
    Ok(Kind::Rows { rows, factor })
}

fn image(
    geometry: Geometry,
    window: Window,
    transposed: Option<[usize; 2]>,
    x_dims: &[usize],
) -> Result<Kind, &'static str> {
    let (batch, channels, input) = match *x_dims {
        [n, c, w] => (n, c, [1, w]),
        [n, c, h, w] => (n, c, [h, w]),
        _ => return Err("the input is no image"),
    };
    if window.stride.contains(&0) || window.dilation.contains(&0) {
        return Err("a stride or a dilation is zero");
    }
    let taps = window.kernel[0] * window.kernel[1];
    if channels.checked_mul(taps) != Some(geometry.groups * geometry.inputs) {
        return Err("the channels of the input are not those of the weights");
    }
    if batch == 0 || input.contains(&0) {
        return Err("the input is empty");
    }
    let size = |axis: usize| {
        let pads = window.pads[axis].checked_add(window.pads[axis + 2])?;
        let reach = window.dilation[axis].checked_mul(window.kernel[axis].checked_sub(1)?)?;
        match transposed {
            None => {
                let room = input[axis].checked_add(pads)?.checked_sub(reach)?.checked_sub(1)?;
                Some(room / window.stride[axis] + 1)
            }
            Some(extra) => {
                let all = (input[axis] - 1).checked_mul(window.stride[axis])?.checked_add(reach)?;
                all.checked_add(extra[axis])?.checked_add(1)?.checked_sub(pads)
            }
        }
    };
    let (Some(height), Some(width)) = (size(0), size(1)) else {
        return Err("the kernel exceeds the padded input");
    };
    Ok(Kind::Image {
        window,
        transposed: transposed.is_some(),
        batch,
        channels,
        input,
        output: [height, width],
    })
}
