//! QLinearAveragePool, QLinearGlobalAveragePool, QLinearAdd and QLinearMul.

use shiftwise_kernels::broadcast::broadcast_shape;

use super::pool::{Pooling, globally};
use super::qlinear::{Quantized, quantized_like};
use super::qlinear_table::{Quant, elements, expanded};
use super::window::Window;
use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Results, Shape, results};
use crate::pool::Workspace;
use crate::scalar::{count, value};
use crate::strided;

pub(super) const OPS: &[Op] = &[
    Op::any("QLinearAdd", add).contrib(),
    Op::any("QLinearMul", mul).contrib(),
    Op::any("QLinearAveragePool", average).contrib(),
    Op::any("QLinearGlobalAveragePool", global).contrib(),
];

/// `round_half_even(v)` within the limits of the type, where the zero point is part of `v`.
fn saturated<T: Quantized>(v: f32) -> T {
    T::rounded(v, 0)
}

/// The shape `[batch, channels, ..]` of one that has channels last.
fn channels_second(shape: &[usize]) -> Shape {
    let mut moved = Shape::from_slice(shape);
    if shape.len() > 2 {
        moved[1..].rotate_right(1);
    }
    moved
}

/// The elements with channels before pixels, or back again.
fn turned<T: Quantized>(x: &[T], batch: usize, rows: usize, ws: &mut Workspace) -> Outcome<Vec<T>> {
    let mut out = T::buffer(ws, x.len())?;
    let columns = x.len() / (batch * rows).max(1);
    let shape = [batch, columns, rows];
    strided::copy(x, 0, &shape, &[(rows * columns) as isize, 1, columns as isize], &mut out);
    Ok(out)
}

/// QLinearAveragePool: `x, x_scale, x_zero, y_scale, y_zero`.
fn average(cx: Cx<'_>) -> Outcome<Kernel> {
    let (window, ceil) = (Window::parse(cx)?, cx.flag("ceil_mode", false));
    let (include_pad, last) = (cx.flag("count_include_pad", false), cx.flag("channels_last", false));
    Ok(Box::new(
        move |args, ws| quantized_like!(args, 0, T => averaged::<T>(args, &window, ceil, include_pad, last, ws)),
    ))
}

fn averaged<T: Quantized>(
    args: &Args<'_>,
    window: &Window,
    ceil: bool,
    include_pad: bool,
    last: bool,
    ws: &mut Workspace,
) -> Outcome<Results> {
    let (x, shape) = elements::<T>(args, 0)?;
    let (from, to) = (Quant::at(args, 1, 2)?, Quant::at(args, 3, 4)?);
    let images = if last { channels_second(shape) } else { Shape::from_slice(shape) };
    let pooling = Pooling::of(window, ceil, &images)?;
    let batch = images.first().copied().unwrap_or(0);
    let held = if last { Some(turned(x, batch, pooling.volume.input_len(), ws)?) } else { None };
    let divisors = include_pad.then(|| pooling.divisors());
    let mut out = T::buffer(ws, count(&pooling.to)?)?;
    for (x, out) in pooling.pairs(held.as_deref().unwrap_or(x), &mut out) {
        pooling.volume.windows(|i, each| {
            let (mut sum, mut taps) = (0.0f32, 0.0f32);
            each(&mut |at| {
                sum += from.scale * (x[at].into() - from.zero) as f32;
                taps += 1.0;
            });
            let mean = sum / divisors.as_ref().map_or(taps, |d| d[i] as f32);
            out[i] = saturated(mean / to.scale + to.zero as f32);
        });
    }
    if !last {
        return Ok(results![value(&pooling.to, out)?]);
    }
    let channels = pooling.to[1];
    let mut shape = pooling.to.clone();
    shape[1..].rotate_left(1);
    Ok(results![value(&shape, turned(&out, batch, channels, ws)?)?])
}

/// QLinearGlobalAveragePool: `x, x_scale, x_zero, y_scale, y_zero`.
fn global(cx: Cx<'_>) -> Outcome<Kernel> {
    let last = cx.flag("channels_last", false);
    Ok(Box::new(move |args, ws| quantized_like!(args, 0, T => globally_averaged::<T>(args, last, ws))))
}

fn globally_averaged<T: Quantized>(args: &Args<'_>, last: bool, ws: &mut Workspace) -> Outcome<Results> {
    let (x, shape) = elements::<T>(args, 0)?;
    let (from, to) = (Quant::at(args, 1, 2)?, Quant::at(args, 3, 4)?);
    let images = if last { channels_second(shape) } else { Shape::from_slice(shape) };
    let (planes, pixels, mut result) = globally(&images)?;
    let channels = images[1];
    let factor = from.scale / (to.scale * pixels as f32);
    let mut out = T::buffer(ws, planes)?;
    for (c, o) in out.iter_mut().enumerate() {
        let (start, step) =
            if last { (c / channels * channels * pixels + c % channels, channels) } else { (c * pixels, 1) };
        let sum: i64 = x[start..].iter().step_by(step).take(pixels).map(|v| i64::from((*v).into())).sum();
        let sum = sum - i64::from(from.zero) * pixels as i64;
        *o = T::rounded(sum as f32 * factor, to.zero);
    }
    if last {
        result[1..].rotate_left(1);
    }
    Ok(results![value(&result, out)?])
}

fn add(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        quantized_like!(args, 0, T => binary::<T, _>(args, ws, |a, b, c| {
            let (ra, rb) = (a.scale / c.scale, b.scale / c.scale);
            let fixed = c.zero as f32 - (ra * a.zero as f32 + rb * b.zero as f32);
            move |x, y| ra * x as f32 + (rb * y as f32 + fixed)
        }))
    }))
}

fn mul(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        quantized_like!(args, 0, T => binary::<T, _>(args, ws, |a, b, c| {
            let ratio = a.scale * b.scale / c.scale;
            move |x, y| ((x - a.zero) * (y - b.zero)) as f32 * ratio + c.zero as f32
        }))
    }))
}

/// An operator of `a, a_scale, a_zero, b, b_scale, b_zero, c_scale, c_zero`; `f` gives the result before rounding.
fn binary<T: Quantized, F: Fn(i32, i32) -> f32>(
    args: &Args<'_>,
    ws: &mut Workspace,
    f: impl Fn(Quant, Quant, Quant) -> F,
) -> Outcome<Results> {
    let ((a, a_shape), (b, b_shape)) = (elements::<T>(args, 0)?, elements::<T>(args, 3)?);
    let f = f(Quant::at(args, 1, 2)?, Quant::at(args, 4, 5)?, Quant::at(args, 6, 7)?);
    let shape = broadcast_shape(a_shape, b_shape)
        .ok_or_else(|| format!("shapes {a_shape:?} and {b_shape:?} do not broadcast"))?;
    let mut out = expanded(a, a_shape, &shape, ws)?;
    let b = expanded(b, b_shape, &shape, ws)?;
    out.iter_mut().zip(&b).for_each(|(o, b)| *o = saturated(f((*o).into(), (*b).into())));
    Ok(results![value(&shape, out)?])
}
