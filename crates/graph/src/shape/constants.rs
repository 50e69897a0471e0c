//! Operators that make tensors from attributes or from shapes.

use super::context::{Ctx, Stop, contradiction, unknown};
use super::data::{Data, Elem, LIMIT};
use super::dims;
use super::registry::Family;
use super::reshape::shape_of;
use crate::{Attribute, DataType, Dim};

pub(super) const OPS: Family = &[
    ("Bernoulli", like),
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("EyeLike", like),
    ("RandomNormal", random),
    ("RandomNormalLike", like),
    ("RandomUniform", random),
    ("RandomUniformLike", like),
    ("Range", range),
];

fn constant(ctx: &mut Ctx) -> Result<(), Stop> {
    for (name, value) in &ctx.node.attributes {
        let (dtype, data) = match (name.as_str(), value) {
            ("value", Attribute::Tensor(t)) => {
                ctx.set(0, t.dtype(), Some(t.dims().iter().map(|d| Dim::Known(*d)).collect()));
                ctx.follow(Data::of(t));
                return Ok(());
            }
            ("value_int", Attribute::Int(v)) => {
                (DataType::Int64, Data { scalar: true, elems: vec![Elem::Int(*v)] })
            }
            ("value_float", Attribute::Float(v)) => {
                (DataType::Float, Data { scalar: true, elems: vec![Elem::Float(*v)] })
            }
            ("value_ints", Attribute::Ints(v)) => {
                (DataType::Int64, Data::list(v.iter().map(|v| Elem::Int(*v)).collect()))
            }
            ("value_floats", Attribute::Floats(v)) => {
                (DataType::Float, Data::list(v.iter().map(|v| Elem::Float(*v)).collect()))
            }
            ("value_string", _) => return ctx.done(DataType::String, Vec::new()),
            ("value_strings", Attribute::Strings(v)) => {
                return ctx.done(DataType::String, vec![Dim::Known(v.len())]);
            }
            _ => continue,
        };
        let shape = if data.scalar { Vec::new() } else { vec![Dim::Known(data.elems.len())] };
        ctx.done(dtype, shape)?;
        ctx.follow(Some(data));
        return Ok(());
    }
    unknown("it has no value that is supported")
}

fn constant_of_shape(ctx: &mut Ctx) -> Result<(), Stop> {
    let value = ctx.node.tensor("value");
    let dtype = value.map_or(DataType::Float, crate::Tensor::dtype);
    ctx.set(0, dtype, None);
    ctx.ty(0)?;
    let Some(target) = ctx.value(0) else {
        if let Some([Dim::Known(rank @ 0..=64)]) = ctx.ty(0)?.shape.as_deref() {
            let rank = *rank;
            ctx.set(0, dtype, Some(vec![Dim::Unknown; rank]));
        }
        return unknown("its shape is computed at run time");
    };
    if let Some(bad) = target.elems.iter().filter_map(Elem::int).find(|n| *n < 0) {
        return contradiction(format!("an extent would be {bad}"));
    }
    let out = shape_of(&target);
    if out.contains(&Dim::Unknown) {
        ctx.note("its shape has extents that are computed at run time");
    }
    let length = match out.as_slice() {
        [] => Some(1),
        [Dim::Known(n)] if *n <= LIMIT => Some(*n),
        _ => None,
    };
    let scalar = out.is_empty();
    ctx.done(dtype, out)?;
    if let Some(length) = length {
        let elem = match value {
            None => Some(Elem::Float(0.0)),
            Some(v) => Data::of(v).and_then(|d| d.elems.first().cloned()),
        };
        ctx.follow(elem.map(|e| Data { scalar, elems: vec![e; length] }));
    }
    Ok(())
}

/// `max(⌈(limit − start) / delta⌉, 0)` elements.
fn range(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, Some(vec![Dim::Unknown]));
    let elem = |i: usize| ctx.value(i).and_then(|d| d.elems.first().cloned());
    match (elem(0), elem(1), elem(2)) {
        (_, _, Some(Elem::Int(0))) => contradiction("its step is 0"),
        (Some(Elem::Int(start)), Some(Elem::Int(limit)), Some(Elem::Int(delta))) => {
            let span = i128::from(limit) - i128::from(start);
            let delta = i128::from(delta);
            let count = if (span > 0) == (delta > 0) && span != 0 {
                span.unsigned_abs().div_ceil(delta.unsigned_abs())
            } else {
                0
            };
            let Ok(count) = i64::try_from(count) else { return contradiction("its length overflows") };
            ctx.done(dtype, vec![dims::known(count)?])?;
            if count <= LIMIT as i64 {
                let at = |i: i64| i64::try_from(i128::from(start) + i128::from(i) * delta);
                let elems = (0..count).map(|i| at(i).map_or(Elem::Unknown, Elem::Int)).collect();
                ctx.follow(Some(Data::list(elems)));
            }
            Ok(())
        }
        (Some(Elem::Int(0)), Some(Elem::Symbol(s)), Some(Elem::Int(1))) => {
            ctx.done(dtype, vec![Dim::Symbol(s)])
        }
        (Some(Elem::Float(start)), Some(Elem::Float(limit)), Some(Elem::Float(delta))) => {
            let count = ((f64::from(limit) - f64::from(start)) / f64::from(delta)).ceil().max(0.0);
            if !count.is_finite() {
                return contradiction("its length is not finite");
            }
            ctx.done(dtype, vec![dims::known(count as i64)?])
        }
        _ => unknown("its length is computed at run time"),
    }
}

/// The element type that the attribute `dtype` names.
fn asked(ctx: &Ctx) -> Option<DataType> {
    ctx.node.int("dtype").and_then(|n| DataType::from_onnx(i32::try_from(n).ok()?))
}

fn random(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = asked(ctx).unwrap_or(DataType::Float);
    let shape = ctx.node.ints("shape").unwrap_or_default();
    let shape = shape.iter().map(|n| dims::known(*n)).collect::<Result<_, _>>()?;
    ctx.done(dtype, shape)
}

fn like(ctx: &mut Ctx) -> Result<(), Stop> {
    let ty = ctx.ty(0)?.clone();
    ctx.set(0, asked(ctx).unwrap_or(ty.dtype), ty.shape);
    Ok(())
}
