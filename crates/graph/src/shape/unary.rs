//! Operators whose output has the shape of their first input.

use super::context::{Ctx, Stop, contradiction};
use super::data::{Data, Elem};
use super::registry::Family;
use crate::{DataType, DataType as T};

pub(super) const OPS: Family = &[
    ("Abs", same),
    ("Acos", same),
    ("Acosh", same),
    ("Asin", same),
    ("Asinh", same),
    ("Atan", same),
    ("Atanh", same),
    ("BitwiseNot", same),
    ("Cast", cast),
    ("CastLike", cast_like),
    ("Ceil", ceil),
    ("Celu", same),
    ("Clip", same),
    ("Cos", same),
    ("Cosh", same),
    ("CumSum", same),
    ("Elu", same),
    ("Erf", same),
    ("Exp", same),
    ("Floor", floor),
    ("Gelu", same),
    ("HardSigmoid", same),
    ("HardSwish", same),
    ("Hardmax", same),
    ("Identity", identity),
    ("IsInf", test),
    ("IsNaN", test),
    ("LeakyRelu", same),
    ("Log", same),
    ("LogSoftmax", same),
    ("Mish", same),
    ("Neg", neg),
    ("Not", not),
    ("PRelu", same),
    ("Reciprocal", same),
    ("Relu", same),
    ("ReverseSequence", same),
    ("Round", round),
    ("Selu", same),
    ("Shrink", same),
    ("Sigmoid", same),
    ("Sign", same),
    ("Sin", same),
    ("Sinh", same),
    ("Softmax", same),
    ("Softplus", same),
    ("Softsign", same),
    ("Sqrt", same),
    ("Swish", same),
    ("Tan", same),
    ("Tanh", same),
    ("ThresholdedRelu", same),
    ("Trilu", same),
];

pub(super) fn same(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.same_as(0)
}

fn identity(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.same_as(0)?;
    let data = ctx.value(0).map(|d| (*d).clone());
    ctx.follow(data);
    Ok(())
}

fn test(ctx: &mut Ctx) -> Result<(), Stop> {
    let shape = ctx.ty(0)?.shape.clone();
    ctx.set(0, DataType::Bool, shape);
    Ok(())
}

fn not(ctx: &mut Ctx) -> Result<(), Stop> {
    test(ctx)?;
    map(ctx, |e| e.int().map_or(Elem::Unknown, |v| Elem::Int(i64::from(v == 0))));
    Ok(())
}

fn neg(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.same_as(0)?;
    map(ctx, |e| match e {
        Elem::Int(v) => v.checked_neg().map_or(Elem::Unknown, Elem::Int),
        Elem::Float(v) => Elem::Float(-v),
        _ => Elem::Unknown,
    });
    Ok(())
}

fn floor(ctx: &mut Ctx) -> Result<(), Stop> {
    rounded(ctx, f32::floor)
}

fn ceil(ctx: &mut Ctx) -> Result<(), Stop> {
    rounded(ctx, f32::ceil)
}

fn round(ctx: &mut Ctx) -> Result<(), Stop> {
    rounded(ctx, f32::round_ties_even)
}

/// A named extent is whole, so rounding it changes nothing.
fn rounded(ctx: &mut Ctx, op: fn(f32) -> f32) -> Result<(), Stop> {
    ctx.same_as(0)?;
    map(ctx, |e| match e {
        Elem::Float(v) => Elem::Float(op(*v)),
        other => other.clone(),
    });
    Ok(())
}

fn map(ctx: &mut Ctx, op: impl Fn(&Elem) -> Elem) {
    let data = ctx.value(0).map(|d| Data { scalar: d.scalar, elems: d.elems.iter().map(op).collect() });
    ctx.follow(data);
}

fn cast(ctx: &mut Ctx) -> Result<(), Stop> {
    let to = ctx.node.int("to").and_then(|n| DataType::from_onnx(i32::try_from(n).ok()?));
    let Some(to) = to else { return contradiction("its attribute \"to\" is not an element type") };
    cast_to(ctx, to)
}

fn cast_like(ctx: &mut Ctx) -> Result<(), Stop> {
    let to = ctx.dtype(1)?;
    cast_to(ctx, to)
}

fn cast_to(ctx: &mut Ctx, to: DataType) -> Result<(), Stop> {
    // The element type is known even where the input is not.
    ctx.set(0, to, None);
    let shape = ctx.ty(0)?.shape.clone();
    ctx.set(0, to, shape);
    map(ctx, |e| match (e, to) {
        (Elem::Int(v), T::Bool) => Elem::Int(i64::from(*v != 0)),
        (Elem::Float(v), T::Bool) => Elem::Int(i64::from(*v != 0.0)),
        (Elem::Int(_) | Elem::Symbol(_), T::Int64 | T::Int32)
        | (Elem::Float(_) | Elem::Symbol(_), T::Float) => e.clone(),
        (Elem::Int(v), T::Float) => Elem::Float(*v as f32),
        (Elem::Float(v), T::Int64 | T::Int32) if v.is_finite() => Elem::Int(*v as i64),
        _ => Elem::Unknown,
    });
    Ok(())
}
