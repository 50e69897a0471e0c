//! Resize and Upsample, an axis at a time.

use shiftwise_graph::Value;
use smallvec::SmallVec;

use super::resize_axis::{Axis, Blend, Coordinate, Filter, Nearest};
use super::resize_integer::{self, Integer};
use super::{Cx, Op};
use crate::args::{Args, Ints, Kernel, Outcome, Results, Shape, axis_of, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, each_type, slice, value};

pub(super) const OPS: &[Op] = &[Op::float("Resize", compile), Op::float("Upsample", compile)];

#[derive(Clone, Copy)]
enum Mode {
    Nearest(Nearest),
    Blend(Filter),
}

/// What becomes of the proportions of an image that is to have a certain size.
#[derive(Clone, Copy, PartialEq)]
enum Aspect {
    Stretch,
    NotLarger,
    NotSmaller,
}

struct Resize {
    mode: Mode,
    antialias: bool,
    exclude_outside: bool,
    coordinate: Coordinate,
    aspect: Aspect,
    /// What stands where a crop reaches out of the input.
    extrapolation: f32,
    axes: Option<Ints>,
    scales: Sizes,
}

/// Where scales or sizes stand.
enum Sizes {
    Attribute(Vec<f32>),
    /// Places of scales and sizes among the inputs.
    Inputs(usize, Option<usize>),
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let refuse = |what: &str| Err(format!("{what} is not defined"));
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
        "tf_crop_and_resize" => Coordinate::TfCropAndResize,
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
    let mode = match cx.text_or("mode", "nearest") {
        "nearest" => Mode::Nearest(nearest),
        "linear" | "bilinear" => Mode::Blend(Filter::Linear),
        "cubic" => Mode::Blend(Filter::Cubic(cx.float_or("cubic_coeff_a", -0.75))),
        other => return refuse(&format!("mode {other:?}")),
    };
    let aspect = match cx.text_or("keep_aspect_ratio_policy", "stretch") {
        "stretch" => Aspect::Stretch,
        "not_larger" => Aspect::NotLarger,
        "not_smaller" => Aspect::NotSmaller,
        other => return refuse(&format!("keep_aspect_ratio_policy {other:?}")),
    };
    let antialias = cx.flag("antialias", false);
    if antialias && matches!(mode, Mode::Nearest(_)) {
        return refuse("antialias with mode nearest");
    }
    let scales = match cx.node.attributes.get("scales") {
        Some(shiftwise_graph::Attribute::Floats(v)) if cx.node.inputs.len() == 1 => {
            Sizes::Attribute(v.clone())
        }
        _ if old => Sizes::Inputs(1, None),
        _ => Sizes::Inputs(2, Some(3)),
    };
    let op = Resize {
        mode,
        antialias,
        exclude_outside: cx.flag("exclude_outside", false),
        coordinate,
        aspect,
        extrapolation: cx.float_or("extrapolation_value", 0.0),
        axes: cx.ints("axes"),
        scales,
    };
    Ok(Box::new(move |args, ws| run(&op, args, ws)))
}

/// One for each axis.
type Axes = SmallVec<[Axis; 5]>;

/// What becomes of every axis.
fn target(op: &Resize, args: &Args<'_>, shape: &[usize]) -> Outcome<Axes> {
    let named: Shape = match &op.axes {
        Some(axes) => axes.iter().map(|a| axis_of(*a, shape.len())).collect::<Outcome<_>>()?,
        None => (0..shape.len()).collect(),
    };
    let whole = |n: &usize| Axis { from: *n, to: *n, scale: 1.0, part: [0.0, 1.0] };
    let mut all: Axes = shape.iter().map(whole).collect();
    let (scales, sizes) = match &op.scales {
        Sizes::Attribute(v) => (v.as_slice(), None),
        Sizes::Inputs(scales, sizes) => {
            let sizes = sizes.map_or(Ok(None), |i| args.optional_ints(i))?.filter(|s| !s.is_empty());
            (args.optional_f32(*scales)?.unwrap_or(&[]), sizes)
        }
    };
    let length = sizes.as_deref().map_or(scales.len(), <[i64]>::len);
    if length != named.len() {
        return Err(format!("{length} scales or sizes do not fit {} axes", named.len()));
    }
    if op.coordinate == Coordinate::TfCropAndResize {
        let parts = args.optional_f32(1)?.unwrap_or(&[]);
        if parts.len() != 2 * named.len() {
            return Err(format!("its roi has {} elements for {} axes", parts.len(), named.len()));
        }
        let ends = &parts[named.len()..];
        named.iter().zip(parts).zip(ends).for_each(|((axis, start), end)| all[*axis].part = [*start, *end]);
    }
    for (i, place) in named.iter().enumerate() {
        let axis = &mut all[*place];
        let n = axis.from as f32;
        if let Some(sizes) = &sizes {
            let wrong = || format!("a size of {} is not valid", sizes[i]);
            axis.to = usize::try_from(sizes[i]).ok().filter(|m| *m < 1 << 40).ok_or_else(wrong)?;
            axis.scale = if axis.from == 0 { 1.0 } else { axis.to as f32 / n };
        } else {
            axis.scale = scales[i];
            // Of the whole axis, also where only a part is resized.
            let m = (n * axis.scale).floor();
            if !(axis.scale > 0.0 && (0.0..1e9).contains(&m)) {
                return Err(format!("a scale of {} is not valid", axis.scale));
            }
            axis.to = m as usize;
        }
    }
    if sizes.is_some() && op.aspect != Aspect::Stretch {
        let scales = named.iter().map(|axis| all[*axis].scale);
        let scale = match op.aspect {
            Aspect::NotLarger => scales.fold(f32::INFINITY, f32::min),
            _ => scales.fold(0.0, f32::max),
        };
        for axis in named {
            all[axis].scale = scale;
            all[axis].to = (scale * all[axis].from as f32).round() as usize;
        }
    }
    Ok(all)
}

fn run(op: &Resize, args: &mut Args<'_>, ws: &mut Workspace) -> Outcome<Results> {
    let x = args.value(0)?;
    let shape = Shape::from_slice(x.shape());
    let axes = target(op, args, &shape)?;
    let to: Shape = axes.iter().map(|a| a.to).collect();
    count(&to)?;
    if to == shape {
        return args.take_or_copy(0, ws).map(|v| results![v]);
    }
    if x.is_empty() && !to.contains(&0) {
        return Err("an empty input cannot be resized".into());
    }
    let mut result = match (op.mode, x) {
        (Mode::Nearest(nearest), x) => each_type!(x, a => {
            let out = gathered(op, nearest, slice(a), &axes, ws)?;
            value(&to, out)?
        }),
        (Mode::Blend(filter), Value::F32(a)) => Value::f32(&to, blended(op, filter, slice(a), &axes, ws)?),
        (Mode::Blend(filter), Value::U8(a)) => value(&to, integers(op, filter, slice(a), &axes, ws)?)?,
        (Mode::Blend(filter), Value::I8(a)) => value(&to, integers(op, filter, slice(a), &axes, ws)?)?,
        (Mode::Blend(filter), Value::I32(a)) => value(&to, integers(op, filter, slice(a), &axes, ws)?)?,
        (_, other) => return Err(format!("interpolation of {} is not supported", other.dtype())),
    };
    if op.coordinate == Coordinate::TfCropAndResize {
        extrapolate(op, &axes, &mut result)?;
    }
    Ok(results![result])
}

/// Whether an axis is left as it is.
fn is_kept(axis: &Axis) -> bool {
    axis.from == axis.to && axis.scale == 1.0
}

/// Calls `step` for every axis that changes, the last first, so that rows are then copied whole: with the axis, its
/// number of elements and that of the axes within it.
fn along<T: Scalar>(
    x: &[T],
    axes: &[Axis],
    kept: impl Fn(&Axis) -> bool,
    mut step: impl FnMut(&Axis, &[T], [usize; 2], &mut [T]),
    ws: &mut Workspace,
) -> Outcome<Vec<T>> {
    if axes.iter().any(|a| a.to == 0) {
        return Ok(Vec::new());
    }
    let mut now: Vec<usize> = axes.iter().map(|a| a.from).collect();
    let mut held: Option<Vec<T>> = None;
    for (i, axis) in axes.iter().enumerate().rev() {
        if kept(axis) {
            continue;
        }
        let (outer, inner) = (count(&now[..i])?, count(&now[i + 1..])?);
        let mut out = T::buffer(ws, count(&[outer, axis.to, inner])?)?;
        step(axis, held.as_deref().unwrap_or(x), [axis.from, inner], &mut out);
        now[i] = axis.to;
        if let Some(old) = held.replace(out) {
            T::pool(ws).give(old);
        }
    }
    Ok(held.unwrap_or_else(|| x.to_vec()))
}

fn gathered<T: Scalar>(
    op: &Resize,
    nearest: Nearest,
    x: &[T],
    axes: &[Axis],
    ws: &mut Workspace,
) -> Outcome<Vec<T>> {
    let step = |axis: &Axis, x: &[T], [n, inner]: [usize; 2], out: &mut [T]| {
        let places = op.coordinate.all(axis);
        let table: Vec<usize> = places.iter().map(|p| nearest.of(*p, axis)).collect();
        for (x, out) in x.chunks_exact(n * inner).zip(out.chunks_exact_mut(table.len() * inner)) {
            if inner == 1 {
                out.iter_mut().zip(&table).for_each(|(o, i)| *o = x[*i]);
            } else {
                let rows = table.iter().zip(out.chunks_exact_mut(inner));
                rows.for_each(|(i, out)| out.copy_from_slice(&x[i * inner..][..inner]));
            }
        }
    };
    along(x, axes, is_kept, step, ws)
}

fn blend(op: &Resize, filter: Filter, axis: &Axis) -> Blend {
    let places = op.coordinate.all(axis);
    match filter {
        _ if op.antialias => Blend::antialias(&places, axis, filter, op.exclude_outside),
        Filter::Linear => Blend::linear(&places, axis.from),
        Filter::Cubic(a) => Blend::cubic(&places, axis.from, a, op.exclude_outside),
    }
}

fn blended(op: &Resize, filter: Filter, x: &[f32], axes: &[Axis], ws: &mut Workspace) -> Outcome<Vec<f32>> {
    let kept = |axis: &Axis| is_kept(axis) || (op.antialias && axis.from == axis.to);
    let step = |axis: &Axis, x: &[f32], sizes: [usize; 2], out: &mut [f32]| {
        blend(op, filter, axis).apply(x, sizes, out);
    };
    along(x, axes, kept, step, ws)
}

fn integers<T: Integer>(
    op: &Resize,
    filter: Filter,
    x: &[T],
    axes: &[Axis],
    ws: &mut Workspace,
) -> Outcome<Vec<T>> {
    if op.antialias {
        let step = |axis: &Axis, x: &[T], sizes: [usize; 2], out: &mut [T]| {
            resize_integer::antialias(&blend(op, filter, axis), x, sizes, out);
        };
        return along(x, axes, |axis| axis.from == axis.to, step, ws);
    }
    if matches!(filter, Filter::Cubic(_)) {
        return Err("cubic interpolation of integers is not defined".into());
    }
    let (shape, to): (Vec<usize>, Vec<usize>) = axes.iter().map(|a| (a.from, a.to)).unzip();
    if to.contains(&0) {
        return Ok(Vec::new());
    }
    if let [n, h, w, c] = axes
        && is_kept(n)
        && !is_kept(h)
        && is_kept(c)
        && T::BYTE
        && op.coordinate != Coordinate::TfCropAndResize
    {
        let places = [op.coordinate.all(h), op.coordinate.all(w)];
        return resize_integer::fixed_linear(x, &shape, &to, &places, ws);
    }
    // Images and volumes are blended along all of their axes, also those that keep their size.
    let spatial = if axes.len().is_multiple_of(2) { 2 } else { 3 };
    let first =
        if axes.iter().rev().skip(spatial).all(is_kept) { axes.len().saturating_sub(spatial) } else { 0 };
    let blends: Vec<_> = axes
        .iter()
        .enumerate()
        .map(|(i, a)| (i >= first || !is_kept(a)).then(|| blend(op, filter, a)))
        .collect();
    resize_integer::linear(x, &shape, &to, &blends, ws)
}

/// Puts the extrapolation value where any axis was read outside the input.
fn extrapolate(op: &Resize, axes: &[Axis], result: &mut Value) -> Outcome<()> {
    let to: Shape = axes.iter().map(|a| a.to).collect();
    for (i, axis) in axes.iter().enumerate() {
        let inner = count(&to[i + 1..])?;
        for (k, p) in op.coordinate.all(axis).into_iter().enumerate() {
            if p >= 0.0 && p <= axis.from as f32 - 1.0 {
                continue;
            }
            macro_rules! fill {
                ($($variant:ident $ty:ty),*) => {
                    match result {
                        $(Value::$variant(a) => {
                            let Some(out) = a.as_slice_mut() else { return Ok(()) };
                            for block in out.chunks_exact_mut((axis.to * inner).max(1)) {
                                block[k * inner..][..inner].fill(op.extrapolation as $ty);
                            }
                        })*
                        other => return Err(format!("extrapolation of {} is not supported", other.dtype())),
                    }
                };
            }
            fill!(F32 f32, F64 f64, I32 i32, I64 i64, I8 i8, U8 u8);
        }
    }
    Ok(())
}
