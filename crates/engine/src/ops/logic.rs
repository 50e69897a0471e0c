//! Comparisons, logic, and choosing by a condition.

use ndarray::{ArrayD, Zip};
use shiftwise_graph::Value;
use shiftwise_kernels::broadcast::broadcast_shape;

use super::layout::expanded;
use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, slice, value};

pub(super) const OPS: &[Op] = &[
    Op::any("Equal", compare),
    Op::any("Less", compare),
    Op::any("LessOrEqual", compare),
    Op::any("Greater", compare),
    Op::any("GreaterOrEqual", compare),
    Op::any("And", logical),
    Op::any("Or", logical),
    Op::any("Xor", logical),
    Op::any("Not", logical),
    Op::any("IsNaN", is_special),
    Op::any("IsInf", is_special),
    Op::any("Where", choose),
];

/// Two inputs broadcast to one shape.
fn pair(args: &Args<'_>, i: usize, j: usize, ws: &mut Workspace) -> Outcome<(Value, Value)> {
    let (a, b) = (args.value(i)?, args.value(j)?);
    let shape = broadcast_shape(a.shape(), b.shape())
        .ok_or_else(|| format!("values of shapes {:?} and {:?} do not broadcast", a.shape(), b.shape()))?;
    count(&shape)?;
    Ok((expanded(a, &shape, ws)?, expanded(b, &shape, ws)?))
}

/// Runs a block with both arrays, which must be of one type.
macro_rules! both {
    ($a:expr, $b:expr, $x:ident, $y:ident => $body:expr; $($variant:ident)*) => {
        match (&$a, &$b) {
            $((Value::$variant($x), Value::$variant($y)) => Ok($body),)*
            _ => Err(format!("values of {} and {} cannot be combined", $a.dtype(), $b.dtype())),
        }
    };
}

#[derive(Clone, Copy)]
enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

fn related<T: Scalar>(relation: Relation, a: &ArrayD<T>, b: &ArrayD<T>) -> ArrayD<bool> {
    let f: fn(&T, &T) -> bool = match relation {
        Relation::Equal => |a, b| a == b,
        Relation::Less => |a, b| a < b,
        Relation::LessOrEqual => |a, b| a <= b,
        Relation::Greater => |a, b| a > b,
        Relation::GreaterOrEqual => |a, b| a >= b,
    };
    Zip::from(a).and(b).map_collect(f)
}

fn compare(cx: Cx<'_>) -> Outcome<Kernel> {
    let relation = match cx.node.op_type.as_str() {
        "Equal" => Relation::Equal,
        "Less" => Relation::Less,
        "LessOrEqual" => Relation::LessOrEqual,
        "Greater" => Relation::Greater,
        _ => Relation::GreaterOrEqual,
    };
    Ok(Box::new(move |args, ws| {
        let (a, b) = pair(args, 0, 1, ws)?;
        let result = both!(a, b, x, y => related(relation, x, y);
            F32 F64 F16 Bf16 I64 I32 I16 I8 U64 U32 U16 U8 Bool)?;
        Ok(results![Value::from(result)])
    }))
}

fn logical(cx: Cx<'_>) -> Outcome<Kernel> {
    let f: fn(&bool, &bool) -> bool = match cx.node.op_type.as_str() {
        "Not" => {
            return Ok(Box::new(|args, _| match args.value(0)? {
                Value::Bool(a) => Ok(results![Value::Bool(a.mapv(|v| !v))]),
                other => Err(format!("its input is {}, not bool", other.dtype())),
            }));
        }
        "And" => |a, b| *a && *b,
        "Or" => |a, b| *a || *b,
        _ => |a, b| *a != *b,
    };
    Ok(Box::new(move |args, ws| {
        let (a, b) = pair(args, 0, 1, ws)?;
        let result = both!(a, b, x, y => Zip::from(x).and(y).map_collect(f); Bool)?;
        Ok(results![Value::from(result)])
    }))
}

fn is_special(cx: Cx<'_>) -> Outcome<Kernel> {
    let nan = cx.node.op_type == "IsNaN";
    let (negative, positive) = (cx.flag("detect_negative", true), cx.flag("detect_positive", true));
    Ok(Box::new(move |args, _| {
        let (x, shape) = args.f32(0)?;
        let infinite = |v: &f32| (positive && *v == f32::INFINITY) || (negative && *v == f32::NEG_INFINITY);
        let found: Vec<bool> = x.iter().map(|v| if nan { v.is_nan() } else { infinite(v) }).collect();
        Ok(results![value(shape, found)?])
    }))
}

fn choose(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let (condition, a, b) = (args.value(0)?, args.value(1)?, args.value(2)?);
        let shape =
            broadcast_shape(condition.shape(), a.shape()).and_then(|s| broadcast_shape(&s, b.shape()));
        let shape = shape.ok_or_else(|| {
            format!(
                "values of shapes {:?}, {:?}, {:?} do not broadcast",
                condition.shape(),
                a.shape(),
                b.shape()
            )
        })?;
        count(&shape)?;
        let condition = expanded(condition, &shape, ws)?;
        let Value::Bool(condition) = &condition else { return Err("its condition is not bool".into()) };
        let (mut a, b) = (expanded(a, &shape, ws)?, expanded(b, &shape, ws)?);
        macro_rules! pick {
            ($($variant:ident)*) => {
                match (&mut a, &b) {
                    $((Value::$variant(x), Value::$variant(y)) => {
                        for ((x, y), c) in x.iter_mut().zip(slice(y)).zip(slice(condition)) {
                            if !c {
                                *x = *y;
                            }
                        }
                    })*
                    _ => return Err(format!("values of {} and {} cannot be combined", a.dtype(), b.dtype())),
                }
            };
        }
        pick!(F32 F64 F16 Bf16 I64 I32 I16 I8 U64 U32 U16 U8 Bool);
        ws.recycle(b);
        Ok(results![a])
    }))
}
