//! EmbedLayerNormalization: sums of embeddings, normalised.

use shiftwise_graph::Value;
use shiftwise_kernels::norm::layer_norm;

use crate::args::{Args, Datum, Ints, Kernel, Outcome, results};
use crate::ops::{Cx, Op};
use crate::scalar::{count, value};

pub(in crate::ops) const OPS: &[Op] = &[Op::float("EmbedLayerNormalization", compile).contrib()];

/// A table of embeddings and what is looked up in it.
struct Table<'a> {
    rows: &'a [f32],
    ids: Ints,
}

impl<'a> Table<'a> {
    fn new(args: &'a Args<'_>, index: usize, ids: Ints, width: usize) -> Outcome<Self> {
        let (rows, shape) = args.f32(index)?;
        if shape.len() != 2 || shape[1] != width {
            return Err(format!("its embedding {index} has shape {shape:?}, not rows of {width}"));
        }
        Ok(Self { rows, ids })
    }

    fn row(&self, i: usize, width: usize) -> Outcome<&'a [f32]> {
        let id = self.ids[i];
        let start = usize::try_from(id).ok().and_then(|r| r.checked_mul(width));
        let row = start.and_then(|s| self.rows.get(s..s.checked_add(width)?));
        row.ok_or_else(|| format!("id {id} is beyond its embedding"))
    }
}

/// Inputs: ids, segments, three embeddings (words, positions, segments), gamma, beta, mask, positions.
fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let epsilon = cx.float_or("epsilon", 1e-12);
    Ok(Box::new(move |args, ws| {
        let &[batch, length] = args.value(0)?.shape() else { return Err("its ids are not a matrix".into()) };
        let width = *args.value(2)?.shape().last().ok_or("its word embedding is a scalar")?;
        let ids = args.ints(0)?;
        let fitting = |given: Ints| -> Outcome<Ints> {
            match given.len() {
                n if n == ids.len() => Ok(given),
                n if n == length => Ok((0..ids.len()).map(|i| given[i % length]).collect()),
                n => Err(format!("{n} ids do not fit {batch} sequences of {length}")),
            }
        };
        let positions = match args.optional_ints(8)? {
            Some(p) => fitting(p)?,
            None => (0..ids.len()).map(|i| (i % length) as i64).collect(),
        };
        let mut tables =
            vec![Table::new(args, 2, ids.clone(), width)?, Table::new(args, 3, positions, width)?];
        if let Some(segments) = args.optional_ints(1)? {
            tables.push(Table::new(args, 4, fitting(segments)?, width)?);
        }
        let ((gamma, _), (beta, _)) = (args.f32(5)?, args.f32(6)?);
        if gamma.len() != width || beta.len() != width {
            return Err(format!("its gamma and beta do not have {width} elements"));
        }
        let mut sum = ws.floats(count(&[batch, length, width])?);
        sum.fill(0.0);
        for (i, out) in sum.chunks_exact_mut(width.max(1)).enumerate() {
            for table in &tables {
                out.iter_mut().zip(table.row(i, width)?).for_each(|(o, v)| *o += v);
            }
        }
        let mut out = ws.floats(sum.len());
        layer_norm(&sum, gamma, Some(beta), epsilon, &mut out);
        let lengths: Vec<i32> = match args.optional_ints(7)? {
            None => vec![0; batch],
            Some(mask) => fitting(mask)?
                .chunks(length.max(1))
                .map(|row| row.iter().filter(|m| **m == 1).count() as i32)
                .collect(),
        };
        let shape = [batch, length, width];
        let mut results = results![Value::f32(&shape, out), value(&[batch], lengths)?];
        results.push(Datum::from(Value::f32(&shape, sum)));
        Ok(results)
    }))
}
