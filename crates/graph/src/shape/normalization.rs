//! Normalisations and dropout: the shape of the input, and statistics beside it.

use super::context::{Ctx, Stop};
use super::dims;
use super::registry::Family;
use super::unary::same;
use crate::{DataType, Dim};

pub(super) const OPS: Family = &[
    ("BatchNormalization", batch),
    ("Dropout", dropout),
    ("GroupNormalization", same),
    ("InstanceNormalization", same),
    ("LayerNormalization", layer),
    ("LRN", same),
    ("LpNormalization", same),
    ("MeanVarianceNormalization", same),
    ("RMSNormalization", same),
];

/// Further outputs are running statistics, one value a channel.
fn batch(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.same_as(0)?;
    if ctx.types.len() > 1 {
        let channels = match ctx.ty(1)?.shape.as_deref() {
            Some([c]) => c.clone(),
            _ => ctx.dims(0)?.get(1).cloned().unwrap_or(Dim::Unknown),
        };
        let dtype = ctx.dtype(3).or_else(|_| ctx.dtype(0))?;
        for i in 1..ctx.types.len() {
            ctx.set(i, dtype, Some(vec![channels.clone()]));
        }
    }
    Ok(())
}

fn dropout(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.same_as(0)?;
    let shape = ctx.ty(0)?.shape.clone();
    // The mask had the type of the data before operator set 10.
    let mask = if ctx.opset < 10 { ctx.dtype(0)? } else { DataType::Bool };
    ctx.set(1, mask, shape);
    Ok(())
}

fn layer(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.same_as(0)?;
    if ctx.types.len() > 1 {
        let stash = ctx.node.int("stash_type").unwrap_or(1);
        let dtype = i32::try_from(stash).ok().and_then(DataType::from_onnx).unwrap_or(DataType::Float);
        let mut out = ctx.dims(0)?;
        let axis = dims::axis(ctx.node.int("axis").unwrap_or(-1), out.len())?;
        out[axis..].fill(Dim::Known(1));
        ctx.set(1, dtype, Some(out.clone()));
        ctx.set(2, dtype, Some(out));
    }
    Ok(())
}
