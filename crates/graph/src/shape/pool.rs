//! Pooling and sampling of regions.

use super::context::{Ctx, Stop, contradiction};
use super::conv::Window;
use super::dims;
use super::registry::Family;
use crate::{DataType, Dim};

pub(super) const OPS: Family = &[
    ("AveragePool", pool),
    ("GlobalAveragePool", global),
    ("GlobalLpPool", global),
    ("GlobalMaxPool", global),
    ("GridSample", grid_sample),
    ("LpPool", pool),
    ("MaxPool", pool),
    ("MaxRoiPool", max_roi_pool),
    ("RoiAlign", roi_align),
];

fn pool(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let x = ctx.dims(0)?;
    let Some(spatial) = x.len().checked_sub(2).filter(|s| *s > 0) else {
        return contradiction(format!("its input has shape {}, without spatial axes", dims::list(&[&x])));
    };
    let window = Window::read(ctx, spatial, None)?;
    let ceil = ctx.node.int("ceil_mode").unwrap_or(0) != 0;
    let mut out = x[..2].to_vec();
    for axis in 0..spatial {
        out.push(window.slide(axis, &x[axis + 2], ceil)?);
    }
    if ctx.node.is("MaxPool") {
        ctx.set(1, DataType::Int64, Some(out.clone()));
    }
    ctx.done(dtype, out)
}

fn global(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    let mut out = ctx.dims(0)?;
    for dim in out.iter_mut().skip(2) {
        *dim = Dim::Known(1);
    }
    ctx.done(dtype, out)
}

fn max_roi_pool(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    let (x, rois) = (ctx.dims_of_rank(0, 4)?, ctx.dims_of_rank(1, 2)?);
    let Some(&[h, w]) = ctx.node.ints("pooled_shape") else {
        return contradiction("pooled_shape is not two numbers");
    };
    ctx.done(dtype, vec![rois[0].clone(), x[1].clone(), dims::known(h)?, dims::known(w)?])
}

fn roi_align(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    let (x, rois) = (ctx.dims_of_rank(0, 4)?, ctx.dims_of_rank(1, 2)?);
    let h = dims::known(ctx.node.int("output_height").unwrap_or(1))?;
    let w = dims::known(ctx.node.int("output_width").unwrap_or(1))?;
    ctx.done(dtype, vec![rois[0].clone(), x[1].clone(), h, w])
}

fn grid_sample(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    let x = ctx.dims(0)?;
    let grid = ctx.dims_of_rank(1, x.len())?;
    if x.len() < 3 {
        return contradiction("its input has no spatial axes");
    }
    let mut out = x[..2].to_vec();
    out.extend_from_slice(&grid[1..grid.len() - 1]);
    ctx.done(dtype, out)
}
