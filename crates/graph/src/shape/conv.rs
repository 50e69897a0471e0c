//! Convolutions: each spatial extent from kernel, stride, dilation and padding.

use super::context::{Ctx, Stop, contradiction, unknown};
use super::dims;
use super::registry::Family;
use crate::{DataType, Dim};

pub(super) const OPS: Family = &[
    ("Conv", conv),
    ("ConvInteger", conv_integer),
    ("ConvTranspose", conv_transpose),
    ("QLinearConv", qlinear_conv),
];

/// The window that slides over the spatial axes.
pub(super) struct Window {
    pub(super) kernel: Vec<Dim>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    /// Padding before, then after, each axis.
    pads: Vec<i64>,
    auto_pad: AutoPad,
}

#[derive(Clone, Copy, PartialEq)]
enum AutoPad {
    NotSet,
    Same,
    Valid,
}

impl Window {
    /// Reads the attributes; `kernel` is used where `kernel_shape` is absent.
    pub(super) fn read(ctx: &Ctx, spatial: usize, kernel: Option<Vec<Dim>>) -> Result<Self, Stop> {
        let list = |name: &str, length: usize, default: i64, least: i64| match ctx.node.ints(name) {
            None | Some([]) => Ok(vec![default; length]),
            Some(v) if v.len() != length => {
                contradiction(format!("{name} has {} entries but {length} are needed", v.len()))
            }
            Some(v) => match v.iter().find(|v| **v < least || **v > i64::from(i32::MAX)) {
                Some(bad) => contradiction(format!("{name} has the entry {bad}")),
                None => Ok(v.to_vec()),
            },
        };
        let kernel = match (ctx.node.ints("kernel_shape"), kernel) {
            (None | Some([]), Some(k)) => k,
            (None | Some([]), None) => return contradiction("kernel_shape is missing"),
            _ => list("kernel_shape", spatial, 1, 1)?.into_iter().map(|k| Dim::Known(k as usize)).collect(),
        };
        if kernel.len() != spatial {
            return contradiction(format!("its kernel has rank {} but {spatial} is needed", kernel.len()));
        }
        let auto_pad = match ctx.node.text("auto_pad").unwrap_or("NOTSET") {
            "NOTSET" | "" => AutoPad::NotSet,
            "SAME_UPPER" | "SAME_LOWER" => AutoPad::Same,
            "VALID" => AutoPad::Valid,
            other => return contradiction(format!("auto_pad {other:?} is not defined")),
        };
        let pads = match auto_pad {
            AutoPad::NotSet => list("pads", 2 * spatial, 0, i64::from(i32::MIN))?,
            _ => vec![0; 2 * spatial],
        };
        Ok(Self {
            kernel,
            strides: list("strides", spatial, 1, 1)?,
            dilations: list("dilations", spatial, 1, 1)?,
            pads,
            auto_pad,
        })
    }

    /// How many positions the dilated kernel covers.
    fn span(&self, axis: usize) -> Result<Option<i64>, Stop> {
        let Some(k) = self.kernel[axis].known() else { return Ok(None) };
        let span = i64::try_from(k)
            .ok()
            .and_then(|k| (k - 1).checked_mul(self.dilations[axis]))
            .and_then(|d| d.checked_add(1));
        match span {
            Some(span) if span > 0 => Ok(Some(span)),
            _ => contradiction(format!("its kernel extent {k} is not usable")),
        }
    }

    /// The extent after sliding over `input`.
    ///
    /// `⌊(i + p − e) / s⌋ + 1` with the effective kernel extent `e = d (k − 1) + 1`; rounded up with `ceil`, unless the
    /// last window would then start beyond the input and its leading padding.
    pub(super) fn slide(&self, axis: usize, input: &Dim, ceil: bool) -> Result<Dim, Stop> {
        let stride = self.strides[axis];
        if self.auto_pad == AutoPad::Same {
            return Ok(match input {
                Dim::Known(n) => Dim::Known(n.div_ceil(stride as usize)),
                other if stride == 1 => other.clone(),
                _ => Dim::Unknown,
            });
        }
        let Some(span) = self.span(axis)? else { return Ok(Dim::Unknown) };
        let (before, after) = (self.pads[axis], self.pads[axis + self.kernel.len()]);
        let Some(n) = input.known() else {
            let keeps = stride == 1 && before + after == span - 1;
            return Ok(if keeps { input.clone() } else { Dim::Unknown });
        };
        let Some(room) = i64::try_from(n).ok().and_then(|n| n.checked_add(before + after - span)) else {
            return contradiction("an extent overflows");
        };
        if room < 0 {
            return contradiction(format!(
                "spatial axis {axis}: a window over {span} does not fit into {n} with padding {before} and {after}"
            ));
        }
        let mut out = if ceil { room / stride + i64::from(room % stride != 0) } else { room / stride } + 1;
        if ceil && (out - 1) * stride >= n as i64 + before {
            out -= 1;
        }
        dims::known(out)
    }
}

/// Batch, output channels and slid spatial axes of a convolution with the given input and weight inputs.
fn convolve(ctx: &mut Ctx, weights: usize, dtype: DataType) -> Result<(), Stop> {
    ctx.set(0, dtype, None);
    let x = ctx.dims(0)?;
    let Some(spatial) = x.len().checked_sub(2).filter(|s| *s > 0) else {
        return contradiction(format!("its input has shape {}, without spatial axes", dims::list(&[&x])));
    };
    let w = match ctx.dims(weights) {
        Ok(_) => Some(ctx.dims_of_rank(weights, x.len())?),
        Err(Stop::Input) => None,
        Err(other) => return Err(other),
    };
    if let Some((per_group, channels)) = w.as_ref().and_then(|w| Some((w[1].known()?, x[1].known()?))) {
        let group = usize::try_from(ctx.node.int("group").unwrap_or(1)).unwrap_or(0);
        if per_group.checked_mul(group) != Some(channels) {
            return contradiction(format!(
                "its input has {channels} channels but its weights take {per_group} in {group} groups"
            ));
        }
    }
    let kernel = w.as_ref().map_or_else(|| vec![Dim::Unknown; spatial], |w| w[2..].to_vec());
    let window = Window::read(ctx, spatial, Some(kernel))?;
    let mut out = vec![x[0].clone(), w.map_or(Dim::Unknown, |w| w[0].clone())];
    for axis in 0..spatial {
        out.push(window.slide(axis, &x[axis + 2], false)?);
    }
    ctx.done(dtype, out)
}

fn conv(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    convolve(ctx, 1, dtype)
}

fn conv_integer(ctx: &mut Ctx) -> Result<(), Stop> {
    convolve(ctx, 1, DataType::Int32)
}

fn qlinear_conv(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(7)?;
    convolve(ctx, 3, dtype)
}

/// `s (i − 1) + e + output_padding − pads`, or what `output_shape` says; `s · i` with SAME padding.
fn conv_transpose(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let x = ctx.dims(0)?;
    let Some(spatial) = x.len().checked_sub(2).filter(|s| *s > 0) else {
        return contradiction(format!("its input has shape {}, without spatial axes", dims::list(&[&x])));
    };
    let w = ctx.dims_of_rank(1, x.len())?;
    if let (Some(channels), Some(rows)) = (x[1].known(), w[0].known())
        && channels != rows
    {
        return contradiction(format!("its input has {channels} channels but its weights take {rows}"));
    }
    let window = Window::read(ctx, spatial, Some(w[2..].to_vec()))?;
    let extra = match ctx.node.ints("output_padding") {
        None | Some([]) => vec![0; spatial],
        Some(v) if v.len() == spatial => v.to_vec(),
        Some(v) => return contradiction(format!("output_padding has {} entries", v.len())),
    };
    let mut out = vec![x[0].clone(), dims::mul(&w[1], ctx.node.int("group").unwrap_or(1))?];
    // Some exporters write batch and channels too.
    if let Some(shape) = ctx.node.ints("output_shape").filter(|s| !s.is_empty()) {
        let Some(skip) = shape.len().checked_sub(spatial) else {
            return contradiction(format!("output_shape has {} entries", shape.len()));
        };
        for n in &shape[skip..] {
            out.push(dims::known(*n)?);
        }
        return ctx.done(dtype, out);
    }
    for axis in 0..spatial {
        let input = &x[axis + 2];
        let stride = window.strides[axis];
        if window.auto_pad == AutoPad::Same {
            out.push(dims::mul(input, stride)?);
            continue;
        }
        let Some(span) = window.span(axis)? else {
            out.push(Dim::Unknown);
            continue;
        };
        let pads = window.pads[axis] + window.pads[axis + spatial];
        let Some(more) = span.checked_add(extra[axis]).and_then(|m| m.checked_sub(pads + stride)) else {
            return unknown("its padding overflows");
        };
        out.push(dims::add(&dims::mul(input, stride)?, more)?);
    }
    ctx.done(dtype, out)
}
