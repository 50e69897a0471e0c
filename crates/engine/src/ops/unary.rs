//! Functions of one element.

use shiftwise_graph::Value;
use shiftwise_kernels::elementwise::{UnaryOp, map, map_in_place};

use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, results};
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
    Op::float("Selu", compile),
    Op::float("Celu", compile),
    Op::float("Sin", compile),
    Op::float("Cos", compile),
    Op::float("Clip", clip),
    Op::float("Gelu", compile).contrib(),
    Op::float("FastGelu", compile).contrib(),
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
        "FastGelu" => UnaryOp::GeluTanh,
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
        "Selu" => {
            let (alpha, gamma) = (alpha(1.673_263_2), cx.float_or("gamma", 1.050_701));
            return Ok(plain(move |x| gamma * if x > 0.0 { x } else { alpha * x.exp_m1() }));
        }
        "Celu" => {
            let alpha = alpha(1.0);
            return Ok(plain(move |x| x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0)));
        }
        "Sin" => return Ok(plain(f32::sin)),
        "Cos" => return Ok(plain(f32::cos)),
        other => return Err(format!("operator {other} is not supported")),
    };
    Ok(Box::new(move |args, ws| apply(op, args, ws).map(|v| results![v])))
}

fn plain(f: impl Fn(f32) -> f32 + Send + Sync + 'static) -> Kernel {
    Box::new(move |args, ws| {
        args.f32(0)?;
        let mut value = args.take_or_copy(0, ws)?;
        if let Value::F32(a) = &mut value {
            a.iter_mut().for_each(|v| *v = f(*v));
        }
        Ok(results![value])
    })
}

fn apply(op: UnaryOp, args: &mut Args<'_>, ws: &mut Workspace) -> Outcome<Value> {
    match (args.value(0)?, op) {
        (Value::I64(a), UnaryOp::Abs) => return Ok(Value::I64(a.mapv(i64::wrapping_abs))),
        (Value::I64(a), UnaryOp::Neg) => return Ok(Value::I64(a.mapv(i64::wrapping_neg))),
        (Value::I64(a), UnaryOp::Relu) => return Ok(Value::I64(a.mapv(|v| v.max(0)))),
        (Value::I64(a), UnaryOp::Sign) => return Ok(Value::I64(a.mapv(i64::signum))),
        (Value::I32(a), UnaryOp::Abs) => return Ok(Value::I32(a.mapv(i32::wrapping_abs))),
        (Value::I32(a), UnaryOp::Neg) => return Ok(Value::I32(a.mapv(i32::wrapping_neg))),
        _ => {}
    }
    args.f32(0)?;
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
        macro_rules! integers {
            ($variant:ident, $a:expr) => {{
                let limit = |i: usize| match args.get(i) {
                    Some(Value::$variant(l)) => Ok(l.first().copied()),
                    Some(other) => Err(format!("a limit is {}, not of the input's type", other.dtype())),
                    None => Ok(None),
                };
                let (lo, hi) = (limit(1)?, limit(2)?);
                let clamp = |v| {
                    let v = lo.map_or(v, |lo| lo.max(v));
                    hi.map_or(v, |hi| hi.min(v))
                };
                Ok(results![Value::$variant($a.mapv(clamp))])
            }};
        }
        match args.value(0)? {
            Value::I64(a) => integers!(I64, a),
            Value::I32(a) => integers!(I32, a),
            Value::I8(a) => integers!(I8, a),
            Value::U8(a) => integers!(U8, a),
            _ => {
                let limit = |i: usize, default: f32| {
                    Ok::<f32, String>(
                        args.optional_f32(i)?.and_then(|v| v.first().copied()).unwrap_or(default),
                    )
                };
                let op = UnaryOp::Clip { min: limit(1, f32::NEG_INFINITY)?, max: limit(2, f32::INFINITY)? };
                apply(op, args, ws).map(|v| results![v])
            }
        }
    }))
}
