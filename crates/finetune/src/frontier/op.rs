//! What a layer's node says.

use shiftwise_graph::Node;

use super::spatial::{Spatial, pair, sizes};
use crate::layer::Op;

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

/// An axis that may count from the end.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    let from_front = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let axis_or = from_front.and_then(|a| usize::try_from(a).ok()).filter(|a| *a < rank);
    axis_or.ok_or_else(|| format!("its axis {axis} does not fit {rank} dimensions"))
}
