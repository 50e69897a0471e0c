//! Attention and MultiHeadAttention.

use shiftwise_graph::{DataType, Value};
use shiftwise_kernels::matmul::{MatRef, matmul};

use super::heads::{Heads, Rule, attend};
use crate::args::{Args, Datum, Kernel, Outcome, Results, results};
use crate::ops::{Cx, Op, cast, pairs};
use crate::pool::Workspace;
use crate::scalar::count;
use crate::strided;

pub(in crate::ops) const OPS: &[Op] = &[
    Op::float("Attention", packed).contrib(),
    Op::float("MultiHeadAttention", multi_head).contrib(),
    Op::float("Attention", standard),
];

/// What is added to the scores: `[batch or 1, heads or 1, rows or 1, columns]` spread over all.
struct Bias {
    elements: Vec<f32>,
    heads: usize,
    /// Elements for one batch and head.
    each: usize,
}

impl Bias {
    /// A tensor that broadcasts to `[batch, heads, rows, columns]`.
    fn new(x: &[f32], shape: &[usize], full: [usize; 4], ws: &mut Workspace) -> Outcome<Self> {
        if shape.len() > 4 || *pairs::common_shape(shape, &full)? != full {
            return Err(format!("a mask of shape {shape:?} does not fit scores of shape {full:?}"));
        }
        let mut elements = ws.floats(count(&full)?);
        strided::copy(x, 0, &full, &strided::broadcast_strides(shape, &full), &mut elements);
        Ok(Self { elements, heads: full[1], each: full[2] * full[3] })
    }

    fn add(&self, batch: usize, head: usize, scores: &mut [f32]) {
        let from = &self.elements[(batch * self.heads + head) * self.each..][..self.each];
        scores.iter_mut().zip(from).for_each(|(s, b)| *s += b);
    }
}

/// Takes out what a query may not see: positions behind its own, which stands `past` positions in.
fn causal(scores: &mut [f32], columns: usize, past: usize) {
    for (i, row) in scores.chunks_exact_mut(columns.max(1)).enumerate() {
        if let Some(hidden) = row.get_mut(past + i + 1..) {
            hidden.fill(f32::NEG_INFINITY);
        }
    }
}

/// A mask of integers as what it adds: `filter` where it is zero.
fn padding(
    args: &Args<'_>,
    index: usize,
    [batch, heads, rows, columns]: [usize; 4],
    filter: f32,
    ws: &mut Workspace,
) -> Outcome<Option<Bias>> {
    let Some(mask) = args.get(index) else { return Ok(None) };
    let values = args.ints(index)?;
    let keep = |k: bool| if k { 0.0 } else { filter };
    let (added, shape): (Vec<f32>, Vec<usize>) = match *mask.shape() {
        // The number of valid keys, counted from the left; or that and where they start.
        [n] if n == batch || n == 2 * batch => {
            let range = |b: usize| if n == batch { 0 } else { values[batch + b] }..values[b];
            let all = (0..batch).flat_map(|b| (0..columns).map(move |c| (b, c as i64)));
            (all.map(|(b, c)| keep(range(b).contains(&c))).collect(), vec![batch, 1, 1, columns])
        }
        [b, c] if b == batch && c == columns => {
            (values.iter().map(|v| keep(*v > 0)).collect(), vec![batch, 1, 1, columns])
        }
        [b, r, c] if b == batch && r == rows && c == columns => {
            (values.iter().map(|v| keep(*v > 0)).collect(), vec![batch, 1, rows, columns])
        }
        ref other => return Err(format!("a mask of shape {other:?} is not supported")),
    };
    Bias::new(&added, &shape, [batch, heads, rows, columns], ws).map(Some)
}

/// What the operators of ONNX Runtime have in common.
struct Options {
    heads: usize,
    unidirectional: bool,
    filter: f32,
    scale: Option<f32>,
}

impl Options {
    fn new(cx: Cx<'_>) -> Outcome<Self> {
        Ok(Self {
            heads: cx.positive("num_heads")?,
            unidirectional: cx.flag("unidirectional", false),
            filter: cx.float_or("mask_filter_value", -10000.0),
            scale: cx.node.float("scale").filter(|s| *s != 0.0),
        })
    }

    /// Attention with the masks at two inputs: one of integers, one that is added to the scores.
    fn run(
        &self,
        [q, k, v]: [&Heads; 3],
        batch: usize,
        args: &Args<'_>,
        masks: [usize; 2],
        past: usize,
        ws: &mut Workspace,
    ) -> Outcome<Heads> {
        if self.unidirectional && k.length != past + q.length {
            return Err("unidirectional attention from one sequence to another is not supported".into());
        }
        let full = [batch, q.number, q.length, k.length];
        let mask = padding(args, masks[0], full, self.filter, ws)?;
        let bias = match args.get(masks[1]) {
            None => None,
            Some(v) => Some(Bias::new(args.f32(masks[1])?.0, v.shape(), full, ws)?),
        };
        let change = |b: usize, n: usize, scores: &mut [f32]| {
            mask.iter().chain(&bias).for_each(|added| added.add(b, n, scores));
            if self.unidirectional {
                causal(scores, k.length, past);
            }
        };
        let scale = self.scale.unwrap_or(1.0 / (q.size as f32).sqrt());
        attend(q, k, v, batch, &Rule { scale, softcap: None, mask: &change }, ws)
    }
}

/// `Attention(input, weights, bias, mask, past, attention_bias)`: one product makes queries, keys and values.
fn packed(cx: Cx<'_>) -> Outcome<Kernel> {
    cx.without_flags(&["do_rotary", "past_present_share_buffer"])?;
    cx.without_inputs(&[(6, "past_sequence_length")])?;
    let options = Options::new(cx)?;
    let sizes = cx.sizes("qkv_hidden_sizes", 1)?;
    let present = cx.node.output(1).is_some();
    Ok(Box::new(move |args, ws| {
        let ((x, x_shape), (w, w_shape)) = (args.f32(0)?, args.f32(1)?);
        let (&[batch, length, input], &[rows, columns]) = (x_shape, w_shape) else {
            return Err(format!("an input of {x_shape:?} and weights of {w_shape:?} do not fit"));
        };
        let sizes = sizes.clone().unwrap_or_else(|| vec![columns / 3; 3]);
        let heads = options.heads;
        let fits = sizes.len() == 3 && sizes.iter().sum::<usize>() == columns && rows == input;
        if !fits || input == 0 || columns == 0 || sizes.iter().any(|s| !s.is_multiple_of(heads)) {
            return Err(format!("weights of shape {w_shape:?} do not fit its input or its {heads} heads"));
        }
        let mut projected = ws.floats(count(&[batch, length, columns])?);
        let (left, right) = (MatRef::row_major(x, input), MatRef::row_major(w, columns));
        matmul(batch * length, input, columns, left, right, &mut projected, 1.0, 0.0);
        if let Some(bias) = args.optional_f32(2)? {
            if bias.len() != columns {
                return Err(format!("its bias has {} elements, not {columns}", bias.len()));
            }
            for row in projected.chunks_exact_mut(columns) {
                row.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
            }
        }
        let mut offset = 0;
        let mut parts = Vec::with_capacity(3);
        for size in &sizes {
            let form = [batch, length, columns];
            parts.push(Heads::split(&projected, form, offset, [heads, size / heads], ws)?);
            offset += size;
        }
        ws.recycle_floats(projected);
        let past = past(args, 4, [batch, heads])?;
        let [Some(v), Some(k), Some(q)] = [parts.pop(), parts.pop(), parts.pop()] else {
            return Err("it has no queries, keys and values".into());
        };
        let [past_k, past_v] = past;
        let past_length = past_k.as_ref().map_or(0, |k| k.length);
        let (k, v) = (k.after(past_k, batch)?, v.after(past_v, batch)?);
        let out = options.run([&q, &k, &v], batch, args, [3, 5], past_length, ws)?;
        let width = out.number * out.size;
        let mut results = results![Value::f32(&[batch, length, width], out.merged(batch, ws)?)];
        if present {
            let shape = [2, batch, heads, k.length, k.size];
            results.push(Datum::from(Value::f32(&shape, [k.elements, v.elements].concat())));
        }
        Ok(results)
    }))
}

/// Keys and values of earlier positions, `[2, batch, heads, length, size]`.
fn past(args: &Args<'_>, index: usize, [batch, heads]: [usize; 2]) -> Outcome<[Option<Heads>; 2]> {
    if args.get(index).is_none() {
        return Ok([None, None]);
    }
    match args.f32(index)? {
        (x, &[2, b, n, length, size]) if b == batch && n == heads => {
            let (k, v) = x.split_at(x.len() / 2);
            Ok([k, v].map(|x| Some(Heads { elements: x.to_vec(), number: heads, length, size })))
        }
        (_, other) => Err(format!("a past of shape {other:?} does not fit")),
    }
}

/// `MultiHeadAttention(query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value)`.
fn multi_head(cx: Cx<'_>) -> Outcome<Kernel> {
    cx.without_inputs(&[(8, "past_sequence_length"), (9, "cache_indirection")])?;
    cx.without_outputs(3, "qk")?;
    let options = Options::new(cx)?;
    let present = cx.node.output(1).is_some() || cx.node.output(2).is_some();
    Ok(Box::new(move |args, ws| {
        let heads = options.heads;
        let (_, q_shape) = args.f32(0)?;
        let &[batch, _, width] = q_shape else {
            return Err(format!("packed queries of shape {q_shape:?} are not supported"));
        };
        let bias = args.optional_f32(3)?;
        let mut offset = 0;
        let mut part = |index: usize, ws: &mut Workspace| -> Outcome<Heads> {
            let heads = match *args.value(index)?.shape() {
                [b, _, _, _] if b == batch && index > 0 => {
                    let given = Heads::given(args, index, batch)?;
                    return given.ok_or_else(|| "its keys are missing".into());
                }
                [b, _, w] if b == batch && w % heads == 0 => [heads, w / heads],
                ref other => return Err(format!("its input {index} of shape {other:?} is not supported")),
            };
            let (x, shape) = args.f32(index)?;
            let &[_, length, w] = shape else { return Err("its inputs are not three-dimensional".into()) };
            let mut part = Heads::split(x, [batch, length, w], 0, heads, ws)?;
            if let Some(bias) = bias {
                part.add(bias.get(offset..offset + w).ok_or("its bias is too short")?);
            }
            offset += w;
            Ok(part)
        };
        let (q, k, v) = (part(0, ws)?, part(1, ws)?, part(2, ws)?);
        let past = args.get(6).map_or(0, |v| v.shape().get(2).copied().unwrap_or(0));
        let (k, v) =
            (k.after(Heads::given(args, 6, batch)?, batch)?, v.after(Heads::given(args, 7, batch)?, batch)?);
        if q.size * q.number != width {
            return Err("its heads do not make its width".into());
        }
        let out = options.run([&q, &k, &v], batch, args, [4, 5], past, ws)?;
        let shape = [batch, out.length, out.number * out.size];
        let mut results = results![Value::f32(&shape, out.merged(batch, ws)?)];
        if present {
            results.extend([k, v].map(|h| Datum::from(whole(h, batch))));
        }
        Ok(results)
    }))
}

fn whole(h: Heads, batch: usize) -> Value {
    Value::f32(&[batch, h.number, h.length, h.size], h.elements)
}

/// `Attention(Q, K, V, mask, past_key, past_value)` of the standard, opset 23.
fn standard(cx: Cx<'_>) -> Outcome<Kernel> {
    cx.without_outputs(3, "qk_matmul_output")?;
    let is_causal = cx.flag("is_causal", false);
    let number =
        |name: &str| if cx.node.int(name).is_some() { cx.positive(name).map(Some) } else { Ok(None) };
    let (q_heads, kv_heads) = (number("q_num_heads")?, number("kv_num_heads")?);
    let scale = cx.node.float("scale");
    let softcap = cx.node.float("softcap").filter(|c| *c > 0.0);
    Ok(Box::new(move |args, ws| {
        let rank = args.value(0)?.shape().len();
        let batch = *args.value(0)?.shape().first().ok_or("its queries are a scalar")?;
        let part = |index: usize, heads: Option<usize>, ws: &mut Workspace| match args.f32(index)? {
            (x, &[b, length, w]) if b == batch => {
                let heads =
                    heads.filter(|h| w % h == 0).ok_or("its number of heads is missing or does not fit")?;
                Heads::split(x, [batch, length, w], 0, [heads, w / heads], ws)
            }
            _ => Heads::given(args, index, batch)?.ok_or_else(|| "an input is missing".into()),
        };
        let (q, k, v) = (part(0, q_heads, ws)?, part(1, kv_heads, ws)?, part(2, kv_heads, ws)?);
        let past = args.get(4).map_or(0, |v| v.shape().get(2).copied().unwrap_or(0));
        let (k, v) =
            (k.after(Heads::given(args, 4, batch)?, batch)?, v.after(Heads::given(args, 5, batch)?, batch)?);
        let full = [batch, q.number, q.length, k.length];
        let mask = match args.get(3) {
            None => None,
            Some(Value::Bool(a)) => {
                let added: Vec<f32> = a.iter().map(|m| if *m { 0.0 } else { f32::NEG_INFINITY }).collect();
                Some(Bias::new(&added, a.shape(), full, ws)?)
            }
            Some(m) => {
                let m = cast::cast(m, DataType::Float, ws)?;
                Some(Bias::new(m.as_f32().ok_or("its mask is not float")?, m.shape(), full, ws)?)
            }
        };
        let change = |b: usize, n: usize, scores: &mut [f32]| {
            if let Some(mask) = &mask {
                mask.add(b, n, scores);
            }
            if is_causal {
                causal(scores, k.length, past);
            }
        };
        let scale = scale.unwrap_or(1.0 / (q.size as f32).sqrt());
        let out = attend(&q, &k, &v, batch, &Rule { scale, softcap, mask: &change }, ws)?;
        let mut results: Results = if rank == 3 {
            let shape = [batch, out.length, out.number * out.size];
            results![Value::f32(&shape, out.merged(batch, ws)?)]
        } else {
            results![whole(out, batch)]
        };
        results.extend([k, v].map(|h| Datum::from(whole(h, batch))));
        Ok(results)
    }))
}
