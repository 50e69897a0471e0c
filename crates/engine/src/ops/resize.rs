//! Resize and Upsample: nearest and linear.
//!
//! An axis at a time: each place of the result has a coordinate on the input's axis, and takes the nearest element or
//! blends the two around it. Cubic interpolation, antialiasing and cropping are refused.

use shiftwise_graph::Value;

use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Results, axis_of, results};
use crate::pool::Workspace;
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[Op::float("Resize", compile), Op::float("Upsample", compile)];

#[derive(Clone, Copy)]
enum Coordinate {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfHalfPixelForNn,
}

#[derive(Clone, Copy)]
enum Nearest {
    /// What was done before there was a choice: up where the axis shrinks, down where it grows.
    Simple,
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

struct Resize {
    linear: bool,
    coordinate: Coordinate,
    nearest: Nearest,
    axes: Option<crate::args::Ints>,
    scales: Sizes,
}

/// Where scales or sizes stand.
enum Sizes {
    Attribute(Vec<f32>),
    /// Places of scales and sizes among the inputs.
    Inputs(usize, Option<usize>),
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let refuse = |what: &str| Err(format!("{what} is not supported"));
    let linear = match cx.text_or("mode", "nearest") {
        "nearest" => false,
        "linear" | "bilinear" => true,
        other => return refuse(&format!("mode {other:?}")),
    };
    // Before opset 11 there was one way.
    let old = cx.opset < 11 || cx.node.op_type == "Upsample";
    let coordinate = match cx.text_or("coordinate_transformation_mode", "half_pixel") {
        _ if old => Coordinate::Asymmetric,
        "half_pixel" => Coordinate::HalfPixel,
        "half_pixel_symmetric" => Coordinate::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinate::PytorchHalfPixel,
        "align_corners" => Coordinate::AlignCorners,
        "asymmetric" => Coordinate::Asymmetric,
        "tf_half_pixel_for_nn" => Coordinate::TfHalfPixelForNn,
        other => return refuse(&format!("coordinate_transformation_mode {other:?}")),
    };
    let nearest = match cx.text_or("nearest_mode", "round_prefer_floor") {
        _ if old => Nearest::Simple,
        "round_prefer_floor" => Nearest::RoundPreferFloor,
        "round_prefer_ceil" => Nearest::RoundPreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        other => return refuse(&format!("nearest_mode {other:?}")),
    };
    if cx.flag("antialias", false) {
        return refuse("antialias");
    }
    if cx.text_or("keep_aspect_ratio_policy", "stretch") != "stretch" {
        return refuse("keep_aspect_ratio_policy other than stretch");
    }
    let scales = match cx.node.attributes.get("scales") {
        Some(shiftwise_graph::Attribute::Floats(v)) if cx.node.inputs.len() == 1 => {
            Sizes::Attribute(v.clone())
        }
        _ if old => Sizes::Inputs(1, None),
        _ => Sizes::Inputs(2, Some(3)),
    };
    let op = Resize { linear, coordinate, nearest, axes: cx.ints("axes"), scales };
    Ok(Box::new(move |args, ws| run(&op, args, ws)))
}

/// Size and scale of the result along every axis.
fn target(op: &Resize, args: &Args<'_>, shape: &[usize]) -> Outcome<Vec<(usize, f32)>> {
    let axes: Vec<usize> = match &op.axes {
        Some(axes) => axes.iter().map(|a| axis_of(*a, shape.len())).collect::<Outcome<_>>()?,
        None => (0..shape.len()).collect(),
    };
    let mut all: Vec<(usize, f32)> = shape.iter().map(|n| (*n, 1.0)).collect();
    let (scales, sizes) = match &op.scales {
        Sizes::Attribute(v) => (v.clone(), None),
        Sizes::Inputs(scales, sizes) => {
            let given = args.optional_f32(*scales)?.unwrap_or(&[]).to_vec();
            let sizes = sizes.map_or(Ok(None), |i| args.optional_ints(i))?.filter(|s| !s.is_empty());
            (given, sizes)
        }
    };
    let length = sizes.as_ref().map_or(scales.len(), |s| s.len());
    if length != axes.len() {
        return Err(format!("{length} scales or sizes do not fit {} axes", axes.len()));
    }
    for (i, axis) in axes.into_iter().enumerate() {
        let n = shape[axis];
        all[axis] = if let Some(sizes) = &sizes {
            let m = usize::try_from(sizes[i]).map_err(|_| format!("a size of {} is not valid", sizes[i]))?;
            (m, if n == 0 { 1.0 } else { m as f32 / n as f32 })
        } else {
            let m = (n as f32 * scales[i]).floor();
            if !(scales[i] > 0.0 && m < 1e9) {
                return Err(format!("a scale of {} is not valid", scales[i]));
            }
            (m as usize, scales[i])
        };
    }
    Ok(all)
}

fn run(op: &Resize, args: &mut Args<'_>, ws: &mut Workspace) -> Outcome<Results> {
    let (x, shape) = args.f32(0)?;
    let target = target(op, args, shape)?;
    let to: Vec<usize> = target.iter().map(|(m, _)| *m).collect();
    count(&to)?;
    if x.is_empty() && to.iter().all(|m| *m > 0) {
        return Err("an empty input cannot be resized".into());
    }
    let mut now = shape.to_vec();
    let mut held: Option<Vec<f32>> = None;
    // The last axis first: rows are then copied whole.
    for axis in (0..shape.len()).rev() {
        let (m, scale) = target[axis];
        if (m == now[axis] && scale == 1.0) || to.contains(&0) {
            continue;
        }
        let inner = count(&now[axis + 1..])?;
        let outer = count(&now[..axis])?;
        let mut out = ws.floats(outer * m * inner);
        let places: Vec<f32> = (0..m).map(|i| op.coordinate.of(i, now[axis], m, scale)).collect();
        along(op, held.as_deref().unwrap_or(x), &places, scale, [now[axis], inner], &mut out);
        now[axis] = m;
        if let Some(old) = held.replace(out) {
            ws.recycle_floats(old);
        }
    }
    let out = match held {
        _ if to.contains(&0) => Vec::new(),
        Some(out) => out,
        None => {
            let mut out = ws.floats(x.len());
            out.copy_from_slice(x);
            out
        }
    };
    Ok(results![Value::f32(&to, out)])
}

impl Coordinate {
    /// The place on an axis of `n` that element `i` of `m` comes from.
    fn of(self, i: usize, n: usize, m: usize, scale: f32) -> f32 {
        let x = i as f32;
        match self {
            Self::HalfPixel => (x + 0.5) / scale - 0.5,
            Self::HalfPixelSymmetric => {
                let adjustment = m as f32 / (scale * n as f32);
                let offset = n as f32 / 2.0 * (1.0 - adjustment);
                offset + (x + 0.5) / scale - 0.5
            }
            Self::PytorchHalfPixel if m > 1 => (x + 0.5) / scale - 0.5,
            Self::PytorchHalfPixel => 0.0,
            Self::AlignCorners if m > 1 => x * (n as f32 - 1.0) / (m as f32 - 1.0),
            Self::AlignCorners => 0.0,
            Self::Asymmetric => x / scale,
            Self::TfHalfPixelForNn => (x + 0.5) / scale,
        }
    }
}

impl Nearest {
    fn of(self, x: f32, n: usize, scale: f32) -> usize {
        let rounded = match self {
            Self::Simple => {
                if scale < 1.0 {
                    x.ceil()
                } else {
                    x.floor()
                }
            }
            Self::RoundPreferFloor => (x - 0.5).ceil(),
            Self::RoundPreferCeil => (x + 0.5).floor(),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
        };
        rounded.clamp(0.0, n as f32 - 1.0) as usize
    }
}

/// Resizes the middle of `[outer, n, inner]` to the given places.
fn along(op: &Resize, x: &[f32], places: &[f32], scale: f32, [n, inner]: [usize; 2], out: &mut [f32]) {
    let (from, to) = (n * inner, places.len() * inner);
    if !op.linear {
        let table: Vec<usize> = places.iter().map(|p| op.nearest.of(*p, n, scale)).collect();
        for (x, out) in x.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
            if inner == 1 {
                out.iter_mut().zip(&table).for_each(|(o, i)| *o = x[*i]);
            } else {
                for (i, out) in table.iter().zip(out.chunks_exact_mut(inner)) {
                    out.copy_from_slice(&x[i * inner..][..inner]);
                }
            }
        }
        return;
    }
    let table: Vec<(usize, usize, f32)> = places
        .iter()
        .map(|p| {
            let p = p.clamp(0.0, n as f32 - 1.0);
            let low = p as usize;
            (low, (low + 1).min(n - 1), p - low as f32)
        })
        .collect();
    for (x, out) in x.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
        for ((low, high, t), out) in table.iter().zip(out.chunks_exact_mut(inner)) {
            let (a, b) = (&x[low * inner..][..inner], &x[high * inner..][..inner]);
            for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
                *o = a * (1.0 - t) + b * t;
            }
        }
    }
}
