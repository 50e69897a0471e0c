//! Operators whose result has as many elements as the data says: NonZero, Compress, Unique; and OneHot.

use std::cmp::Ordering;

use shiftwise_graph::Value;

use super::index::taken;
use super::{Cx, Op};
use crate::args::{Kernel, Outcome, Results, axis_of, results};
use crate::number::each_number;
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, each_type, slice, value};
use crate::strided;

pub(super) const OPS: &[Op] = &[
    Op::any("NonZero", non_zero),
    Op::any("Compress", compress),
    Op::any("Unique", unique),
    Op::any("OneHot", one_hot),
];

/// The places of elements that are not zero, one row an axis.
fn non_zero(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, _| {
        let x = args.value(0)?;
        let found: Vec<usize> = each_type!(x, a => set(slice(a)));
        let shape = x.shape();
        let strides = strided::strides(shape);
        // ONNX Runtime takes a scalar for a vector of one element.
        let (dims, strides): (&[usize], &[isize]) =
            if shape.is_empty() { (&[1], &[1]) } else { (shape, &strides) };
        let mut out = Vec::with_capacity(count(&[dims.len(), found.len()])?);
        for (n, s) in dims.iter().zip(strides) {
            out.extend(found.iter().map(|i| (i / *s as usize % n) as i64));
        }
        Ok(results![Value::i64(&[dims.len(), found.len()], out)])
    }))
}

fn set<T: Scalar>(x: &[T]) -> Vec<usize> {
    let zero = T::default();
    x.iter().enumerate().filter(|(_, v)| **v != zero).map(|(i, _)| i).collect()
}

/// Slices along an axis, or elements where there is none, for which a condition holds.
fn compress(cx: Cx<'_>) -> Outcome<Kernel> {
    let axis = cx.node.int("axis");
    Ok(Box::new(move |args, ws| {
        let x = args.value(0)?;
        let Value::Bool(condition) = args.value(1)? else { return Err("its condition is not bool".into()) };
        let flat = [x.len()];
        let (shape, axis) = match axis {
            None => (&flat[..], 0),
            Some(axis) => (x.shape(), axis_of(axis, x.shape().len())?),
        };
        let kept: Vec<usize> = (0..shape[axis])
            .filter(|i| condition.as_slice().is_some_and(|c| c.get(*i) == Some(&true)))
            .collect();
        let (places, each) = along(shape, axis, &kept)?;
        let mut to = shape.to_vec();
        to[axis] = kept.len();
        each_type!(x, a => taken(slice(a), &places, each, &to, ws)).map(|v| results![v])
    }))
}

/// Where the slices at some places of an axis start, and how long each is.
fn along(shape: &[usize], axis: usize, kept: &[usize]) -> Outcome<(Vec<usize>, usize)> {
    let (outer, each) = (count(&shape[..axis])?, count(&shape[axis + 1..])?);
    let starts = (0..outer).flat_map(|o| kept.iter().map(move |k| (o * shape[axis] + k) * each));
    Ok((starts.collect(), each))
}

/// Different slices along an axis, or different elements where there is none.
fn unique(cx: Cx<'_>) -> Outcome<Kernel> {
    let (axis, sorted) = (cx.node.int("axis"), cx.flag("sorted", true));
    Ok(Box::new(move |args, ws| {
        let x = args.value(0)?;
        let flat = [x.len()];
        let (shape, axis) = match axis {
            None => (&flat[..], 0),
            Some(axis) => (x.shape(), axis_of(axis, x.shape().len())?),
        };
        each_type!(x, a => distinct(slice(a), shape, axis, sorted, ws))
    }))
}

fn distinct<T: Scalar>(
    x: &[T],
    shape: &[usize],
    axis: usize,
    sorted: bool,
    ws: &mut Workspace,
) -> Outcome<Results> {
    let (n, each, outer) = (shape[axis], count(&shape[axis + 1..])?, count(&shape[..axis])?);
    let compare = |a: usize, b: usize| {
        let part = |i: usize, o: usize| &x[(o * n + i) * each..][..each];
        (0..outer)
            .flat_map(|o| part(a, o).iter().zip(part(b, o)))
            .map(|(a, b)| a.partial_cmp(b).unwrap_or(Ordering::Equal))
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal)
    };
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| compare(*a, *b));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for i in order {
        match groups.last_mut() {
            Some(group) if compare(group[0], i).is_eq() => group.push(i),
            _ => groups.push(vec![i]),
        }
    }
    if !sorted {
        groups.sort_by_key(|g| g[0]);
    }
    let first: Vec<usize> = groups.iter().map(|g| g[0]).collect();
    let mut inverse = vec![0i64; n];
    for (k, group) in groups.iter().enumerate() {
        for i in group {
            inverse[*i] = k as i64;
        }
    }
    let (places, each) = along(shape, axis, &first)?;
    let mut to = shape.to_vec();
    to[axis] = first.len();
    let vector = |v: Vec<i64>| Value::i64(&[v.len()], v);
    Ok(results![
        taken(x, &places, each, &to, ws)?,
        vector(first.iter().map(|i| *i as i64).collect()),
        vector(inverse),
        vector(groups.iter().map(|g| g.len() as i64).collect()),
    ])
}

/// A new axis with the second of two values where the index says, the first elsewhere.
fn one_hot(cx: Cx<'_>) -> Outcome<Kernel> {
    let axis = cx.int_or("axis", -1);
    Ok(Box::new(move |args, ws| {
        let wanted: Vec<f64> = each_number!(args.value(0)?, a => Ok::<_, String>(a.iter().map(|v| crate::number::Number::real(*v)).collect()))?;
        let depth: Option<f64> = each_number!(args.value(1)?, a => Ok::<_, String>(a.first().map(|v| crate::number::Number::real(*v))))?;
        let depth = depth.filter(|d| (1.0..=1e9).contains(d)).ok_or("its depth is not positive")? as usize;
        let mut shape = args.value(0)?.shape().to_vec();
        let axis = axis_of(axis, shape.len() + 1)?;
        let inner = count(&shape[axis..])?;
        shape.insert(axis, depth);
        each_type!(args.value(2)?, a => {
            let &[off, on] = slice(a) else { return Err("its values are not two".into()) };
            let mut out = ws.buffer(count(&shape)?);
            out.fill(off);
            for (i, v) in wanted.iter().enumerate() {
                let place = if *v < 0.0 { v + depth as f64 } else { *v };
                // A fraction is no index.
                if (0.0..depth as f64).contains(&place) && place.fract() == 0.0 {
                    let (outer, rest) = (i / inner, i % inner);
                    out[(outer * depth + place as usize) * inner + rest] = on;
                }
            }
            value(&shape, out)
        })
        .map(|v| results![v])
    }))
}
