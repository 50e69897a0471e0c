//! Operators that only change or tell a shape.

use shiftwise_graph::Value;
use smallvec::smallvec;

use super::{Cx, Op};
use crate::args::{Args, Datum, Ints, Kernel, Outcome, Results, Shape, axis_of, results};
use crate::pool::Workspace;
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[
    Op::any("Reshape", reshape),
    Op::any("Flatten", flatten),
    Op::any("Squeeze", squeeze),
    Op::any("Unsqueeze", unsqueeze),
    Op::any("Identity", identity),
    Op::any("Dropout", dropout),
    Op::any("Shape", shape),
    Op::any("Size", size),
];

fn reshaped(args: &mut Args<'_>, ws: &mut Workspace, shape: &[usize]) -> Outcome<Results> {
    let value = args.take_or_copy(0, ws)?;
    let from = Shape::from_slice(value.shape());
    let value =
        value.reshaped(shape).ok_or_else(|| format!("a value of shape {from:?} does not fit {shape:?}"))?;
    Ok(results![value])
}

fn reshape(cx: Cx<'_>) -> Outcome<Kernel> {
    let fixed = cx.ints("shape").filter(|_| cx.opset < 5);
    let allow_zero = cx.flag("allowzero", false);
    Ok(Box::new(move |args, ws| {
        let wanted = match &fixed {
            Some(s) => s.clone(),
            None => args.ints(1)?,
        };
        let shape = target(args.value(0)?.shape(), &wanted, allow_zero)?;
        reshaped(args, ws, &shape)
    }))
}

/// What a wanted shape means: 0 copies a dimension, −1 takes what is left.
fn target(from: &[usize], wanted: &[i64], allow_zero: bool) -> Outcome<Shape> {
    let fail = || format!("a value of shape {from:?} cannot take the shape {wanted:?}");
    let mut shape = Shape::with_capacity(wanted.len());
    let mut rest = None;
    for (i, w) in wanted.iter().enumerate() {
        match *w {
            0 if !allow_zero => shape.push(*from.get(i).ok_or_else(fail)?),
            -1 if rest.is_none() => {
                rest = Some(i);
                shape.push(1);
            }
            n => shape.push(usize::try_from(n).map_err(|_| fail())?),
        }
    }
    if let Some(i) = rest {
        let (all, known) = (count(from)?, count(&shape)?);
        if known == 0 || all % known != 0 {
            return Err(fail());
        }
        shape[i] = all / known;
    }
    Ok(shape)
}

fn flatten(cx: Cx<'_>) -> Outcome<Kernel> {
    let axis = cx.int_or("axis", 1);
    Ok(Box::new(move |args, ws| {
        let shape = args.value(0)?.shape();
        let axis = if axis == shape.len() as i64 { shape.len() } else { axis_of(axis, shape.len())? };
        let shape = [count(&shape[..axis])?, count(&shape[axis..])?];
        reshaped(args, ws, &shape)
    }))
}

/// Axes stand in an attribute before opset 13, in an input since.
fn axes(fixed: Option<&Ints>, args: &Args<'_>) -> Outcome<Option<Ints>> {
    match fixed {
        Some(axes) => Ok(Some(axes.clone())),
        None => args.optional_ints(1),
    }
}

fn squeeze(cx: Cx<'_>) -> Outcome<Kernel> {
    let fixed = cx.ints("axes").filter(|_| cx.opset < 13);
    Ok(Box::new(move |args, ws| {
        let shape = args.value(0)?.shape();
        // No axes, given or not, are all of one element.
        let dropped: Shape = match axes(fixed.as_ref(), args)?.filter(|a| !a.is_empty()) {
            None => (0..shape.len()).filter(|i| shape[*i] == 1).collect(),
            Some(axes) => axes.iter().map(|a| axis_of(*a, shape.len())).collect::<Outcome<_>>()?,
        };
        if let Some(i) = dropped.iter().find(|i| shape[**i] != 1) {
            return Err(format!("axis {i} of shape {shape:?} cannot be squeezed: it is not of one element"));
        }
        let shape: Shape = (0..shape.len()).filter(|i| !dropped.contains(i)).map(|i| shape[i]).collect();
        reshaped(args, ws, &shape)
    }))
}

fn unsqueeze(cx: Cx<'_>) -> Outcome<Kernel> {
    let fixed = cx.ints("axes").filter(|_| cx.opset < 13);
    Ok(Box::new(move |args, ws| {
        let axes = axes(fixed.as_ref(), args)?.ok_or("it has no axes")?;
        let mut rest = args.value(0)?.shape().iter().copied();
        let rank = rest.len() + axes.len();
        let mut added = axes.iter().map(|a| axis_of(*a, rank)).collect::<Outcome<Shape>>()?;
        added.sort_unstable();
        if added.windows(2).any(|w| w[0] == w[1]) {
            return Err(format!("its axes {axes:?} name one twice"));
        }
        let shape: Shape =
            (0..rank).map(|i| if added.contains(&i) { 1 } else { rest.next().unwrap_or(1) }).collect();
        reshaped(args, ws, &shape)
    }))
}

fn identity(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| Ok(smallvec![args.take_any(0).into_datum(ws)])))
}

/// Dropout does nothing at inference; its mask is all true.
fn dropout(cx: Cx<'_>) -> Outcome<Kernel> {
    let mask = cx.node.output(1).is_some();
    Ok(Box::new(move |args, ws| {
        if let Some(Value::Bool(training)) = args.get(2)
            && training.iter().any(|t| *t)
        {
            return Err("training_mode is not supported; export the model for inference".into());
        }
        let value = args.take_or_copy(0, ws)?;
        let all = mask.then(|| Value::from(ndarray::ArrayD::from_elem(value.shape(), true)));
        Ok(std::iter::once(value).chain(all).map(Datum::from).collect())
    }))
}

fn shape(cx: Cx<'_>) -> Outcome<Kernel> {
    let (start, end) = (cx.int_or("start", 0), cx.node.int("end"));
    Ok(Box::new(move |args, _| {
        let shape = args.value(0)?.shape();
        let rank = shape.len() as i64;
        let place = |v: i64| (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize;
        let (start, end) = (place(start), end.map_or(shape.len(), place));
        let part: Vec<i64> = shape.get(start..end).unwrap_or(&[]).iter().map(|d| *d as i64).collect();
        Ok(results![Value::i64(&[part.len()], part)])
    }))
}

fn size(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, _| Ok(results![Value::i64(&[], vec![args.value(0)?.len() as i64])])))
}
