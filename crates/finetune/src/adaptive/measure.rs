//! Products with the gathered rows, and the errors of given weights.

use std::ops::Range;

use rayon::prelude::*;
use shiftwise_kernels::matmul::{MatRef, matmul_into};

use super::collect::Data;
use super::function::Functions;
use super::simd::{Forward, Gradient, LANES, dispatch};
use super::source::Shape;

/// Positions that errors are measured on at once.
pub(super) const CHUNK: usize = 256;

/// With fewer outputs, a matrix product does not pay.
const NARROW: usize = 8;

/// Outputs that read the same: of one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    /// The first output channel.
    pub(super) channel: usize,
    /// How many.
    pub(super) width: usize,
}

/// The bands of a layer, wide enough for matrix products and enough of them for threads.
pub(super) fn bands(shape: &Shape) -> Vec<Band> {
    if shape.outputs < NARROW {
        return (0..shape.channels).map(|channel| Band { channel, width: 1 }).collect();
    }
    let count = shape.outputs.div_ceil(64).max((shape.outputs / 16).clamp(1, 4));
    let part = |i: usize| shape.outputs * i / count;
    let groups = (0..shape.channels).step_by(shape.outputs);
    let of_group = |first: usize| {
        (0..count).map(move |i| Band { channel: first + part(i), width: part(i + 1) - part(i) })
    };
    groups.flat_map(of_group).collect()
}

/// Rows of inputs, a stride apart.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) x: &'a [f32],
    pub(super) stride: usize,
}

impl Data {
    /// What a band reads, from a position on.
    pub(super) fn rows<'a>(&self, x: &'a [f32], shape: &Shape, band: Band, from: usize) -> Rows<'a> {
        let first = band.channel / shape.outputs * shape.inputs;
        Rows { x: &x[first * self.stride..][..shape.inputs * self.stride][from..], stride: self.stride }
    }

    /// What a channel is to give.
    pub(super) fn target(&self, channel: usize, positions: Range<usize>) -> &[f32] {
        &self.y[channel * self.stride..][positions]
    }
}

impl Rows<'_> {
    /// `z = w · x` over the first `count` positions: `w` are rows of `inputs` weights, `row` apart, and `z` rows of `count`.
    pub(super) fn forward(&self, w: &[f32], row: usize, inputs: usize, z: &mut [f32], count: usize) {
        let Self { x, stride } = *self;
        let width = z.len() / count;
        if width < NARROW {
            for (w, z) in w.chunks(row).zip(z.chunks_mut(count)) {
                dispatch(Forward { w: &w[..inputs], x, stride, z });
            }
        } else {
            let (w, x) = (MatRef::strided(w, row, 1), MatRef::strided(x, stride, 1));
            matmul_into(width, inputs, count, w, x, z, count, 1.0, 0.0);
        }
    }

    /// `g = z · xᵀ` over the first `count` positions, in the form of the weights above. `turned` has room for as much as `g`.
    pub(super) fn gradient(
        &self,
        z: &[f32],
        count: usize,
        (g, row): (&mut [f32], usize),
        inputs: usize,
        turned: &mut [f32],
    ) {
        let Self { x, stride } = *self;
        let width = z.len() / count;
        if width < NARROW {
            for (z, g) in z.chunks(count).zip(g.chunks_mut(row)) {
                dispatch(Gradient { z, x, stride, g: &mut g[..inputs] });
            }
        } else {
            // The left matrix is read where it lies. That is for the larger one, and then the result is turned.
            let (x, z) = (MatRef::strided(x, stride, 1), MatRef::transposed(z, count));
            matmul_into(inputs, count, width, x, z, turned, width, 1.0, 0.0);
            for (first, turned) in turned[..inputs * width].chunks(LANES * width).enumerate() {
                for (i, g) in g.chunks_mut(row).enumerate() {
                    let column = turned[i..].iter().step_by(width);
                    g[first * LANES..].iter_mut().zip(column).for_each(|(g, &value)| *g = value);
                }
            }
        }
    }
}

/// Mean squared errors of the outputs of a band with weights in rows `row` apart. `z` has room for [`CHUNK`] positions.
pub(super) fn band_errors(
    shape: &Shape,
    functions: &Functions,
    data: &Data,
    band: Band,
    (w, row): (&[f32], usize),
    bias: &[f32],
    z: &mut [f32],
) -> Vec<f64> {
    let mut sums = vec![0.0; band.width];
    for from in (0..data.count).step_by(CHUNK) {
        let count = CHUNK.min(data.count - from);
        let z = &mut z[..band.width * count];
        data.rows(&data.x, shape, band, from).forward(w, row, shape.inputs, z, count);
        for (i, (z, sum)) in z.chunks_mut(count).zip(&mut sums).enumerate() {
            let target = data.target(band.channel + i, from..from + count);
            *sum += f64::from(functions.of(band.channel + i).backward(bias[i], z, target, 1.0)[0]);
        }
    }
    sums.iter().map(|sum| sum / data.count as f64).collect()
}

/// Mean squared errors of all output channels, with weights `[group, output, input]`.
pub(super) fn errors(shape: &Shape, functions: &Functions, data: &Data, w: &[f32], bias: &[f32]) -> Vec<f64> {
    let of_band = |band: Band| {
        let w = &w[band.channel * shape.inputs..][..band.width * shape.inputs];
        let mut z = vec![0.0; band.width * CHUNK];
        let bias = &bias[band.channel..][..band.width];
        band_errors(shape, functions, data, band, (w, shape.inputs), bias, &mut z)
    };
    let all: Vec<Vec<f64>> = bands(shape).into_par_iter().map(of_band).collect();
    all.into_iter().flatten().collect()
}
