//! MatMul and Gemm.

use shiftwise_graph::Value;
use shiftwise_kernels::broadcast::{BinaryOp, binary_in_place, broadcast_shape};
use shiftwise_kernels::matmul::{MatRef, matmul as product, matmul_batched};

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, Shape, results};
use crate::number::{Number, both_numbers};
use crate::pool::Workspace;
use crate::scalar::{count, slice, value};
use crate::strided;

pub(super) const OPS: &[Op] = &[Op::float("Gemm", gemm), Op::float("MatMul", matmul)];

/// How two operands of MatMul meet: vectors are rows on the left and columns on the right.
pub(super) struct Product<'s> {
    a_batch: &'s [usize],
    b_batch: &'s [usize],
    m: usize,
    k: usize,
    n: usize,
    pub(super) shape: Shape,
}

impl<'s> Product<'s> {
    pub(super) fn new(a_shape: &'s [usize], b_shape: &'s [usize]) -> Outcome<Self> {
        let mismatch = || format!("matrices of shapes {a_shape:?} and {b_shape:?} cannot be multiplied");
        let (a_batch, m, k) = match a_shape {
            [] => return Err(mismatch()),
            [k] => (&[][..], None, *k),
            [batch @ .., m, k] => (batch, Some(*m), *k),
        };
        let (b_batch, k2, n) = match b_shape {
            [] => return Err(mismatch()),
            [k] => (&[][..], *k, None),
            [batch @ .., k, n] => (batch, *k, Some(*n)),
        };
        if k != k2 {
            return Err(mismatch());
        }
        let mut shape = broadcast_shape(a_batch, b_batch).ok_or_else(mismatch)?;
        shape.extend(m);
        shape.extend(n);
        Ok(Self { a_batch, b_batch, m: m.unwrap_or(1), k, n: n.unwrap_or(1), shape })
    }

    /// The product of float32 operands.
    pub(super) fn floats(&self, a: &[f32], b: &[f32], ws: &mut Workspace) -> Outcome<Vec<f32>> {
        let mut out = ws.floats(count(&self.shape)?);
        if self.k == 0 {
            out.fill(0.0);
        } else if !out.is_empty() {
            matmul_batched(self.a_batch, self.b_batch, self.m, self.k, self.n, a, b, &mut out);
        }
        Ok(out)
    }

    /// The product of operands of any type.
    fn plain<T: Number>(&self, a: &[T], b: &[T], ws: &mut Workspace) -> Outcome<Value> {
        let mut out = T::buffer(ws, count(&self.shape)?)?;
        let batch = broadcast_shape(self.a_batch, self.b_batch).unwrap_or_default();
        let places = |from: &[usize]| -> Outcome<Vec<i64>> {
            let matrices: Vec<i64> = (0..count(from)? as i64).collect();
            let mut places = vec![0; count(&batch)?];
            let steps = strided::broadcast_strides(from, &batch);
            strided::copy(&matrices, 0, &batch, &steps, &mut places);
            Ok(places)
        };
        let (Self { m, k, n, .. }, a_places, b_places) = (self, places(self.a_batch)?, places(self.b_batch)?);
        let blocks = out.chunks_exact_mut((m * n).max(1));
        for (out, (i, j)) in blocks.zip(a_places.iter().zip(&b_places)) {
            let (a, b) = (&a[*i as usize * m * k..][..m * k], &b[*j as usize * k * n..][..k * n]);
            plain(a, b, [*k, *n], out);
        }
        value(&self.shape, out)
    }
}

/// `out = a b` of row-major matrices; `[k, n]` is the shape of the right one.
///
/// Float32 goes to the kernel for it.
pub(super) fn plain<T: Number>(a: &[T], b: &[T], [k, n]: [usize; 2], out: &mut [T]) {
    if T::product(a, b, [k, n], out) {
        return;
    }
    out.fill(T::ZERO);
    if n == 0 {
        return;
    }
    for (i, row) in out.chunks_exact_mut(n).enumerate() {
        for (x, b) in a[i * k..][..k].iter().zip(b.chunks_exact(n)) {
            for (o, y) in row.iter_mut().zip(b) {
                *o = o.plus(x.times(*y));
            }
        }
    }
}

/// MatMul with broadcast batches.
fn matmul(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let (a, b) = (args.value(0)?, args.value(1)?);
        let product = Product::new(a.shape(), b.shape())?;
        if let (Some(a), Some(b)) = (a.as_f32(), b.as_f32()) {
            return Ok(results![Value::f32(&product.shape, product.floats(a, b, ws)?)]);
        }
        both_numbers!(a, b, x, y => product.plain(slice(x), slice(y), ws)).map(|v| results![v])
    }))
}

/// `alpha · A B + beta · C`, either matrix transposed on demand, C broadcast.
pub(super) fn gemm(cx: Cx<'_>) -> Outcome<Kernel> {
    let (alpha, beta) = (cx.float_or("alpha", 1.0), cx.float_or("beta", 1.0));
    let (trans_a, trans_b) = (cx.flag("transA", false), cx.flag("transB", false));
    Ok(Box::new(move |args, ws| {
        if args.value(0)?.as_f32().is_none() {
            let (a, b) = (args.value(0)?, args.value(1)?);
            let form = [(a.shape(), trans_a), (b.shape(), trans_b)];
            return both_numbers!(a, b, x, y => general(slice(x), slice(y), form, args.get(2), alpha, beta, ws))
                .map(|v| results![v]);
        }
        let ((a, a_shape), (b, b_shape)) = (args.f32(0)?, args.f32(1)?);
        let (&[a0, a1], &[b0, b1]) = (a_shape, b_shape) else {
            return Err(format!("inputs of shapes {a_shape:?} and {b_shape:?} are not matrices"));
        };
        let (m, k) = if trans_a { (a1, a0) } else { (a0, a1) };
        let (k2, n) = if trans_b { (b1, b0) } else { (b0, b1) };
        if k != k2 {
            return Err(format!("matrices of shapes {a_shape:?} and {b_shape:?} cannot be multiplied"));
        }
        let left = if trans_a { MatRef::transposed(a, a1) } else { MatRef::row_major(a, a1) };
        let right = if trans_b { MatRef::transposed(b, b1) } else { MatRef::row_major(b, b1) };
        let mut out = ws.floats(count(&[m, n])?);
        if k == 0 {
            out.fill(0.0);
        } else {
            product(m, k, n, left, right, &mut out, alpha, 0.0);
        }
        if args.get(2).is_some() && beta != 0.0 {
            let (c, c_shape) = args.f32(2)?;
            if broadcast_shape(&[m, n], c_shape).as_deref() != Some(&[m, n]) {
                return Err(format!("a C of shape {c_shape:?} does not fit a result of shape {:?}", [m, n]));
            }
            if beta == 1.0 {
                binary_in_place(BinaryOp::Add, &mut out, &[m, n], c, c_shape);
            } else {
                let scaled: Vec<f32> = c.iter().map(|v| beta * v).collect();
                binary_in_place(BinaryOp::Add, &mut out, &[m, n], &scaled, c_shape);
            }
        }
        Ok(results![Value::f32(&[m, n], out)])
    }))
}

/// Gemm of any type; each operand comes with its shape and whether it is transposed.
fn general<T: Number>(
    a: &[T],
    b: &[T],
    form: [(&[usize], bool); 2],
    c: Option<&Value>,
    alpha: f32,
    beta: f32,
    ws: &mut Workspace,
) -> Outcome<Value> {
    let mut operands = [Vec::new(), Vec::new()];
    let mut shapes = [[0; 2]; 2];
    for (i, ((shape, turned), from)) in form.into_iter().zip([a, b]).enumerate() {
        let &[rows, cols] = shape else { return Err(format!("an input of shape {shape:?} is not a matrix")) };
        let (to, steps) =
            if turned { ([cols, rows], [1, cols as isize]) } else { ([rows, cols], [cols as isize, 1]) };
        operands[i] = T::buffer(ws, from.len())?;
        strided::copy(from, 0, &to, &steps, &mut operands[i]);
        shapes[i] = to;
    }
    let [[m, k], [k2, n]] = shapes;
    if k != k2 {
        return Err(format!("matrices of {m} x {k} and {k2} x {n} cannot be multiplied"));
    }
    let mut out = T::buffer(ws, count(&[m, n])?)?;
    plain(&operands[0], &operands[1], [k, n], &mut out);
    let scaled = |v: T, by: f32| if by == 1.0 { v } else { T::of(v.real() * f64::from(by)) };
    for v in &mut out {
        *v = scaled(*v, alpha);
    }
    if let Some(c) = c.filter(|_| beta != 0.0) {
        let c = T::array_of(c).ok_or_else(|| format!("its C is {}, unlike A", c.dtype()))?;
        let broadcast = c.broadcast(ndarray::IxDyn(&[m, n]));
        let c = broadcast.ok_or_else(|| format!("a C of shape {:?} does not fit its result", c.shape()))?;
        out.iter_mut().zip(c.iter()).for_each(|(o, c)| *o = o.plus(scaled(*c, beta)));
    }
    value(&[m, n], out)
}
