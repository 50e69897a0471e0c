//! Pad: with a constant, the edge, or a reflection.

use half::{bf16, f16};
use shiftwise_graph::Value;
use smallvec::{SmallVec, smallvec};

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, Shape, axis_of, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, each_type, slice, value};
use crate::strided;

pub(super) const OPS: &[Op] = &[Op::any("Pad", compile), Op::any("CenterCropPad", center)];

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

/// Pads are an attribute before opset 11, an input since; negative ones crop.
fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let mode = match cx.text_or("mode", "constant") {
        "constant" => Mode::Constant,
        "reflect" => Mode::Reflect,
        "edge" => Mode::Edge,
        "wrap" => Mode::Wrap,
        other => return Err(format!("its mode {other:?} is not defined")),
    };
    let fixed = if cx.opset < 11 { Some(cx.ints("pads").ok_or("it has no attribute pads")?) } else { None };
    let fill = cx.float_or("value", 0.0);
    Ok(Box::new(move |args, ws| {
        let rank = args.value(0)?.shape().len();
        let (pads, axes) = match &fixed {
            Some(pads) => (pads.clone(), None),
            None => (args.ints(1)?, args.optional_ints(3)?),
        };
        let pads = spread(&pads, axes.as_deref(), rank)?;
        let fill = if fixed.is_some() { Some(Value::f32(&[], vec![fill])) } else { None };
        let fill = fill.as_ref().or(args.get(2));
        each_type!(args.value(0)?, a => padded(slice(a), a.shape(), mode, &pads, fill, ws))
            .map(|v| results![v])
    }))
}

/// CenterCropPad: crops or pads axes to a size, the same on both sides; an odd element goes to the end.
fn center(cx: Cx<'_>) -> Outcome<Kernel> {
    let axes = cx.ints("axes");
    Ok(Box::new(move |args, ws| {
        let shape = args.value(0)?.shape();
        let sizes = args.ints(1)?;
        let named = axes.as_deref().map_or(shape.len(), <[i64]>::len);
        if sizes.len() != named || sizes.iter().any(|s| !(0..1 << 32).contains(s)) {
            return Err(format!("its sizes {sizes:?} do not fit {named} axes"));
        }
        let mut pads: Pads = smallvec![(0, 0); shape.len()];
        for (i, size) in sizes.iter().enumerate() {
            let axis = axis_of(axes.as_ref().map_or(i as i64, |a| a[i]), shape.len())?;
            let more = size - shape[axis] as i64;
            pads[axis] = (more / 2, more - more / 2);
        }
        each_type!(args.value(0)?, a => padded(slice(a), a.shape(), Mode::Constant, &pads, None, ws))
            .map(|v| results![v])
    }))
}

/// Begin and end of every axis.
type Pads = SmallVec<[(i64, i64); 6]>;

/// What the pads of the named axes come to.
fn spread(pads: &[i64], axes: Option<&[i64]>, rank: usize) -> Outcome<Pads> {
    let named = axes.map_or(rank, <[i64]>::len);
    // Beyond any real model, and small enough that sums cannot overflow.
    if pads.len() != 2 * named || pads.iter().any(|p| p.unsigned_abs() > 1 << 32) {
        return Err(format!("its pads {pads:?} do not fit {named} axes"));
    }
    let mut all: Pads = smallvec![(0, 0); rank];
    for i in 0..named {
        let axis = axis_of(axes.map_or(i as i64, |a| a[i]), rank)?;
        all[axis] = (pads[i], pads[i + named]);
    }
    Ok(all)
}

fn padded<T: Scalar>(
    from: &[T],
    shape: &[usize],
    mode: Mode,
    pads: &[(i64, i64)],
    fill: Option<&Value>,
    ws: &mut Workspace,
) -> Outcome<Value> {
    let mut to = Shape::with_capacity(shape.len());
    for (n, (begin, end)) in shape.iter().zip(pads) {
        let size = usize::try_from(*n as i64 + begin + end);
        to.push(size.map_err(|_| format!("pads {pads:?} remove more than a value of shape {shape:?} has"))?);
    }
    let mut out = T::buffer(ws, count(&to)?)?;
    if mode == Mode::Constant {
        out.fill(fill_of(fill)?);
    }
    if out.is_empty() {
        return value(&to, out);
    }
    let Some((last, outer)) = to.split_last() else {
        out.copy_from_slice(from);
        return value(&to, out);
    };
    let strides = strided::strides(shape);
    // The run of the last axis that is copied as it stands.
    let (n, ends) = (shape[outer.len()], pads[outer.len()]);
    let inside = ends.0.max(0) as usize..((ends.0 + n as i64).max(0) as usize).min(*last);
    let skipped = (-ends.0).max(0) as usize;
    let mut index: Shape = smallvec![0; outer.len()];
    for out in out.chunks_exact_mut(*last) {
        let mut base = Some(0);
        for (axis, i) in index.iter().enumerate() {
            let place = source(*i as i64, shape[axis] as i64, pads[axis], mode)?;
            base = base.zip(place).map(|(base, place)| base + place * strides[axis] as usize);
        }
        if let Some(base) = base {
            let row = &from[base..base + n];
            if inside.start < inside.end {
                out[inside.clone()].copy_from_slice(&row[skipped..][..inside.len()]);
            }
            let (before, behind) = (inside.start.min(*last), inside.end.max(inside.start).min(*last));
            for i in (0..before).chain(behind..*last) {
                if let Some(place) = source(i as i64, n as i64, ends, mode)? {
                    out[i] = row[place];
                }
            }
        }
        for (i, size) in index.iter_mut().zip(outer).rev() {
            *i += 1;
            if *i < *size {
                break;
            }
            *i = 0;
        }
    }
    value(&to, out)
}

/// Where element `i` of the result comes from on an axis of `n`, which is first cropped, then padded; `None` is the
/// constant.
fn source(i: i64, n: i64, (begin, end): (i64, i64), mode: Mode) -> Outcome<Option<usize>> {
    let (low, high) = ((-begin).clamp(0, n), n + end.clamp(-n, 0));
    let n = (high - low).max(0);
    let i = i - begin - low;
    if (0..n).contains(&i) {
        return Ok(Some((low + i) as usize));
    }
    if mode == Mode::Constant {
        return Ok(None);
    }
    if n == 0 {
        return Err("an empty axis cannot be padded from itself".into());
    }
    Ok(Some(
        (low + match mode {
            Mode::Edge | Mode::Constant => i.clamp(0, n - 1),
            Mode::Wrap => i.rem_euclid(n),
            Mode::Reflect if n == 1 => 0,
            Mode::Reflect => {
                let period = 2 * (n - 1);
                let i = i.rem_euclid(period);
                i.min(period - i)
            }
        }) as usize,
    ))
}

/// The constant, in the type of the data.
fn fill_of<T: Scalar>(fill: Option<&Value>) -> Outcome<T> {
    let Some(fill) = fill else { return Ok(T::default()) };
    if let Some(a) = T::array_of(fill) {
        return Ok(a.iter().next().copied().unwrap_or_default());
    }
    // The attribute of old opsets is a float, whatever the data is.
    let other = || "its constant is not of the type of its data".to_string();
    match fill {
        Value::F32(a) => match a.iter().next() {
            None | Some(0.0) => Ok(T::default()),
            Some(v) => float_as(*v).ok_or_else(other),
        },
        _ => Err(other()),
    }
}

/// The constant of an attribute, as a number of another float type.
fn float_as<T: Scalar>(v: f32) -> Option<T> {
    let candidates: [Box<dyn std::any::Any>; 3] =
        [Box::new(f64::from(v)), Box::new(f16::from_f32(v)), Box::new(bf16::from_f32(v))];
    candidates.into_iter().find_map(|c| c.downcast::<T>().ok()).map(|v| *v)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pad(values: &[i64], mode: Mode, begin: i64, end: i64) -> Vec<i64> {
        let fill = Value::i64(&[], vec![9]);
        let ws = &mut Workspace::default();
        let out = padded(values, &[1, values.len()], mode, &[(0, 0), (begin, end)], Some(&fill), ws);
        out.unwrap().as_i64().unwrap().to_vec()
    }

    #[test]
    fn every_mode_extends_and_crops() {
        assert_eq!(pad(&[1, 2, 3], Mode::Constant, 1, 2), [9, 1, 2, 3, 9, 9]);
        assert_eq!(pad(&[1, 2, 3], Mode::Constant, -1, 1), [2, 3, 9]);
        assert_eq!(pad(&[1, 2, 3], Mode::Constant, 2, -4), [9]);
        assert_eq!(pad(&[1, 2, 3], Mode::Constant, -3, 1), [9]);
        assert_eq!(pad(&[1, 2, 3], Mode::Constant, -5, 4), [9, 9]);
        assert_eq!(pad(&[1, 2, 3], Mode::Edge, 2, 1), [1, 1, 1, 2, 3, 3]);
        assert_eq!(pad(&[1, 2, 3], Mode::Reflect, 2, 2), [3, 2, 1, 2, 3, 2, 1]);
        assert_eq!(pad(&[1, 2, 3], Mode::Wrap, 1, 2), [3, 1, 2, 3, 1, 2]);
    }
}
