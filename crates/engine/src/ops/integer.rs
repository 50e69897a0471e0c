//! Products of quantized tensors in integers: MatMulInteger, ConvInteger, and what other operators build on them.

use shiftwise_graph::Value;
use shiftwise_kernels::broadcast::broadcast_shape;
use shiftwise_kernels::integer::matmul_add;

use super::conv_volume::slab;
use super::window::Window;
use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Shape, results};
use crate::pool::{Pooled, Workspace};
use crate::scalar::{Scalar, count, slice, value};

pub(super) const OPS: &[Op] = &[Op::any("MatMulInteger", matmul), Op::any("ConvInteger", conv)];

/// Where zero points change.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Along {
    /// Of the rows of a matrix.
    Rows,
    /// Of the columns of a matrix.
    Columns,
    /// Of the first axis.
    First,
}

/// A tensor of bytes as integers from which their zero points are taken, and its shape.
pub(super) struct Centered {
    pub(super) elements: Vec<i32>,
    pub(super) shape: Shape,
}

/// Elements of a tensor of 8 or 16 bits, or of 32.
pub(super) fn widened(args: &Args<'_>, index: usize) -> Outcome<Vec<i32>> {
    Ok(match args.value(index)? {
        Value::I8(a) => a.iter().map(|v| i32::from(*v)).collect(),
        Value::U8(a) => a.iter().map(|v| i32::from(*v)).collect(),
        Value::I16(a) => a.iter().map(|v| i32::from(*v)).collect(),
        Value::U16(a) => a.iter().map(|v| i32::from(*v)).collect(),
        Value::I32(a) => slice(a).to_vec(),
        other => return Err(format!("input {index} is {}, where integers are needed", other.dtype())),
    })
}

/// Takes a zero point from values.
fn shift(values: &mut [i32], zero: i32) {
    for v in values {
        *v = v.wrapping_sub(zero);
    }
}

/// The zero points at an index: zero where there are none.
pub(super) fn zeros(args: &Args<'_>, index: Option<usize>, of: usize) -> Outcome<Vec<i32>> {
    match index {
        Some(i) if args.get(i).is_some() => {
            if args.value(i)?.dtype() != args.value(of)?.dtype() {
                return Err(format!("input {i} is not of the type of input {of}"));
            }
            widened(args, i)
        }
        _ => Ok(vec![0]),
    }
}

pub(super) fn centered(
    args: &Args<'_>,
    index: usize,
    zero: Option<usize>,
    along: Along,
) -> Outcome<Centered> {
    let mut elements = widened(args, index)?;
    let shape = Shape::from_slice(args.value(index)?.shape());
    let zeros = zeros(args, zero, index)?;
    let (rows, columns) = match shape.as_slice() {
        [] => (1, 1),
        [n] => (1, *n),
        [.., m, n] => (*m, *n),
    };
    let wrong = || format!("{} zero points do not fit a tensor of shape {shape:?}", zeros.len());
    if let [zero] = zeros.as_slice() {
        shift(&mut elements, *zero);
    } else if shape.is_empty() {
        return Err(wrong());
    } else if elements.is_empty() {
        return Ok(Centered { elements, shape });
    } else {
        let (run, cycle) = match along {
            Along::Rows => (columns, rows),
            Along::Columns => (1, columns),
            Along::First => (elements.len() / shape[0], shape[0]),
        };
        // One for each row or column, or for those of every matrix.
        let matrices = elements.len() / (rows * columns);
        if zeros.len() != cycle && (along == Along::First || zeros.len() != cycle * matrices) {
            return Err(wrong());
        }
        if zeros.len() == cycle {
            for (i, part) in elements.chunks_exact_mut(run).enumerate() {
                shift(part, zeros[i % cycle]);
            }
        } else {
            for (matrix, zeros) in elements.chunks_exact_mut(rows * columns).zip(zeros.chunks_exact(cycle)) {
                for (i, part) in matrix.chunks_exact_mut(run).enumerate() {
                    shift(part, zeros[i % cycle]);
                }
            }
        }
    }
    Ok(Centered { elements, shape })
}

/// A product of integer matrices.
pub(super) struct Product {
    pub(super) sums: Vec<i32>,
    pub(super) shape: Shape,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// The matrix product with broadcast batches; vectors are rows on the left and columns on the right.
pub(super) fn product(a: &Centered, b: &Centered, ws: &mut Workspace) -> Outcome<Product> {
    let mismatch = || format!("matrices of shapes {:?} and {:?} cannot be multiplied", a.shape, b.shape);
    let (a_batch, m, k) = match a.shape.as_slice() {
        [] => return Err(mismatch()),
        [k] => (&[][..], None, *k),
        [batch @ .., m, k] => (batch, Some(*m), *k),
    };
    let (b_batch, k2, n) = match b.shape.as_slice() {
        [] => return Err(mismatch()),
        [k] => (&[][..], *k, None),
        [batch @ .., k, n] => (batch, *k, Some(*n)),
    };
    if k != k2 {
        return Err(mismatch());
    }
    let batch = broadcast_shape(a_batch, b_batch).ok_or_else(mismatch)?;
    let (rows, columns) = (m.unwrap_or(1), n.unwrap_or(1));
    let mut shape = Shape::from_slice(&batch);
    shape.extend(m);
    shape.extend(n);
    let mut sums = i32::buffer(ws, count(&shape)?)?;
    sums.fill(0);
    let places =
        |own: &[usize]| -> crate::strided::Strides { crate::strided::broadcast_strides(own, &batch) };
    let (a_steps, b_steps) = (places(a_batch), places(b_batch));
    for (i, out) in sums.chunks_exact_mut((rows * columns).max(1)).enumerate() {
        let (mut rest, mut at, mut bt) = (i, 0, 0);
        for ((n, sa), sb) in batch.iter().zip(&a_steps).zip(&b_steps).rev() {
            at += rest % n * *sa as usize;
            bt += rest % n * *sb as usize;
            rest /= n;
        }
        let left = &a.elements[at * rows * k..][..rows * k];
        let right = &b.elements[bt * k * columns..][..k * columns];
        matmul_add(rows, k, columns, left, right, out, columns);
    }
    Ok(Product { sums, shape, rows, columns })
}

fn matmul(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let a = centered(args, 0, Some(2), Along::Rows)?;
        let b = centered(args, 1, Some(3), Along::Columns)?;
        let product = product(&a, &b, ws)?;
        Ok(results![value(&product.shape, product.sums)?])
    }))
}

/// How many groups a convolution has.
pub(super) fn groups(cx: Cx<'_>) -> Outcome<usize> {
    Ok(usize::try_from(cx.int_or("group", 1)).ok().filter(|g| *g > 0).ok_or("its group is not positive")?)
}

/// The convolution of integers: padding is zero.
pub(super) fn convolved(
    window: &Window,
    groups: usize,
    x: &Centered,
    w: &Centered,
    ws: &mut Workspace,
) -> Outcome<(Shape, Vec<i32>)> {
    let mismatch = || {
        format!(
            "a weight of shape {:?} with {groups} groups does not fit an input of shape {:?}",
            w.shape, x.shape
        )
    };
    let (&[batch, c_in, ref spatial @ ..], &[c_out, depth, ref kernel @ ..]) =
        (x.shape.as_slice(), w.shape.as_slice())
    else {
        return Err(mismatch());
    };
    if spatial.len() != kernel.len()
        || depth.checked_mul(groups) != Some(c_in)
        || !c_out.is_multiple_of(groups)
    {
        return Err(mismatch());
    }
    let span = window.span(spatial, Some(kernel))?;
    let mut volume = span.volume(span.outputs(false)?);
    let shape = span.shape([batch, c_out], volume.out);
    let mut out = i32::buffer(ws, count(&shape)?)?;
    out.fill(0);
    if volume.out[0] == 1 && volume.size[0] == 1 && volume.kernel[0] == 1 {
        // Rows first: they are what is unfolded at a time.
        for v in [
            &mut volume.size,
            &mut volume.out,
            &mut volume.kernel,
            &mut volume.stride,
            &mut volume.dilation,
            &mut volume.begin,
        ] {
            v.swap(0, 1);
        }
    }
    let (from, pixels, taps) = (volume.input_len(), volume.output_len(), volume.kernel_len());
    let (line, plane) = (volume.out[1] * volume.out[2], volume.size[1] * volume.size[2]);
    let (out_group, long) = (c_out / groups, depth * taps);
    if out.is_empty() || from == 0 || long == 0 {
        return Ok((shape, out));
    }
    let mut columns = i32::buffer(ws, count(&[long, line])?)?;
    for n in 0..batch {
        for g in 0..groups {
            let weight = &w.elements[g * out_group * long..][..out_group * long];
            let result = &mut out[(n * c_out + g * out_group) * pixels..][..out_group * pixels];
            for z in 0..volume.out[0] {
                let (slab, skipped) = slab(&volume, z);
                for (c, columns) in columns.chunks_exact_mut(taps * line).enumerate() {
                    let channel = &x.elements[(n * c_in + g * depth + c) * from..][..from];
                    slab.unfold(&channel[skipped * plane..], 0, columns);
                }
                matmul_add(out_group, long, line, weight, &columns, &mut result[z * line..], pixels);
            }
        }
    }
    i32::pool(ws).give(columns);
    Ok((shape, out))
}

fn conv(cx: Cx<'_>) -> Outcome<Kernel> {
    let (window, groups) = (Window::parse(cx)?, groups(cx)?);
    Ok(Box::new(move |args, ws| {
        let x = centered(args, 0, Some(2), Along::First)?;
        let w = centered(args, 1, Some(3), Along::First)?;
        let (shape, sums) = convolved(&window, groups, &x, &w, ws)?;
        Ok(results![value(&shape, sums)?])
    }))
}
