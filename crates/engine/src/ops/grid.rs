//! GridSample and AffineGrid: images read at places that other tensors name.

use shiftwise_graph::Value;

use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Results, Shape, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, slice, value};

pub(super) const OPS: &[Op] = &[Op::float("GridSample", compile), Op::float("AffineGrid", affine)];

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

#[derive(Clone, Copy)]
struct Sampling {
    mode: Mode,
    padding: Padding,
    align_corners: bool,
}

/// Coefficient of cubic interpolation.
const CUBIC: f64 = -0.75;

/// A float type of grids and images; coordinates are computed in it.
trait Real: Scalar + Into<f64> {
    /// The place on an axis of `n` elements that a coordinate between −1 and 1 means.
    fn place(self, n: usize, align_corners: bool) -> f64;
    fn narrowed(v: f64) -> Self;
}

macro_rules! real {
    ($($ty:ty)*) => {
        $(impl Real for $ty {
            fn place(self, n: usize, align_corners: bool) -> f64 {
                let n = n as $ty;
                let place = if align_corners { (self + 1.0) / 2.0 * (n - 1.0) } else { ((self + 1.0) * n - 1.0) / 2.0 };
                place.into()
            }

            fn narrowed(v: f64) -> Self {
                v as $ty
            }
        })*
    };
}

real!(f32 f64);

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let mode = match cx.text_or("mode", "linear") {
        "linear" | "bilinear" => Mode::Linear,
        "cubic" | "bicubic" => Mode::Cubic,
        "nearest" => Mode::Nearest,
        other => return Err(format!("its mode {other:?} is not defined")),
    };
    let padding = match cx.text_or("padding_mode", "zeros") {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => return Err(format!("its padding_mode {other:?} is not defined")),
    };
    let sampling = Sampling { mode, padding, align_corners: cx.flag("align_corners", false) };
    Ok(Box::new(move |args, ws| match (args.value(0)?, args.value(1)?) {
        (Value::F32(x), Value::F32(grid)) => {
            run(sampling, (slice(x), x.shape()), (slice(grid), grid.shape()), ws)
        }
        (Value::F64(x), Value::F64(grid)) => {
            run(sampling, (slice(x), x.shape()), (slice(grid), grid.shape()), ws)
        }
        (x, grid) => Err(format!("sampling {} at places of {} is not supported", x.dtype(), grid.dtype())),
    }))
}

fn run<T: Real>(
    sampling: Sampling,
    (x, x_shape): (&[T], &[usize]),
    (grid, grid_shape): (&[T], &[usize]),
    ws: &mut Workspace,
) -> Outcome<Results> {
    let mismatch = || format!("a grid of shape {grid_shape:?} does not fit an input of shape {x_shape:?}");
    let (&[n, c, ref size @ ..], &[grids, ref out @ .., axes]) = (x_shape, grid_shape) else {
        return Err(mismatch());
    };
    if grids != n || axes != size.len() || out.len() != axes || !(1..=3).contains(&axes) {
        return Err(mismatch());
    }
    if sampling.mode == Mode::Cubic && axes > 2 {
        return Err("cubic interpolation of volumes is not defined".into());
    }
    let (pixels, places) = (count(size)?, count(out)?);
    if pixels == 0 && n * places > 0 {
        return Err("an empty image cannot be sampled".into());
    }
    let mut to = Shape::from_slice(&[n, c]);
    to.extend_from_slice(out);
    let mut result = T::buffer(ws, count(&to)?)?;
    let mut taps: Vec<(Option<usize>, f64)> = Vec::new();
    for image in 0..n {
        for place in 0..places {
            taps.clear();
            taps.push((Some(0), 1.0));
            let coordinates = &grid[(image * places + place) * axes..][..axes];
            // Coordinates name the last axis first.
            for (n, v) in size.iter().zip(coordinates.iter().rev()) {
                sampling.axis(v.place(*n, sampling.align_corners), *n, &mut taps);
            }
            for channel in 0..c {
                let x = &x[(image * c + channel) * pixels..][..pixels];
                let sum = taps.iter().fold(0.0, |sum, (i, w)| sum + i.map_or(0.0, |i| w * x[i].into()));
                result[(image * c + channel) * places + place] = T::narrowed(sum);
            }
        }
    }
    Ok(results![value(&to, result)?])
}

impl Sampling {
    /// Multiplies the taps by those around `place` on one more axis of `n` elements.
    fn axis(self, place: f64, n: usize, taps: &mut Vec<(Option<usize>, f64)>) {
        let low = place.floor();
        let t = place - low;
        let (first, weights): (f64, &[f64]) = match self.mode {
            Mode::Nearest => (place.round_ties_even(), &[1.0]),
            Mode::Linear => (low, &[1.0 - t, t]),
            Mode::Cubic => (low - 1.0, &[cubic(1.0 + t), cubic(t), cubic(1.0 - t), cubic(2.0 - t)]),
        };
        let before = taps.len();
        for (k, w) in weights.iter().enumerate().skip(1) {
            let at = self.element(first + k as f64, n);
            for i in 0..before {
                let (base, weight) = taps[i];
                taps.push((base.zip(at).map(|(base, at)| base * n + at), weight * w));
            }
        }
        let at = self.element(first, n);
        for (base, weight) in &mut taps[..before] {
            (*base, *weight) = (base.zip(at).map(|(base, at)| base * n + at), *weight * weights[0]);
        }
    }

    /// The element that stands for the one at `i`, which may lie outside; `None` is zero.
    fn element(self, i: f64, n: usize) -> Option<usize> {
        let last = n as f64 - 1.0;
        if i >= 0.0 && i <= last {
            return Some(i as usize);
        }
        match self.padding {
            Padding::Zeros => None,
            Padding::Border => Some(i.clamp(0.0, last) as usize),
            Padding::Reflection => {
                let (lo, hi) = if self.align_corners { (0.0, last) } else { (-0.5, last + 0.5) };
                let range = hi - lo;
                if range <= 0.0 {
                    return Some(0);
                }
                let distance = if i < lo { lo - i } else { i - lo };
                let (turns, rest) = ((distance / range).floor(), distance % range);
                let reflected = if turns % 2.0 == 0.0 { lo + rest } else { hi - rest };
                Some(reflected.clamp(0.0, last) as usize)
            }
        }
    }
}

/// The kernel of cubic convolution at a distance.
fn cubic(x: f64) -> f64 {
    if x <= 1.0 {
        ((CUBIC + 2.0) * x - (CUBIC + 3.0)) * x * x + 1.0
    } else {
        ((CUBIC * x - 5.0 * CUBIC) * x + 8.0 * CUBIC) * x - 4.0 * CUBIC
    }
}

/// AffineGrid: the places of an image of a size after an affine map, for [`compile`].
fn affine(cx: Cx<'_>) -> Outcome<Kernel> {
    let align = cx.flag("align_corners", false);
    Ok(Box::new(move |args: &mut Args<'_>, ws| {
        let size = args.ints(1)?;
        let size = size
            .iter()
            .map(|d| usize::try_from(*d))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| format!("its size is {size:?}, which is not valid"))?;
        match args.value(0)? {
            Value::F32(a) => grid_of(slice(a), a.shape(), &size, align, ws),
            Value::F64(a) => grid_of(slice(a), a.shape(), &size, align, ws),
            other => Err(format!("affine maps of {} are not supported", other.dtype())),
        }
    }))
}

fn grid_of<T: Real>(
    theta: &[T],
    shape: &[usize],
    size: &[usize],
    align: bool,
    ws: &mut Workspace,
) -> Outcome<Results> {
    let &[n, _, ref spatial @ ..] = size else { return Err(format!("a size of {size:?} is not valid")) };
    let axes = spatial.len();
    if !(2..=3).contains(&axes) || shape != [n, axes, axes + 1] {
        return Err(format!("a theta of shape {shape:?} does not fit a size of {size:?}"));
    }
    let mut to = Shape::from_slice(&[n]);
    to.extend_from_slice(spatial);
    to.push(axes);
    let mut out = T::buffer(ws, count(&to)?)?;
    let base = |i: usize, n: usize| match (align, n) {
        (true, 0 | 1) => -1.0,
        (true, n) => -1.0 + i as f64 * 2.0 / (n as f64 - 1.0),
        (false, n) => (2.0 * i as f64 + 1.0) / n as f64 - 1.0,
    };
    let places = count(spatial)?;
    for (i, out) in out.chunks_exact_mut(axes).enumerate() {
        let theta = &theta[i / places * axes * (axes + 1)..];
        let mut rest = i % places;
        let mut point = [1.0; 4];
        // The last axis is x, the first coordinate.
        for (k, n) in spatial.iter().rev().enumerate() {
            point[k] = base(rest % n, *n);
            rest /= n;
        }
        point[axes] = 1.0;
        for (r, o) in out.iter_mut().enumerate() {
            let row = &theta[r * (axes + 1)..][..=axes];
            *o = T::narrowed(row.iter().zip(&point).fold(0.0, |sum, (t, p)| sum + (*t).into() * p));
        }
    }
    Ok(results![value(&to, out)?])
}
