//! ConvTranspose.

use shiftwise_graph::Value;
use shiftwise_kernels::ConvTranspose2d;

use super::conv::{AutoPad, Window};
use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Results, results};
use crate::pool::Workspace;
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[Op::float("ConvTranspose", compile)];

struct Transposed {
    window: Window,
    groups: usize,
    output_padding: Vec<usize>,
    output_shape: Option<Vec<usize>>,
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let groups =
        usize::try_from(cx.int_or("group", 1)).ok().filter(|g| *g > 0).ok_or("its group is not positive")?;
    let op = Transposed {
        window: Window::parse(cx)?,
        groups,
        output_padding: cx.sizes("output_padding", 0)?.unwrap_or_default(),
        output_shape: cx.sizes("output_shape", 1)?,
    };
    Ok(Box::new(move |args, ws| run(&op, args, ws)))
}

fn run(op: &Transposed, args: &mut Args<'_>, ws: &mut Workspace) -> Outcome<Results> {
    let (x, x_shape) = args.f32(0)?;
    let (weight, w_shape) = args.f32(1)?;
    let bias = args.optional_f32(2)?;
    let (&[batch, c_in, ref spatial @ ..], &[w_in, out_group, ref kernel @ ..]) = (x_shape, w_shape) else {
        return Err(format!("an input of shape {x_shape:?} does not fit a weight of shape {w_shape:?}"));
    };
    let rank = spatial.len();
    if w_in != c_in || rank != kernel.len() || !c_in.is_multiple_of(op.groups) {
        return Err(format!(
            "a weight of shape {w_shape:?} with {} groups does not fit an input of shape {x_shape:?}",
            op.groups
        ));
    }
    let c_out = out_group.checked_mul(op.groups).ok_or("its number of channels overflows")?;
    if bias.is_some_and(|b| b.len() != c_out) {
        return Err(format!("its bias does not have {c_out} elements"));
    }
    let plane = op.window.on(spatial, Some(kernel))?;
    let output_padding = match op.output_padding.as_slice() {
        [] => [0, 0],
        [w] if rank == 1 => [0, *w],
        [h, w] if rank == 2 => [*h, *w],
        other => return Err(format!("its output_padding {other:?} does not fit {rank} spatial dimensions")),
    };
    let mut conv = ConvTranspose2d {
        batch,
        c_in,
        h: plane.size[0],
        w: plane.size[1],
        c_out,
        groups: op.groups,
        kernel: plane.kernel,
        stride: plane.stride,
        dilation: plane.dilation,
        pads: plane.pads,
        output_padding,
    };
    pad_for_size(op, &mut conv, rank)?;
    let [oh, ow] = conv.output_hw();
    let shape: Vec<usize> = if rank == 1 { vec![batch, c_out, ow] } else { vec![batch, c_out, oh, ow] };
    let mut out = ws.floats(count(&shape)?);
    conv.forward(x, weight, bias, &mut out, &mut ws.kernels);
    Ok(results![Value::f32(&shape, out)])
}

/// Finds the padding from a wanted output size: the one given, or input times stride with automatic padding.
fn pad_for_size(op: &Transposed, conv: &mut ConvTranspose2d, rank: usize) -> Outcome<()> {
    let same = matches!(op.window.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
    let wanted = match op.output_shape.as_deref() {
        Some([w]) if rank == 1 => [1, *w],
        Some([h, w]) if rank == 2 => [*h, *w],
        Some(other) => {
            return Err(format!("its output_shape {other:?} does not fit {rank} spatial dimensions"));
        }
        None if same => [conv.h * conv.stride[0], conv.w * conv.stride[1]],
        None => return Ok(()),
    };
    conv.pads = [0; 4];
    let full = conv.output_hw();
    for a in 0..2 {
        let total = full[a]
            .checked_sub(wanted[a])
            .ok_or_else(|| format!("its output cannot be as large as {wanted:?}; it reaches {full:?}"))?;
        // The odd pixel is cut at the end with SAME_UPPER, at the beginning otherwise.
        let begin = if op.window.auto_pad == AutoPad::SameUpper { total / 2 } else { total - total / 2 };
        (conv.pads[a], conv.pads[a + 2]) = (begin, total - begin);
    }
    Ok(())
}
