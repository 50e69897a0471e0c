//! Softmax and LogSoftmax.

use shiftwise_graph::Value;
use shiftwise_kernels::softmax::{log_softmax_in_place, softmax_in_place};

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, Shape, axis_of, results};
use crate::scalar::{count, slice, value};
use crate::strided;

pub(super) const OPS: &[Op] = &[Op::float("Softmax", compile), Op::float("LogSoftmax", compile)];

/// Before opset 13 everything from the axis on is one row; since, only the axis.
fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let flat = cx.opset < 13;
    let axis = cx.int_or("axis", if flat { 1 } else { -1 });
    let log = cx.node.op_type == "LogSoftmax";
    let rows = if log { log_softmax_in_place } else { softmax_in_place };
    Ok(Box::new(move |args, ws| {
        let shape = Shape::from_slice(args.value(0)?.shape());
        let axis = if flat && axis == shape.len() as i64 { shape.len() } else { axis_of(axis, shape.len())? };
        let inner = if flat { 1 } else { count(&shape[axis + 1..])? };
        let columns = if flat { count(&shape[axis..])? } else { shape[axis] };
        if let Value::F64(a) = args.value(0)? {
            return Ok(results![value(&shape, exactly(slice(a), columns, inner, log))?]);
        }
        let (x, _) = args.f32(0)?;
        if x.is_empty() {
            return Ok(results![Value::f32(&shape, Vec::new())]);
        }
        if inner == 1 {
            let Value::F32(mut a) = args.take_or_copy(0, ws)? else {
                return Err("its input is not float".into());
            };
            if let Some(x) = a.as_slice_mut() {
                rows(x, columns);
            }
            return Ok(results![Value::F32(a)]);
        }
        // Rows brought together, and back.
        let outer = x.len() / (columns * inner);
        let (n, c, i) = (outer, columns as isize, inner as isize);
        let mut turned = ws.floats(x.len());
        strided::copy(x, 0, &[n, inner, columns], &[c * i, 1, i], &mut turned);
        rows(&mut turned, columns);
        let mut out = ws.floats(turned.len());
        strided::copy(&turned, 0, &[n, columns, inner], &[c * i, 1, c], &mut out);
        ws.recycle_floats(turned);
        Ok(results![Value::f32(&shape, out)])
    }))
}

/// In double precision, of rows of `columns` elements that stand `inner` apart.
fn exactly(x: &[f64], columns: usize, inner: usize, log: bool) -> Vec<f64> {
    let mut out = x.to_vec();
    for block in out.chunks_exact_mut((columns * inner).max(1)) {
        for i in 0..inner {
            let row = || block[i..].iter().step_by(inner);
            let top = row().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row().map(|v| (v - top).exp()).sum();
            for v in block[i..].iter_mut().step_by(inner) {
                *v = if log { *v - top - sum.ln() } else { (*v - top).exp() / sum };
            }
        }
    }
    out
}
