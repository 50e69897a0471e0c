//! What an NPU demands of positions, and what it computes differently from float operators.

use super::NPU;
use crate::options::row::{Row, bool, int};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    bool("npu_limitation_check", "bring positions into the ranges of the NPU").aka(&["ipu_limitation_check"]).read_by(NPU),
    int("max_loop_num", 1, "how often the adjustments are repeated until nothing changes").read_by(NPU),
    bool("adjust_shift_cut", "keep weight + input − output position of Conv and Gemm in range").read_by(NPU),
    bool("adjust_shift_bias", "keep weight + input − bias position of Conv and Gemm in range").read_by(NPU),
    bool("adjust_shift_read", "keep the input positions of Add and Sub close together").read_by(NPU),
    bool("adjust_shift_write", "keep the output position of Add and Mul close to the inputs").read_by(NPU),
    bool("adjust_hard_sigmoid", "keep the positions of HardSigmoid in range").read_by(NPU),
    bool("adjust_shift_swish", "keep the positions of Mul in a Swish in range").read_by(NPU),
    bool("align_concat", "one position for all inputs and the output of Concat").read_by(NPU),
    bool("align_pool", "one position for input and output of a pooling").read_by(NPU),
    bool("align_pad", "one position for input and output of Pad").read_by(NPU),
    bool("align_slice", "one position for input and output of Slice").read_by(NPU),

    bool("align_transpose", "one position for input and output of Transpose").fixed("false"),
    bool("align_reshape", "one position for input and output of Reshape").fixed("false"),
    bool("enable_npu_cnn", "quantize for an NPU that computes with power-of-two scales").aka(&["enable_dpu", "enable_ipu_cnn"]).fixed("true"),
    bool("enable_npu_transformer", "quantize for an NPU that runs transformers").aka(&["enable_ipu_transformer"]).fixed("false"),
    bool("simulate_dpu", "write what the NPU computes differently into the model").aka(&["simulate_npu"]).fixed("false"),
    bool("convert_leaky_relu_to_dpu_version", "round the slope of LeakyRelu to 1/256").fixed("false"),
    bool("convert_sigmoid_to_hard_sigmoid", "turn Sigmoid into HardSigmoid").fixed("false"),
    bool("convert_hard_sigmoid_to_dpu_version", "scale HardSigmoid as the NPU does").fixed("false"),
    bool("convert_avg_pool_to_dpu_version", "scale average poolings as the NPU does").fixed("false"),
    bool("convert_reduce_mean_to_dpu_version", "scale ReduceMean as the NPU does").fixed("false"),
    bool("convert_softmax_to_dpu_version", "compute Softmax as the NPU does").fixed("false"),
    bool("convert_instance_norm_to_dpu_version", "compute instance normalizations as the NPU does").fixed("false"),
    bool("convert_clip_to_dpu_version", "round the bounds of Clip to integers").fixed("false"),
];
