//! Products and activations with what follows or precedes them.

use shiftwise_graph::Value;
use shiftwise_kernels::elementwise::{UnaryOp, map_in_place};

use crate::args::{Args, Datum, Kernel, Outcome, results};
use crate::ops::{Cx, Op, matmul};
use crate::pool::Workspace;
use crate::strided;

pub(in crate::ops) const OPS: &[Op] = &[
    Op::float("FusedMatMul", fused_matmul).contrib(),
    Op::float("TransposeMatMul", fused_matmul).contrib(),
    Op::float("FusedGemm", fused_gemm).contrib(),
    Op::float("BiasGelu", bias_gelu).contrib(),
    Op::float("FastGelu", bias_gelu).contrib(),
];

/// `alpha · A B`, each transposed on demand.
fn fused_matmul(cx: Cx<'_>) -> Outcome<Kernel> {
    cx.without_flags(&["transBatchA", "transBatchB"])?;
    let alpha = cx.float_or("alpha", 1.0);
    let turned = [cx.flag("transA", false), cx.flag("transB", false)];
    Ok(Box::new(move |args, ws| {
        let (a, a_shape) = operand(args, 0, turned[0], ws)?;
        let (b, b_shape) = operand(args, 1, turned[1], ws)?;
        let product = matmul::Product::new(&a_shape, &b_shape)?;
        let mut out = product.floats(&a, &b, ws)?;
        ws.recycle_floats(a);
        ws.recycle_floats(b);
        if alpha != 1.0 {
            for v in &mut out {
                *v *= alpha;
            }
        }
        Ok(results![Value::f32(&product.shape, out)])
    }))
}

/// An operand, its last two axes in the other order on demand; vectors have none.
fn operand(
    args: &Args<'_>,
    index: usize,
    turned: bool,
    ws: &mut Workspace,
) -> Outcome<(Vec<f32>, Vec<usize>)> {
    let (x, shape) = args.f32(index)?;
    let (mut to, mut steps) = (shape.to_vec(), strided::strides(shape));
    let rank = shape.len();
    if turned && rank > 1 {
        to.swap(rank - 1, rank - 2);
        steps.swap(rank - 1, rank - 2);
    }
    let mut out = ws.floats(x.len());
    strided::copy(x, 0, &to, &steps, &mut out);
    Ok((out, to))
}

fn fused_gemm(cx: Cx<'_>) -> Outcome<Kernel> {
    let name = cx.node.text("activation").ok_or("it has no attribute activation")?;
    let number = |which: &str, default: f32| cx.float_or(&format!("activation_{which}"), default);
    let activation = match name {
        "Relu" => UnaryOp::Relu,
        "Sigmoid" => UnaryOp::Sigmoid,
        "Tanh" => UnaryOp::Tanh,
        "Softplus" => UnaryOp::Softplus,
        "Softsign" => UnaryOp::Softsign,
        "LeakyRelu" => UnaryOp::LeakyRelu { alpha: number("alpha", 0.01) },
        "Elu" => UnaryOp::Elu { alpha: number("alpha", 1.0) },
        "ThresholdedRelu" => UnaryOp::ThresholdedRelu { alpha: number("alpha", 1.0) },
        "HardSigmoid" => UnaryOp::HardSigmoid { alpha: number("alpha", 0.2), beta: number("beta", 0.5) },
        other => return Err(format!("its activation {other:?} is not supported")),
    };
    let gemm = matmul::gemm(cx)?;
    Ok(Box::new(move |args, ws| {
        let mut results = gemm(args, ws)?;
        if let Some(Datum::Tensor(Value::F32(a))) = results.first_mut()
            && let Some(x) = a.as_slice_mut()
        {
            map_in_place(activation, x);
        }
        Ok(results)
    }))
}

/// BiasGelu, and FastGelu with or without a bias: the function of `x + bias`, one for each column.
fn bias_gelu(cx: Cx<'_>) -> Outcome<Kernel> {
    let op = if cx.node.op_type == "FastGelu" { UnaryOp::GeluTanh } else { UnaryOp::Gelu };
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let mut out = ws.floats(x.len());
        out.copy_from_slice(x);
        if let Some(bias) = args.optional_f32(1)? {
            if shape.last() != Some(&bias.len()) {
                return Err(format!(
                    "a bias of {} elements does not fit rows of shape {shape:?}",
                    bias.len()
                ));
            }
            for row in out.chunks_exact_mut(bias.len().max(1)) {
                row.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
            }
        }
        map_in_place(op, &mut out);
        Ok(results![Value::f32(shape, out)])
    }))
}
