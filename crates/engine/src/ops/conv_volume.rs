//! Convolution of three-dimensional images: unfolded a plane of the result at a time, then a matrix product.

use shiftwise_kernels::matmul::{MatRef, matmul_into};
use shiftwise_kernels::volume::Volume;

use crate::args::Outcome;
use crate::pool::Workspace;
use crate::scalar::count;

/// What a convolution is beside its window.
#[derive(Clone, Copy)]
pub(super) struct Channels {
    pub(super) batch: usize,
    pub(super) c_in: usize,
    pub(super) c_out: usize,
    pub(super) groups: usize,
}

/// The part of `volume` that gives the windows at `z` along the first axis, and the planes of the input before it.
pub(super) fn slab(volume: &Volume, z: usize) -> (Volume, usize) {
    let start = z * volume.stride[0];
    let skipped = start.saturating_sub(volume.begin[0]).min(volume.size[0]);
    let mut slab = *volume;
    slab.out[0] = 1;
    slab.begin[0] = volume.begin[0].saturating_sub(start);
    slab.size[0] = volume.size[0] - skipped;
    (slab, skipped)
}

/// `out = conv(x, weight) + bias`, where lengths are those of the geometry.
pub(super) fn forward(
    channels: Channels,
    volume: &Volume,
    [x, weight]: [&[f32]; 2],
    bias: Option<&[f32]>,
    out: &mut [f32],
    ws: &mut Workspace,
) -> Outcome<()> {
    let Channels { batch, c_in, c_out, groups } = channels;
    let (in_group, out_group) = (c_in / groups, c_out / groups);
    let (from, pixels) = (volume.input_len(), volume.output_len());
    if out.is_empty() {
        return Ok(());
    }
    for (i, plane) in out.chunks_exact_mut(pixels).enumerate() {
        plane.fill(bias.map_or(0.0, |b| b[i % c_out]));
    }
    let (taps, line) = (volume.kernel_len(), volume.out[1] * volume.out[2]);
    let depth = in_group * taps;
    if depth == 0 || from == 0 {
        return Ok(());
    }
    let mut columns = ws.floats(count(&[depth, line])?);
    for n in 0..batch {
        for g in 0..groups {
            let weight = MatRef::row_major(&weight[g * out_group * depth..][..out_group * depth], depth);
            let result = &mut out[(n * c_out + g * out_group) * pixels..][..out_group * pixels];
            for z in 0..volume.out[0] {
                let (slab, skipped) = slab(volume, z);
                let plane = volume.size[1] * volume.size[2];
                for (c, columns) in columns.chunks_exact_mut(taps * line).enumerate() {
                    let channel = &x[(n * c_in + g * in_group + c) * from..][..from];
                    slab.unfold(&channel[skipped * plane..], 0.0, columns);
                }
                let right = MatRef::row_major(&columns, line);
                matmul_into(out_group, depth, line, weight, right, &mut result[z * line..], pixels, 1.0, 1.0);
            }
        }
    }
    ws.recycle_floats(columns);
    Ok(())
}

/// `out = conv_transpose(x, weight) + bias`, where `volume` is the window of the convolution whose adjoint it is: from
/// the result to `x`.
pub(super) fn transposed(
    channels: Channels,
    volume: &Volume,
    [x, weight]: [&[f32]; 2],
    bias: Option<&[f32]>,
    out: &mut [f32],
    ws: &mut Workspace,
) -> Outcome<()> {
    let Channels { batch, c_in, c_out, groups } = channels;
    let (in_group, out_group) = (c_in / groups, c_out / groups);
    let (to, pixels, taps) = (volume.input_len(), volume.output_len(), volume.kernel_len());
    if out.is_empty() {
        return Ok(());
    }
    for (i, plane) in out.chunks_exact_mut(to).enumerate() {
        plane.fill(bias.map_or(0.0, |b| b[i % c_out]));
    }
    if x.is_empty() || weight.is_empty() {
        return Ok(());
    }
    let mut columns = ws.floats(count(&[taps, pixels])?);
    for n in 0..batch {
        for g in 0..groups {
            let image = &x[(n * c_in + g * in_group) * pixels..][..in_group * pixels];
            for o in 0..out_group {
                // The weight is [c_in, out_group, taps].
                let weight = &weight[(g * in_group * out_group + o) * taps..];
                let left = MatRef::strided(weight, 1, out_group * taps);
                let right = MatRef::row_major(image, pixels);
                matmul_into(taps, in_group, pixels, left, right, &mut columns, pixels, 1.0, 0.0);
                volume.fold_add(&columns, &mut out[(n * c_out + g * out_group + o) * to..][..to]);
            }
        }
    }
    ws.recycle_floats(columns);
    Ok(())
}
