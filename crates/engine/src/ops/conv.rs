//! Conv, alone or with the normalisation and the limits after it.

use shiftwise_graph::{Node, Value};
use shiftwise_kernels::Conv2d;
use shiftwise_kernels::norm::per_channel_affine_in_place;
use smallvec::smallvec;

use super::conv_volume::{self, Channels};
use super::window::Window;
use super::{Cx, Op, norm};
use crate::args::{Args, Kernel, Outcome, Results, Shape, results};
use crate::pool::Workspace;
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[Op::float("Conv", compile)];

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
    let span = window.span(spatial, Some(kernel))?;
    let Some(plane) = span.plane() else {
        let volume = span.volume(span.outputs(false)?);
        let shape = span.shape([batch, c_out], volume.out);
        let mut out = ws.floats(count(&shape)?);
        let channels = Channels { batch, c_in, c_out, groups };
        conv_volume::forward(channels, &volume, [x, weight], bias, &mut out, ws)?;
        let limits = tail.limit.range(args)?;
        let (scale, shift) = match tail.normalise {
            Some((at, epsilon)) => norm::factors(args, at, c_out, epsilon, ws)?,
            None => (Vec::new(), Vec::new()),
        };
        if tail.normalise.is_some() {
            per_channel_affine_in_place(&mut out, volume.output_len(), &scale, &shift, limits);
        } else if let Some((lo, hi)) = limits {
            norm::clamp_in_place(&mut out, lo, hi);
        }
        return Ok(results![Value::f32(&shape, out)]);
    };
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
    let shape: Shape =
        if spatial.len() == 1 { smallvec![batch, c_out, ow] } else { smallvec![batch, c_out, oh, ow] };
    let limits = tail.limit.range(args)?;
    let mut out = ws.floats(count(&shape)?);
    let factors = match tail.normalise {
        Some((at, epsilon)) => Some(norm::factors(args, at, c_out, epsilon, ws)?),
        None => None,
    };
    let borrowed = factors.as_ref().map(|(scale, shift)| (scale.as_slice(), shift.as_slice()));
    conv.forward_normalised(x, weight, bias, borrowed, limits, &mut out, &mut ws.kernels);
    if let Some((scale, shift)) = factors {
        ws.recycle_floats(scale);
        ws.recycle_floats(shift);
    }
    Ok(results![Value::f32(&shape, out)])
}
