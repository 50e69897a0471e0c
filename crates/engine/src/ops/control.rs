//! Operators with bodies: If, Loop, Scan.
//!
//! A body is compiled to a plan of its own. After the inputs of the node come what its bodies capture from around it,
//! each name once, and every body takes all of that behind its own inputs.

use shiftwise_graph::{DataType, Graph, Value, ValueInfo};
use smallvec::SmallVec;

use super::{Cx, Op};
use crate::Flow;
use crate::args::{Arg, Args, Datum, Kernel, Outcome, Results, axis_of};
use crate::compile;
use crate::plan::Plan;
use crate::pool::Workspace;
use crate::scalar::{count, each_type, slice, value};
use crate::strided;

pub(super) const OPS: &[Op] = &[Op::any("If", branch), Op::any("Loop", repeat), Op::any("Scan", scan)];

pub(super) fn body<'n>(cx: Cx<'n>, name: &str) -> Outcome<(&'n Graph, Plan)> {
    let graph = cx.node.subgraphs().find(|(n, _)| *n == name).map(|(_, graph)| graph);
    let graph = graph.ok_or_else(|| format!("it has no attribute {name}"))?;
    let plan = compile::body(graph, cx.opset, &compile::captures(cx.node))?;
    Ok((graph, plan))
}

/// What is borrowed for long is borrowed for less, which the list that holds it does not let the compiler see.
fn shorter<'s, 'l: 's>(arg: Arg<'l>) -> Arg<'s> {
    arg
}

/// Runs a body once.
pub(super) fn run<'a>(
    plan: &'a Plan,
    inputs: impl IntoIterator<Item = Arg<'a>>,
    ws: &mut Workspace,
) -> Outcome<Results> {
    plan.walk(inputs, &mut |_, _| Flow::Continue, ws).map_err(|e| format!("its body failed to {e}"))
}

fn branch(cx: Cx<'_>) -> Outcome<Kernel> {
    let (_, then) = body(cx, "then_branch")?;
    let (_, otherwise) = body(cx, "else_branch")?;
    Ok(Box::new(move |args, ws| {
        let taken = if flag(args, 0)?.ok_or("it has no condition")? { &then } else { &otherwise };
        run(taken, args.0.drain(1..).map(shorter), ws)
    }))
}

/// A condition; `None` where it is omitted.
fn flag(args: &Args<'_>, index: usize) -> Outcome<Option<bool>> {
    let Some(condition) = args.get(index) else { return Ok(None) };
    one_flag(condition).map(Some)
}

fn one_flag(condition: &Value) -> Outcome<bool> {
    match condition {
        Value::Bool(a) if a.len() == 1 => Ok(slice(a)[0]),
        other => {
            Err(format!("its condition is {} of shape {:?}, not one bool", other.dtype(), other.shape()))
        }
    }
}

/// `Loop(trips, condition, carried…)`: the body maps (iteration, condition, carried…) to (condition, carried…, scanned…).
fn repeat(cx: Cx<'_>) -> Outcome<Kernel> {
    let (graph, plan) = body(cx, "body")?;
    let formal = graph.inputs().len();
    let carried = formal.checked_sub(2).ok_or("its body takes fewer than two inputs")?;
    let own = cx.node.inputs.len().max(2);
    if own != 2 + carried {
        return Err(format!("its body takes {carried} carried values, and {} are given", own - 2));
    }
    let scanned: Vec<ValueInfo> =
        graph.outputs().get(1 + carried..).ok_or("its body gives fewer values than it takes")?.to_vec();
    Ok(Box::new(move |args, ws| {
        let trips = match args.get(0) {
            Some(v) => {
                *args.ints(0)?.first().ok_or_else(|| format!("its trip count has shape {:?}", v.shape()))?
            }
            None => i64::MAX,
        };
        let mut go = flag(args, 1)?.unwrap_or(true);
        let captured: SmallVec<[Arg<'_>; 9]> = args.0.drain(own.min(args.0.len())..).map(shorter).collect();
        let mut state: SmallVec<[Arg<'_>; 9]> = args.0.drain(2.min(args.0.len())..).map(shorter).collect();
        state.resize_with(carried, Arg::default);
        let mut collected: Vec<Vec<Value>> = scanned.iter().map(|_| Vec::new()).collect();
        let mut iteration = 0;
        while iteration < trips && go {
            let first = [Value::i64(&[], vec![iteration]), Value::from(ndarray::arr0(true).into_dyn())];
            let inputs = first.into_iter().map(Arg::Owned).chain(state.drain(..).map(shorter));
            let mut results = run(&plan, inputs.chain(captured.iter().map(Arg::borrowed)), ws)?.into_iter();
            go = match results.next() {
                Some(Datum::Tensor(condition)) => one_flag(&condition)?,
                _ => return Err("its body gives no condition".into()),
            };
            state.extend(results.by_ref().take(carried).map(Arg::from));
            gather(&mut collected, results)?;
            iteration += 1;
        }
        let mut results: Results = state.into_iter().map(|arg| arg.into_datum(ws)).collect();
        for (parts, info) in collected.into_iter().zip(&scanned) {
            results.push(stacked(parts, info, 0, ws)?.into());
        }
        Ok(results)
    }))
}

/// Adds what a body gave to collect, one tensor for each place.
fn gather(collected: &mut [Vec<Value>], results: impl Iterator<Item = Datum>) -> Outcome<()> {
    for (parts, datum) in collected.iter_mut().zip(results) {
        match datum {
            Datum::Tensor(v) => parts.push(v),
            _ => return Err("its body gives a sequence to collect, where only tensors can be".into()),
        }
    }
    Ok(())
}

/// Tensors of one shape, stacked along a new axis. Without any, the declared type says the rest of the shape.
fn stacked(parts: Vec<Value>, info: &ValueInfo, axis: i64, ws: &mut Workspace) -> Outcome<Value> {
    let Some(first) = parts.first() else {
        let ty = info.ty.tensor();
        let dims = ty.and_then(|t| t.shape.as_ref()).map_or(&[][..], Vec::as_slice);
        let dims = dims.iter().map(|d| d.known().unwrap_or(0));
        let shape: Vec<usize> = std::iter::once(0).chain(dims).collect();
        return empty(ty.map_or(DataType::Float, |t| t.dtype), &shape);
    };
    if parts.iter().any(|p| p.shape() != first.shape() || p.dtype() != first.dtype()) {
        return Err("its iterations give tensors of different shapes to collect".into());
    }
    let mut shape = first.shape().to_vec();
    let axis = axis_of(axis, shape.len() + 1)?;
    shape.insert(axis, parts.len());
    let inner = count(&shape[axis + 1..])?;
    let result = each_type!(first, like => {
        let mut out = ws.buffer(count(&shape)?);
        fill(&mut out, like, &parts, inner);
        value(&shape, out)
    })?;
    for part in parts {
        ws.recycle(part);
    }
    Ok(result)
}

/// Writes each part to its place in `[.., parts, inner]`; what has no elements stays as it is.
fn fill<T: crate::scalar::Scalar>(out: &mut [T], _: &ndarray::ArrayD<T>, parts: &[Value], inner: usize) {
    let step = inner * parts.len();
    for (i, part) in parts.iter().enumerate() {
        let Some(part) = T::array_of(part) else { continue };
        if inner > 0 {
            for (out, from) in out.chunks_exact_mut(step).zip(slice(part).chunks_exact(inner)) {
                out[i * inner..][..inner].copy_from_slice(from);
            }
        }
    }
}

/// A tensor without elements.
fn empty(dtype: DataType, shape: &[usize]) -> Outcome<Value> {
    let tensor = shiftwise_graph::Tensor::from_raw(dtype, shape.to_vec(), bytes::Bytes::new());
    tensor.and_then(|t| Value::from_tensor(&t)).map_err(|e| e.to_string())
}

/// `Scan(state…, scanned…)`: the body maps (state…, a slice of each scanned…) to (state…, slices to collect…).
fn scan(cx: Cx<'_>) -> Outcome<Kernel> {
    if cx.opset < 9 {
        return Err("the batched Scan of opset 8 is not supported; convert the model to opset 9".into());
    }
    let (graph, plan) = body(cx, "body")?;
    let scanned =
        usize::try_from(cx.int_or("num_scan_inputs", 0)).map_err(|_| "its num_scan_inputs is negative")?;
    let own = cx.node.inputs.len();
    let states = own.checked_sub(scanned).ok_or("its num_scan_inputs exceeds its inputs")?;
    if graph.inputs().len() != own {
        return Err(format!("its body takes {} inputs, and {own} are given", graph.inputs().len()));
    }
    let given: Vec<ValueInfo> = graph.outputs().get(states..).ok_or("its body gives too little")?.to_vec();
    let list = |name: &str, length: usize| {
        let values = cx.ints(name).unwrap_or_default();
        if values.len() > length {
            return Err(format!("its attribute {name} has more than {length} values"));
        }
        Ok((0..length).map(|i| values.get(i).copied().unwrap_or(0)).collect::<Vec<_>>())
    };
    let (axes, directions) = (list("scan_input_axes", scanned)?, list("scan_input_directions", scanned)?);
    let (out_axes, out_directions) =
        (list("scan_output_axes", given.len())?, list("scan_output_directions", given.len())?);
    Ok(Box::new(move |args, ws| {
        let captured: SmallVec<[Arg<'_>; 9]> = args.0.drain(own.min(args.0.len())..).map(shorter).collect();
        let mut state: SmallVec<[Arg<'_>; 9]> = args.0.drain(..states).map(shorter).collect();
        let mut sources = Vec::with_capacity(scanned);
        for (i, axis) in axes.iter().enumerate() {
            let source = args.value(i)?;
            sources.push((source, axis_of(*axis, source.shape().len())?));
        }
        let length = sources.first().map_or(0, |(source, axis)| source.shape()[*axis]);
        if sources.iter().any(|(source, axis)| source.shape()[*axis] != length) {
            return Err("its scanned inputs have different lengths".into());
        }
        let mut collected: Vec<Vec<Value>> = given.iter().map(|_| Vec::new()).collect();
        for i in 0..length {
            let mut slices = Vec::with_capacity(scanned);
            for ((source, axis), direction) in sources.iter().zip(&directions) {
                let at = if *direction == 0 { i } else { length - 1 - i };
                slices.push(Arg::Owned(element(source, *axis, at, ws)?));
            }
            let inputs = state.drain(..).map(shorter).chain(slices).chain(captured.iter().map(Arg::borrowed));
            let mut results = run(&plan, inputs, ws)?.into_iter();
            state.extend(results.by_ref().take(states).map(Arg::from));
            gather(&mut collected, results)?;
        }
        let mut results: Results = state.into_iter().map(|arg| arg.into_datum(ws)).collect();
        for (i, mut parts) in collected.into_iter().enumerate() {
            if out_directions[i] != 0 {
                parts.reverse();
            }
            results.push(stacked(parts, &given[i], out_axes[i], ws)?.into());
        }
        Ok(results)
    }))
}

/// The part at `index` of an axis, without that axis.
fn element(from: &Value, axis: usize, index: usize, ws: &mut Workspace) -> Outcome<Value> {
    let mut shape = from.shape().to_vec();
    let mut strides = strided::strides(&shape);
    let start = index * strides[axis] as usize;
    shape.remove(axis);
    strides.remove(axis);
    each_type!(from, a => {
        let mut out = ws.buffer(count(&shape)?);
        strided::copy(slice(a), start, &shape, &strides, &mut out);
        value(&shape, out)
    })
}
