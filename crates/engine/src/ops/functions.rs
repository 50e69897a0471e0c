//! Functions of one element that models rarely call: trigonometry, Selu, Celu, Shrink.
//!
//! They are computed in float64 and rounded to the type of the input.

use shiftwise_graph::Value;

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, results};
use crate::number::{Number, each_number, each_real};

pub(super) const OPS: &[Op] = &[
    Op::float("Sin", trigonometric),
    Op::float("Cos", trigonometric),
    Op::float("Tan", trigonometric),
    Op::float("Asin", trigonometric),
    Op::float("Acos", trigonometric),
    Op::float("Atan", trigonometric),
    Op::float("Sinh", trigonometric),
    Op::float("Cosh", trigonometric),
    Op::float("Asinh", trigonometric),
    Op::float("Acosh", trigonometric),
    Op::float("Atanh", trigonometric),
    Op::float("Selu", selu),
    Op::float("Celu", celu),
    Op::float("Shrink", shrink),
];

fn through<T: Number>(a: &ndarray::ArrayD<T>, f: impl Fn(f64) -> f64) -> Value {
    T::wrap(a.mapv(|v| T::of(f(v.real()))))
}

/// A kernel that maps every float.
fn mapped(f: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Kernel {
    Box::new(move |args, _| each_real!(args.value(0)?, a => Ok(results![through(a, &f)])))
}

fn trigonometric(cx: Cx<'_>) -> Outcome<Kernel> {
    let f: fn(f64) -> f64 = match cx.node.op_type.as_str() {
        "Sin" => libm::sin,
        "Cos" => libm::cos,
        "Tan" => libm::tan,
        "Asin" => libm::asin,
        "Acos" => libm::acos,
        "Atan" => libm::atan,
        "Sinh" => libm::sinh,
        "Cosh" => libm::cosh,
        "Asinh" => libm::asinh,
        "Acosh" => libm::acosh,
        _ => libm::atanh,
    };
    Ok(mapped(f))
}

/// `gamma · x` where positive, else `gamma · alpha · (eˣ − 1)`
fn selu(cx: Cx<'_>) -> Outcome<Kernel> {
    let alpha = f64::from(cx.float_or("alpha", 1.673_263_2));
    let gamma = f64::from(cx.float_or("gamma", 1.050_701));
    Ok(mapped(move |x| gamma * if x > 0.0 { x } else { alpha * x.exp_m1() }))
}

/// `max(x, 0) + min(alpha · (e^(x / alpha) − 1), 0)`
fn celu(cx: Cx<'_>) -> Outcome<Kernel> {
    let alpha = f64::from(cx.float_or("alpha", 1.0));
    Ok(mapped(move |x| x.most(0.0) + (alpha * (x / alpha).exp_m1()).least(0.0)))
}

/// `x + bias` below `−lambd`, `x − bias` above `lambd`, else 0.
fn shrink(cx: Cx<'_>) -> Outcome<Kernel> {
    let (bias, limit) = (f64::from(cx.float_or("bias", 0.0)), f64::from(cx.float_or("lambd", 0.5)));
    let f = move |x: f64| {
        if x < -limit {
            x + bias
        } else if x > limit {
            x - bias
        } else {
            0.0
        }
    };
    Ok(Box::new(move |args, _| each_number!(args.value(0)?, a => Ok(results![through(a, f)]))))
}
