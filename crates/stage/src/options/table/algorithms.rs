//! Algorithms that improve accuracy.

use super::FINETUNE;
use crate::options::row::{Choice, Row, any, bool, choice, float, int, no, texts, yes};

const ALGORITHMS: &[Choice] =
    &[yes("least_squares", &["least-squares"]), no("adaround", &[]), no("adaquant", &[])];

const ORDERS: &[Choice] = &[yes("natural", &[]), yes("variance", &[]), yes("least_variance", &[])];

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    bool("include_cle", "equalize the weights of consecutive layers").aka(&["inclue_cle", "use_cle"]).fixed("false"),
    int("cle_steps", -1, "repetitions of equalization"),
    float("cle_total_layer_diff_threshold", "when adaptive equalization ends"),
    bool("cle_scale_append_bias", "let biases take part in equalization"),
    float("cle_weight_threshold", "weights below it are not equalized"),
    bool("cle_scale_use_threshold", "leave out weights below the threshold"),
    any("cle_balance_method", "how two ranges are balanced"),
    bool("include_sq", "SmoothQuant: move scale from activations to weights").fixed("false"),
    float("smooth_alpha", "how much scale SmoothQuant moves"),
    bool("include_rotation", "rotate activations (QuaRot)").fixed("false"),
    int("r_matrix_dim", 1, "size of the rotation"),
    bool("use_random_had", "rotate by a random Hadamard matrix"),
    any("r_config_path", "where rotations go"),
    bool("use_gptq", "GPTQ").fixed("false"),
    any("gptq_params", "parameters of GPTQ"),
    bool("bias_correction", "correct biases for the mean error").fixed("false"),
    bool("include_auto_mp", "choose types tensor by tensor").fixed("false"),
    any("auto_mixprecision", "parameters of the choice of types"),
    bool("enable_dual_quant_node_pairs", "two Q/DQ pairs where types meet").aka(&["dual_quant_nodes"]).fixed("false"),
    bool("include_fast_ft", "finetune weights layer by layer").fixed("false"),
    choice("algorithm", ALGORITHMS, "how integers are chosen").aka(&["finetune_algorithm", "optim_algorithm"]).read_by(FINETUNE),
    int("finetune_positions", 1, "positions of a layer's output, over all samples, that its integers are fitted to").read_by(FINETUNE),
    int("finetune_seed", 0, "seed of the choice of positions").aka(&["fixed_seed"]).read_by(FINETUNE),
    float("finetune_regularization", "the pull towards the float weights, as a share of the mean variance of an input").read_by(FINETUNE),
    int("finetune_sweeps", 1, "passes over the inputs of a layer, at most").read_by(FINETUNE),
    choice("finetune_order", ORDERS, "the order of a pass over the inputs of a layer: as they lie, or those that vary most, or least, first").read_by(FINETUNE),
    texts("finetune_layers", "tune these nodes only").read_by(FINETUNE),
    texts("finetune_op_types", "tune these operators only").aka(&["target_op_type"]).read_by(FINETUNE),
    any("fast_finetune", "parameters of finetuning"),
    any("bfp_attributes", "parameters of block floating point"),
    any("mx_attributes", "parameters of microscaling"),
    any("refine_block_axis", "axes of blocks"),
    bool("bf16_with_clip", "clip before bfloat16").fixed("false"),
    bool("bf16_qdq_to_cast", "write bfloat16 as Cast").fixed("false"),
    bool("enable_vaiml_bf16", "bfloat16 for the VAIML compiler").fixed("false"),
    bool("use_matmul_nbits", "weights of MatMul in 4 bits").fixed("false"),
    any("matmul_nbits_params", "parameters of 4-bit weights"),
];
