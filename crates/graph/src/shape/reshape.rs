//! Operators that give the same elements another shape, or repeat them.

use super::context::{Ctx, Stop, contradiction, unknown};
use super::data::{Data, Elem};
use super::dims::{self, Product};
use super::registry::Family;
use crate::{DataType, Dim};

pub(super) const OPS: Family = &[
    ("Expand", expand),
    ("Flatten", flatten),
    ("Reshape", reshape),
    ("Shape", shape),
    ("Size", size),
    ("Squeeze", squeeze),
    ("Tile", tile),
    ("Transpose", transpose),
    ("Unsqueeze", unsqueeze),
];

/// The shape that the content of an input says; a negative element stays `Unknown`.
pub(super) fn shape_of(data: &Data) -> Vec<Dim> {
    data.elems
        .iter()
        .map(|e| match e {
            Elem::Int(n) => usize::try_from(*n).map_or(Dim::Unknown, Dim::Known),
            Elem::Symbol(s) => Dim::Symbol(s.clone()),
            _ => Dim::Unknown,
        })
        .collect()
}

/// Number of elements of a rank-1 input: the rank of the shape that it describes.
fn described_rank(ctx: &Ctx, input: usize) -> Option<usize> {
    // No tensor has more axes in practice; a declared length beyond this is not worth believing.
    const MOST: usize = 64;
    match ctx.ty(input).ok()?.shape.as_deref()? {
        [length] => length.known().filter(|n| *n <= MOST),
        _ => None,
    }
}

/// Keeps the content when it stays of rank 0 or 1.
fn keep_content(ctx: &mut Ctx) {
    let rank = ctx.types.first().and_then(Option::as_ref).and_then(crate::TensorType::rank);
    if let (Some(rank @ 0..=1), Some(data)) = (rank, ctx.value(0)) {
        ctx.follow(Some(Data { scalar: rank == 0, elems: data.elems.clone() }));
    }
}

fn reshape(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let Some(target) = ctx.value(1) else {
        if let Some(rank) = described_rank(ctx, 1) {
            ctx.set(0, dtype, Some(vec![Dim::Unknown; rank]));
        }
        ctx.ty(1)?;
        return unknown("its target shape is computed at run time");
    };
    let input = ctx.ty(0)?.shape.clone();
    let zero_is_zero = ctx.node.int("allowzero").unwrap_or(0) != 0;
    let mut out = Vec::with_capacity(target.elems.len());
    for (i, elem) in target.elems.iter().enumerate() {
        out.push(match elem {
            Elem::Int(0) if !zero_is_zero => match &input {
                Some(dims) => match dims.get(i) {
                    Some(dim) => dim.clone(),
                    None => {
                        return contradiction(format!("it copies axis {i}, which its input does not have"));
                    }
                },
                None => Dim::Unknown,
            },
            Elem::Int(-1) => Dim::Unknown,
            Elem::Int(n) => dims::known(*n)?,
            Elem::Symbol(s) => Dim::Symbol(s.clone()),
            _ => Dim::Unknown,
        });
    }
    if target.elems.iter().filter(|e| **e == Elem::Int(-1)).count() > 1 {
        return contradiction("its target shape has more than one -1");
    }
    if let Some(total) = input.as_deref().and_then(Product::of) {
        let holes: Vec<usize> = (0..out.len()).filter(|i| out[*i] == Dim::Unknown).collect();
        let rest: Vec<Dim> = out.iter().filter(|d| **d != Dim::Unknown).cloned().collect();
        if let (Some(rest), true) = (Product::of(&rest), holes.len() <= 1) {
            let left = total.divided_by(&rest);
            let fits = match (holes.first(), &left) {
                (Some(hole), Ok(dim)) => {
                    out[*hole] = dim.clone();
                    true
                }
                (None, Ok(dim)) => dim.known().is_none_or(|n| n == 1) && agree(&total, &rest),
                (_, Err(())) => false,
            };
            if !fits {
                let input = input.as_deref().unwrap_or_default();
                return contradiction(format!(
                    "its input of shape {} cannot take the shape {}",
                    dims::list(&[input]),
                    dims::list(&[&out])
                ));
            }
        }
    }
    if out.contains(&Dim::Unknown) {
        ctx.note("its target shape has extents that are computed at run time");
    }
    ctx.done(dtype, out)?;
    keep_content(ctx);
    Ok(())
}

/// Two numbers must be the same; where names are involved they may be.
fn agree(a: &Product, b: &Product) -> bool {
    match (a.known(), b.known()) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    }
}

fn flatten(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, Some(vec![Dim::Unknown; 2]));
    let x = ctx.dims(0)?;
    let at = match ctx.node.int("axis").unwrap_or(1) {
        n if usize::try_from(n) == Ok(x.len()) => x.len(),
        n => dims::axis(n, x.len())?,
    };
    let side = |dims: &[Dim]| Product::of(dims).map_or(Dim::Unknown, |p| p.dim());
    let out = vec![side(&x[..at]), side(&x[at..])];
    if out.contains(&Dim::Unknown) {
        ctx.note(format!("a product of extents of {} has no name", dims::list(&[&x])));
    }
    ctx.done(dtype, out)
}

fn squeeze(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let x = ctx.dims(0)?;
    let drop: Vec<usize> = match ctx.ints_from("axes", 1)? {
        Some(list) => dims::axes(&list, x.len())?,
        None if x.iter().all(|d| d.known().is_some()) => {
            (0..x.len()).filter(|i| x[*i] == Dim::Known(1)).collect()
        }
        None => {
            return unknown(format!(
                "it drops the axes of extent 1, and which ones {} has is not known",
                dims::list(&[&x])
            ));
        }
    };
    if let Some(axis) = drop.iter().find(|a| x[**a].known().is_some_and(|n| n != 1)) {
        return contradiction(format!("it drops axis {axis} of {}, which is not 1", dims::list(&[&x])));
    }
    let out = (0..x.len()).filter(|i| !drop.contains(i)).map(|i| x[i].clone()).collect();
    ctx.done(dtype, out)?;
    keep_content(ctx);
    Ok(())
}

fn unsqueeze(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let x = ctx.dims(0)?;
    let Some(list) = ctx.ints_from("axes", 1)? else { return contradiction("its axes are missing") };
    let rank = x.len() + list.len();
    let new = dims::axes(&list, rank)?;
    let mut added = vec![false; rank];
    for axis in new {
        added[axis] = true;
    }
    let mut rest = x.into_iter();
    let out = added
        .into_iter()
        .map(|added| if added { Dim::Known(1) } else { rest.next().unwrap_or(Dim::Unknown) })
        .collect();
    ctx.done(dtype, out)?;
    keep_content(ctx);
    Ok(())
}

fn transpose(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let x = ctx.dims(0)?;
    let order = match ctx.node.ints("perm") {
        None => (0..x.len()).rev().collect(),
        Some(perm) if perm.len() == x.len() && perm.iter().all(|p| *p >= 0) => dims::axes(perm, x.len())?,
        Some(perm) => return contradiction(format!("perm {perm:?} does not fit {}", dims::list(&[&x]))),
    };
    ctx.done(dtype, order.into_iter().map(|i| x[i].clone()).collect())?;
    keep_content(ctx);
    Ok(())
}

fn expand(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let x = ctx.dims(0)?;
    let target = if let Some(data) = ctx.value(1) {
        shape_of(&data)
    } else {
        ctx.ty(1)?;
        match described_rank(ctx, 1) {
            Some(rank) => vec![Dim::Unknown; rank],
            None => return unknown("its target shape is computed at run time"),
        }
    };
    ctx.env.meet_all(&[&x, &target]);
    let out = dims::broadcast(&[&x, &target])?;
    if out.contains(&Dim::Unknown) {
        ctx.note("its target shape has extents that are computed at run time");
    }
    ctx.done(dtype, out)?;
    if let ([Dim::Known(n)], Some([elem])) =
        (target.as_slice(), ctx.value(0).as_ref().map(|d| d.elems.as_slice()))
        && *n <= super::data::LIMIT
    {
        let elems = vec![elem.clone(); *n];
        ctx.follow(Some(Data::list(elems)));
    }
    Ok(())
}

fn tile(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let x = ctx.dims(0)?;
    let Some(repeats) = ctx.value(1) else {
        ctx.set(0, dtype, Some(vec![Dim::Unknown; x.len()]));
        ctx.ty(1)?;
        return unknown("its repeats are computed at run time");
    };
    if repeats.elems.len() != x.len() {
        return contradiction(format!("it has {} repeats for rank {}", repeats.elems.len(), x.len()));
    }
    let mut out = Vec::with_capacity(x.len());
    for (dim, repeat) in x.iter().zip(&repeats.elems) {
        out.push(match repeat {
            Elem::Int(n) => dims::mul(dim, *n)?,
            Elem::Symbol(s) if *dim == Dim::Known(1) => Dim::Symbol(s.clone()),
            _ => Dim::Unknown,
        });
    }
    ctx.done(dtype, out)
}

fn shape(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.set(0, DataType::Int64, Some(vec![Dim::Unknown]));
    let x = ctx.dims(0)?;
    let end = |name: &str, default: usize| match ctx.node.int(name) {
        None => default,
        Some(n) if n < 0 => usize::try_from(n.saturating_add(x.len() as i64)).unwrap_or(0),
        Some(n) => usize::try_from(n).map_or(x.len(), |n| n.min(x.len())),
    };
    let (from, to) = (end("start", 0), end("end", x.len()));
    let part = &x[from..to.max(from)];
    ctx.done(DataType::Int64, vec![Dim::Known(part.len())])?;
    ctx.follow(Some(Data::list(part.iter().map(Elem::from).collect())));
    Ok(())
}

fn size(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.done(DataType::Int64, Vec::new())?;
    let elem = ctx.dims(0).ok().and_then(|x| Product::of(&x)).map_or(Elem::Unknown, |p| Elem::from(&p.dim()));
    ctx.follow(Some(Data { scalar: true, elems: vec![elem] }));
    Ok(())
}
