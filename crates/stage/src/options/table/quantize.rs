//! Which tensors are quantized, as what, and with which parameters.

use super::{PLACEMENT, QUANTIZE};
use crate::options::row::{Choice, Row, any, bool, choice, float, int, no, texts, yes};

#[rustfmt::skip]
const ACTIVATIONS: &[Choice] = &[
    yes("uint8", &["QUInt8", "QuantType.QUInt8"]), yes("int8", &["QInt8", "QuantType.QInt8"]),
    yes("uint16", &["QUInt16", "QuantType.QUInt16", "VitisQuantType.QUInt16", "ExtendedQuantType.QUInt16"]),
    yes("int16", &["QInt16", "QuantType.QInt16", "VitisQuantType.QInt16", "ExtendedQuantType.QInt16"]),
    no("uint32", &["QUInt32", "VitisQuantType.QUInt32", "ExtendedQuantType.QUInt32"]),
    no("int32", &["QInt32", "VitisQuantType.QInt32", "ExtendedQuantType.QInt32"]),
    no("float16", &["fp16", "QFloat16", "VitisQuantType.QFloat16", "ExtendedQuantType.QFloat16"]),
    no("bfloat16", &["bf16", "QBFloat16", "VitisQuantType.QBFloat16", "ExtendedQuantType.QBFloat16"]),
    no("bfp", &["QBFP", "VitisQuantType.QBFP", "ExtendedQuantType.QBFP"]), no("mx", &["QMX", "ExtendedQuantType.QMX"]),
    no("uint4", &["QUInt4", "QuantType.QUInt4"]), no("int4", &["QInt4", "QuantType.QInt4"]),
];

#[rustfmt::skip]
const WEIGHTS: &[Choice] = &[
    yes("int8", &["QInt8", "QuantType.QInt8"]), no("uint8", &["QUInt8", "QuantType.QUInt8"]),
    no("uint16", ACTIVATIONS[2].aliases), no("int16", ACTIVATIONS[3].aliases), ACTIVATIONS[4], ACTIVATIONS[5], ACTIVATIONS[6], ACTIVATIONS[7], ACTIVATIONS[8], ACTIVATIONS[9],
    ACTIVATIONS[10], ACTIVATIONS[11],
];

#[rustfmt::skip]
const METHODS: &[Choice] = &[
    yes("minmse", &["PowerOfTwoMethod.MinMSE"]), yes("nonoverflow", &["PowerOfTwoMethod.NonOverflow"]),
    yes("minmax", &["CalibrationMethod.MinMax"]), yes("percentile", &["CalibrationMethod.Percentile"]),
    yes("layerwise_percentile", &["LayerWiseMethod.LayerWisePercentile"]), yes("entropy", &["CalibrationMethod.Entropy"]),
    no("distribution", &["CalibrationMethod.Distribution"]), no("int16_scale", &["Int16Method.MinMax"]),
];

#[rustfmt::skip]
const FORMATS: &[Choice] = &[
    yes("qdq", &["QuantFormat.QDQ"]), no("qoperator", &["QuantFormat.QOperator"]), no("fix_neuron", &["VitisQuantFormat.FixNeuron", "QuantFormat.FixNeuron"]),
    no("extended_qdq", &["VitisQuantFormat.QDQ", "ExtendedQuantFormat.QDQ"]),
];

const POF2_MODES: &[Choice] = &[yes("all", &[]), yes("most_common", &["MostCommon"]), yes("percentile", &[])];

const FLOAT_MODES: &[Choice] =
    &[yes("percentile", &[]), yes("hist_center", &["HistCenter"]), yes("all", &[])];

#[rustfmt::skip]
const WEIGHT_METHODS: &[Choice] = &[
    yes("minmax", &["CalibrationMethod.MinMax"]), yes("minmse", &["CalibrationMethod.MinMSE", "PowerOfTwoMethod.MinMSE"]),
];

const SCALE_ERRORS: &[Choice] = &[yes("output", &[]), yes("weight", &[])];

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    choice("activation_type", ACTIVATIONS, "integer type of activations").read_by(QUANTIZE),
    choice("calibrate_method", METHODS, "how statistics become a scale").aka(&["calibration_method"]).read_by(QUANTIZE),
    bool("activation_symmetric", "zero points of activations in the middle of their type").read_by(QUANTIZE),
    bool("power_of_two_scale", "scales are powers of two; otherwise any float").aka(&["use_power_of_2_scale", "use_pof2_scale"]).read_by(QUANTIZE),
    choice("min_mse_mode_pof2_scale", POF2_MODES, "what minmse looks at for power-of-two scales: all values, each sample for itself, or a percentile range").aka(&["min_mse_mode"]).read_by(QUANTIZE),
    choice("weight_calibrate_method", WEIGHT_METHODS, "how float scales of weights are chosen").read_by(QUANTIZE),
    choice("min_mse_mode_float_scale", FLOAT_MODES, "what minmse tries for float scales of weights").read_by(QUANTIZE),
    bool("int32_bias", "32-bit biases with the scale of the products; by default where scales are not powers of two").read_by(QUANTIZE),
    choice("weight_scale_error", SCALE_ERRORS, "which error the power-of-two scale of a weight minimizes: that of the layer's output, or of the weight itself").read_by(QUANTIZE),
    int("weight_candidates_below", 0, "how many positions below the covering one are tried for a weight").read_by(QUANTIZE),
    bool("absorb_constant_channels", "move channels that hardly vary into the next bias, so that they do not widen the range").read_by(QUANTIZE),
    float("constant_channel_threshold", "how far a channel may vary to count as constant, in steps of its tensor").read_by(QUANTIZE),
    texts("op_types_to_quantize", "quantize these operators only").read_by(PLACEMENT),
    texts("extra_op_types_to_quantize", "quantize these operators too").read_by(PLACEMENT),
    texts("nodes_to_quantize", "quantize these nodes only").read_by(PLACEMENT),
    texts("nodes_to_exclude", "leave these nodes in float: exact names, regular expressions (^…) or globs").read_by(PLACEMENT),
    bool("quantize_bias", "quantize biases").read_by(PLACEMENT),
    bool("force_quantize_no_input_check", "quantize operators that only move data even where their input is not quantized").read_by(PLACEMENT),
    bool("remove_qdq_conv_relu", "no Q/DQ between a convolution and its Relu").read_by(PLACEMENT),
    bool("remove_qdq_conv_clip", "no Q/DQ between a convolution and its Clip").read_by(PLACEMENT),
    bool("remove_qdq_conv_leaky_relu", "no Q/DQ between a convolution and its LeakyRelu").read_by(PLACEMENT),
    bool("remove_qdq_conv_prelu", "no Q/DQ between a convolution and its PRelu").read_by(PLACEMENT),

    choice("quant_format", FORMATS, "how quantization is written into the model").fixed("\"qdq\""),
    choice("weight_type", WEIGHTS, "integer type of weights").fixed("\"int8\""),
    bool("per_channel", "a scale for each channel of a weight").fixed("false"),
    bool("reduce_range", "7 bits for weights").fixed("false"),
    bool("weight_symmetric", "symmetric weights").fixed("true"),
    bool("use_unsigned_relu", "unsigned types after Relu").fixed("false"),
    bool("int16_bias", "16-bit biases").fixed("false"),
    bool("int16_scale", "scales that are 16-bit integers over a power of two").fixed("false"),
    bool("adjust_bias_scale", "bias scales are products of input and weight scales").fixed("true"),
    bool("adjust_weight_scale_for_int32_bias", "raise weight scales where a 32-bit bias overflows").fixed("false"),
    bool("activation_scaled", "scaled float types for activations").fixed("false"),
    bool("weight_scaled", "scaled float types for weights").fixed("false"),
    bool("quantize_fp16", "quantize float16 models as they are").fixed("false"),
    bool("use_fp32_scale", "float32 scales in float16 models").fixed("true"),
    any("subgraphs_to_exclude", "leave whole subgraphs in float"),
    any("input_nodes", "quantize from these nodes on"),
    any("output_nodes", "quantize up to these nodes"),
    any("specific_tensor_precision", "types for single tensors"),
    any("mixed_precision_tensor", "types for single tensors"),
    any("tensor_quant_overrides", "parameters for single tensors"),
    bool("mat_mul_const_b_only", "quantize MatMul with a constant second input only").fixed("false"),
    bool("add_qdq_pair_to_weight", "keep float weights behind a Q/DQ pair").fixed("false"),
    bool("dedicated_qdq_pair", "a Q/DQ pair for each user of a tensor").fixed("false"),
    bool("dedicate_dq_node", "a DQ for each user of a tensor").fixed("false"),
    texts("op_types_to_exclude_output_quantization", "leave the outputs of these operators in float"),
    texts("nodes_to_exclude_output_quantization", "leave the outputs of these nodes in float"),
    any("qdq_op_type_per_channel_support_to_axis", "axes of per-channel scales"),
    bool("use_qdq_vitis_custom_ops", "custom operators for Q/DQ").fixed("false"),
    bool("use_qdq_contrib_ops", "Q/DQ in the domain com.microsoft").fixed("false"),
    bool("qdq_keep_removable_activations", "keep Relu and Clip that quantization makes redundant").fixed("true"),
    bool("fold_relu", "fold Relu into the range of its input").fixed("false"),
    bool("align_eltwise_quant_type", "one type for the inputs of elementwise operators").fixed("false"),
    bool("remove_qdq_conv_gelu", "no Q/DQ between a convolution and its Gelu").fixed("false"),
    bool("remove_qdq_mul_add", "no Q/DQ between Mul and Add").fixed("false"),
    any("remove_qdq_between_ops", "no Q/DQ between these pairs of operators"),
    bool("remove_qdq_instance_norm", "no Q/DQ inside instance normalizations").fixed("false"),
    bool("remove_fused_qdq", "remove Q/DQ that fusion made redundant").fixed("false"),
    bool("quantize_all_op_types", "quantize every operator").fixed("false"),
    bool("weights_only", "quantize weights only").fixed("false"),
    bool("use_dynamic_quant", "compute activation scales at run time").fixed("false"),
    bool("fill_all_value_info", "write the type of every tensor").fixed("false"),
];
