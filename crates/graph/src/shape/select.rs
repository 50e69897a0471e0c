//! Operators that pick elements by index or by value.

use super::context::{Ctx, Stop, contradiction, unknown};
use super::data::{Data, Elem};
use super::dims;
use super::registry::Family;
use crate::{DataType, Dim};

pub(super) const OPS: Family = &[
    ("ArgMax", arg),
    ("ArgMin", arg),
    ("Compress", compress),
    ("Gather", gather),
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("NonMaxSuppression", non_max_suppression),
    ("NonZero", non_zero),
    ("OneHot", one_hot),
    ("Scatter", super::unary::same),
    ("ScatterElements", super::unary::same),
    ("ScatterND", super::unary::same),
    ("TopK", top_k),
];

fn arg(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.set(0, DataType::Int64, None);
    let mut out = ctx.dims(0)?;
    let axis = dims::axis(ctx.node.int("axis").unwrap_or(0), out.len())?;
    if ctx.node.int("keepdims").unwrap_or(1) != 0 {
        out[axis] = Dim::Known(1);
    } else {
        out.remove(axis);
    }
    ctx.done(DataType::Int64, out)
}

fn gather(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let (x, indices) = (ctx.dims(0)?, ctx.dims(1)?);
    let axis = dims::axis(ctx.node.int("axis").unwrap_or(0), x.len())?;
    let mut out = x[..axis].to_vec();
    out.extend(indices);
    out.extend_from_slice(&x[axis + 1..]);
    let rank = out.len();
    ctx.done(dtype, out)?;
    if let (Some(data), Some(picks), true) = (ctx.value(0), ctx.value(1), rank <= 1) {
        let n = data.elems.len() as i64;
        let mut elems = Vec::with_capacity(picks.elems.len());
        for pick in &picks.elems {
            elems.push(match pick {
                Elem::Int(i) => {
                    let at = if *i < 0 { i.saturating_add(n) } else { *i };
                    match usize::try_from(at).ok().and_then(|at| data.elems.get(at)) {
                        Some(elem) => elem.clone(),
                        None => return contradiction(format!("it picks element {i} of {n}")),
                    }
                }
                _ => Elem::Unknown,
            });
        }
        ctx.follow(Some(Data { scalar: rank == 0, elems }));
    }
    Ok(())
}

fn gather_elements(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let shape = ctx.dims(1)?;
    ctx.done(dtype, shape)
}

fn gather_nd(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let (x, indices) = (ctx.dims(0)?, ctx.dims(1)?);
    let batch = usize::try_from(ctx.node.int("batch_dims").unwrap_or(0)).unwrap_or(usize::MAX);
    let Some((last, lead)) = indices.split_last() else { return contradiction("its indices are a scalar") };
    let Some(depth) = last.known() else { return unknown("how many axes it indexes is not known") };
    match batch.checked_add(depth).and_then(|used| x.get(used..)) {
        Some(rest) => {
            let out = lead.iter().chain(rest).cloned().collect();
            ctx.done(dtype, out)
        }
        None => contradiction(format!("it indexes {depth} axes of {}", dims::list(&[&x]))),
    }
}

fn compress(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let out = match ctx.node.int("axis") {
        None => vec![Dim::Unknown],
        Some(axis) => {
            let mut out = ctx.dims(0)?;
            let axis = dims::axis(axis, out.len())?;
            out[axis] = Dim::Unknown;
            out
        }
    };
    ctx.note("how many elements it keeps depends on the data");
    ctx.done(dtype, out)
}

fn non_zero(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.set(0, DataType::Int64, Some(vec![Dim::Unknown; 2]));
    let rank = ctx.dims(0)?.len();
    ctx.note("how many elements are not zero depends on the data");
    ctx.done(DataType::Int64, vec![Dim::Known(rank), Dim::Unknown])
}

fn non_max_suppression(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.note("how many boxes it keeps depends on the data");
    ctx.done(DataType::Int64, vec![Dim::Unknown, Dim::Known(3)])
}

fn one_hot(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(2)?;
    ctx.set(0, dtype, None);
    let mut out = ctx.dims(0)?;
    let axis = match ctx.node.int("axis").unwrap_or(-1) {
        n if n < 0 => dims::axis(n, out.len() + 1)?,
        n => match usize::try_from(n) {
            Ok(n) if n <= out.len() => n,
            _ => return contradiction(format!("axis {n} is out of range")),
        },
    };
    let depth = match ctx.value(1).as_ref().and_then(|d| d.elems.first()) {
        Some(Elem::Int(n)) => dims::known(*n)?,
        Some(Elem::Float(n)) if n.is_finite() => dims::known(*n as i64)?,
        Some(Elem::Symbol(s)) => Dim::Symbol(s.clone()),
        _ => {
            ctx.note("its depth is computed at run time");
            Dim::Unknown
        }
    };
    out.insert(axis, depth);
    ctx.done(dtype, out)
}

fn top_k(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    ctx.set(1, DataType::Int64, None);
    let mut out = ctx.dims(0)?;
    let axis = dims::axis(ctx.node.int("axis").unwrap_or(-1), out.len())?;
    let k = match ctx.node.int("k").filter(|_| ctx.opset < 10) {
        Some(k) => Some(Elem::Int(k)),
        None => ctx.value(1).and_then(|d| d.elems.first().cloned()),
    };
    let extent = match k {
        Some(Elem::Int(k)) => dims::known(k)?,
        Some(Elem::Symbol(s)) => Dim::Symbol(s),
        _ => {
            ctx.note("k is computed at run time");
            Dim::Unknown
        }
    };
    if let (Some(k), Some(n)) = (extent.known(), out[axis].known())
        && k > n
    {
        return contradiction(format!("it takes {k} of {n} elements"));
    }
    out[axis] = extent;
    ctx.set(1, DataType::Int64, Some(out.clone()));
    ctx.done(dtype, out)
}
