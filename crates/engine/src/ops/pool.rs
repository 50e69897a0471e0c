//! Pooling.

use shiftwise_graph::Value;
use shiftwise_kernels::Pool2d;
use shiftwise_kernels::pool::global_average;

use super::conv::{Plane, Window};
use super::{Cx, Op};
use crate::args::{Kernel, Outcome, results};
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[
    Op::float("MaxPool", max),
    Op::float("AveragePool", average),
    Op::float("GlobalAveragePool", global),
    Op::float("GlobalMaxPool", global),
];

/// The geometry on an input of a shape, and the shape of the result.
fn geometry(window: &Window, ceil: bool, shape: &[usize]) -> Outcome<(Pool2d, Vec<usize>)> {
    let &[n, c, ref spatial @ ..] = shape else {
        return Err(format!("an input of shape {shape:?} has no channels"));
    };
    let plane = window.on(spatial, None)?;
    let out = [outputs(&plane, 0, ceil)?, outputs(&plane, 1, ceil)?];
    let pool = Pool2d {
        planes: n * c,
        h: plane.size[0],
        w: plane.size[1],
        out,
        kernel: plane.kernel,
        stride: plane.stride,
        dilation: plane.dilation,
        pads: plane.pads,
    };
    let mut to = vec![n, c];
    to.extend(&out[2 - spatial.len()..]);
    Ok((pool, to))
}

fn outputs(plane: &Plane, a: usize, ceil: bool) -> Outcome<usize> {
    let padded = plane.size[a] + plane.pads[a] + plane.pads[a + 2];
    let reach = plane.dilation[a] * (plane.kernel[a] - 1) + 1;
    let Some(room) = padded.checked_sub(reach) else {
        return Err(format!("a window of {reach} does not fit an image of {padded} with its padding"));
    };
    let mut out = if ceil { room.div_ceil(plane.stride[a]) } else { room / plane.stride[a] } + 1;
    // A window that would begin behind the image is none.
    if ceil && (out - 1) * plane.stride[a] >= plane.size[a] + plane.pads[a] {
        out -= 1;
    }
    Ok(out)
}

fn max(cx: Cx<'_>) -> Outcome<Kernel> {
    if cx.node.output(1).is_some() {
        return Err("its output Indices is not supported".into());
    }
    let (window, ceil) = (Window::parse(cx)?, cx.flag("ceil_mode", false));
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let (pool, to) = geometry(&window, ceil, shape)?;
        let mut out = ws.floats(count(&to)?);
        pool.max(x, &mut out);
        Ok(results![Value::f32(&to, out)])
    }))
}

fn average(cx: Cx<'_>) -> Outcome<Kernel> {
    let (window, ceil) = (Window::parse(cx)?, cx.flag("ceil_mode", false));
    let include_pad = cx.flag("count_include_pad", false);
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let (pool, to) = geometry(&window, ceil, shape)?;
        let mut out = ws.floats(count(&to)?);
        pool.average(x, include_pad, &mut out);
        Ok(results![Value::f32(&to, out)])
    }))
}

fn global(cx: Cx<'_>) -> Outcome<Kernel> {
    let mean = cx.node.op_type == "GlobalAveragePool";
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let &[n, c, ref spatial @ ..] = shape else {
            return Err(format!("an input of shape {shape:?} has no channels"));
        };
        let pixels = count(spatial)?;
        if pixels == 0 {
            return Err("its images have no pixels".into());
        }
        let mut to = vec![n, c];
        to.extend(spatial.iter().map(|_| 1));
        let mut out = ws.floats(n * c);
        if mean {
            global_average(x, pixels, &mut out);
        } else {
            for (o, plane) in out.iter_mut().zip(x.chunks_exact(pixels)) {
                *o = plane.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            }
        }
        Ok(results![Value::f32(&to, out)])
    }))
}
