//! Operators: what a node means, decided once when a model is prepared.
//!
//! One file a family. A compile function parses attributes and chooses the semantics of the model's opset; the kernel
//! that it returns checks types and shapes of what it gets and never panics on them.

#![allow(clippy::unnecessary_wraps, reason = "operators have one signature, also those that refuse nothing")]

mod binary;
mod cast;
mod conv;
mod conv_transpose;
mod generate;
mod index;
mod layout;
mod logic;
mod matmul;
mod norm;
mod pad;
mod pool;
mod quantize;
mod reduce;
mod resize;
mod shape;
mod slice;
mod softmax;
mod split;
mod unary;

use half::{bf16, f16};
use shiftwise_graph::{DataType, Node, Value};

use crate::args::{Arg, Args, Kernel, Outcome};
use crate::pool::Workspace;
use crate::rten_op;

/// A node and what it needs to be understood.
#[derive(Clone, Copy)]
pub(crate) struct Cx<'a> {
    pub(crate) node: &'a Node,
    pub(crate) opset: i64,
}

impl Cx<'_> {
    fn int_or(&self, name: &str, default: i64) -> i64 {
        self.node.int(name).unwrap_or(default)
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.node.int(name).map_or(default, |v| v != 0)
    }

    fn float_or(&self, name: &str, default: f32) -> f32 {
        self.node.float(name).unwrap_or(default)
    }

    fn text_or<'s>(&'s self, name: &str, default: &'s str) -> &'s str {
        self.node.text(name).unwrap_or(default)
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.node.ints(name).map(<[i64]>::to_vec)
    }

    /// A list of sizes, each at least `least`.
    fn sizes(&self, name: &str, least: i64) -> Outcome<Option<Vec<usize>>> {
        let Some(values) = self.node.ints(name) else { return Ok(None) };
        // Beyond any real model, and small enough that products of a few cannot overflow.
        let sizes = values.iter().map(|v| usize::try_from(*v).ok().filter(|_| (least..=1 << 20).contains(v)));
        let sizes = sizes.collect::<Option<Vec<_>>>();
        sizes.map(Some).ok_or_else(|| format!("its attribute {name} is {values:?}, which is not valid"))
    }
}

/// The kernel of a node, or why there is none.
pub(crate) fn compile(node: &Node, opset: i64) -> Outcome<Kernel> {
    let cx = Cx { node, opset };
    let op = node.op_type.as_str();
    match node.domain.as_str() {
        "" => {}
        "com.microsoft" => {
            return match op {
                "QuantizeLinear" => quantize::quantize(cx),
                "DequantizeLinear" => quantize::dequantize(cx),
                "Gelu" | "FastGelu" if node.inputs.len() == 1 => unary::compile(cx).map(in_float),
                _ => Err(format!("operator {op} of domain com.microsoft is not supported")),
            };
        }
        domain => return Err(format!("operator {op} is of domain {domain:?}, which is not supported")),
    }
    Ok(match op {
        "Conv" => in_float(conv::compile(cx)?),
        "ConvTranspose" => in_float(conv_transpose::compile(cx)?),
        "Gemm" => in_float(matmul::gemm(cx)?),
        "MatMul" => in_float(matmul::matmul(cx)?),
        "QuantizeLinear" => quantize::quantize(cx)?,
        "DequantizeLinear" => quantize::dequantize(cx)?,
        "Relu" | "LeakyRelu" | "Elu" | "ThresholdedRelu" | "Sigmoid" | "HardSigmoid" | "HardSwish"
        | "Mish" | "Tanh" | "Gelu" | "Erf" | "Exp" | "Log" | "Sqrt" | "Reciprocal" | "Abs" | "Neg"
        | "Sign" | "Floor" | "Ceil" | "Round" | "Softsign" | "Softplus" | "Selu" | "Celu" | "Sin" | "Cos" => {
            in_float(unary::compile(cx)?)
        }
        "Clip" => in_float(unary::clip(cx)?),
        "Add" | "Sub" | "Mul" | "Div" | "Min" | "Max" | "Pow" | "PRelu" | "Mod" | "Sum" | "Mean" => {
            in_float(binary::compile(cx)?)
        }
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" => logic::compare(cx)?,
        "And" | "Or" | "Xor" | "Not" => logic::logical(cx)?,
        "IsNaN" | "IsInf" => logic::is_special(cx)?,
        "Where" => logic::choose(cx)?,
        "Cast" => cast::compile(cx)?,
        "CastLike" => cast::like(cx)?,
        "MaxPool" => in_float(pool::max(cx)?),
        "AveragePool" => in_float(pool::average(cx)?),
        "GlobalAveragePool" | "GlobalMaxPool" => in_float(pool::global(cx)?),
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2"
        | "ReduceSumSquare" | "ReduceLogSum" | "ReduceLogSumExp" => in_float(reduce::compile(cx)?),
        "ArgMax" | "ArgMin" => in_float(reduce::arg(cx)?),
        "Softmax" | "LogSoftmax" => in_float(softmax::compile(cx)?),
        "BatchNormalization" => in_float(norm::batch(cx)?),
        "InstanceNormalization" => in_float(norm::instance(cx)?),
        "LayerNormalization" => in_float(norm::layer(cx)?),
        "LpNormalization" => in_float(norm::lp(cx)?),
        "Reshape" => shape::reshape(cx)?,
        "Flatten" => shape::flatten(cx)?,
        "Squeeze" => shape::squeeze(cx)?,
        "Unsqueeze" => shape::unsqueeze(cx)?,
        "Identity" => shape::identity(cx)?,
        "Dropout" => shape::dropout(cx)?,
        "Shape" => shape::shape(cx)?,
        "Size" => shape::size(cx)?,
        "Transpose" => layout::transpose(cx)?,
        "Expand" => layout::expand(cx)?,
        "Tile" => layout::tile(cx)?,
        "DepthToSpace" => layout::depth_to_space(cx)?,
        "SpaceToDepth" => layout::space_to_depth(cx)?,
        "Concat" => split::concat(cx)?,
        "Split" => split::split(cx)?,
        "Slice" => slice::compile(cx)?,
        "Gather" => index::gather(cx)?,
        "Pad" => pad::compile(cx)?,
        "Constant" => generate::constant(cx)?,
        "ConstantOfShape" => generate::constant_of_shape(cx)?,
        "Range" => generate::range(cx)?,
        "Resize" | "Upsample" => in_float(resize::compile(cx)?),
        "If" | "Loop" | "Scan" => return Err("operators with subgraphs are not supported".into()),
        _ => in_float(rten_op::compile(node, opset)?),
    })
}

/// The kernel of a group that [`crate::fuse`] made.
pub(crate) fn compile_group(nodes: &[&Node], opset: i64) -> Outcome<Kernel> {
    match nodes {
        [quantize, _] if quantize.op_type == "QuantizeLinear" => quantize::fake(Cx { node: quantize, opset }),
        [conv, rest @ ..] => Ok(in_float(conv::chain(Cx { node: conv, opset }, rest, opset)?)),
        [] => Err("a group without nodes".into()),
    }
}

/// Inputs that a member of a group has when none is omitted.
pub(crate) fn places(node: &Node) -> usize {
    match node.op_type.as_str() {
        "Relu" => 1,
        "BatchNormalization" => 5,
        _ => 3,
    }
}

/// Lets a kernel that computes in float32 take float16 and bfloat16: its inputs are widened, and its float results
/// rounded to the type that its first such input has.
fn in_float(kernel: Kernel) -> Kernel {
    Box::new(move |args, ws| {
        let half = |v: &Value| matches!(v.dtype(), DataType::Float16 | DataType::Bfloat16);
        let Some(narrow) = (0..args.count()).find_map(|i| args.get(i).filter(|v| half(v)).map(Value::dtype))
        else {
            return kernel(args, ws);
        };
        let mut widened = Vec::with_capacity(args.count());
        for i in 0..args.count() {
            widened.push(match args.get(i) {
                None => Arg::None,
                Some(Value::F16(a)) => Arg::Owned(Value::F32(a.mapv(f16::to_f32))),
                Some(Value::Bf16(a)) => Arg::Owned(Value::F32(a.mapv(bf16::to_f32))),
                Some(v) => Arg::Shared(v),
            });
        }
        let results = kernel(&mut Args(widened), ws)?;
        Ok(results.into_iter().map(|v| narrowed(v, narrow, ws)).collect())
    })
}

fn narrowed(value: Value, dtype: DataType, ws: &mut Workspace) -> Value {
    let Value::F32(a) = value else { return value };
    let result = match dtype {
        DataType::Float16 => Value::F16(a.mapv(f16::from_f32)),
        _ => Value::Bf16(a.mapv(bf16::from_f32)),
    };
    ws.recycle(Value::F32(a));
    result
}
