//! DeformConv, whose taps read at places of their own, and Col2Im, the adjoint of unfolding.

use shiftwise_graph::Value;
use shiftwise_kernels::matmul::{MatRef, matmul_into};

use super::window::{AutoPad, Window};
use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Results, Shape, results};
use crate::pool::Workspace;
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[Op::float("DeformConv", deform), Op::float("Col2Im", col2im)];

fn deform(cx: Cx<'_>) -> Outcome<Kernel> {
    let window = Window::parse(cx)?;
    let positive = |name: &str| {
        usize::try_from(cx.int_or(name, 1))
            .ok()
            .filter(|g| *g > 0)
            .ok_or(format!("its {name} is not positive"))
    };
    let (groups, offset_groups) = (positive("group")?, positive("offset_group")?);
    Ok(Box::new(move |args, ws| deformed(&window, groups, offset_groups, args, ws)))
}

/// The pixel at a place between pixels; zero outside.
fn sample(plane: &[f32], [h, w]: [usize; 2], y: f32, x: f32) -> f32 {
    if !(y > -1.0 && x > -1.0 && y < h as f32 && x < w as f32) {
        return 0.0;
    }
    let (low_y, low_x) = (y.floor(), x.floor());
    let (ty, tx) = (y - low_y, x - low_x);
    let pixel = |dy: i64, dx: i64| {
        let (i, j) = (low_y as i64 + dy, low_x as i64 + dx);
        if (0..h as i64).contains(&i) && (0..w as i64).contains(&j) {
            plane[i as usize * w + j as usize]
        } else {
            0.0
        }
    };
    (1.0 - ty) * ((1.0 - tx) * pixel(0, 0) + tx * pixel(0, 1))
        + ty * ((1.0 - tx) * pixel(1, 0) + tx * pixel(1, 1))
}

fn deformed(
    window: &Window,
    groups: usize,
    offset_groups: usize,
    args: &Args<'_>,
    ws: &mut Workspace,
) -> Outcome<Results> {
    let ((x, x_shape), (weight, w_shape), (offset, o_shape)) = (args.f32(0)?, args.f32(1)?, args.f32(2)?);
    let (bias, mask) = (args.optional_f32(3)?, args.optional_f32(4)?);
    let (&[n, c_in, h, w], &[c_out, depth, kh, kw]) = (x_shape, w_shape) else {
        return Err("only two spatial dimensions are supported".into());
    };
    if depth.checked_mul(groups) != Some(c_in)
        || !c_out.is_multiple_of(groups)
        || !c_in.is_multiple_of(offset_groups)
        || bias.is_some_and(|b| b.len() != c_out)
    {
        return Err(format!("a weight of shape {w_shape:?} does not fit an input of shape {x_shape:?}"));
    }
    let span = window.span(&[h, w], Some(&[kh, kw]))?;
    let [_, oh, ow] = span.outputs(false)?;
    let (taps, pixels) = (kh * kw, oh * ow);
    let wanted = [n, offset_groups * taps * 2, oh, ow];
    if o_shape != wanted || mask.is_some_and(|m| m.len() != n * offset_groups * taps * pixels) {
        return Err(format!("offsets of shape {o_shape:?} or its mask do not fit: {wanted:?} is needed"));
    }
    let to = [n, c_out, oh, ow];
    let mut out = ws.floats(count(&to)?);
    for (i, plane) in out.chunks_exact_mut(pixels.max(1)).enumerate() {
        plane.fill(bias.map_or(0.0, |b| b[i % c_out]));
    }
    let mut columns = ws.floats(count(&[c_in, taps, pixels])?);
    let out_group = c_out / groups;
    for image in 0..n {
        for (row, column) in columns.chunks_exact_mut(pixels.max(1)).enumerate() {
            let (channel, tap) = (row / taps, row % taps);
            let og = channel / (c_in / offset_groups);
            let plane = &x[(image * c_in + channel) * h * w..][..h * w];
            let moves = &offset[((image * offset_groups + og) * taps + tap) * 2 * pixels..][..2 * pixels];
            for (p, o) in column.iter_mut().enumerate() {
                let place = |a: usize, at: usize, tap: usize| {
                    (at * span.stride[a] + tap * span.dilation[a]) as f32 - span.begin[a] as f32
                };
                let y = place(1, p / ow, tap / kw) + moves[p];
                let x = place(2, p % ow, tap % kw) + moves[pixels + p];
                let factor =
                    mask.map_or(1.0, |m| m[((image * offset_groups + og) * taps + tap) * pixels + p]);
                *o = factor * sample(plane, [h, w], y, x);
            }
        }
        for g in 0..groups {
            let long = depth * taps;
            let left = MatRef::row_major(&weight[g * out_group * long..][..out_group * long], long);
            let right = MatRef::row_major(&columns[g * long * pixels..][..long * pixels], pixels);
            let result = &mut out[(image * c_out + g * out_group) * pixels..][..out_group * pixels];
            matmul_into(out_group, long, pixels, left, right, result, pixels, 1.0, 1.0);
        }
    }
    ws.recycle_floats(columns);
    Ok(results![Value::f32(&to, out)])
}

fn col2im(cx: Cx<'_>) -> Outcome<Kernel> {
    let window = Window { auto_pad: AutoPad::Explicit, ..Window::parse(cx)? };
    Ok(Box::new(move |args: &mut Args<'_>, ws| {
        let sizes = |i: usize| -> Outcome<Shape> {
            let values = args.ints(i)?;
            let sizes = values.iter().map(|v| usize::try_from(*v).ok().filter(|v| *v < 1 << 20));
            sizes.collect::<Option<Shape>>().ok_or_else(|| format!("its sizes {values:?} are not valid"))
        };
        let (x, shape) = args.f32(0)?;
        let (image, block) = (sizes(1)?, sizes(2)?);
        if image.len() != block.len() {
            return Err(format!("blocks of {block:?} do not fit an image of {image:?}"));
        }
        let span = window.span(&image, Some(&block))?;
        let volume = span.volume(span.outputs(false)?);
        let (taps, windows, pixels) = (volume.kernel_len(), volume.output_len(), volume.input_len());
        let &[n, rows, columns] = shape else {
            return Err(format!("an input of shape {shape:?} is not columns"));
        };
        if !rows.is_multiple_of(taps) || columns != windows {
            return Err(format!(
                "an input of shape {shape:?} does not fit {windows} blocks of {block:?} in an image of {image:?}"
            ));
        }
        let channels = rows / taps;
        let mut to = Shape::from_slice(&[n, channels]);
        to.extend_from_slice(&image);
        let mut out = ws.floats(count(&to)?);
        out.fill(0.0);
        let parts = x.chunks_exact((taps * windows).max(1));
        out.chunks_exact_mut(pixels.max(1)).zip(parts).for_each(|(out, x)| volume.fold_add(x, out));
        Ok(results![Value::f32(&to, out)])
    }))
}
