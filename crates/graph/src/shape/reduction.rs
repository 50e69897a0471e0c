//! Reductions over axes, which are an attribute in old operator sets and an input in new ones.

use super::context::{Ctx, Stop, unknown};
use super::data::{Data, Elem};
use super::dims;
use super::registry::Family;
use crate::Dim;

pub(super) const OPS: Family = &[
    ("ReduceL1", reduce),
    ("ReduceL2", reduce),
    ("ReduceLogSum", reduce),
    ("ReduceLogSumExp", reduce),
    ("ReduceMax", reduce),
    ("ReduceMean", reduce),
    ("ReduceMin", reduce),
    ("ReduceProd", reduce),
    ("ReduceSum", reduce),
    ("ReduceSumSquare", reduce),
];

fn reduce(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let x = ctx.dims(0)?;
    let keep = ctx.node.int("keepdims").unwrap_or(1) != 0;
    let axes = match ctx.ints_from("axes", 1) {
        Ok(axes) => axes.unwrap_or_default(),
        Err(stop) => {
            if keep {
                ctx.set(0, dtype, Some(vec![Dim::Unknown; x.len()]));
            }
            return match stop {
                Stop::Input => Err(Stop::Input),
                _ => unknown("which axes it reduces is computed at run time"),
            };
        }
    };
    if axes.is_empty() && ctx.node.int("noop_with_empty_axes").unwrap_or(0) != 0 {
        return ctx.done(dtype, x);
    }
    let reduced: Vec<usize> =
        if axes.is_empty() { (0..x.len()).collect() } else { dims::axes(&axes, x.len())? };
    let out = x
        .iter()
        .enumerate()
        .filter_map(|(i, dim)| match (reduced.contains(&i), keep) {
            (false, _) => Some(dim.clone()),
            (true, true) => Some(Dim::Known(1)),
            (true, false) => None,
        })
        .collect();
    ctx.done(dtype, out)?;
    let data = content(ctx, keep);
    ctx.follow(data);
    Ok(())
}

/// The product, largest or smallest element of a followed list, as exporters compute sizes with.
fn content(ctx: &Ctx, keep: bool) -> Option<Data> {
    let data = ctx.value(0).filter(|d| !d.scalar)?;
    let elem = if let Some(ints) = data.ints() {
        Elem::Int(match ctx.node.op_type.as_str() {
            "ReduceProd" => ints.iter().try_fold(1i64, |p, v| p.checked_mul(*v))?,
            "ReduceSum" => ints.iter().try_fold(0i64, |p, v| p.checked_add(*v))?,
            "ReduceMax" => *ints.iter().max()?,
            "ReduceMin" => *ints.iter().min()?,
            _ => return None,
        })
    } else {
        let floats = data.floats()?;
        Elem::Float(match ctx.node.op_type.as_str() {
            "ReduceMax" => floats.into_iter().reduce(f32::max)?,
            "ReduceMin" => floats.into_iter().reduce(f32::min)?,
            _ => return None,
        })
    };
    Some(Data { scalar: !keep, elems: vec![elem] })
}
