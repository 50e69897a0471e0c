//! Small quantized graphs, written as lists of operators over scales.

use shiftwise_graph::{Attribute, Builder, Model, Tensor};

use crate::Position;

/// What an operator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Conv,
    ConvRelu,
    ConvLeaky,
    Gemm,
    ConvTranspose,
    Add,
    AddRelu,
    Sub,
    Mul,
    Concat,
    MaxPool,
    PadPool,
    Pad,
    Slice,
    HardSigmoid,
    /// HardSigmoid(x), and x times it.
    Swish,
}

impl Kind {
    pub(super) const ALL: [Self; 16] = [
        Self::Conv,
        Self::ConvRelu,
        Self::ConvLeaky,
        Self::Gemm,
        Self::ConvTranspose,
        Self::Add,
        Self::AddRelu,
        Self::Sub,
        Self::Mul,
        Self::Concat,
        Self::MaxPool,
        Self::PadPool,
        Self::Pad,
        Self::Slice,
        Self::HardSigmoid,
        Self::Swish,
    ];

    pub(super) fn has_weights(self) -> bool {
        matches!(self, Self::Conv | Self::ConvRelu | Self::ConvLeaky | Self::Gemm | Self::ConvTranspose)
    }

    pub(super) fn arity(self) -> usize {
        match self {
            Self::Add | Self::AddRelu | Self::Sub | Self::Mul | Self::Concat => 2,
            _ => 1,
        }
    }
}

/// An operator: tensors that it reads (0 is the graph's input, i + 1 the output of operator i), and scales.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) kind: Kind,
    pub(super) reads: Vec<usize>,
    pub(super) weight: usize,
    pub(super) bias: usize,
    pub(super) output: usize,
}

/// A graph. Scale 0 is that of the input.
#[derive(Clone, Debug)]
pub(super) struct Net {
    pub(super) positions: Vec<i32>,
    pub(super) ops: Vec<Op>,
}

impl Net {
    /// Scale of a tensor.
    pub(super) fn scale_of(&self, tensor: usize) -> usize {
        tensor.checked_sub(1).map_or(0, |op| self.ops[op].output)
    }

    pub(super) fn model(&self) -> Model {
        let mut b = Builder::new()
            .input("x", &[1, 1, 2, 2])
            .constant("zu", Tensor::u8(&[], &[128]))
            .constant("zi", Tensor::i8(&[], &[0]))
            .constant("pads", Tensor::i64(&[8], &[0; 8]))
            .constant("starts", Tensor::i64(&[1], &[0]))
            .constant("ends", Tensor::i64(&[1], &[1]));
        for (i, p) in self.positions.iter().enumerate() {
            b = b.constant(&scale(i), Tensor::f32(&[], &[Position::new(*p).scale()]));
        }
        b = quantize(b, "x", "t0", 0);
        for (i, op) in self.ops.iter().enumerate() {
            let (raw, out) = (format!("f{}", i + 1), format!("t{}", i + 1));
            let reads: Vec<String> = op.reads.iter().map(|r| format!("t{r}")).collect();
            let mut reads: Vec<&str> = reads.iter().map(String::as_str).collect();
            let (w, bias) = (format!("w{i}"), format!("b{i}"));
            if op.kind.has_weights() {
                for (name, constant) in [(&w, op.weight), (&bias, op.bias)] {
                    let integers = format!("{name}_quantized");
                    b = b.constant(&integers, Tensor::i8(&[1], &[3])).node(
                        "DequantizeLinear",
                        &[&integers, &scale(constant), "zi"],
                        &[name],
                    );
                }
                reads.extend([w.as_str(), bias.as_str()]);
            }
            let inner = format!("inner{i}");
            let hard = [("alpha", Attribute::Float(1.0 / 6.0)), ("beta", Attribute::Float(0.5))];
            b = match op.kind {
                Kind::Conv => b.node("Conv", &reads, &[&raw]),
                Kind::ConvRelu => b.node("Conv", &reads, &[&inner]).node("Relu", &[&inner], &[&raw]),
                Kind::ConvLeaky => b.node("Conv", &reads, &[&inner]).node("LeakyRelu", &[&inner], &[&raw]),
                Kind::Gemm => b.node("Gemm", &reads, &[&raw]),
                Kind::ConvTranspose => b.node("ConvTranspose", &reads, &[&raw]),
                Kind::Add => b.node("Add", &reads, &[&raw]),
                Kind::AddRelu => b.node("Add", &reads, &[&inner]).node("Relu", &[&inner], &[&raw]),
                Kind::Sub => b.node("Sub", &reads, &[&raw]),
                Kind::Mul => b.node("Mul", &reads, &[&raw]),
                Kind::Concat => b.node_with("Concat", &reads, &[&raw], &[("axis", 1.into())]),
                Kind::MaxPool => b.node("MaxPool", &reads, &[&raw]),
                Kind::PadPool => {
                    b.node("Pad", &[reads[0], "pads"], &[&inner]).node("AveragePool", &[&inner], &[&raw])
                }
                Kind::Pad => b.node("Pad", &[reads[0], "pads"], &[&raw]),
                Kind::Slice => b.node("Slice", &[reads[0], "starts", "ends"], &[&raw]),
                Kind::HardSigmoid => b.node_with("HardSigmoid", &reads, &[&raw], &hard),
                Kind::Swish => {
                    let sigmoid = format!("sigmoid{i}");
                    // The bias scale stands in for that of the sigmoid.
                    quantize(b.node_with("HardSigmoid", &reads, &[&inner], &hard), &inner, &sigmoid, op.bias)
                        .node("Mul", &[reads[0], &sigmoid], &[&raw])
                }
            };
            b = quantize(b, &raw, &out, op.output);
        }
        let last = format!("t{}", self.ops.len());
        b.build(&[(&last, &[1, 1, 2, 2])], 13)
    }
}

pub(super) fn scale(index: usize) -> String {
    format!("s{index}")
}

fn quantize(b: Builder, from: &str, to: &str, with: usize) -> Builder {
    let middle = format!("{to}_q");
    b.node("QuantizeLinear", &[from, &scale(with), "zu"], &[&middle]).node(
        "DequantizeLinear",
        &[&middle, &scale(with), "zu"],
        &[to],
    )
}
