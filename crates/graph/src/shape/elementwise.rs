//! Operators of several operands under numpy's broadcasting rules.

use super::context::{Ctx, Stop, contradiction};
use super::data::{Data, Elem};
use super::dims;
use super::registry::Family;
use crate::DataType;

pub(super) const OPS: Family = &[
    ("Add", add),
    ("And", and),
    ("BitShift", same_type),
    ("BitwiseAnd", same_type),
    ("BitwiseOr", same_type),
    ("BitwiseXor", same_type),
    ("Div", div),
    ("Equal", equal),
    ("Greater", greater),
    ("GreaterOrEqual", greater_or_equal),
    ("Less", less),
    ("LessOrEqual", less_or_equal),
    ("Max", max),
    ("Mean", same_type),
    ("Min", min),
    ("Mod", modulo),
    ("Mul", mul),
    ("Or", or),
    ("Pow", pow),
    ("Sub", sub),
    ("Sum", same_type),
    ("Where", select),
    ("Xor", comparison),
];

/// Broadcasts the inputs from `first` on, and gives the result an element type.
fn broadcast(ctx: &mut Ctx, first: usize, dtype: DataType) -> Result<(), Stop> {
    ctx.set(0, dtype, None);
    let shapes = (first..ctx.inputs.len()).map(|i| ctx.dims(i)).collect::<Result<Vec<_>, _>>()?;
    let shapes: Vec<&[crate::Dim]> = shapes.iter().map(Vec::as_slice).collect();
    ctx.env.meet_all(&shapes);
    let out = dims::broadcast(&shapes)?;
    if out.contains(&crate::Dim::Unknown) {
        ctx.note(format!("the shapes {} broadcast to extents that have no name", dims::list(&shapes)));
    }
    ctx.done(dtype, out)
}

fn same_type(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    for i in 1..ctx.inputs.len() {
        let other = ctx.dtype(i)?;
        if other != dtype {
            return contradiction(format!("its operands have the element types {dtype} and {other}"));
        }
    }
    broadcast(ctx, 0, dtype)
}

fn pow(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    broadcast(ctx, 0, dtype)
}

fn comparison(ctx: &mut Ctx) -> Result<(), Stop> {
    broadcast(ctx, 0, DataType::Bool)
}

/// Follows the content of two operands.
fn follow(ctx: &mut Ctx, op: impl Fn(&Elem, &Elem) -> Elem) {
    if ctx.inputs.len() != 2 {
        return;
    }
    let data = ctx.value(0).zip(ctx.value(1)).and_then(|(a, b)| a.zip(&b, op));
    ctx.follow(data);
}

fn arithmetic(
    ctx: &mut Ctx,
    int: fn(i64, i64) -> Option<i64>,
    float: fn(f32, f32) -> f32,
    symbol: fn(&Elem, &Elem) -> Elem,
) -> Result<(), Stop> {
    same_type(ctx)?;
    follow(ctx, |a, b| match (a, b) {
        (Elem::Int(a), Elem::Int(b)) => int(*a, *b).map_or(Elem::Unknown, Elem::Int),
        (Elem::Float(a), Elem::Float(b)) => Elem::Float(float(*a, *b)),
        _ => symbol(a, b),
    });
    Ok(())
}

/// Whether an element is this number.
fn is(elem: &Elem, number: i64) -> bool {
    matches!(elem, Elem::Int(v) if *v == number) || matches!(elem, Elem::Float(v) if *v == number as f32)
}

fn add(ctx: &mut Ctx) -> Result<(), Stop> {
    arithmetic(
        ctx,
        i64::checked_add,
        |a, b| a + b,
        |a, b| match (a, b) {
            (x, zero) | (zero, x) if is(zero, 0) => x.clone(),
            _ => Elem::Unknown,
        },
    )
}

fn sub(ctx: &mut Ctx) -> Result<(), Stop> {
    arithmetic(
        ctx,
        i64::checked_sub,
        |a, b| a - b,
        |a, b| match (a, b) {
            (x, zero) if is(zero, 0) => x.clone(),
            (Elem::Symbol(x), Elem::Symbol(y)) if x == y => Elem::Int(0),
            _ => Elem::Unknown,
        },
    )
}

fn mul(ctx: &mut Ctx) -> Result<(), Stop> {
    arithmetic(
        ctx,
        i64::checked_mul,
        |a, b| a * b,
        |a, b| match (a, b) {
            (x, one) | (one, x) if is(one, 1) => x.clone(),
            _ => Elem::Unknown,
        },
    )
}

fn div(ctx: &mut Ctx) -> Result<(), Stop> {
    arithmetic(
        ctx,
        i64::checked_div,
        |a, b| a / b,
        |a, b| match (a, b) {
            (x, one) if is(one, 1) => x.clone(),
            (Elem::Symbol(x), Elem::Symbol(y)) if x == y => Elem::Int(1),
            _ => Elem::Unknown,
        },
    )
}

/// Python's remainder for integers: the sign of the divisor.
fn modulo(ctx: &mut Ctx) -> Result<(), Stop> {
    same_type(ctx)?;
    let truncated = ctx.node.int("fmod").unwrap_or(0) != 0;
    follow(ctx, |a, b| match (a, b) {
        (Elem::Int(a), Elem::Int(b)) => a.checked_rem(*b).map_or(Elem::Unknown, |r| {
            Elem::Int(if !truncated && r != 0 && (r < 0) != (*b < 0) { r + b } else { r })
        }),
        _ => Elem::Unknown,
    });
    Ok(())
}

fn min(ctx: &mut Ctx) -> Result<(), Stop> {
    arithmetic(ctx, |a, b| Some(a.min(b)), f32::min, |a, b| if a == b { a.clone() } else { Elem::Unknown })
}

fn max(ctx: &mut Ctx) -> Result<(), Stop> {
    arithmetic(ctx, |a, b| Some(a.max(b)), f32::max, |a, b| if a == b { a.clone() } else { Elem::Unknown })
}

/// Follows a comparison of numbers.
fn compare(ctx: &mut Ctx, int: fn(&i64, &i64) -> bool, float: fn(&f32, &f32) -> bool) -> Result<(), Stop> {
    comparison(ctx)?;
    follow(ctx, |a, b| match (a, b) {
        (Elem::Int(a), Elem::Int(b)) => Elem::Int(i64::from(int(a, b))),
        (Elem::Float(a), Elem::Float(b)) => Elem::Int(i64::from(float(a, b))),
        _ => Elem::Unknown,
    });
    Ok(())
}

fn greater(ctx: &mut Ctx) -> Result<(), Stop> {
    compare(ctx, |a, b| a > b, |a, b| a > b)
}

fn greater_or_equal(ctx: &mut Ctx) -> Result<(), Stop> {
    compare(ctx, |a, b| a >= b, |a, b| a >= b)
}

fn less(ctx: &mut Ctx) -> Result<(), Stop> {
    compare(ctx, |a, b| a < b, |a, b| a < b)
}

fn less_or_equal(ctx: &mut Ctx) -> Result<(), Stop> {
    compare(ctx, |a, b| a <= b, |a, b| a <= b)
}

/// A named extent equals itself, and no negative number (exporters compare shapes with -1).
fn equal(ctx: &mut Ctx) -> Result<(), Stop> {
    comparison(ctx)?;
    follow(ctx, |a, b| match (a, b) {
        (Elem::Int(a), Elem::Int(b)) => Elem::Int(i64::from(a == b)),
        (Elem::Float(a), Elem::Float(b)) => Elem::Int(i64::from(a == b)),
        (Elem::Symbol(a), Elem::Symbol(b)) if a == b => Elem::Int(1),
        (Elem::Symbol(_), Elem::Int(v)) | (Elem::Int(v), Elem::Symbol(_)) if *v < 0 => Elem::Int(0),
        _ => Elem::Unknown,
    });
    Ok(())
}

fn and(ctx: &mut Ctx) -> Result<(), Stop> {
    comparison(ctx)?;
    follow(ctx, |a, b| match (a, b) {
        (Elem::Int(0), _) | (_, Elem::Int(0)) => Elem::Int(0),
        (Elem::Int(_), Elem::Int(_)) => Elem::Int(1),
        _ => Elem::Unknown,
    });
    Ok(())
}

fn or(ctx: &mut Ctx) -> Result<(), Stop> {
    comparison(ctx)?;
    follow(ctx, |a, b| match (a, b) {
        (Elem::Int(0), Elem::Int(0)) => Elem::Int(0),
        (Elem::Int(1), _) | (_, Elem::Int(1)) => Elem::Int(1),
        _ => Elem::Unknown,
    });
    Ok(())
}

fn select(ctx: &mut Ctx) -> Result<(), Stop> {
    let (a, b) = (ctx.dtype(1)?, ctx.dtype(2)?);
    if a != b {
        return contradiction(format!("its branches have the element types {a} and {b}"));
    }
    broadcast(ctx, 0, a)?;
    let Some(((condition, yes), no)) = ctx.value(0).zip(ctx.value(1)).zip(ctx.value(2)) else {
        return Ok(());
    };
    let lengths = [condition.elems.len(), yes.elems.len(), no.elems.len()];
    let length = if lengths.contains(&0) { 0 } else { lengths.into_iter().max().unwrap_or(0) };
    let at = |data: &Data, i: usize| data.elems.get(if data.elems.len() == 1 { 0 } else { i }).cloned();
    let elems = (0..length).map(|i| {
        let (yes, no) = (at(&yes, i)?, at(&no, i)?);
        Some(match at(&condition, i)? {
            Elem::Int(0) => no,
            Elem::Int(_) => yes,
            _ if yes == no => yes,
            _ => Elem::Unknown,
        })
    });
    let scalar = condition.scalar && yes.scalar && no.scalar;
    let data = elems.collect::<Option<Vec<_>>>().map(|elems| Data { scalar, elems });
    ctx.follow(data);
    Ok(())
}
