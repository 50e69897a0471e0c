//! Quantization to the range that a tensor has, and integer products with real results.

use shiftwise_graph::Value;
use shiftwise_kernels::quantize::quantize_u8;

use super::integer::{Along, Centered, Product, centered, product};
use super::qlinear::scales;
use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Results, Shape, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, value};

pub(super) const OPS: &[Op] = &[
    Op::any("DynamicQuantizeLinear", quantize),
    Op::any("DynamicQuantizeMatMul", matmul).contrib(),
    Op::any("MatMulIntegerToFloat", to_float).contrib(),
];

/// Scale and zero point with which uint8 spans the values and zero.
fn range(x: &[f32]) -> (f32, u8) {
    let (lo, hi) = x.iter().fold((0.0f32, 0.0f32), |(lo, hi), v| (lo.min(*v), hi.max(*v)));
    let scale = if lo == hi { 1.0 } else { (hi - lo) / 255.0 };
    (scale, (0.0 - lo / scale).clamp(0.0, 255.0).round_ties_even() as u8)
}

fn quantize(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let (x, shape) = args.f32(0)?;
        let (scale, zero) = range(x);
        let mut out = u8::buffer(ws, x.len())?;
        quantize_u8(x, scale, zero, &mut out);
        Ok(results![value(shape, out)?, Value::f32(&[], vec![scale]), value(&[], vec![zero])?])
    }))
}

/// DynamicQuantizeMatMul: `a, b, b_scale, b_zero, bias`.
fn matmul(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let (x, shape) = args.f32(0)?;
        let (scale, zero) = range(x);
        let mut bytes = u8::buffer(ws, x.len())?;
        quantize_u8(x, scale, zero, &mut bytes);
        let elements = bytes.iter().map(|q| i32::from(*q) - i32::from(zero)).collect();
        let a = Centered { elements, shape: Shape::from_slice(shape) };
        let b = centered(args, 1, Some(3), Along::Columns)?;
        let sums = product(&a, &b, ws)?;
        real(&sums, &[scale], &scales(args, 2)?, args.optional_f32(4)?, ws)
    }))
}

/// MatMulIntegerToFloat: `a, b, a_scale, b_scale, a_zero, b_zero, bias`.
fn to_float(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args: &mut Args<'_>, ws| {
        let a = centered(args, 0, Some(4), Along::Rows)?;
        let b = centered(args, 1, Some(5), Along::Columns)?;
        let sums = product(&a, &b, ws)?;
        real(&sums, &scales(args, 2)?, &scales(args, 3)?, args.optional_f32(6)?, ws)
    }))
}

/// Sums of products times the scales of both sides, and a bias for each column.
fn real(
    product: &Product,
    left: &[f32],
    right: &[f32],
    bias: Option<&[f32]>,
    ws: &mut Workspace,
) -> Outcome<Results> {
    let columns = product.columns;
    let (&[left], true) = (left, right.len() == 1 || right.len() == columns) else {
        return Err(format!("{} and {} scales do not fit {columns} columns", left.len(), right.len()));
    };
    if bias.is_some_and(|b| b.len() != columns) {
        return Err(format!("its bias does not have {columns} elements"));
    }
    let factors: Vec<f32> = right.iter().map(|r| left * r).collect();
    let mut out = ws.floats(product.sums.len());
    let columns = columns.max(1);
    for (out, sums) in out.chunks_mut(columns).zip(product.sums.chunks(columns)) {
        for (j, (o, v)) in out.iter_mut().zip(sums).enumerate() {
            *o = *v as f32 * factors[j % factors.len()] + bias.map_or(0.0, |b| b[j]);
        }
    }
    Ok(results![Value::f32(&product.shape, out)])
}
