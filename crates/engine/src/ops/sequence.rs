//! Sequences of tensors, and optional values.

use std::sync::Arc;

use shiftwise_graph::{DataType, Value};
use smallvec::smallvec;

use super::{Cx, Op, split};
use crate::args::axis_of;
use crate::args::{Arg, Args, Datum, Kernel, Outcome, results};

pub(super) const OPS: &[Op] = &[
    Op::any("SequenceEmpty", empty),
    Op::any("SequenceConstruct", construct),
    Op::any("SequenceInsert", insert),
    Op::any("SequenceErase", erase),
    Op::any("SequenceAt", at),
    Op::any("SequenceLength", length),
    Op::any("SplitToSequence", split_to_sequence),
    Op::any("ConcatFromSequence", concat_from_sequence),
    Op::any("Optional", optional),
    Op::any("OptionalGetElement", optional),
    Op::any("OptionalHasElement", has_element),
];

fn empty(cx: Cx<'_>) -> Outcome<Kernel> {
    let dtype = i32::try_from(cx.int_or("dtype", 1)).ok().and_then(DataType::from_onnx);
    dtype.ok_or("its attribute dtype is not a type")?;
    Ok(Box::new(|_, _| Ok(results![Vec::<Value>::new()])))
}

fn construct(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let elements = (0..args.count()).map(|i| args.take_or_copy(i, ws)).collect::<Outcome<Vec<_>>>()?;
        if elements.iter().any(|v| v.dtype() != elements[0].dtype()) {
            return Err("its inputs have different types".into());
        }
        Ok(results![elements])
    }))
}

/// The position that an optional input names, `fallback` where it is omitted, within `0 ..= most`.
fn position(args: &Args<'_>, index: usize, length: usize, fallback: i64, most: usize) -> Outcome<usize> {
    let wanted = args.optional_ints(index)?.and_then(|p| p.first().copied()).unwrap_or(fallback);
    let found = if wanted < 0 { wanted.checked_add(length as i64) } else { Some(wanted) };
    let found = found.and_then(|p| usize::try_from(p).ok()).filter(|p| *p <= most);
    found.ok_or_else(|| format!("position {wanted} does not exist in a sequence of {length} tensors"))
}

fn insert(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let mut sequence = args.sequence(0)?;
        let n = sequence.len();
        let at = position(args, 2, n, n as i64, n)?;
        let tensor = args.take_or_copy(1, ws)?;
        if sequence.first().is_some_and(|v| v.dtype() != tensor.dtype()) {
            return Err(format!("a tensor of {} does not belong into its sequence", tensor.dtype()));
        }
        Arc::make_mut(&mut sequence).insert(at, tensor);
        Ok(smallvec![Datum::Sequence(sequence)])
    }))
}

fn erase(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, _| {
        let mut sequence = args.sequence(0)?;
        let n = sequence.len();
        let last = n.checked_sub(1).ok_or("its sequence is empty")?;
        let at = position(args, 1, n, last as i64, last)?;
        Arc::make_mut(&mut sequence).remove(at);
        Ok(smallvec![Datum::Sequence(sequence)])
    }))
}

fn at(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let sequence = args.sequence(0)?;
        let n = sequence.len();
        let last = n.checked_sub(1).ok_or("its sequence is empty")?;
        let at = position(args, 1, n, 0, last)?;
        Ok(results![crate::args::copy(&sequence[at], ws)])
    }))
}

fn length(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, _| Ok(results![Value::i64(&[], vec![args.sequence(0)?.len() as i64])])))
}

/// Without sizes, parts of one element, whose axis `keepdims` keeps; with one size, parts of that size and the rest.
fn split_to_sequence(cx: Cx<'_>) -> Outcome<Kernel> {
    let axis = cx.int_or("axis", 0);
    let keep = cx.flag("keepdims", true);
    Ok(Box::new(move |args, ws| {
        let from = args.value(0)?;
        let axis = axis_of(axis, from.shape().len())?;
        let size = from.shape()[axis];
        let one = args.get(1).is_some_and(|v| v.shape().is_empty());
        let given = args.optional_ints(1)?;
        let drop_axis = given.is_none() && !keep;
        let sizes: Vec<usize> = match given {
            None => vec![1; size],
            Some(each) if one => {
                let each = usize::try_from(each[0])
                    .ok()
                    .filter(|n| *n > 0)
                    .ok_or("its part size is not positive")?;
                (0..size.div_ceil(each)).map(|i| each.min(size - i * each)).collect()
            }
            Some(sizes) => sizes.iter().map(|s| usize::try_from(*s).unwrap_or(usize::MAX)).collect(),
        };
        let mut parts = Vec::with_capacity(sizes.len());
        for datum in split::parts(from, axis, &sizes, ws)? {
            let Datum::Tensor(part) = datum else { continue };
            let shape = part.shape();
            let squeezed: Vec<usize> = [&shape[..axis], &shape[axis + 1..]].concat();
            let part = if drop_axis { part.reshaped(&squeezed) } else { Some(part) };
            parts.push(part.ok_or("a part does not have one element on its axis")?);
        }
        Ok(results![parts])
    }))
}

fn concat_from_sequence(cx: Cx<'_>) -> Outcome<Kernel> {
    let axis = cx.node.int("axis").ok_or("it has no attribute axis")?;
    let stack = cx.flag("new_axis", false);
    Ok(Box::new(move |args, ws| {
        let sequence = args.sequence(0)?;
        let rank = sequence.first().ok_or("its sequence is empty")?.shape().len() + usize::from(stack);
        let axis = axis_of(axis, rank)?;
        let mut parts = Args(smallvec![]);
        for part in sequence.iter() {
            parts.0.push(if stack {
                let mut shape = part.shape().to_vec();
                shape.insert(axis.min(shape.len()), 1);
                let part = crate::args::copy(part, ws).reshaped(&shape);
                Arg::Owned(part.ok_or("a part of its sequence has another shape")?)
            } else {
                Arg::Shared(part)
            });
        }
        Ok(results![split::joined(&parts, axis, ws)?])
    }))
}

/// An optional value is what it holds, or nothing.
fn optional(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| Ok(smallvec![args.take_any(0).into_datum(ws)])))
}

fn has_element(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, _| {
        let there = !matches!(args.take_any(0), Arg::None);
        Ok(results![Value::from(ndarray::arr0(there).into_dyn())])
    }))
}
