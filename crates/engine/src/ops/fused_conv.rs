//! FusedConv: a convolution, a tensor that is added to it, and an activation.

use shiftwise_graph::{Attribute, Value};

use super::{Cx, Op, conv};
use crate::args::{Arg, Args, Datum, Kernel, Outcome, results};

pub(super) const OPS: &[Op] = &[Op::float("FusedConv", compile).contrib()];

/// What follows, with its parameters.
#[derive(Clone, Copy)]
enum Activation {
    None,
    Relu,
    Tanh,
    Sigmoid,
    LeakyRelu(f32),
    Clip(f32, f32),
    HardSigmoid(f32, f32),
}

impl Activation {
    fn parse(cx: Cx<'_>) -> Outcome<Self> {
        let parameters = match cx.node.attributes.get("activation_params") {
            Some(Attribute::Floats(v)) => v.as_slice(),
            _ => &[],
        };
        let name = cx.text_or("activation", "");
        Ok(match (name, parameters) {
            ("", _) => Self::None,
            ("Relu", _) => Self::Relu,
            ("Tanh", _) => Self::Tanh,
            ("Sigmoid", _) => Self::Sigmoid,
            ("LeakyRelu", [alpha]) => Self::LeakyRelu(*alpha),
            ("Clip", [lo, hi]) => Self::Clip(*lo, *hi),
            ("HardSigmoid", [alpha, beta]) => Self::HardSigmoid(*alpha, *beta),
            _ => {
                return Err(format!("its activation {name:?} with parameters {parameters:?} is not defined"));
            }
        })
    }

    fn of(self, v: f32) -> f32 {
        match self {
            Self::None => v,
            Self::Relu => limited(v, 0.0, f32::INFINITY),
            Self::Tanh => f64::from(v).tanh() as f32,
            Self::Sigmoid => (1.0 / (1.0 + (-f64::from(v)).exp())) as f32,
            Self::LeakyRelu(alpha) => {
                if v < 0.0 {
                    alpha * v
                } else {
                    v
                }
            }
            Self::Clip(lo, hi) => limited(v, lo, hi),
            Self::HardSigmoid(alpha, beta) => limited(alpha * v + beta, 0.0, 1.0),
        }
    }
}

/// NaN stays NaN.
fn limited(v: f32, lo: f32, hi: f32) -> f32 {
    let v = if lo > v { lo } else { v };
    if hi < v { hi } else { v }
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let activation = Activation::parse(cx)?;
    let conv = conv::chain(cx, &[], cx.opset)?;
    Ok(Box::new(move |args, ws| {
        let plain = (0..args.count().min(3)).map(|i| args.get(i).map_or(Arg::None, Arg::Shared)).collect();
        let mut results = conv(&mut Args(plain), ws)?;
        let Some(Datum::Tensor(Value::F32(mut y))) = results.pop() else {
            return Err("it gave no result".into());
        };
        if args.get(3).is_some() {
            let (z, shape) = args.f32(3)?;
            if shape != y.shape() {
                return Err(format!("a Z of shape {shape:?} does not fit a result of shape {:?}", y.shape()));
            }
            y.iter_mut().zip(z).for_each(|(y, z)| *y += z);
        }
        y.iter_mut().for_each(|y| *y = activation.of(*y));
        Ok(results![Value::F32(y)])
    }))
}
