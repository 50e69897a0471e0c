//! Which operators the embedded engine computes, and how.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::ops::{FAMILIES, MICROSOFT};

/// How the embedded engine computes an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// By a kernel of this workspace.
    Native,
    /// Not at all, for this reason.
    None(&'static str),
}

const STRINGS: Support = Support::None("not supported: works on strings");

/// All operators of the standard domain up to opset 22.
#[rustfmt::skip]
const STANDARD: &[&str] = &[
    "Abs", "Acos", "Acosh", "Add", "AffineGrid", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh",
    "AveragePool", "BatchNormalization", "Bernoulli", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
    "BlackmanWindow", "Cast", "CastLike", "Ceil", "Celu", "CenterCropPad", "Clip", "Col2Im", "Compress", "Concat",
    "ConcatFromSequence", "Constant", "ConstantOfShape", "Conv", "ConvInteger", "ConvTranspose", "Cos", "Cosh", "CumSum",
    "DFT", "DeformConv", "DepthToSpace", "DequantizeLinear", "Det", "Div", "Dropout", "DynamicQuantizeLinear", "Einsum",
    "Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor", "GRU", "Gather", "GatherElements", "GatherND",
    "Gelu", "Gemm", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample",
    "GroupNormalization", "HammingWindow", "HannWindow", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "If",
    "ImageDecoder", "InstanceNormalization", "IsInf", "IsNaN", "LRN", "LSTM", "LayerNormalization", "LeakyRelu", "Less",
    "LessOrEqual", "Log", "LogSoftmax", "Loop", "LpNormalization", "LpPool", "MatMul", "MatMulInteger", "Max", "MaxPool",
    "MaxRoiPool", "MaxUnpool", "Mean", "MeanVarianceNormalization", "MelWeightMatrix", "Min", "Mish", "Mod", "Mul",
    "Multinomial", "Neg", "NegativeLogLikelihoodLoss", "NonMaxSuppression", "NonZero", "Not", "OneHot", "Optional",
    "OptionalGetElement", "OptionalHasElement", "Or", "PRelu", "Pad", "Pow", "QLinearConv", "QLinearMatMul",
    "QuantizeLinear", "RNN", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Range",
    "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceProd", "ReduceSum", "ReduceSumSquare", "RegexFullMatch", "Relu", "Reshape", "Resize", "ReverseSequence",
    "RoiAlign", "Round", "STFT", "Scan", "Scatter", "ScatterElements", "ScatterND", "Selu", "SequenceAt",
    "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap", "Shape",
    "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice", "Softmax", "SoftmaxCrossEntropyLoss", "Softplus",
    "Softsign", "SpaceToDepth", "Split", "SplitToSequence", "Sqrt", "Squeeze", "StringConcat", "StringNormalizer",
    "StringSplit", "Sub", "Sum", "Tan", "Tanh", "TfIdfVectorizer", "ThresholdedRelu", "Tile", "TopK", "Transpose",
    "Trilu", "Unique", "Unsqueeze", "Upsample", "Where", "Xor",
];

fn refusal(name: &str) -> Support {
    match name {
        "RegexFullMatch" | "StringConcat" | "StringNormalizer" | "StringSplit" | "TfIdfVectorizer" => STRINGS,
        "ImageDecoder" => Support::None("not supported: decodes compressed images"),
        _ => Support::None("not supported"),
    }
}

/// Every operator of the standard up to opset 22 and every other that is supported, by domain and name.
pub fn operators() -> BTreeMap<(&'static str, &'static str), Support> {
    let mut table: BTreeMap<_, _> = STANDARD.iter().map(|name| (("", *name), refusal(name))).collect();
    table.extend(FAMILIES.iter().copied().flatten().map(|op| ((op.domain, op.name), Support::Native)));
    table
}

/// The table of [`operators`] as a page of the documentation.
pub fn operators_page() -> String {
    let mut page = String::from(
        "# Operators of the embedded engine\n\n\
         Written by `just operators` from the tables of the engine; a test compares the two.\n\n\
         * **native**: a kernel of this workspace.\n\
         * A node with an attribute, type or input that is not supported is refused by name before anything runs.\n\
         * Everything that is not in the tables is refused too: `--engine ort` runs it where ONNX Runtime does.\n",
    );
    let mut domain = None;
    for ((d, name), support) in operators() {
        if domain != Some(d) {
            domain = Some(d);
            let title = if d.is_empty() { "ONNX standard, opsets 7 to 22" } else { d };
            let _ = write!(page, "\n## {title}\n\n| operator | embedded engine |\n|---|---|\n");
        }
        let how = match support {
            Support::Native => "native",
            Support::None(why) => why,
        };
        let _ = writeln!(page, "| {name} | {how} |");
    }
    let _ = write!(
        page,
        "\nOperators of `com.amd.quark` and `com.vai.quantize` are rewritten to these before a run.\n\
         Those of `{MICROSOFT}` are the ones that optimisers and quantizers write.\n"
    );
    page
}
