//! MatMul and Gemm.

use shiftwise_graph::Value;
use shiftwise_kernels::broadcast::{BinaryOp, binary_in_place, broadcast_shape};
use shiftwise_kernels::matmul::{MatRef, matmul as product, matmul_batched};

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, results};
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[Op::float("Gemm", gemm), Op::float("MatMul", matmul)];

/// MatMul with broadcast batches; vectors are rows on the left and columns on the right.
fn matmul(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let ((a, a_shape), (b, b_shape)) = (args.f32(0)?, args.f32(1)?);
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
        let mut out = ws.floats(count(&shape)?);
        if k == 0 {
            out.fill(0.0);
        } else if !out.is_empty() {
            matmul_batched(a_batch, b_batch, m.unwrap_or(1), k, n.unwrap_or(1), a, b, &mut out);
        }
        Ok(results![Value::f32(&shape, out)])
    }))
}

/// `alpha · A B + beta · C`, either matrix transposed on demand, C broadcast.
fn gemm(cx: Cx<'_>) -> Outcome<Kernel> {
    let (alpha, beta) = (cx.float_or("alpha", 1.0), cx.float_or("beta", 1.0));
    let (trans_a, trans_b) = (cx.flag("transA", false), cx.flag("transB", false));
    Ok(Box::new(move |args, ws| {
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
