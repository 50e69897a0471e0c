//! Operators: what a node means, decided once when a model is prepared.
//!
//! One file a family. A compile function parses attributes and chooses the semantics of the model's opset; the kernel
//! that it returns checks types and shapes of what it gets and never panics on them.

#![allow(clippy::unnecessary_wraps, reason = "operators have one signature, also those that refuse nothing")]

mod arg;
mod attributes;
mod binary;
mod bits;
pub(crate) mod block;
mod boxes;
mod cast;
mod control;
mod conv;
mod conv_transpose;
mod conv_volume;
mod deform;
mod det;
mod dynamic_quantize;
mod einsum;
mod functions;
mod fused_conv;
mod generate;
mod grid;
mod index;
mod integer;
mod layer_norm;
mod layout;
mod logic;
mod loss;
mod matmul;
mod norm;
mod norm_group;
mod pad;
mod pairs;
mod pool;
mod pool_max;
mod qlinear;
mod qlinear_pool;
mod qlinear_table;
mod quantize;
mod random;
mod recurrent;
mod reduce;
mod resize;
mod resize_axis;
mod resize_integer;
mod roi;
mod scan;
mod scatter;
mod select;
mod sequence;
mod sequence_map;
mod shape;
mod signal;
mod slice;
mod softmax;
mod split;
mod transformer;
mod unary;
mod window;

use half::{bf16, f16};
use shiftwise_graph::{DataType, Node, Value};

use smallvec::SmallVec;

use crate::args::{Arg, Args, Datum, Ints, Kernel, Outcome};
use crate::pool::Workspace;

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

    fn ints(&self, name: &str) -> Option<Ints> {
        self.node.ints(name).map(Ints::from_slice)
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

/// An operator that this workspace's kernels compute.
pub(crate) struct Op {
    pub(crate) domain: &'static str,
    pub(crate) name: &'static str,
    /// Whether float16 and bfloat16 are widened for it, and its results narrowed.
    in_float: bool,
    build: fn(Cx<'_>) -> Outcome<Kernel>,
}

impl Op {
    /// An operator whose kernel knows float32, but not float16 and bfloat16.
    const fn float(name: &'static str, build: fn(Cx<'_>) -> Outcome<Kernel>) -> Self {
        Self { domain: "", name, in_float: true, build }
    }

    /// An operator whose kernel takes every type that it is defined for, or says which it does not.
    const fn any(name: &'static str, build: fn(Cx<'_>) -> Outcome<Kernel>) -> Self {
        Self { domain: "", name, in_float: false, build }
    }

    /// The operator of this name in ONNX Runtime's own domain.
    const fn contrib(self) -> Self {
        self.of(MICROSOFT)
    }

    /// The operator of this name in another domain.
    const fn of(self, domain: &'static str) -> Self {
        Self { domain, ..self }
    }
}

/// Domain of operators that ONNX Runtime adds to the standard.
pub(crate) const MICROSOFT: &str = "com.microsoft";

/// One entry a file.
pub(crate) const FAMILIES: &[&[Op]] = &[
    arg::OPS,
    binary::OPS,
    binary::mixed::OPS,
    bits::OPS,
    block::OPS,
    boxes::OPS,
    cast::OPS,
    control::OPS,
    conv::OPS,
    conv_transpose::OPS,
    deform::OPS,
    det::OPS,
    dynamic_quantize::OPS,
    einsum::OPS,
    functions::OPS,
    fused_conv::OPS,
    generate::OPS,
    grid::OPS,
    index::OPS,
    integer::OPS,
    layer_norm::OPS,
    layout::OPS,
    logic::OPS,
    loss::OPS,
    matmul::OPS,
    norm::OPS,
    norm_group::OPS,
    pad::OPS,
    pool::OPS,
    pool_max::OPS,
    qlinear::OPS,
    qlinear_pool::OPS,
    qlinear_table::OPS,
    quantize::OPS,
    random::OPS,
    recurrent::OPS,
    reduce::OPS,
    resize::OPS,
    roi::OPS,
    scan::OPS,
    scatter::OPS,
    select::OPS,
    sequence::OPS,
    sequence_map::OPS,
    shape::OPS,
    signal::OPS,
    signal::WINDOWS,
    slice::OPS,
    softmax::OPS,
    split::OPS,
    transformer::ATTENTION,
    transformer::EMBED,
    transformer::FUSED,
    transformer::NBITS,
    transformer::ROTARY,
    unary::OPS,
];

/// The kernel of a node, or why there is none.
pub(crate) fn compile(node: &Node, opset: i64) -> Outcome<Kernel> {
    let (domain, name) = (node.domain.as_str(), node.op_type.as_str());
    if let Some(op) = FAMILIES.iter().copied().flatten().find(|op| op.name == name && op.domain == domain) {
        let kernel = (op.build)(Cx { node, opset })?;
        return Ok(if op.in_float { in_float(kernel) } else { kernel });
    }
    match domain {
        "" => Err(format!("operator {name} is not supported")),
        MICROSOFT => Err(format!("operator {name} of domain {MICROSOFT} is not supported")),
        _ => Err(format!("operator {name} is of domain {domain:?}, which is not supported")),
    }
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
/// rounded to the type that its first float input has.
fn in_float(kernel: Kernel) -> Kernel {
    Box::new(move |args, ws| {
        let half = |dtype: DataType| matches!(dtype, DataType::Float16 | DataType::Bfloat16);
        let real = |dtype: &DataType| half(*dtype) || matches!(dtype, DataType::Float | DataType::Double);
        let types = || (0..args.count()).filter_map(|i| args.get(i).map(Value::dtype));
        if !types().any(half) {
            return kernel(args, ws);
        }
        // Data comes first; what follows, like scales, may be narrower.
        let first = types().find(real).filter(|dtype| half(*dtype));
        let mut widened = SmallVec::with_capacity(args.count());
        for i in 0..args.count() {
            widened.push(match args.get(i) {
                None => Arg::None,
                Some(Value::F16(a)) => Arg::Owned(Value::F32(a.mapv(f16::to_f32))),
                Some(Value::Bf16(a)) => Arg::Owned(Value::F32(a.mapv(bf16::to_f32))),
                Some(v) => Arg::Shared(v),
            });
        }
        let results = kernel(&mut Args(widened), ws)?;
        let Some(narrow) = first else { return Ok(results) };
        Ok(results.into_iter().map(|datum| narrowed(datum, narrow, ws)).collect())
    })
}

fn narrowed(datum: Datum, dtype: DataType, ws: &mut Workspace) -> Datum {
    let Datum::Tensor(Value::F32(a)) = datum else { return datum };
    let result = match dtype {
        DataType::Float16 => Value::F16(a.mapv(f16::from_f32)),
        _ => Value::Bf16(a.mapv(bf16::from_f32)),
    };
    ws.recycle(Value::F32(a));
    result.into()
}
