//! Functions of one element.

use shiftwise_graph::Value;
use shiftwise_kernels::elementwise::{UnaryOp, map, map_in_place};

use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, results};
use crate::number::{Number, each_number};
use crate::pool::Workspace;

pub(super) const OPS: &[Op] = &[
    Op::float("Relu", compile),
    Op::float("LeakyRelu", compile),
    Op::float("Elu", compile),
    Op::float("ThresholdedRelu", compile),
    Op::float("Sigmoid", compile),
    Op::float("HardSigmoid", compile),
    Op::float("HardSwish", compile),
    Op::float("Mish", compile),
    Op::float("Tanh", compile),
    Op::float("Gelu", compile),
    Op::float("Erf", compile),
    Op::float("Exp", compile),
    Op::float("Log", compile),
    Op::float("Sqrt", compile),
    Op::float("Reciprocal", compile),
    Op::float("Abs", compile),
    Op::float("Neg", compile),
    Op::float("Sign", compile),
    Op::float("Floor", compile),
    Op::float("Ceil", compile),
    Op::float("Round", compile),
    Op::float("Softsign", compile),
    Op::float("Softplus", compile),
    Op::float("Clip", clip),
    Op::float("Gelu", compile).contrib(),
    Op::float("QuickGelu", quick).contrib(),
    Op::float("Swish", quick),
];

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let alpha = |default: f32| cx.float_or("alpha", default);
    let op = match cx.node.op_type.as_str() {
        "Relu" => UnaryOp::Relu,
        "LeakyRelu" => UnaryOp::LeakyRelu { alpha: alpha(0.01) },
        "Elu" => UnaryOp::Elu { alpha: alpha(1.0) },
        "ThresholdedRelu" => UnaryOp::ThresholdedRelu { alpha: alpha(1.0) },
        "Sigmoid" => UnaryOp::Sigmoid,
        "HardSigmoid" => UnaryOp::HardSigmoid { alpha: alpha(0.2), beta: cx.float_or("beta", 0.5) },
        "HardSwish" => UnaryOp::HardSwish,
        "Mish" => UnaryOp::Mish,
        "Tanh" => UnaryOp::Tanh,
        "Gelu" => match cx.text_or("approximate", "none") {
            "none" => UnaryOp::Gelu,
            "tanh" => UnaryOp::GeluTanh,
            other => return Err(format!("its attribute approximate is {other:?}, which is not defined")),
        },
        "Erf" => UnaryOp::Erf,
        "Exp" => UnaryOp::Exp,
        "Log" => UnaryOp::Log,
        "Sqrt" => UnaryOp::Sqrt,
        "Reciprocal" => UnaryOp::Reciprocal,
        "Abs" => UnaryOp::Abs,
        "Neg" => UnaryOp::Neg,
        "Sign" => UnaryOp::Sign,
        "Floor" => UnaryOp::Floor,
        "Ceil" => UnaryOp::Ceil,
        "Round" => UnaryOp::Round,
        "Softsign" => UnaryOp::Softsign,
        "Softplus" => UnaryOp::Softplus,
        other => return Err(format!("operator {other} is not supported")),
    };
    Ok(Box::new(move |args, ws| apply(op, args, ws).map(|v| results![v])))
}

fn apply(op: UnaryOp, args: &mut Args<'_>, ws: &mut Workspace) -> Outcome<Value> {
    match args.value(0)? {
        Value::F32(_) => {}
        Value::F64(a) => return Ok(Value::F64(a.mapv(|x| exactly(op, x)))),
        other => return whole(op, other),
    }
    if let Some(Value::F32(mut a)) = args.take(0) {
        if let Some(x) = a.as_slice_mut() {
            map_in_place(op, x);
        }
        return Ok(Value::F32(a));
    }
    let (x, shape) = args.f32(0)?;
    let mut out = ws.floats(x.len());
    map(op, x, &mut out);
    Ok(Value::f32(shape, out))
}

/// What is defined on integers.
fn whole(op: UnaryOp, value: &Value) -> Outcome<Value> {
    if !matches!(op, UnaryOp::Abs | UnaryOp::Neg | UnaryOp::Sign | UnaryOp::Relu) {
        return Err(format!("its input is {}, which this operator does not take", value.dtype()));
    }
    each_number!(value, a => Ok(Value::from(a.mapv(|v| match op {
        UnaryOp::Abs => v.absolute(),
        UnaryOp::Neg => v.negated(),
        UnaryOp::Sign => v.sign(),
        _ => v.most(Number::ZERO),
    }))))
}

/// The function in double precision.
fn exactly(op: UnaryOp, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let softplus = |x: f64| x.most(0.0) + (-x.abs()).exp().ln_1p();
    match op {
        UnaryOp::Relu => x.most(0.0),
        UnaryOp::LeakyRelu { alpha } => {
            if x < 0.0 {
                x * f64::from(alpha)
            } else {
                x
            }
        }
        UnaryOp::Elu { alpha } => {
            if x < 0.0 {
                f64::from(alpha) * x.exp_m1()
            } else {
                x
            }
        }
        UnaryOp::ThresholdedRelu { alpha } => {
            if x <= f64::from(alpha) {
                0.0
            } else {
                x
            }
        }
        UnaryOp::Clip { min, max } => x.most(f64::from(min)).least(f64::from(max)),
        UnaryOp::Sigmoid => sigmoid(x),
        UnaryOp::HardSigmoid { alpha, beta } => (f64::from(alpha) * x + f64::from(beta)).most(0.0).least(1.0),
        UnaryOp::HardSwish => x * (x / 6.0 + 0.5).most(0.0).least(1.0),
        UnaryOp::Silu => x * sigmoid(x),
        UnaryOp::Mish => x * softplus(x).tanh(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        UnaryOp::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        UnaryOp::Erf => libm::erf(x),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Reciprocal => 1.0 / x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Neg => -x,
        UnaryOp::Sign => x.sign(),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Round => x.round_ties_even(),
        UnaryOp::Softsign => x / (1.0 + x.abs()),
        UnaryOp::Softplus => softplus(x),
    }
}

/// `x · sigmoid(alpha · x)`
fn quick(cx: Cx<'_>) -> Outcome<Kernel> {
    let alpha = cx.float_or("alpha", if cx.domain_is_standard() { 1.0 } else { 1.702 });
    Ok(Box::new(move |args, ws| {
        if let Value::F64(a) = args.value(0)? {
            return Ok(results![Value::F64(a.mapv(|x| x / (1.0 + (-f64::from(alpha) * x).exp())))]);
        }
        let (x, shape) = args.f32(0)?;
        let mut out = ws.floats(x.len());
        out.iter_mut().zip(x).for_each(|(o, x)| *o = alpha * x);
        map_in_place(UnaryOp::Sigmoid, &mut out);
        out.iter_mut().zip(x).for_each(|(o, x)| *o *= x);
        Ok(results![Value::f32(shape, out)])
    }))
}

/// Clip: limits are attributes before opset 11, inputs since.
fn clip(cx: Cx<'_>) -> Outcome<Kernel> {
    if cx.opset < 11 {
        let op = UnaryOp::Clip { min: cx.float_or("min", f32::MIN), max: cx.float_or("max", f32::MAX) };
        return Ok(Box::new(move |args, ws| apply(op, args, ws).map(|v| results![v])));
    }
    Ok(Box::new(|args, ws| {
        let single = |v: Option<&Value>| match v {
            Some(v) if v.len() != 1 => Err("a limit is not a single value".to_string()),
            _ => Ok(()),
        };
        single(args.get(1))?;
        single(args.get(2))?;
        if let Value::F32(_) = args.value(0)? {
            let limit = |i: usize, default: f32| {
                Ok::<f32, String>(args.optional_f32(i)?.and_then(|v| v.first().copied()).unwrap_or(default))
            };
            let op = UnaryOp::Clip { min: limit(1, f32::NEG_INFINITY)?, max: limit(2, f32::INFINITY)? };
            return apply(op, args, ws).map(|v| results![v]);
        }
        each_number!(args.value(0)?, a => clamped(a, args)).map(|v| results![v])
    }))
}

fn clamped<T: Number>(a: &ndarray::ArrayD<T>, args: &Args<'_>) -> Outcome<Value> {
    let limit = |i: usize| match args.get(i) {
        Some(v) => match T::array_of(v) {
            Some(l) => Ok(l.first().copied()),
            None => Err(format!("a limit is {}, not of the input's type", v.dtype())),
        },
        None => Ok(None),
    };
    let (lo, hi) = (limit(1)?, limit(2)?);
    Ok(T::wrap(a.mapv(|v| {
        let v = lo.map_or(v, |lo| v.most(lo));
        hi.map_or(v, |hi| v.least(hi))
    })))
}
