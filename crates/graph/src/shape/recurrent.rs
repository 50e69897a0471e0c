//! Recurrent layers: X [sequence, batch, input] to Y [sequence, directions, batch, hidden] and final states.

use super::context::{Ctx, Stop};
use super::dims;
use super::registry::Family;
use crate::Dim;

pub(super) const OPS: Family = &[("GRU", layer), ("LSTM", layer), ("RNN", layer)];

fn layer(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    for i in 0..ctx.types.len() {
        ctx.set(i, dtype, None);
    }
    let x = ctx.dims_of_rank(0, 3)?;
    let directions = Dim::Known(if ctx.node.text("direction") == Some("bidirectional") { 2 } else { 1 });
    let hidden = match ctx.node.int("hidden_size") {
        Some(n) => dims::known(n)?,
        // R is [directions, gates · hidden, hidden].
        None => ctx.dims_of_rank(2, 3)?.swap_remove(2),
    };
    let (all, last) = if ctx.node.int("layout").unwrap_or(0) == 0 {
        let (sequence, batch) = (x[0].clone(), x[1].clone());
        (vec![sequence, directions.clone(), batch.clone(), hidden.clone()], vec![directions, batch, hidden])
    } else {
        let (batch, sequence) = (x[0].clone(), x[1].clone());
        (vec![batch.clone(), sequence, directions.clone(), hidden.clone()], vec![batch, directions, hidden])
    };
    ctx.set(0, dtype, Some(all));
    for i in 1..ctx.types.len() {
        ctx.set(i, dtype, Some(last.clone()));
    }
    Ok(())
}
