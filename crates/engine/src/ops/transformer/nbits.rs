//! MatMulNBits: a product with weights of 2, 4 or 8 bits in blocks.

use shiftwise_graph::Value;
use shiftwise_kernels::matmul::{MatRef, matmul_into};

use crate::args::{Args, Kernel, Outcome, results};
use crate::ops::{Cx, Op};
use crate::scalar::{count, slice};

pub(in crate::ops) const OPS: &[Op] = &[Op::float("MatMulNBits", compile).contrib()];

/// Rows of weights that are dequantized at a time.
const ROWS: usize = 64;

struct Weights {
    k: usize,
    n: usize,
    bits: usize,
    block: usize,
}

/// Zero points of all blocks.
enum Zeros<'a> {
    /// The middle of the range.
    Middle,
    Packed(&'a [u8]),
    Float(&'a [f32]),
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    cx.without_inputs(&[(4, "g_idx")])?;
    let bits = cx.int_or("bits", 4);
    if ![2, 4, 8].contains(&bits) {
        return Err(format!("weights of {bits} bits are not supported"));
    }
    let weights = Weights {
        k: cx.positive("K")?,
        n: cx.positive("N")?,
        bits: bits as usize,
        block: cx.positive("block_size")?,
    };
    Ok(Box::new(move |args, ws| {
        let Weights { k, n, bits, block } = weights;
        let (a, shape) = args.f32(0)?;
        if shape.last() != Some(&k) {
            return Err(format!("an input of shape {shape:?} does not end in K = {k} elements"));
        }
        let Value::U8(q) = args.value(1)? else { return Err("its weights are not uint8".into()) };
        let q = slice(q);
        let (scales, _) = args.f32(2)?;
        let blocks = k.div_ceil(block);
        let bytes = (block * bits).div_ceil(8);
        let zero_bytes = (blocks * bits).div_ceil(8);
        let zeros = match args.get(3) {
            None => Zeros::Middle,
            Some(Value::U8(z)) if z.len() == n * zero_bytes => Zeros::Packed(slice(z)),
            Some(Value::F32(z)) if z.len() == n * blocks => Zeros::Float(slice(z)),
            Some(z) => {
                return Err(format!("zero points of {} and shape {:?} do not fit", z.dtype(), z.shape()));
            }
        };
        if q.len() != n * blocks * bytes || scales.len() != n * blocks {
            return Err(format!("its weights or scales do not fit {n} rows of {blocks} blocks"));
        }
        let bias = bias(args, n)?;
        let mut to = shape.to_vec();
        to[shape.len() - 1] = n;
        let rows = a.len() / k;
        let mut out = ws.floats(count(&to)?);
        let mut row = ws.floats(ROWS.min(n) * k);
        for first in (0..n).step_by(ROWS) {
            let width = ROWS.min(n - first);
            for (j, w) in row.chunks_exact_mut(k).take(width).enumerate() {
                let r = first + j;
                let part = |bytes: &[u8], i: usize| {
                    let per = 8 / bits;
                    f32::from((bytes[i / per] >> (i % per * bits)) & (u8::MAX >> (8 - bits)))
                };
                for (b, w) in w.chunks_mut(block).enumerate() {
                    let scale = scales[r * blocks + b];
                    let zero = match zeros {
                        Zeros::Middle => (1u32 << (bits - 1)) as f32,
                        Zeros::Packed(z) => part(&z[r * zero_bytes..], b),
                        Zeros::Float(z) => z[r * blocks + b],
                    };
                    let q = &q[(r * blocks + b) * bytes..][..bytes];
                    w.iter_mut().enumerate().for_each(|(i, w)| *w = (part(q, i) - zero) * scale);
                }
            }
            if rows > 0 {
                let right = MatRef::transposed(&row, k);
                let left = MatRef::row_major(a, k);
                matmul_into(rows, k, width, left, right, &mut out[first..], n, 1.0, 0.0);
            }
        }
        ws.recycle_floats(row);
        if let Some(bias) = bias {
            for row in out.chunks_exact_mut(n) {
                row.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
            }
        }
        Ok(results![Value::f32(&to, out)])
    }))
}

fn bias<'a>(args: &'a Args<'_>, n: usize) -> Outcome<Option<&'a [f32]>> {
    match args.optional_f32(5)? {
        Some(b) if b.len() != n => Err(format!("its bias has {} elements, not {n}", b.len())),
        other => Ok(other),
    }
}
