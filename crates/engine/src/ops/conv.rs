//! Conv, alone or with the normalisation and the limits after it.

use shiftwise_graph::{Node, Value};
use shiftwise_kernels::Conv2d;

use super::{Cx, Op, norm};
use crate::args::{Args, Kernel, Outcome, Results, results};
use crate::pool::Workspace;
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[Op::float("Conv", compile)];

/// How padding is found.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum AutoPad {
    Explicit,
    SameUpper,
    SameLower,
    Valid,
}

/// Attributes that convolutions and poolings share.
#[derive(Clone)]
pub(super) struct Window {
    kernel: Option<Vec<usize>>,
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    pads: Option<Vec<usize>>,
    pub(super) auto_pad: AutoPad,
}

/// A window on a plane; one-dimensional data is a plane of height one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    pub(super) size: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) pads: [usize; 4],
}

impl Window {
    pub(super) fn parse(cx: Cx<'_>) -> Outcome<Self> {
        let auto_pad = match cx.text_or("auto_pad", "NOTSET") {
            "NOTSET" => AutoPad::Explicit,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            "VALID" => AutoPad::Valid,
            other => return Err(format!("its attribute auto_pad is {other:?}, which is not valid")),
        };
        let window = Self {
            kernel: cx.sizes("kernel_shape", 1)?,
            strides: cx.sizes("strides", 1)?,
            dilations: cx.sizes("dilations", 1)?,
            pads: cx.sizes("pads", 0)?,
            auto_pad,
        };
        if window.kernel.as_ref().is_some_and(|k| k.len() > 2) {
            return Err("only one and two spatial dimensions are supported".into());
        }
        Ok(window)
    }

    /// The window on images of `spatial` size; `kernel` is what a weight says of its size.
    pub(super) fn on(&self, spatial: &[usize], kernel: Option<&[usize]>) -> Outcome<Plane> {
        let rank = spatial.len();
        if !(1..=2).contains(&rank) {
            return Err(format!("only one and two spatial dimensions are supported, not {rank}"));
        }
        let kernel = match (kernel, &self.kernel) {
            (Some(w), Some(k)) if w != k.as_slice() => {
                return Err(format!("its kernel_shape {k:?} is not that of its weight, {w:?}"));
            }
            (Some(w), _) => w,
            (None, Some(k)) => k,
            (None, None) => return Err("it has no attribute kernel_shape".into()),
        };
        if kernel.contains(&0) {
            return Err(format!("a kernel of size {kernel:?} has no elements"));
        }
        let pair = |values: Option<&[usize]>, default: usize, what: &str| match values {
            None => Ok([default; 2]),
            Some([w]) if rank == 1 => Ok([default, *w]),
            Some([h, w]) if rank == 2 => Ok([*h, *w]),
            Some(other) => Err(format!("its {what} {other:?} do not fit {rank} spatial dimensions")),
        };
        let mut plane = Plane {
            size: if rank == 1 { [1, spatial[0]] } else { [spatial[0], spatial[1]] },
            kernel: pair(Some(kernel), 1, "kernel sizes")?,
            stride: pair(self.strides.as_deref(), 1, "strides")?,
            dilation: pair(self.dilations.as_deref(), 1, "dilations")?,
            pads: [0; 4],
        };
        plane.pads = match (self.auto_pad, self.pads.as_deref()) {
            (AutoPad::Explicit, None) | (AutoPad::Valid, _) => [0; 4],
            (AutoPad::Explicit, Some([left, right])) if rank == 1 => [0, *left, 0, *right],
            (AutoPad::Explicit, Some([t, l, b, r])) if rank == 2 => [*t, *l, *b, *r],
            (AutoPad::Explicit, Some(other)) => {
                return Err(format!("its pads {other:?} do not fit {rank} spatial dimensions"));
            }
            (same, _) => plane.same(same == AutoPad::SameUpper),
        };
        Ok(plane)
    }
}

impl Plane {
    /// The padding with which the output is the input over the stride, rounded up; an odd pixel goes to the end with
    /// `upper`.
    fn same(&self, upper: bool) -> [usize; 4] {
        let mut pads = [0; 4];
        for a in 0..2 {
            let out = self.size[a].div_ceil(self.stride[a]);
            let needed = out.saturating_sub(1) * self.stride[a] + self.dilation[a] * (self.kernel[a] - 1) + 1;
            let total = needed.saturating_sub(self.size[a]);
            let begin = if upper { total / 2 } else { total - total / 2 };
            (pads[a], pads[a + 2]) = (begin, total - begin);
        }
        pads
    }
}

/// Elementwise work after a convolution, while its result is in the cache.
struct Tail {
    /// Place of the normalisation's scale among the inputs, and its epsilon.
    normalise: Option<(usize, f32)>,
    limit: Limit,
}

#[derive(Clone, Copy)]
enum Limit {
    None,
    Relu,
    /// Place of the lower limit among the inputs, where limits are inputs.
    Inputs(usize),
    Fixed(f32, f32),
}

impl Limit {
    fn range(self, args: &Args<'_>) -> Outcome<Option<(f32, f32)>> {
        Ok(match self {
            Self::None => None,
            Self::Relu => Some((0.0, f32::INFINITY)),
            Self::Fixed(lo, hi) => Some((lo, hi)),
            Self::Inputs(at) => {
                let one = |i: usize, default: f32| match args.optional_f32(i)? {
                    None => Ok(default),
                    Some([v]) => Ok(*v),
                    Some(_) => Err("a limit of its Clip is not a single value".to_string()),
                };
                Some((one(at, f32::NEG_INFINITY)?, one(at + 1, f32::INFINITY)?))
            }
        })
    }
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    chain(cx, &[], cx.opset)
}

/// A convolution and what follows it: maybe a BatchNormalization, maybe a Relu or Clip.
pub(super) fn chain(cx: Cx<'_>, rest: &[&Node], opset: i64) -> Outcome<Kernel> {
    let window = Window::parse(cx)?;
    let groups =
        usize::try_from(cx.int_or("group", 1)).ok().filter(|g| *g > 0).ok_or("its group is not positive")?;
    let mut tail = Tail { normalise: None, limit: Limit::None };
    let mut place = 3;
    for node in rest {
        let cx = Cx { node, opset };
        match node.op_type.as_str() {
            "BatchNormalization" => {
                norm::check(cx)?;
                tail.normalise = Some((place, cx.float_or("epsilon", 1e-5)));
                place += 4;
            }
            "Relu" => tail.limit = Limit::Relu,
            "Clip" if opset < 11 => {
                tail.limit = Limit::Fixed(cx.float_or("min", f32::MIN), cx.float_or("max", f32::MAX));
            }
            "Clip" => {
                tail.limit = Limit::Inputs(place);
                place += 2;
            }
            other => return Err(format!("{other} cannot follow a convolution in a group")),
        }
    }
    Ok(Box::new(move |args, ws| run(&window, groups, &tail, args, ws)))
}

fn run(
    window: &Window,
    groups: usize,
    tail: &Tail,
    args: &mut Args<'_>,
    ws: &mut Workspace,
) -> Outcome<Results> {
    let (x, x_shape) = args.f32(0)?;
    let (weight, w_shape) = args.f32(1)?;
    let bias = args.optional_f32(2)?;
    let (&[batch, c_in, ref spatial @ ..], &[c_out, depth, ref kernel @ ..]) = (x_shape, w_shape) else {
        return Err(format!(
            "an input of shape {x_shape:?} and a weight of shape {w_shape:?} cannot be convolved"
        ));
    };
    if spatial.len() != kernel.len() {
        return Err(format!("a weight of shape {w_shape:?} does not fit an input of shape {x_shape:?}"));
    }
    if depth.checked_mul(groups) != Some(c_in) || !c_out.is_multiple_of(groups) {
        return Err(format!(
            "a weight of shape {w_shape:?} with {groups} groups does not fit an input of {c_in} channels"
        ));
    }
    if let Some(b) = bias
        && b.len() != c_out
    {
        return Err(format!("a bias of {} elements does not fit {c_out} output channels", b.len()));
    }
    let plane = window.on(spatial, Some(kernel))?;
    let conv = Conv2d {
        batch,
        c_in,
        h: plane.size[0],
        w: plane.size[1],
        c_out,
        groups,
        kernel: plane.kernel,
        stride: plane.stride,
        dilation: plane.dilation,
        pads: plane.pads,
    };
    let [oh, ow] = conv.output_hw();
    let shape: Vec<usize> =
        if spatial.len() == 1 { vec![batch, c_out, ow] } else { vec![batch, c_out, oh, ow] };
    let limits = tail.limit.range(args)?;
    let mut out = ws.floats(count(&shape)?);
    match tail.normalise {
        None => conv.forward(x, weight, bias, limits, &mut out, &mut ws.kernels),
        Some((at, epsilon)) => {
            let (scale, shift) = norm::factors(args, at, c_out, epsilon)?;
            if x.is_empty() {
                return Err("its input is empty".into());
            }
            // An image at a time, so that it is still in the cache.
            let one = Conv2d { batch: 1, ..conv };
            let (from, to) = (one.input_len().max(1), one.output_len().max(1));
            for (x, out) in x.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
                one.forward(x, weight, bias, None, out, &mut ws.kernels);
                norm::affine_in_place(out, oh * ow, &scale, &shift, limits);
            }
        }
    }
    Ok(results![Value::f32(&shape, out)])
}
