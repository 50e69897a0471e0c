//! ConvTranspose.

use shiftwise_graph::Value;
use shiftwise_kernels::ConvTranspose2d;
use shiftwise_kernels::volume::Volume;

use super::conv_volume::{self, Channels};
use super::window::{AutoPad, Span, Window};
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
    let mut span = op.window.span(spatial, Some(kernel))?;
    let triple = |values: &[usize], default: usize, what: &str| match values {
        v if v.len() == rank => {
            let mut all = [default; 3];
            all[3 - rank..].copy_from_slice(v);
            Ok(all)
        }
        other => Err(format!("its {what} {other:?} does not fit {rank} spatial dimensions")),
    };
    let extra = match op.output_padding.as_slice() {
        [] => [0; 3],
        v => triple(v, 0, "output_padding")?,
    };
    // Some exporters put the batch and the channels before the size.
    let wanted = op.output_shape.as_deref().map(|v| if v.len() == rank + 2 { &v[2..] } else { v });
    let wanted = wanted.map(|v| triple(v, 1, "output_shape")).transpose()?;
    let size = fit(&mut span, extra, wanted, op.window.auto_pad)?;
    let shape = span.shape([batch, c_out], size);
    let mut out = ws.floats(count(&shape)?);
    let Some(plane) = span.plane() else {
        let channels = Channels { batch, c_in, c_out, groups: op.groups };
        let adjoint = Volume { size, out: span.size, ..span.volume(span.size) };
        conv_volume::transposed(channels, &adjoint, [x, weight], bias, &mut out, ws)?;
        return Ok(results![Value::f32(&shape, out)]);
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
        output_padding: [0, 0],
    };
    // What the size has beyond the result of the taps is at the end.
    for a in [1, 2] {
        let taps = span.stride[a] * span.size[a].saturating_sub(1) + span.reach(a);
        conv.output_padding[a - 1] = (size[a] + span.begin[a] + span.end[a]).saturating_sub(taps);
    }
    if conv.output_hw() == [size[1], size[2]] {
        conv.forward(x, weight, bias, &mut out, &mut ws.kernels);
    } else if !x.is_empty() {
        return Err(format!("its output cannot have the size {size:?}"));
    } else {
        // The size of an empty input follows from the attributes.
        let pixels = (size[1] * size[2]).max(1);
        let planes = out.chunks_exact_mut(pixels).enumerate();
        planes.for_each(|(i, plane)| plane.fill(bias.map_or(0.0, |b| b[i % c_out])));
    }
    Ok(results![Value::f32(&shape, out)])
}

/// The size of the result. Where a size is wanted, by output_shape or as input times stride with automatic padding, the
/// padding follows from it.
fn fit(
    span: &mut Span,
    extra: [usize; 3],
    wanted: Option<[usize; 3]>,
    auto_pad: AutoPad,
) -> Outcome<[usize; 3]> {
    let same = matches!(auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
    let mut size = [0; 3];
    for a in 0..3 {
        let full = (span.stride[a] * span.size[a].saturating_sub(1))
            .checked_add(extra[a] + span.reach(a))
            .ok_or("its size overflows")?;
        let wanted = wanted.map(|w| w[a]).or(same.then(|| span.size[a] * span.stride[a]));
        let Some(wanted) = wanted else {
            let cut = span.begin[a] + span.end[a];
            size[a] =
                full.checked_sub(cut).ok_or_else(|| format!("its pads cut {cut} from a result of {full}"))?;
            continue;
        };
        let total = full.saturating_sub(wanted);
        // The odd pixel is cut at the end with SAME_UPPER, at the beginning otherwise.
        span.begin[a] = if auto_pad == AutoPad::SameUpper { total / 2 } else { total - total / 2 };
        span.end[a] = total - span.begin[a];
        size[a] = wanted;
    }
    Ok(size)
}
