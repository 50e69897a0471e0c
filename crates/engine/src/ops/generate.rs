//! Constants and what is made from nothing but numbers.

use ndarray::ArrayD;
use shiftwise_graph::{Attribute, Value};

use super::{Cx, Op, cast};
use crate::args::{Kernel, Outcome, results};
use crate::number::{Number, each_number};
use crate::scalar::{Scalar, count, each_type};

pub(super) const OPS: &[Op] = &[
    Op::any("Constant", constant),
    Op::any("ConstantOfShape", constant_of_shape),
    Op::float("Range", range),
    Op::any("EyeLike", eye_like),
    Op::any("Trilu", trilu),
];

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
    Ok(Box::new(|args, _| {
        let (limit, delta) = (args.value(1)?, args.value(2)?);
        each_number!(args.value(0)?, a => steps(a, limit, delta)).map(|v| results![v])
    }))
}

fn steps<T: Number>(start: &ArrayD<T>, limit: &Value, delta: &Value) -> Outcome<Value> {
    let one = |a: Option<&ArrayD<T>>| {
        a.and_then(|a| a.first().copied())
            .ok_or("its start, limit and delta are not single values of one type")
    };
    let (start, limit, delta) = (one(Some(start))?, one(T::array_of(limit))?, one(T::array_of(delta))?);
    let n = ((limit.real() - start.real()) / delta.real()).ceil();
    // NaN, from a step of zero, is refused too.
    if n.is_nan() || n > 1e9 {
        let (start, limit, delta) = (start.real(), limit.real(), delta.real());
        return Err(format!("from {start} to {limit} by {delta} are too many elements"));
    }
    let n = n.max(0.0) as usize;
    let elements = (0..n).map(|i| start.plus(T::of(i as f64).times(delta)));
    crate::scalar::value(&[n], elements.collect())
}

/// Ones on a diagonal, zeros elsewhere.
fn eye_like(cx: Cx<'_>) -> Outcome<Kernel> {
    let (dtype, k) = (cx.dtype("dtype")?, cx.int_or("k", 0));
    if dtype.is_some_and(|d| !cast::is_supported(d)) {
        return Err("its dtype is not supported".into());
    }
    Ok(Box::new(move |args, ws| {
        let like = args.value(0)?;
        let &[rows, cols] = like.shape() else {
            return Err(format!("its input has shape {:?}, which is not a matrix", like.shape()));
        };
        let mut ones = vec![0u8; count(&[rows, cols])?];
        for row in 0..rows {
            let column = usize::try_from((row as i64).saturating_add(k)).ok().filter(|c| *c < cols);
            if let Some(column) = column {
                ones[row * cols + column] = 1;
            }
        }
        let ones = crate::scalar::value(&[rows, cols], ones)?;
        Ok(results![cast::cast(&ones, dtype.unwrap_or(like.dtype()), ws)?])
    }))
}

/// The part of a matrix on one side of a diagonal, zeros elsewhere.
fn trilu(cx: Cx<'_>) -> Outcome<Kernel> {
    let upper = cx.flag("upper", true);
    Ok(Box::new(move |args, ws| {
        let k = args.optional_ints(1)?.and_then(|k| k.first().copied()).unwrap_or(0);
        let &[.., rows, cols] = args.value(0)?.shape() else {
            return Err("its input is not a matrix".into());
        };
        let mut value = args.take_or_copy(0, ws)?;
        each_type!(&mut value, a => cut(a, [rows, cols], k, upper));
        Ok(results![value])
    }))
}

/// Clears what is on the other side of the diagonal.
fn cut<T: Scalar>(a: &mut ArrayD<T>, [rows, cols]: [usize; 2], k: i64, upper: bool) {
    for (i, v) in a.iter_mut().enumerate() {
        let (row, column) = ((i / cols % rows) as i64, (i % cols) as i64);
        let diagonal = row.saturating_add(k);
        if if upper { column < diagonal } else { column > diagonal } {
            *v = T::default();
        }
    }
}
