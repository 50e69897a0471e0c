//! Comparisons, logic, and choosing by a condition.

use ndarray::ArrayD;
use shiftwise_graph::Value;
use shiftwise_kernels::broadcast::broadcast_shape;

use super::layout::expanded;
use super::pairs::zipped;
use super::{Cx, Op};
use crate::args::{Kernel, Outcome, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, slice};

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

/// Runs a block with both arrays, which must be of one type.
macro_rules! both {
    ($a:expr, $b:expr, $x:ident, $y:ident => $body:expr; $($variant:ident)*) => {
        match ($a, $b) {
            $((Value::$variant($x), Value::$variant($y)) => $body,)*
            (a, b) => Err(format!("values of {} and {} cannot be combined", a.dtype(), b.dtype())),
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

fn related<T: Scalar>(
    relation: Relation,
    a: &ArrayD<T>,
    b: &ArrayD<T>,
    ws: &mut Workspace,
) -> Outcome<Value> {
    match relation {
        Relation::Equal => zipped(a, b, ws, |a, b| a == b),
        Relation::Less => zipped(a, b, ws, |a, b| a < b),
        Relation::LessOrEqual => zipped(a, b, ws, |a, b| a <= b),
        Relation::Greater => zipped(a, b, ws, |a, b| a > b),
        Relation::GreaterOrEqual => zipped(a, b, ws, |a, b| a >= b),
    }
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
        let (a, b) = (args.value(0)?, args.value(1)?);
        both!(a, b, x, y => related(relation, x, y, ws); F32 F64 F16 Bf16 I64 I32 I16 I8 U64 U32 U16 U8 Bool)
            .map(|v| results![v])
    }))
}

fn logical(cx: Cx<'_>) -> Outcome<Kernel> {
    let f: fn(bool, bool) -> bool = match cx.node.op_type.as_str() {
        "Not" => {
            return Ok(Box::new(|args, _| match args.value(0)? {
                Value::Bool(a) => Ok(results![Value::Bool(a.mapv(|v| !v))]),
                other => Err(format!("its input is {}, not bool", other.dtype())),
            }));
        }
        "And" => |a, b| a && b,
        "Or" => |a, b| a || b,
        _ => |a, b| a != b,
    };
    Ok(Box::new(move |args, ws| {
        let (a, b) = (args.value(0)?, args.value(1)?);
        both!(a, b, x, y => zipped(x, y, ws, f); Bool).map(|v| results![v])
    }))
}

fn is_special(cx: Cx<'_>) -> Outcome<Kernel> {
    let nan = cx.node.op_type == "IsNaN";
    let (negative, positive) = (cx.flag("detect_negative", true), cx.flag("detect_positive", true));
    Ok(Box::new(move |args, _| {
        let wanted = |v: f64| {
            if nan {
                v.is_nan()
            } else {
                (positive && v == f64::INFINITY) || (negative && v == f64::NEG_INFINITY)
            }
        };
        Ok(results![Value::Bool(match args.value(0)? {
            Value::F32(a) => a.mapv(|v| wanted(v.into())),
            Value::F64(a) => a.mapv(wanted),
            Value::F16(a) => a.mapv(|v| wanted(v.into())),
            Value::Bf16(a) => a.mapv(|v| wanted(v.into())),
            other => return Err(format!("its input is {}, not floats", other.dtype())),
        })])
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
