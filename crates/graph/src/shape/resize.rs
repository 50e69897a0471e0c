//! Changes of resolution, and moves between space and channels.

use super::context::{Ctx, Stop, contradiction, unknown};
use super::data::Elem;
use super::dims;
use super::registry::Family;
use crate::{DataType, Dim};

pub(super) const OPS: Family = &[
    ("DepthToSpace", depth_to_space),
    ("Resize", resize),
    ("SpaceToDepth", space_to_depth),
    ("Upsample", upsample),
];

/// `⌊extent · scale⌋`, in float32 as the format computes it.
fn scaled(dim: &Dim, scale: f32) -> Result<Dim, Stop> {
    match dim {
        Dim::Known(n) => {
            let out = (*n as f32 * scale).floor();
            if out.is_finite() {
                dims::known(out as i64)
            } else {
                contradiction(format!("its scale is {scale}"))
            }
        }
        other if scale == 1.0 => Ok(other.clone()),
        _ => Ok(Dim::Unknown),
    }
}

fn by_scales(ctx: &mut Ctx, dtype: DataType, axes: &[usize], scales: &[Elem]) -> Result<(), Stop> {
    let mut out = ctx.dims(0)?;
    if scales.len() != axes.len() {
        return contradiction(format!("it has {} scales for {} axes", scales.len(), axes.len()));
    }
    for (axis, scale) in axes.iter().zip(scales) {
        out[*axis] = match scale.float() {
            Some(scale) => scaled(&out[*axis], scale)?,
            None => Dim::Unknown,
        };
    }
    if out.contains(&Dim::Unknown) {
        ctx.note("an extent times a scale has no name, or the scale is computed at run time");
    }
    ctx.done(dtype, out)
}

fn upsample(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let rank = ctx.dims(0)?.len();
    let axes: Vec<usize> = (0..rank).collect();
    let scales = match ctx.node.attributes.get("scales") {
        Some(crate::Attribute::Floats(scales)) => Some(scales.iter().map(|s| Elem::Float(*s)).collect()),
        _ => ctx.value(1).map(|d| d.elems.clone()),
    };
    let Some(scales) = scales else {
        ctx.set(0, dtype, Some(vec![Dim::Unknown; rank]));
        return unknown("its scales are computed at run time");
    };
    by_scales(ctx, dtype, &axes, &scales)
}

fn resize(ctx: &mut Ctx) -> Result<(), Stop> {
    if ctx.opset < 11 {
        return upsample(ctx);
    }
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let x = ctx.dims(0)?;
    let axes = match ctx.node.ints("axes") {
        Some(list) => dims::axes(list, x.len())?,
        None => (0..x.len()).collect(),
    };
    // An input that is there but empty counts as absent.
    let present = |input: usize| {
        ctx.has(input) && ctx.ty(input).is_ok_and(|t| t.shape.as_deref() != Some(&[Dim::Known(0)]))
    };
    let mut out = x.clone();
    if present(3) {
        match ctx.value(3) {
            None => forget(&mut out, &axes),
            Some(sizes) if sizes.elems.len() != axes.len() => {
                return contradiction(format!("it has {} sizes for {} axes", sizes.elems.len(), axes.len()));
            }
            Some(sizes) => {
                for (axis, size) in axes.iter().zip(&sizes.elems) {
                    out[*axis] = match size {
                        Elem::Int(n) => dims::known(*n)?,
                        Elem::Symbol(s) => Dim::Symbol(s.clone()),
                        _ => Dim::Unknown,
                    };
                }
                let policy = ctx.node.text("keep_aspect_ratio_policy").unwrap_or("stretch");
                if policy != "stretch" {
                    keep_ratio(&x, &mut out, &axes, policy)?;
                }
            }
        }
        if out.contains(&Dim::Unknown) {
            ctx.note("its sizes are computed at run time");
        }
        return ctx.done(dtype, out);
    }
    if !ctx.has(2) {
        return contradiction("it has neither scales nor sizes");
    }
    let Some(scales) = ctx.value(2) else {
        forget(&mut out, &axes);
        ctx.note("its scales are computed at run time");
        return ctx.done(dtype, out);
    };
    by_scales(ctx, dtype, &axes, &scales.elems)
}

fn forget(out: &mut [Dim], axes: &[usize]) {
    for axis in axes {
        out[*axis] = Dim::Unknown;
    }
}

/// One scale for all axes: the largest with which no axis exceeds its size (or the smallest with which all reach it).
fn keep_ratio(x: &[Dim], out: &mut [Dim], axes: &[usize], policy: &str) -> Result<(), Stop> {
    let ratios: Option<Vec<f32>> =
        axes.iter().map(|a| Some(out[*a].known()? as f32 / x[*a].known()? as f32)).collect();
    let Some(ratios) = ratios else {
        forget(out, axes);
        return Ok(());
    };
    let scale = match policy {
        "not_larger" => ratios.into_iter().reduce(f32::min),
        "not_smaller" => ratios.into_iter().reduce(f32::max),
        other => return contradiction(format!("keep_aspect_ratio_policy {other:?} is not defined")),
    };
    for axis in axes {
        let n = x[*axis].known().unwrap_or(0) as f32 * scale.unwrap_or(1.0);
        out[*axis] = if n.is_finite() { dims::known((n + 0.5).floor() as i64)? } else { Dim::Unknown };
    }
    Ok(())
}

fn block(ctx: &Ctx) -> Result<usize, Stop> {
    match ctx.node.int("blocksize").and_then(|b| usize::try_from(b).ok()) {
        Some(b) if b > 0 && b <= 1 << 15 => Ok(b),
        _ => contradiction("its blocksize is not usable"),
    }
}

/// `dim / n`, where it divides.
fn divide(dim: &Dim, n: usize) -> Result<Dim, Stop> {
    match dim {
        Dim::Known(d) if d.is_multiple_of(n) => Ok(Dim::Known(d / n)),
        Dim::Known(d) => contradiction(format!("its extent {d} is not a multiple of {n}")),
        other if n == 1 => Ok(other.clone()),
        _ => Ok(Dim::Unknown),
    }
}

fn depth_to_space(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, Some(vec![Dim::Unknown; 4]));
    let (x, b) = (ctx.dims_of_rank(0, 4)?, block(ctx)?);
    let out =
        vec![x[0].clone(), divide(&x[1], b * b)?, dims::mul(&x[2], b as i64)?, dims::mul(&x[3], b as i64)?];
    ctx.done(dtype, out)
}

fn space_to_depth(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, Some(vec![Dim::Unknown; 4]));
    let (x, b) = (ctx.dims_of_rank(0, 4)?, block(ctx)?);
    let out = vec![x[0].clone(), dims::mul(&x[1], (b * b) as i64)?, divide(&x[2], b)?, divide(&x[3], b)?];
    ctx.done(dtype, out)
}
