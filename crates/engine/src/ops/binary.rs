//! Arithmetic on two or more tensors with broadcasting.

use shiftwise_graph::Value;
use shiftwise_kernels::broadcast::{BinaryOp, binary, binary_in_place};

use super::pairs::{common_shape, tried};
use super::{Cx, Op};
use crate::args::{Arg, Args, Kernel, Outcome, results};
use crate::number::{Number, both_numbers, each_number};
use crate::pool::Workspace;
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[
    Op::float("Add", compile),
    Op::float("Sub", compile),
    Op::float("Mul", compile),
    Op::float("Div", compile),
    Op::float("Min", compile),
    Op::float("Max", compile),
    Op::float("PRelu", compile),
    Op::float("Sum", compile),
    Op::float("Mean", compile),
];

fn commutes(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Add | BinaryOp::Mul)
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let name = cx.node.op_type.as_str();
    let op = match name {
        "Add" | "Sum" | "Mean" => BinaryOp::Add,
        "Sub" => BinaryOp::Sub,
        "Mul" => BinaryOp::Mul,
        "Div" => BinaryOp::Div,
        "Min" => BinaryOp::Min,
        "Max" => BinaryOp::Max,
        "PRelu" => BinaryOp::PRelu,
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
        let n = args.count();
        let mut result = apply(op, args, ws)?;
        for i in 2..n {
            let mut pair = Args(smallvec::smallvec![Arg::Owned(result), args.take_any(i)]);
            result = apply(op, &mut pair, ws)?;
        }
        if mean {
            match &mut result {
                Value::F32(a) => a.iter_mut().for_each(|v| *v /= n as f32),
                Value::F64(a) => a.iter_mut().for_each(|v| *v /= n as f64),
                other => return Err(format!("a mean of {} is not defined", other.dtype())),
            }
        }
        Ok(results![result])
    }))
}

/// The operator on the first two inputs.
fn apply(op: BinaryOp, args: &mut Args<'_>, ws: &mut Workspace) -> Outcome<Value> {
    let (a, b) = (args.value(0)?, args.value(1)?);
    let shape = common_shape(a.shape(), b.shape())?;
    if op == BinaryOp::PRelu && *shape != *a.shape() {
        return Err(format!("a slope of shape {:?} does not broadcast to {:?}", b.shape(), a.shape()));
    }
    if let (Value::F32(_), Value::F32(_)) = (a, b) {
        let (fits_a, fits_b) = (*a.shape() == *shape, *b.shape() == *shape);
        let reuse_a = fits_a && args.is_owned(0);
        if reuse_a || (fits_b && commutes(op) && args.is_owned(1)) {
            let (mine, other) = if reuse_a { (0, 1) } else { (1, 0) };
            if let Some(Value::F32(mut x)) = args.take(mine) {
                let (y, y_shape) = args.f32(other)?;
                if let Some(x) = x.as_slice_mut() {
                    binary_in_place(op, x, &shape, y, y_shape);
                }
                return Ok(Value::F32(x));
            }
        }
        let ((x, x_shape), (y, y_shape)) = (args.f32(0)?, args.f32(1)?);
        let mut out = ws.floats(count(&shape)?);
        binary(op, x, x_shape, y, y_shape, &mut out);
        return Ok(Value::f32(&shape, out));
    }
    both_numbers!(a, b, x, y => tried(x, y, ws, |a, b| one(op, a, b), "an integer is divided by zero"))
}

fn one<T: Number>(op: BinaryOp, a: T, b: T) -> Option<T> {
    Some(match op {
        BinaryOp::Add => a.plus(b),
        BinaryOp::Sub => a.minus(b),
        BinaryOp::Mul => a.times(b),
        BinaryOp::Div => return a.over(b),
        BinaryOp::Min => a.least(b),
        BinaryOp::Max => a.most(b),
        BinaryOp::PRelu if a < T::ZERO => a.times(b),
        BinaryOp::PRelu => a,
        BinaryOp::Pow => T::of(a.real().powf(b.real())),
    })
}

/// Mod and Pow, whose types have rules of their own.
pub(super) mod mixed {
    use super::{BinaryOp, Cx, Kernel, Number, Op, Outcome, Value, Workspace, binary, both_numbers};
    use super::{common_shape, count, each_number, results, tried};
    use crate::ops::pairs::zipped;

    pub(in crate::ops) const OPS: &[Op] = &[Op::float("Mod", modulo), Op::float("Pow", power)];

    /// With the sign of the divisor for integers, of the dividend with `fmod`.
    fn modulo(cx: Cx<'_>) -> Outcome<Kernel> {
        let fmod = cx.flag("fmod", false);
        Ok(Box::new(move |args, ws| {
            let (a, b) = (args.value(0)?, args.value(1)?);
            if !fmod && matches!(a, Value::F32(_) | Value::F64(_)) {
                return Err("floats need its attribute fmod".into());
            }
            both_numbers!(a, b, x, y => tried(x, y, ws, |a, b| rest(a, b, fmod), "an integer is divided by zero"))
                .map(|v| results![v])
        }))
    }

    fn rest<T: Number>(a: T, b: T, fmod: bool) -> Option<T> {
        let r = a.rest(b)?;
        let differs = (r < T::ZERO) != (b < T::ZERO);
        Some(if !fmod && r != T::ZERO && differs { r.plus(b) } else { r })
    }

    /// The result has the type of the base, whatever that of the exponent.
    fn power(_: Cx<'_>) -> Outcome<Kernel> {
        Ok(Box::new(|args, ws| {
            let (a, b) = (args.value(0)?, args.value(1)?);
            let shape = common_shape(a.shape(), b.shape())?;
            if let Value::F32(_) = a {
                let exponent = each_number!(b, e => Ok::<_, String>(e.mapv(|v| v.real() as f32)))?;
                let exponent = Value::F32(exponent);
                let mut out = ws.floats(count(&shape)?);
                let y = exponent.as_f32().ok_or("its exponent is not dense")?;
                binary(BinaryOp::Pow, args.f32(0)?.0, a.shape(), y, b.shape(), &mut out);
                return Ok(results![Value::f32(&shape, out)]);
            }
            each_number!(a, x => raised(x, b, ws)).map(|v| results![v])
        }))
    }

    fn raised<T: Number>(base: &ndarray::ArrayD<T>, exponent: &Value, ws: &mut Workspace) -> Outcome<Value> {
        each_number!(exponent, e => zipped(base, e, ws, |a, b| raise(a, b)))
    }

    /// Whole powers of integers wrap; all others go through float64.
    fn raise<A: Number, B: Number>(a: A, b: B) -> A {
        if A::FLOAT || B::FLOAT || b < B::ZERO {
            return A::of(a.real().powf(b.real()));
        }
        let mut left = b.real() as u64;
        let (mut result, mut square) = (A::ONE, a);
        while left > 0 {
            if left & 1 == 1 {
                result = result.times(square);
            }
            square = square.times(square);
            left >>= 1;
        }
        result
    }
}
