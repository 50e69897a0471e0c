//! Arithmetic on two or more tensors with broadcasting.

use shiftwise_graph::Value;
use shiftwise_kernels::broadcast::{BinaryOp, binary, binary_in_place, broadcast_shape};

use super::layout::expanded;
use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, results};
use crate::pool::Workspace;
use crate::scalar::{count, slice, value};

pub(super) const OPS: &[Op] = &[
    Op::float("Add", compile),
    Op::float("Sub", compile),
    Op::float("Mul", compile),
    Op::float("Div", compile),
    Op::float("Min", compile),
    Op::float("Max", compile),
    Op::float("Pow", compile),
    Op::float("PRelu", compile),
    Op::float("Mod", compile),
    Op::float("Sum", compile),
    Op::float("Mean", compile),
];

/// An operator on integers; `None` where there is no result.
type Whole = fn(i64, i64) -> Option<i64>;

#[derive(Clone, Copy)]
struct Arithmetic {
    float: BinaryOp,
    whole: Option<Whole>,
    /// Whether operands may change places.
    commutes: bool,
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let op = |float, commutes, whole| Arithmetic { float, whole, commutes };
    let name = cx.node.op_type.as_str();
    let chosen = match name {
        "Add" | "Sum" | "Mean" => op(BinaryOp::Add, true, Some((|a, b| Some(a.wrapping_add(b))) as Whole)),
        "Sub" => op(BinaryOp::Sub, false, Some((|a, b| Some(a.wrapping_sub(b))) as Whole)),
        "Mul" => op(BinaryOp::Mul, true, Some((|a, b| Some(a.wrapping_mul(b))) as Whole)),
        "Div" => op(BinaryOp::Div, false, Some(divide as Whole)),
        "Min" => op(BinaryOp::Min, true, Some((|a, b| Some(a.min(b))) as Whole)),
        "Max" => op(BinaryOp::Max, true, Some((|a, b| Some(a.max(b))) as Whole)),
        "Pow" => op(BinaryOp::Pow, false, Some(power as Whole)),
        "PRelu" => op(BinaryOp::PRelu, false, None),
        "Mod" => return modulo(cx),
        other => return Err(format!("operator {other} is not supported")),
    };
    let many = matches!(name, "Sum" | "Mean" | "Min" | "Max");
    if cx.node.inputs.is_empty() || (!many && cx.node.inputs.len() != 2) {
        return Err(format!("it has {} inputs", cx.node.inputs.len()));
    }
    let mean = name == "Mean";
    Ok(Box::new(move |args, ws| {
        if args.count() == 1 {
            return Ok(results![args.take_or_copy(0, ws)?]);
        }
        let mut result = apply(chosen, args, 0, 1, ws)?;
        for i in 2..args.count() {
            let rest = match args.take(i) {
                Some(v) => v,
                None => crate::args::copy(args.value(i)?, ws),
            };
            let mut pair =
                Args(smallvec::smallvec![crate::args::Arg::Owned(result), crate::args::Arg::Owned(rest)]);
            result = apply(chosen, &mut pair, 0, 1, ws)?;
        }
        if mean && let Value::F32(a) = &mut result {
            let n = args.count() as f32;
            a.iter_mut().for_each(|v| *v /= n);
        }
        Ok(results![result])
    }))
}

fn divide(a: i64, b: i64) -> Option<i64> {
    if b == 0 { None } else { Some(a.wrapping_div(b)) }
}

fn power(a: i64, b: i64) -> Option<i64> {
    u32::try_from(b).ok().map(|b| a.wrapping_pow(b))
}

fn apply(op: Arithmetic, args: &mut Args<'_>, i: usize, j: usize, ws: &mut Workspace) -> Outcome<Value> {
    let (a, b) = (args.value(i)?, args.value(j)?);
    let shape = broadcast_shape(a.shape(), b.shape())
        .ok_or_else(|| format!("values of shapes {:?} and {:?} do not broadcast", a.shape(), b.shape()))?;
    let len = count(&shape)?;
    if op.float == BinaryOp::PRelu && shape != a.shape() {
        return Err(format!("a slope of shape {:?} does not broadcast to {:?}", b.shape(), a.shape()));
    }
    if matches!(op.float, BinaryOp::Pow) {
        // The exponent may be of another type.
        if let (Value::F32(_), Value::I64(e)) = (a, b) {
            let exponent = Value::F32(e.mapv(|v| v as f32));
            let mut out = ws.floats(len);
            binary(
                op.float,
                args.f32(i)?.0,
                a.shape(),
                exponent.as_f32().unwrap_or(&[]),
                b.shape(),
                &mut out,
            );
            return Ok(Value::f32(&shape, out));
        }
        if let (Value::F32(_), Value::I32(e)) = (a, b) {
            let exponent = Value::F32(e.mapv(|v| v as f32));
            let mut out = ws.floats(len);
            binary(
                op.float,
                args.f32(i)?.0,
                a.shape(),
                exponent.as_f32().unwrap_or(&[]),
                b.shape(),
                &mut out,
            );
            return Ok(Value::f32(&shape, out));
        }
    }
    if let (Value::F32(_), Value::F32(_)) = (a, b) {
        let (fits_a, fits_b) = (a.shape() == shape, b.shape() == shape);
        let reuse_a = fits_a && args.is_owned(i);
        if reuse_a || (fits_b && op.commutes && args.is_owned(j)) {
            let (mine, other) = if reuse_a { (i, j) } else { (j, i) };
            if let Some(Value::F32(mut x)) = args.take(mine) {
                let (y, y_shape) = args.f32(other)?;
                if let Some(x) = x.as_slice_mut() {
                    binary_in_place(op.float, x, &shape, y, y_shape);
                }
                return Ok(Value::F32(x));
            }
        }
        let ((x, x_shape), (y, y_shape)) = (args.f32(i)?, args.f32(j)?);
        let mut out = ws.floats(len);
        binary(op.float, x, x_shape, y, y_shape, &mut out);
        return Ok(Value::f32(&shape, out));
    }
    let whole = op.whole.ok_or("it is not defined on integers")?;
    let (x, y) = (expanded(a, &shape, ws)?, expanded(b, &shape, ws)?);
    macro_rules! integers {
        ($($variant:ident $ty:ty),*) => {
            match (&x, &y) {
                $((Value::$variant(x), Value::$variant(y)) => {
                    let pairs = slice(x).iter().zip(slice(y));
                    let out: Option<Vec<$ty>> =
                        pairs.map(|(a, b)| whole(i64::from(*a), i64::from(*b)).map(|v| v as $ty)).collect();
                    value(&shape, out.ok_or("an integer is divided by zero or raised to a negative power")?)
                })*
                (Value::F64(x), Value::F64(y)) => double(op.float, slice(x), slice(y)).and_then(|v| value(&shape, v)),
                _ => Err(format!("values of {} and {} cannot be combined", a.dtype(), b.dtype())),
            }
        };
    }
    integers!(I64 i64, I32 i32, I16 i16, I8 i8, U32 u32, U16 u16, U8 u8)
}

fn double(op: BinaryOp, a: &[f64], b: &[f64]) -> Outcome<Vec<f64>> {
    let f: fn(f64, f64) -> f64 = match op {
        BinaryOp::Add => |a, b| a + b,
        BinaryOp::Sub => |a, b| a - b,
        BinaryOp::Mul => |a, b| a * b,
        BinaryOp::Div => |a, b| a / b,
        BinaryOp::Pow => f64::powf,
        _ => return Err("it is not supported on double".into()),
    };
    Ok(a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect())
}

/// Mod: with the sign of the divisor for integers, of the dividend with `fmod`.
fn modulo(cx: Cx<'_>) -> Outcome<Kernel> {
    let fmod = cx.flag("fmod", false);
    Ok(Box::new(move |args, ws| {
        let (a, b) = (args.value(0)?, args.value(1)?);
        let shape = broadcast_shape(a.shape(), b.shape()).ok_or_else(|| {
            format!("values of shapes {:?} and {:?} do not broadcast", a.shape(), b.shape())
        })?;
        count(&shape)?;
        let (x, y) = (expanded(a, &shape, ws)?, expanded(b, &shape, ws)?);
        macro_rules! whole {
            ($variant:ident, $ty:ty, $x:expr, $y:expr) => {{
                let out: Option<Vec<$ty>> = slice($x)
                    .iter()
                    .zip(slice($y))
                    .map(|(a, b)| {
                        let r = a.checked_rem(*b).or((*b == -1).then_some(0))?;
                        Some(if !fmod && r != 0 && (r < 0) != (*b < 0) { r + b } else { r })
                    })
                    .collect();
                value(&shape, out.ok_or("an integer is divided by zero")?)
            }};
        }
        let result = match (&x, &y) {
            (Value::F32(x), Value::F32(y)) if fmod => {
                value(&shape, slice(x).iter().zip(slice(y)).map(|(a, b)| a % b).collect::<Vec<f32>>())
            }
            (Value::I64(x), Value::I64(y)) => whole!(I64, i64, x, y),
            (Value::I32(x), Value::I32(y)) => whole!(I32, i32, x, y),
            _ => Err(format!("values of {} and {} cannot be combined", a.dtype(), b.dtype())),
        };
        Ok(results![result?])
    }))
}
