//! Constants and what is made from nothing but numbers.

use ndarray::{ArrayD, IxDyn};
use shiftwise_graph::{Attribute, Value};

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, results};
use crate::scalar::{Scalar, count, each_type};

pub(super) const OPS: &[Op] =
    &[Op::any("Constant", constant), Op::any("ConstantOfShape", constant_of_shape), Op::any("Range", range)];

fn constant(cx: Cx<'_>) -> Outcome<Kernel> {
    let attribute = cx.node.attributes.iter().next().ok_or("it has no value")?;
    let value = match attribute {
        (_, Attribute::Tensor(t)) => Value::from_tensor(t).map_err(|e| e.to_string())?,
        (_, Attribute::Float(v)) => Value::f32(&[], vec![*v]),
        (_, Attribute::Floats(v)) => Value::f32(&[v.len()], v.clone()),
        (_, Attribute::Int(v)) => Value::i64(&[], vec![*v]),
        (_, Attribute::Ints(v)) => Value::i64(&[v.len()], v.clone()),
        (name, _) => return Err(format!("a constant given as {name} is not supported")),
    };
    Ok(Box::new(move |_, _| Ok(results![value.clone()])))
}

fn constant_of_shape(cx: Cx<'_>) -> Outcome<Kernel> {
    let fill = match cx.node.attributes.get("value") {
        None => Value::f32(&[1], vec![0.0]),
        Some(Attribute::Tensor(t)) => Value::from_tensor(t).map_err(|e| e.to_string())?,
        Some(_) => return Err("its value is not a tensor".into()),
    };
    if fill.len() != 1 {
        return Err("its value is not of one element".into());
    }
    Ok(Box::new(move |args, ws| {
        let shape = args.ints(0)?.iter().map(|d| usize::try_from(*d).ok()).collect::<Option<Vec<_>>>();
        let shape = shape.ok_or("its shape has a negative dimension")?;
        let len = count(&shape)?;
        each_type!(&fill, a => {
            let mut out = Scalar::buffer(ws, len)?;
            out.fill(*a.first().ok_or("its value is empty")?);
            crate::scalar::value(&shape, out)
        })
        .map(|v| results![v])
    }))
}

fn range(_: Cx<'_>) -> Outcome<Kernel> {
    macro_rules! steps {
        ($variant:ident, $ty:ty, $($v:expr),*) => {{
            let [start, limit, delta] = [$($v.first().copied().ok_or("a limit is empty")?),*];
            let steps = ((limit as f64 - start as f64) / delta as f64).ceil();
            // NaN, from a step of zero, is refused too.
            if steps.is_nan() || steps > 1e9 {
                return Err(format!("from {start} to {limit} by {delta} are too many elements"));
            }
            let n = steps.max(0.0) as usize;
            let elements: Vec<$ty> = (0..n).map(|i| start + i as $ty * delta).collect();
            let array = ArrayD::from_shape_vec(IxDyn(&[n]), elements).map_err(|e| e.to_string())?;
            Ok(results![Value::$variant(array)])
        }};
    }
    Ok(Box::new(|args, _| match (args.value(0)?, args.value(1)?, args.value(2)?) {
        (Value::F32(a), Value::F32(b), Value::F32(c)) => steps!(F32, f32, a, b, c),
        (Value::I64(a), Value::I64(b), Value::I64(c)) => steps!(I64, i64, a, b, c),
        (Value::I32(a), Value::I32(b), Value::I32(c)) => steps!(I32, i32, a, b, c),
        (other, _, _) => Err(format!("a range of {} is not supported", other.dtype())),
    }))
}
