//! Functions of two broadcast tensors of any element types.

use ndarray::ArrayD;
use shiftwise_graph::Value;
use shiftwise_kernels::broadcast::broadcast_shape;

use crate::args::{Outcome, Shape};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, slice, value};

/// The shape that two tensors broadcast to.
pub(super) fn common_shape(a: &[usize], b: &[usize]) -> Outcome<Shape> {
    let shape =
        broadcast_shape(a, b).ok_or_else(|| format!("values of shapes {a:?} and {b:?} do not broadcast"))?;
    count(&shape)?;
    Ok(shape)
}

/// `f` of each pair of elements.
pub(super) fn zipped<A: Scalar, B: Scalar, O: Scalar>(
    a: &ArrayD<A>,
    b: &ArrayD<B>,
    ws: &mut Workspace,
    f: impl Fn(A, B) -> O,
) -> Outcome<Value> {
    tried(a, b, ws, |a, b| Some(f(a, b)), "")
}

/// `f` of each pair of elements; `why` says what is wrong where it gives nothing.
pub(super) fn tried<A: Scalar, B: Scalar, O: Scalar>(
    a: &ArrayD<A>,
    b: &ArrayD<B>,
    ws: &mut Workspace,
    f: impl Fn(A, B) -> Option<O>,
    why: &str,
) -> Outcome<Value> {
    let shape = common_shape(a.shape(), b.shape())?;
    let mut out = O::buffer(ws, count(&shape)?)?;
    let mut good = true;
    let mut set = |o: &mut O, v: Option<O>| match v {
        Some(v) => *o = v,
        None => good = false,
    };
    let (x, y) = (slice(a), slice(b));
    if a.shape() == b.shape() {
        out.iter_mut().zip(x).zip(y).for_each(|((o, x), y)| set(o, f(*x, *y)));
    } else if let ([y], true) = (y, *shape == *a.shape()) {
        out.iter_mut().zip(x).for_each(|(o, x)| set(o, f(*x, *y)));
    } else if let ([x], true) = (x, *shape == *b.shape()) {
        out.iter_mut().zip(y).for_each(|(o, y)| set(o, f(*x, *y)));
    } else {
        let (Some(x), Some(y)) = (a.broadcast(shape.as_slice()), b.broadcast(shape.as_slice())) else {
            return Err("its inputs do not broadcast".into());
        };
        out.iter_mut().zip(x.iter()).zip(y.iter()).for_each(|((o, x), y)| set(o, f(*x, *y)));
    }
    if good { value(&shape, out) } else { Err(why.into()) }
}
