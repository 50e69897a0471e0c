//! What a layer's node and its activation say.

use shiftwise_graph::{Graph, Node, Tensor};

use crate::layer::{Activation, Op, Window};

/// Where padding comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AutoPad {
    Explicit,
    SameUpper,
    SameLower,
    Valid,
}

/// Attributes of a convolution; lists have one or two entries, as there are dimensions.
#[derive(Clone, Debug, PartialEq)]
struct Spatial {
    groups: usize,
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Vec<usize>,
    auto_pad: AutoPad,
}

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Conv(Spatial),
    ConvTranspose { spatial: Spatial, output_padding: Vec<usize>, output_shape: Option<Vec<usize>> },
    Gemm { transposed: bool, alpha: f32, beta: f32 },
    MatMul,
    InstanceNormalization { epsilon: f32 },
    LayerNormalization { epsilon: f32, axis: i64 },
}

/// The operator of a layer, before the size of its input is known.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerOp(Form);

impl LayerOp {
    /// The operators that can be layers.
    pub(super) fn is_known(node: &Node) -> bool {
        let known =
            ["Conv", "ConvTranspose", "Gemm", "MatMul", "InstanceNormalization", "LayerNormalization"];
        known.iter().any(|op| node.is(op))
    }

    /// Reads a node with weights of these dimensions; or says why it cannot be a layer.
    pub(super) fn parse(node: &Node, weight: &[usize]) -> Result<Self, String> {
        let rank = |wanted: usize| {
            let fail = || Err(format!("its weights have {} dimensions instead of {wanted}", weight.len()));
            if weight.len() == wanted { Ok(()) } else { fail() }
        };
        Ok(Self(match node.op_type.as_str() {
            "Conv" => Form::Conv(Spatial::parse(node, weight)?),
            "ConvTranspose" => {
                let spatial = Spatial::parse(node, weight)?;
                let dims = spatial.kernel.len();
                let output_shape = sizes(node, "output_shape", 1)?;
                // Some exporters put the batch and the channels before the size.
                let output_shape =
                    output_shape.map(|v| if v.len() == dims + 2 { v[2..].to_vec() } else { v });
                if output_shape.as_ref().is_some_and(|v| v.len() != dims) {
                    return Err("its output_shape does not fit its weights".into());
                }
                let output_padding = sizes(node, "output_padding", 0)?.unwrap_or_else(|| vec![0; dims]);
                if output_padding.len() != dims {
                    return Err("its output_padding does not fit its weights".into());
                }
                Form::ConvTranspose { spatial, output_padding, output_shape }
            }
            "Gemm" => {
                rank(2)?;
                if node.int("transA").unwrap_or(0) != 0 {
                    return Err("its input is transposed".into());
                }
                let factor = |name| node.float(name).unwrap_or(1.0);
                let transposed = node.int("transB").unwrap_or(0) != 0;
                Form::Gemm { transposed, alpha: factor("alpha"), beta: factor("beta") }
            }
            "MatMul" => {
                rank(2)?;
                Form::MatMul
            }
            "InstanceNormalization" => {
                rank(1)?;
                Form::InstanceNormalization { epsilon: node.float("epsilon").unwrap_or(1e-5) }
            }
            "LayerNormalization" => Form::LayerNormalization {
                epsilon: node.float("epsilon").unwrap_or(1e-5),
                axis: node.int("axis").unwrap_or(-1),
            },
            other => return Err(format!("{other} nodes are not tuned")),
        }))
    }

    /// The operator on inputs of these dimensions.
    ///
    /// # Errors
    /// Dimensions that do not fit.
    pub fn resolve(&self, x_dims: &[usize]) -> Result<Op, String> {
        Ok(match &self.0 {
            Form::Conv(spatial) => Op::Conv(spatial.window(spatial.size(x_dims)?, Spatial::same)?),
            Form::ConvTranspose { spatial, output_padding, output_shape } => {
                let extra = pair(output_padding, 0);
                let wanted = output_shape.as_ref().map(|v| pair(v, 1));
                let size = spatial.size(x_dims)?;
                let window = spatial.window(size, |s, size| s.transposed(size, extra, wanted))?;
                Op::ConvTranspose(window, spatial.output_padding(size, &window, extra, wanted)?)
            }
            Form::Gemm { transposed, alpha, beta } => {
                Op::Gemm { transposed: *transposed, alpha: *alpha, beta: *beta }
            }
            Form::MatMul => Op::MatMul,
            Form::InstanceNormalization { epsilon } => Op::InstanceNormalization { epsilon: *epsilon },
            Form::LayerNormalization { epsilon, axis } => {
                Op::LayerNormalization { epsilon: *epsilon, axis: axis_of(*axis, x_dims.len())? }
            }
        })
    }
}

impl Spatial {
    fn parse(node: &Node, weight: &[usize]) -> Result<Self, String> {
        let kernel = weight.get(2..).unwrap_or_default();
        let dims = kernel.len();
        if !(1..=2).contains(&dims) {
            return Err(format!("it convolves over {dims} dimensions; one or two are tuned"));
        }
        if weight.contains(&0) {
            return Err("its weights are empty".into());
        }
        let list = |name, least: i64, default: usize, length: usize| {
            let values = sizes(node, name, least)?.unwrap_or_else(|| vec![default; length]);
            if values.len() == length {
                Ok(values)
            } else {
                Err(format!("its {name} do not fit its weights"))
            }
        };
        let said = list("kernel_shape", 1, 0, dims)?;
        if node.ints("kernel_shape").is_some_and(|v| !v.is_empty()) && said != kernel {
            return Err("its kernel_shape is not that of its weights".into());
        }
        let auto_pad = match node.text("auto_pad").unwrap_or("NOTSET") {
            "NOTSET" | "" => AutoPad::Explicit,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            "VALID" => AutoPad::Valid,
            other => return Err(format!("its auto_pad is {other:?}, which is not valid")),
        };
        let groups = usize::try_from(node.int("group").unwrap_or(1)).ok().filter(|g| *g > 0);
        let groups = groups.ok_or("its group is not positive")?;
        if !weight[0].is_multiple_of(groups) {
            return Err(format!("its weights cannot be split into {groups} groups"));
        }
        Ok(Self {
            groups,
            kernel: kernel.to_vec(),
            strides: list("strides", 1, 1, dims)?,
            dilations: list("dilations", 1, 1, dims)?,
            pads: if auto_pad == AutoPad::Explicit {
                list("pads", 0, 0, 2 * dims)?
            } else {
                vec![0; 2 * dims]
            },
            auto_pad,
        })
    }

    /// Height and width of an input.
    fn size(&self, x_dims: &[usize]) -> Result<[usize; 2], String> {
        let size = x_dims.get(2..).filter(|size| size.len() == self.kernel.len());
        Ok(pair(size.ok_or_else(|| format!("an input of shape {x_dims:?} does not fit its weights"))?, 1))
    }

    /// The window; where padding is not said, `padding` gives what is added along each axis in all.
    fn window(
        &self,
        size: [usize; 2],
        padding: impl Fn(&Self, [usize; 2]) -> Result<Option<[usize; 2]>, String>,
    ) -> Result<Window, String> {
        let dims = self.kernel.len();
        let (begin, end) = (pair(&self.pads[..dims], 0), pair(&self.pads[dims..], 0));
        let mut pads = [begin[0], begin[1], end[0], end[1]];
        if let Some(total) = padding(self, size)? {
            for axis in 0..2 {
                let less = total[axis] / 2;
                let more = total[axis] - less;
                // The odd pixel is at the end with SAME_UPPER, at the beginning otherwise.
                let upper = self.auto_pad == AutoPad::SameUpper;
                (pads[axis], pads[axis + 2]) = if upper { (less, more) } else { (more, less) };
            }
        }
        Ok(Window {
            groups: self.groups,
            kernel: pair(&self.kernel, 1),
            stride: pair(&self.strides, 1),
            dilation: pair(&self.dilations, 1),
            pads,
        })
    }

    /// Elements from the first to the last tap.
    fn reach(&self) -> Result<[usize; 2], String> {
        let (kernel, dilation) = (pair(&self.kernel, 1), pair(&self.dilations, 1));
        let reach = |a: usize| dilation[a].checked_mul(kernel[a] - 1)?.checked_add(1);
        Ok([0, 1]
            .map(reach)
            .iter()
            .flatten()
            .copied()
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| OVERFLOW)?)
    }

    /// The padding with which the output is the input over the stride, rounded up.
    fn same(&self, size: [usize; 2]) -> Result<Option<[usize; 2]>, String> {
        if !matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower) {
            return Ok(None);
        }
        let (stride, reach) = (pair(&self.strides, 1), self.reach()?);
        let mut total = [0; 2];
        for a in 0..2 {
            let last = size[a].div_ceil(stride[a]).saturating_sub(1).checked_mul(stride[a]);
            let needed = last.and_then(|last| last.checked_add(reach[a])).ok_or(OVERFLOW)?;
            total[a] = needed.saturating_sub(size[a]);
        }
        Ok(Some(total))
    }

    /// The size of all taps of a transposed convolution, with the output padding.
    fn full(&self, size: [usize; 2], extra: [usize; 2]) -> Result<[usize; 2], String> {
        let (stride, reach) = (pair(&self.strides, 1), self.reach()?);
        let mut full = [0; 2];
        for a in 0..2 {
            let last = size[a].saturating_sub(1).checked_mul(stride[a]);
            let taps = last.and_then(|last| last.checked_add(reach[a]));
            full[a] = taps.and_then(|taps| taps.checked_add(extra[a])).ok_or(OVERFLOW)?;
        }
        Ok(full)
    }

    /// The size that is wanted of a transposed convolution: by output_shape, or as input times stride.
    fn wanted(&self, size: [usize; 2], wanted: Option<[usize; 2]>) -> Option<[usize; 2]> {
        let stride = pair(&self.strides, 1);
        let same = matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
        wanted.or_else(|| same.then(|| [0, 1].map(|a| size[a].saturating_mul(stride[a]))))
    }

    /// What is cut along each axis where a size is wanted.
    fn transposed(
        &self,
        size: [usize; 2],
        extra: [usize; 2],
        wanted: Option<[usize; 2]>,
    ) -> Result<Option<[usize; 2]>, String> {
        let full = self.full(size, extra)?;
        Ok(self.wanted(size, wanted).map(|wanted| [0, 1].map(|a| full[a].saturating_sub(wanted[a]))))
    }

    /// What the result has beyond its taps: the output padding, or what a wanted size asks for.
    fn output_padding(
        &self,
        size: [usize; 2],
        window: &Window,
        extra: [usize; 2],
        wanted: Option<[usize; 2]>,
    ) -> Result<[usize; 2], String> {
        let Some(wanted) = self.wanted(size, wanted) else { return Ok(extra) };
        let taps = self.full(size, [0, 0])?;
        let mut beyond = [0; 2];
        for a in 0..2 {
            let cut = window.pads[a] + window.pads[a + 2];
            beyond[a] = wanted[a].checked_add(cut).ok_or(OVERFLOW)?.saturating_sub(taps[a]);
        }
        Ok(beyond)
    }
}

const OVERFLOW: &str = "its size overflows";

/// Two numbers of one or two; one is the width.
fn pair(values: &[usize], default: usize) -> [usize; 2] {
    match values {
        [height, width] => [*height, *width],
        [width] => [default, *width],
        _ => [default; 2],
    }
}

fn sizes(node: &Node, name: &str, least: i64) -> Result<Option<Vec<usize>>, String> {
    let Some(values) = node.ints(name).filter(|values| !values.is_empty()) else { return Ok(None) };
    let fits = |v: &i64| usize::try_from(*v).ok().filter(|_| *v >= least);
    let sizes = values.iter().map(fits).collect::<Option<Vec<usize>>>();
    Ok(Some(sizes.ok_or_else(|| format!("its {name} {values:?} are not valid"))?))
}

fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    let from_front = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let axis_or = from_front.and_then(|a| usize::try_from(a).ok()).filter(|a| *a < rank);
    axis_or.ok_or_else(|| format!("its axis {axis} does not fit {rank} dimensions"))
}

/// The activation behind a layer, before the rank of its input is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Behind {
    /// One that does not depend on the rank.
    Plain(Activation),
    /// PRelu; with several slopes, their axis counted from the last one.
    PRelu { slope: Vec<f32>, from_end: Option<usize> },
    /// Softmax; before opset 13 over all axes from this one on.
    Softmax { axis: i64, flattens: bool },
}

impl Behind {
    /// Reads a node whose first input is `tensor`; `None` for one that is no activation, or has parameters that are computed.
    pub(super) fn parse(graph: &Graph, opset: i64, node: &Node, tensor: &str) -> Option<Self> {
        let contributed = node.domain == "com.microsoft" && node.op_type == "Gelu";
        if node.input(0) != Some(tensor) || !(node.domain.is_empty() || contributed) {
            return None;
        }
        let scalar = |index: usize, name: &str, default: f32| match node.input(index) {
            Some(bound) => graph.constant(bound).and_then(Tensor::scalar_f32),
            None => Some(node.float(name).unwrap_or(default)),
        };
        Some(Self::Plain(match node.op_type.as_str() {
            "Relu" => Activation::Relu,
            "LeakyRelu" => Activation::LeakyRelu(node.float("alpha").unwrap_or(0.01)),
            "PRelu" => {
                let slope = graph.constant(node.input(1)?)?;
                let mut long = slope.dims().iter().rev().enumerate().filter(|(_, d)| **d != 1);
                let from_end = long.next().map(|(i, _)| i);
                if long.next().is_some() {
                    return None;
                }
                return Some(Self::PRelu { slope: slope.to_f32()?, from_end });
            }
            "Clip" => {
                Activation::Clip(scalar(1, "min", f32::NEG_INFINITY)?, scalar(2, "max", f32::INFINITY)?)
            }
            "Sigmoid" => Activation::Sigmoid,
            "Tanh" => Activation::Tanh,
            "Gelu" => Activation::Gelu(node.text("approximate") == Some("tanh")),
            "Softmax" => {
                let flattens = opset < 13;
                let axis = node.int("axis").unwrap_or(if flattens { 1 } else { -1 });
                return Some(Self::Softmax { axis, flattens });
            }
            _ => return None,
        }))
    }

    /// The activation on values of this rank.
    pub(super) fn resolve(&self, rank: usize) -> Result<Activation, String> {
        match self {
            Self::Plain(activation) => Ok(activation.clone()),
            Self::PRelu { from_end: Some(axis), .. } if axis + 2 != rank => {
                Err("its PRelu has slopes for something other than channels".into())
            }
            Self::PRelu { slope, .. } => Ok(Activation::PRelu(slope.clone())),
            Self::Softmax { axis, flattens } => {
                let axis = axis_of(*axis, rank)?;
                if *flattens && axis + 1 != rank {
                    return Err("its Softmax is over several axes".into());
                }
                Ok(Activation::Softmax(axis))
            }
        }
    }
}
