//! Scaled dot-product attention over heads.

use shiftwise_kernels::matmul::{MatRef, matmul};
use shiftwise_kernels::softmax::softmax_in_place;

use crate::args::{Args, Outcome};
use crate::pool::Workspace;
use crate::scalar::count;
use crate::strided;

/// A tensor `[batch, heads, length, size]`.
pub(super) struct Heads {
    pub(super) elements: Vec<f32>,
    pub(super) number: usize,
    pub(super) length: usize,
    pub(super) size: usize,
}

impl Heads {
    /// From rows of `row` elements, `[batch, length, row]`, in which the heads stand from `offset` on.
    pub(super) fn split(
        x: &[f32],
        [batch, length, row]: [usize; 3],
        offset: usize,
        [heads, size]: [usize; 2],
        ws: &mut Workspace,
    ) -> Outcome<Self> {
        let mut elements = ws.floats(count(&[batch, heads, length, size])?);
        let steps = [(length * row) as isize, size as isize, row as isize, 1];
        strided::copy(x, offset, &[batch, heads, length, size], &steps, &mut elements);
        Ok(Self { elements, number: heads, length, size })
    }

    /// Adds a bias of `heads · size` elements to every position.
    pub(super) fn add(&mut self, bias: &[f32]) {
        let (length, size) = (self.length, self.size);
        for (i, row) in self.elements.chunks_exact_mut((length * size).max(1)).enumerate() {
            let bias = &bias[i % self.number * size..][..size];
            for row in row.chunks_exact_mut(size.max(1)) {
                row.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
            }
        }
    }

    /// An input that already has this layout.
    pub(super) fn given(args: &Args<'_>, index: usize, batch: usize) -> Outcome<Option<Self>> {
        if args.get(index).is_none() {
            return Ok(None);
        }
        match args.f32(index)? {
            (x, &[b, heads, length, size]) if b == batch => {
                Ok(Some(Self { elements: x.to_vec(), number: heads, length, size }))
            }
            (_, other) => {
                Err(format!("its input {index} has shape {other:?}, not [{batch}, heads, length, size]"))
            }
        }
    }

    /// `past` positions, then these.
    pub(super) fn after(self, past: Option<Self>, batch: usize) -> Outcome<Self> {
        let Some(past) = past else { return Ok(self) };
        if past.number != self.number || past.size != self.size {
            return Err("its past has other heads than its new keys or values".into());
        }
        let (old, new) = (past.length * self.size, self.length * self.size);
        let mut elements = Vec::with_capacity(past.elements.len() + self.elements.len());
        for i in 0..batch * self.number {
            elements.extend(&past.elements[i * old..][..old]);
            elements.extend(&self.elements[i * new..][..new]);
        }
        Ok(Self { elements, length: past.length + self.length, ..self })
    }

    /// `[batch, length, heads · size]`.
    pub(super) fn merged(&self, batch: usize, ws: &mut Workspace) -> Outcome<Vec<f32>> {
        let (h, l, s) = (self.number, self.length, self.size);
        let mut out = ws.floats(count(&[batch, l, h, s])?);
        let steps = [(h * l * s) as isize, s as isize, (l * s) as isize, 1];
        strided::copy(&self.elements, 0, &[batch, l, h, s], &steps, &mut out);
        Ok(out)
    }
}

/// How scores become weights.
pub(super) struct Rule<'a> {
    pub(super) scale: f32,
    /// Limits scores to ± this, softly.
    pub(super) softcap: Option<f32>,
    /// Changes the scores `[length of q, length of k]` of one batch and head.
    pub(super) mask: &'a dyn Fn(usize, usize, &mut [f32]),
}

/// `softmax(q kᵀ · scale + mask) v`; heads of `q` share those of `k` and `v` evenly.
pub(super) fn attend(
    q: &Heads,
    k: &Heads,
    v: &Heads,
    batch: usize,
    rule: &Rule<'_>,
    ws: &mut Workspace,
) -> Outcome<Heads> {
    let fits = q.size == k.size && k.length == v.length && k.number == v.number;
    if !fits || k.number == 0 || !q.number.is_multiple_of(k.number) {
        return Err(format!(
            "queries of {} heads of {}, keys of {} of {} and values of {} do not fit",
            q.number, q.size, k.number, k.size, v.number
        ));
    }
    let group = q.number / k.number;
    let (rows, columns) = (q.length, k.length);
    let mut scores = ws.floats(count(&[rows, columns])?);
    let mut out = ws.floats(count(&[batch, q.number, rows, v.size])?);
    out.fill(0.0);
    for (i, out) in out.chunks_exact_mut((rows * v.size).max(1)).enumerate() {
        if columns == 0 || q.size == 0 {
            break;
        }
        let (b, n) = (i / q.number, i % q.number);
        let kv = b * k.number + n / group;
        let left = MatRef::row_major(&q.elements[i * rows * q.size..][..rows * q.size], q.size);
        let keys = &k.elements[kv * columns * k.size..][..columns * k.size];
        matmul(rows, q.size, columns, left, MatRef::transposed(keys, k.size), &mut scores, rule.scale, 0.0);
        if let Some(cap) = rule.softcap {
            for s in &mut scores {
                *s = cap * (*s / cap).tanh();
            }
        }
        (rule.mask)(b, n, &mut scores);
        // A query that may see nothing gets nothing.
        let hidden = |row: &[f32]| row.iter().all(|s| *s == f32::NEG_INFINITY);
        let blind: Vec<bool> = scores.chunks_exact(columns).map(hidden).collect();
        softmax_in_place(&mut scores, columns);
        for (row, _) in scores.chunks_exact_mut(columns).zip(&blind).filter(|(_, blind)| **blind) {
            row.fill(0.0);
        }
        let values = &v.elements[kv * columns * v.size..][..columns * v.size];
        let left = MatRef::row_major(&scores, columns);
        matmul(rows, columns, v.size, left, MatRef::row_major(values, v.size), out, 1.0, 0.0);
    }
    ws.recycle_floats(scores);
    Ok(Heads { elements: out, number: q.number, length: rows, size: v.size })
}
