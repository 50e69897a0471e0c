//! RotaryEmbedding: pairs of elements turned by an angle that depends on the position.

use shiftwise_graph::Value;

use crate::args::{Args, Kernel, Outcome, results};
use crate::ops::{Cx, Op};

pub(in crate::ops) const OPS: &[Op] =
    &[Op::float("RotaryEmbedding", compile).contrib(), Op::float("RotaryEmbedding", compile)];

/// Where things stand: ONNX Runtime has `(X, positions, cos, sin)`, the standard `(X, cos, sin, positions)`.
#[derive(Clone, Copy)]
struct Places {
    cos: usize,
    sin: usize,
    positions: usize,
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let contrib = !cx.domain_is_standard();
    if contrib {
        cx.without_flags(&["is_packed_batching"])?;
    }
    let interleaved = cx.flag("interleaved", false);
    let dim =
        usize::try_from(cx.int_or("rotary_embedding_dim", 0)).map_err(|_| "its dimension is negative")?;
    let heads = usize::try_from(cx.int_or("num_heads", 0)).map_err(|_| "its num_heads is negative")?;
    let places = if contrib {
        Places { cos: 2, sin: 3, positions: 1 }
    } else {
        Places { cos: 1, sin: 2, positions: 3 }
    };
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let half = *args.value(places.cos)?.shape().last().ok_or("its cosines are a scalar")?;
        // `[batch, heads, length, size]` by strides.
        let (dims, strides) = match *shape {
            [b, n, s, d] => ([b, n, s, d], [n * s * d, s * d, d]),
            [b, s, w] => {
                let n = match (heads, dim) {
                    (0, 0) => w / (2 * half).max(1),
                    (0, _) => return Err("it has a rotary_embedding_dim, but no num_heads".into()),
                    (n, _) => n,
                };
                if n == 0 || w % n != 0 {
                    return Err(format!("rows of {w} elements do not divide into {n} heads"));
                }
                ([b, n, s, w / n], [s * w, w / n, w])
            }
            ref other => return Err(format!("an input of shape {other:?} is not supported")),
        };
        let [batch, heads, length, size] = dims;
        let turned = if dim == 0 { size } else { dim };
        if turned > size || turned != 2 * half {
            return Err(format!("angles for {} elements do not fit heads of {size}", 2 * half));
        }
        let angles = Angles::new(args, places, [batch, length, half])?;
        let mut out = ws.floats(x.len());
        out.copy_from_slice(x);
        for b in 0..batch {
            for s in 0..length {
                let (cos, sin) = angles.at(b, s)?;
                for n in 0..heads {
                    let head = &mut out[b * strides[0] + n * strides[1] + s * strides[2]..][..turned];
                    for i in 0..half {
                        let (first, second) = if interleaved { (2 * i, 2 * i + 1) } else { (i, half + i) };
                        let (re, im) = (head[first], head[second]);
                        head[first] = cos[i] * re - sin[i] * im;
                        head[second] = sin[i] * re + cos[i] * im;
                    }
                }
            }
        }
        Ok(results![Value::f32(shape, out)])
    }))
}

/// Cosines and sines of every position.
struct Angles<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
    half: usize,
    rows: Vec<i64>,
    length: usize,
}

impl<'a> Angles<'a> {
    fn new(args: &'a Args<'_>, places: Places, [batch, length, half]: [usize; 3]) -> Outcome<Self> {
        let ((cos, _), (sin, _)) = (args.f32(places.cos)?, args.f32(places.sin)?);
        let rows: Vec<i64> = match args.optional_ints(places.positions)? {
            // One position: that of the first element.
            Some(p) if p.len() == 1 && args.value(places.positions)?.shape().len() == 1 => {
                (0..batch * length).map(|i| p[0].saturating_add((i % length) as i64)).collect()
            }
            Some(p) if p.len() == batch * length => p.to_vec(),
            Some(p) => return Err(format!("{} positions do not fit {batch} sequences of {length}", p.len())),
            None => (0..(batch * length) as i64).collect(),
        };
        if cos.len() != sin.len() {
            return Err("its cosines and sines differ in size".into());
        }
        Ok(Self { cos, sin, half, rows, length })
    }

    fn at(&self, batch: usize, position: usize) -> Outcome<(&'a [f32], &'a [f32])> {
        let row = self.rows[batch * self.length + position];
        let start = usize::try_from(row).ok().and_then(|r| r.checked_mul(self.half));
        let range = start.and_then(|s| Some(s..s.checked_add(self.half)?));
        let part = range.and_then(|r| Some((self.cos.get(r.clone())?, self.sin.get(r)?)));
        part.ok_or_else(|| format!("position {row} is beyond its cosines and sines"))
    }
}
