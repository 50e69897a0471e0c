//! Matrix products.

use super::context::{Ctx, Stop, contradiction, unknown};
use super::dims;
use super::registry::Family;
use crate::{DataType, Dim};

pub(super) const OPS: Family = &[
    ("Einsum", einsum),
    ("Gemm", gemm),
    ("MatMul", matmul),
    ("MatMulInteger", matmul_integer),
    ("QLinearMatMul", qlinear_matmul),
];

/// numpy's matmul: leading axes broadcast, vectors get an axis for the product and lose it afterwards.
fn product(ctx: &mut Ctx, left: usize, right: usize, dtype: DataType) -> Result<(), Stop> {
    ctx.set(0, dtype, None);
    let (a, b) = (ctx.dims(left)?, ctx.dims(right)?);
    if a.is_empty() || b.is_empty() {
        return contradiction("one of its operands is a scalar");
    }
    let (vector_a, vector_b) = (a.len() == 1, b.len() == 1);
    let (rows, inner_a) =
        if vector_a { (Dim::Known(1), &a[0]) } else { (a[a.len() - 2].clone(), &a[a.len() - 1]) };
    let (inner_b, columns) =
        if vector_b { (&b[0], Dim::Known(1)) } else { (&b[b.len() - 2], b[b.len() - 1].clone()) };
    ctx.env.meet(inner_a, inner_b);
    if dims::merge(inner_a, inner_b).is_none() {
        return contradiction(format!("the shapes {} cannot be multiplied", dims::list(&[&a, &b])));
    }
    let batch = |d: &[Dim]| d[..d.len().saturating_sub(2)].to_vec();
    let (batch_a, batch_b) = (batch(&a), batch(&b));
    ctx.env.meet_all(&[&batch_a, &batch_b]);
    let mut out = dims::broadcast(&[&batch_a, &batch_b])?;
    if !vector_a {
        out.push(rows);
    }
    if !vector_b {
        out.push(columns);
    }
    if out.contains(&Dim::Unknown) {
        ctx.note(format!("the shapes {} broadcast to extents that have no name", dims::list(&[&a, &b])));
    }
    ctx.done(dtype, out)
}

fn matmul(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    product(ctx, 0, 1, dtype)
}

fn matmul_integer(ctx: &mut Ctx) -> Result<(), Stop> {
    product(ctx, 0, 1, DataType::Int32)
}

fn qlinear_matmul(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(7)?;
    product(ctx, 0, 3, dtype)
}

fn gemm(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let (a, b) = (ctx.dims_of_rank(0, 2)?, ctx.dims_of_rank(1, 2)?);
    let transposed = |name: &str| ctx.node.int(name).unwrap_or(0) != 0;
    let (rows, inner_a) = if transposed("transA") { (&a[1], &a[0]) } else { (&a[0], &a[1]) };
    let (inner_b, columns) = if transposed("transB") { (&b[1], &b[0]) } else { (&b[0], &b[1]) };
    ctx.env.meet(inner_a, inner_b);
    if dims::merge(inner_a, inner_b).is_none() {
        return contradiction(format!("the shapes {} cannot be multiplied", dims::list(&[&a, &b])));
    }
    ctx.done(dtype, vec![rows.clone(), columns.clone()])
}

/// Einstein sums without an ellipsis: each letter has one extent.
fn einsum(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let equation: String =
        ctx.node.text("equation").unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    if equation.len() > 256 {
        return unknown("its equation is too long");
    }
    if equation.contains('.') {
        return unknown(format!("the equation {equation:?} has an ellipsis, which is not supported"));
    }
    let (terms, output) = if let Some((terms, output)) = equation.split_once("->") {
        (terms.to_string(), output.to_string())
    } else {
        // Letters that stand once, in alphabetical order.
        let mut letters: Vec<char> = equation.chars().filter(|c| *c != ',').collect();
        letters.sort_unstable();
        let once = letters.iter().filter(|c| letters.iter().filter(|d| d == c).count() == 1).collect();
        (equation.clone(), once)
    };
    let mut extents = std::collections::BTreeMap::new();
    for (i, term) in terms.split(',').enumerate() {
        let shape = ctx.dims_of_rank(i, term.chars().count())?;
        for (letter, dim) in term.chars().zip(shape) {
            let known = extents.entry(letter).or_insert(Dim::Unknown);
            ctx.env.meet(known, &dim);
            match dims::merge(known, &dim) {
                Some(merged) => *known = merged,
                None => {
                    return contradiction(format!("{letter:?} of {equation:?} stands for {known} and {dim}"));
                }
            }
        }
    }
    let out = output.chars().map(|c| extents.get(&c).cloned()).collect::<Option<Vec<_>>>();
    match out {
        Some(out) => ctx.done(dtype, out),
        None => contradiction(format!("the equation {equation:?} makes a letter from nothing")),
    }
}
