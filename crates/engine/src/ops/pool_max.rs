//! MaxPool of any type and number of dimensions, with the places of the largest elements, and its inverse.

use shiftwise_graph::Value;

use super::pool::Pooling;
use super::window::Window;
use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Results, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, slice, value};

pub(super) const OPS: &[Op] = &[Op::float("MaxUnpool", unpool)];

/// The largest elements; with `order` their places too, which count down columns where it is true.
pub(super) fn run(
    pooling: &Pooling,
    args: &Args<'_>,
    order: Option<bool>,
    ws: &mut Workspace,
) -> Outcome<Results> {
    macro_rules! of {
        ($($variant:ident $lowest:expr),*) => {
            match args.value(0)? {
                $(Value::$variant(a) => largest(pooling, slice(a), $lowest, order, ws),)*
                other => Err(format!("maxima of {} are not defined", other.dtype())),
            }
        };
    }
    of!(F32 f32::MIN, F64 f64::MIN, I8 i8::MIN, U8 u8::MIN)
}

fn largest<T: Scalar>(
    pooling: &Pooling,
    x: &[T],
    lowest: T,
    order: Option<bool>,
    ws: &mut Workspace,
) -> Outcome<Results> {
    let len = count(&pooling.to)?;
    let mut out = T::buffer(ws, len)?;
    let mut places = i64::buffer(ws, if order.is_some() { len } else { 0 })?;
    let [_, h, w] = pooling.volume.size;
    let [depth, ..] = pooling.volume.size;
    let (from, windows) = (pooling.volume.input_len(), pooling.volume.output_len());
    for (c, (x, out)) in pooling.pairs(x, &mut out).enumerate() {
        pooling.volume.windows(|i, each| {
            let mut best: Option<(usize, T)> = None;
            each(&mut |at| {
                if best.is_none_or(|(_, v)| x[at] > v) {
                    best = Some((at, x[at]));
                }
            });
            out[i] = best.map_or(lowest, |(_, v)| v);
            if let Some(columns_first) = order {
                let at = best.map_or(-1, |(at, _)| {
                    if columns_first {
                        // Only the axes that are there are turned around: the others have size one.
                        (at / (h * w) + at / w % h * depth + at % w * depth * h) as i64
                    } else {
                        at as i64
                    }
                });
                places[c * windows + i] = (c * from) as i64 + at;
            }
        });
    }
    let mut results = results![value(&pooling.to, out)?];
    if order.is_some() {
        results.push(value(&pooling.to, places)?.into());
    }
    Ok(results)
}

/// MaxUnpool: every element goes back to its place, among zeros.
fn unpool(cx: Cx<'_>) -> Outcome<Kernel> {
    let window = Window::parse(cx)?;
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let places = args.ints(1)?;
        if args.value(1)?.shape() != shape {
            return Err(format!("its places have shape {:?}, its values {shape:?}", args.value(1)?.shape()));
        }
        let &[n, c, ref spatial @ ..] = shape else {
            return Err(format!("an input of shape {shape:?} has no channels"));
        };
        let span = window.span(spatial, None)?;
        let mut size = [0; 3];
        for (a, size) in size.iter_mut().enumerate() {
            let full = span.size[a].saturating_sub(1) * span.stride[a] + span.kernel[a];
            *size = full.checked_sub(span.begin[a] + span.end[a]).ok_or("its pads cut more than there is")?;
        }
        let inferred = span.shape([n, c], size);
        let to = match args.optional_ints(2)? {
            None => inferred.to_vec(),
            Some(wanted) => wanted
                .iter()
                .map(|d| usize::try_from(*d))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| format!("its output_shape is {wanted:?}, which is not valid"))?,
        };
        if to.len() != shape.len() {
            return Err(format!("its output_shape {to:?} does not have {} dimensions", shape.len()));
        }
        let mut out = ws.floats(count(&to)?);
        out.fill(0.0);
        // Places count in the inferred shape; a larger one keeps rows and columns where they are.
        for (v, place) in x.iter().zip(&places) {
            let at = usize::try_from(*place).ok().filter(|p| *p < out.len());
            let at = at.ok_or_else(|| format!("there is no place {place} in a result of shape {to:?}"))?;
            out[at] = *v;
        }
        Ok(results![Value::f32(&to, out)])
    }))
}
