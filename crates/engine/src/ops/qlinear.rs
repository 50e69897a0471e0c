//! Products of quantized tensors to quantized tensors: QLinearConv, QLinearMatMul, QGemm.

use half::{bf16, f16};
use shiftwise_graph::Value;

use super::integer::{Along, Centered, centered, convolved, groups, product, widened};
use super::window::Window;
use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, slice, value};

pub(super) const OPS: &[Op] =
    &[Op::any("QLinearConv", conv), Op::any("QLinearMatMul", matmul), Op::any("QGemm", gemm).contrib()];

/// The elements of a float input; halves are widened.
pub(super) fn scales(args: &Args<'_>, index: usize) -> Outcome<Vec<f32>> {
    match args.value(index)? {
        Value::F32(a) => Ok(slice(a).to_vec()),
        Value::F16(a) => Ok(a.iter().copied().map(f16::to_f32).collect()),
        Value::Bf16(a) => Ok(a.iter().copied().map(bf16::to_f32).collect()),
        other => Err(format!("input {index} is {}, where a scale is needed", other.dtype())),
    }
}

/// A single scale.
pub(super) fn scale(args: &Args<'_>, index: usize) -> Outcome<f32> {
    match scales(args, index)?.as_slice() {
        [s] => Ok(*s),
        other => Err(format!("input {index} has {} elements, where one scale is needed", other.len())),
    }
}

/// A type of quantized values.
pub(super) trait Quantized: Scalar + Into<i32> {
    const LOW: i32;
    const HIGH: i32;
    /// A number within the limits.
    fn of(v: i32) -> Self;

    /// `saturate(round_half_even(v) + zero)`; NaN becomes the lowest value.
    fn rounded(v: f32, zero: i32) -> Self {
        let (lo, hi) = ((Self::LOW - zero) as f32, (Self::HIGH - zero) as f32);
        let v = if v > lo { v } else { lo };
        let v = if v < hi { v } else { hi };
        Self::of(v.round_ties_even() as i32 + zero)
    }
}

macro_rules! quantized {
    ($($ty:ty)*) => {
        $(impl Quantized for $ty {
            const LOW: i32 = <$ty>::MIN as i32;
            const HIGH: i32 = <$ty>::MAX as i32;

            fn of(v: i32) -> Self {
                v as Self
            }
        })*
    };
}

quantized!(i8 u8 i16 u16);

/// Runs a block with `$ty` the type of quantized values at a place among the inputs, uint8 where nothing is.
macro_rules! quantized_like {
    ($args:expr, $index:expr, $ty:ident => $body:expr) => {
        match $args.get($index) {
            None | Some(shiftwise_graph::Value::U8(_)) => {
                type $ty = u8;
                $body
            }
            Some(shiftwise_graph::Value::I8(_)) => {
                type $ty = i8;
                $body
            }
            Some(shiftwise_graph::Value::U16(_)) => {
                type $ty = u16;
                $body
            }
            Some(shiftwise_graph::Value::I16(_)) => {
                type $ty = i16;
                $body
            }
            Some(other) => Err(format!("quantization to {} is not supported", other.dtype())),
        }
    };
}
pub(super) use quantized_like;

/// A single zero point, zero where it is omitted.
pub(super) fn zero(args: &Args<'_>, index: usize) -> Outcome<i32> {
    if args.get(index).is_none() {
        return Ok(0);
    }
    match widened(args, index)?.as_slice() {
        [z] => Ok(*z),
        other => Err(format!("input {index} has {} elements, where one zero point is needed", other.len())),
    }
}

/// Sums of products as quantized values; runs of `run` sums take the factors in turn.
fn requantized<T: Quantized>(
    sums: &[i32],
    run: usize,
    factors: &[f32],
    zero: i32,
    ws: &mut Workspace,
) -> Outcome<Vec<T>> {
    let mut out = T::buffer(ws, sums.len())?;
    let run = run.max(1);
    for (i, (sums, out)) in sums.chunks(run).zip(out.chunks_mut(run)).enumerate() {
        let factor = factors[i % factors.len()];
        out.iter_mut().zip(sums).for_each(|(o, v)| *o = T::rounded(*v as f32 * factor, zero));
    }
    Ok(out)
}

/// `x_scale · w_scale[c] / y_scale` for one weight scale, or for `channels` of them.
fn factors(x: f32, w: &[f32], y: f32, channels: usize) -> Outcome<Vec<f32>> {
    if w.is_empty() || (w.len() != 1 && w.len() != channels) {
        return Err(format!("{} scales do not fit {channels} channels", w.len()));
    }
    Ok(w.iter().map(|w| x * w / y).collect())
}

/// QLinearConv: `x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias`.
fn conv(cx: Cx<'_>) -> Outcome<Kernel> {
    if cx.flag("channels_last", false) {
        return Err("channels_last is not supported".into());
    }
    let (window, groups) = (Window::parse(cx)?, groups(cx)?);
    Ok(Box::new(move |args, ws| {
        let x = centered(args, 0, Some(2), Along::First)?;
        let w = centered(args, 3, Some(5), Along::First)?;
        let (shape, mut sums) = convolved(&window, groups, &x, &w, ws)?;
        let pixels = shape[2..].iter().product::<usize>();
        let channels = shape[1];
        if args.get(8).is_some() {
            let bias = widened(args, 8)?;
            if bias.len() != channels {
                return Err(format!("a bias of {} elements does not fit {channels} channels", bias.len()));
            }
            for (i, plane) in sums.chunks_mut(pixels.max(1)).enumerate() {
                for v in plane {
                    *v = v.wrapping_add(bias[i % channels]);
                }
            }
        }
        let factors = factors(scale(args, 1)?, &scales(args, 4)?, scale(args, 6)?, channels)?;
        let zero = zero(args, 7)?;
        quantized_like!(args, 7, T => value(&shape, requantized::<T>(&sums, pixels, &factors, zero, ws)?))
            .map(|v| results![v])
    }))
}

/// QLinearMatMul: `a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero`.
fn matmul(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let a = centered(args, 0, Some(2), Along::Rows)?;
        let b = centered(args, 3, Some(5), Along::Columns)?;
        let product = product(&a, &b, ws)?;
        let (left, right, y) = (scales(args, 1)?, scales(args, 4)?, scale(args, 6)?);
        let (rows, columns) = (product.rows, product.columns);
        let mut all = Vec::new();
        let (run, factors) = if left.len() == 1 && right.len() == 1 {
            (product.sums.len(), factors(left[0], &right, y, 1)?)
        } else if left.len() == 1 || left.len() == rows {
            for a in &left {
                let row = factors(*a, &right, y, columns)?;
                all.extend((0..columns).map(|j| row[j % row.len()]));
            }
            (1, all)
        } else {
            return Err(format!("{} scales do not fit {rows} rows", left.len()));
        };
        let zero = zero(args, 7)?;
        quantized_like!(args, 7, T => {
            value(&product.shape, requantized::<T>(&product.sums, run, &factors, zero, ws)?)
        })
        .map(|v| results![v])
    }))
}

/// QGemm: `a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero`; without the last two the result is float.
fn gemm(cx: Cx<'_>) -> Outcome<Kernel> {
    let (trans_a, trans_b) = (cx.flag("transA", false), cx.flag("transB", false));
    let alpha = cx.float_or("alpha", 1.0);
    Ok(Box::new(move |args, ws| {
        let a = centered(args, 0, Some(2), Along::First)?;
        // One zero point for each column of the product: they change along the rows of a transposed matrix.
        let b = centered(args, 3, Some(5), if trans_b { Along::Rows } else { Along::Columns })?;
        let (a, b) = (transposed(a, trans_a)?, transposed(b, trans_b)?);
        let mut product = product(&a, &b, ws)?;
        let (rows, columns) = (product.rows, product.columns);
        if args.get(6).is_some() {
            let c = widened(args, 6)?;
            let steps = match args.value(6)?.shape() {
                [] | [1] | [1, 1] => [0, 0],
                [n] if *n == columns => [0, 1],
                [1, n] if *n == columns => [0, 1],
                [m, 1] if *m == rows => [1, 0],
                [m, n] if *m == rows && *n == columns => [columns, 1],
                other => return Err(format!("a C of shape {other:?} does not fit {rows} × {columns}")),
            };
            for (i, v) in product.sums.iter_mut().enumerate() {
                *v = v.wrapping_add(c[i / columns * steps[0] + i % columns * steps[1]]);
            }
        }
        let (left, right) = (scale(args, 1)?, scales(args, 4)?);
        if args.get(7).is_none() {
            let factors = factors(alpha * left, &right, 1.0, columns)?;
            let mut out = ws.floats(product.sums.len());
            for (i, (o, v)) in out.iter_mut().zip(&product.sums).enumerate() {
                *o = *v as f32 * factors[i % columns % factors.len()];
            }
            return Ok(results![Value::f32(&product.shape, out)]);
        }
        let factors = factors(alpha * left, &right, scale(args, 7)?, columns)?;
        let run = if factors.len() == 1 { product.sums.len() } else { 1 };
        let zero = zero(args, 8)?;
        quantized_like!(args, 8, T => {
            value(&product.shape, requantized::<T>(&product.sums, run, &factors, zero, ws)?)
        })
        .map(|v| results![v])
    }))
}

fn transposed(matrix: Centered, on: bool) -> Outcome<Centered> {
    let &[m, n] = matrix.shape.as_slice() else {
        return Err(format!("an input of shape {:?} is not a matrix", matrix.shape));
    };
    if !on {
        return Ok(matrix);
    }
    let mut elements = vec![0; matrix.elements.len()];
    for (i, v) in matrix.elements.iter().enumerate() {
        elements[i % n * m + i / n] = *v;
    }
    Ok(Centered { elements, shape: smallvec::smallvec![n, m] })
}
