//! Algorithms that improve accuracy.

use super::{FINETUNE, PREPROCESS};
use crate::options::row::{Choice, Row, any, bool, choice, float, floats, int, path, text, texts, yes};

const ALGORITHMS: &[Choice] =
    &[yes("least_squares", &["least-squares"]), yes("adaround", &[]), yes("adaquant", &[])];

const BALANCE_METHODS: &[Choice] = &[yes("max", &[])];

const BEGINS: &[Choice] = &[yes("model", &["start"]), yes("least_squares", &["least-squares"])];

const ORDERS: &[Choice] = &[yes("natural", &[]), yes("variance", &[]), yes("least_variance", &[])];

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    bool("include_cle", "equalize the weights of consecutive layers").aka(&["inclue_cle", "use_cle"]).read_by(PREPROCESS),
    int("cle_steps", -1, "sweeps of equalization; -1 goes on until nothing changes").read_by(PREPROCESS),
    float("cle_total_layer_diff_threshold", "a sweep that changes weights by no more is the last").read_by(PREPROCESS),
    bool("cle_scale_append_bias", "let biases count in the range of a channel").read_by(PREPROCESS),
    float("cle_weight_threshold", "channels whose ranges in both layers together are below it are not equalized").read_by(PREPROCESS),
    bool("cle_scale_use_threshold", "leave out channels below the threshold").read_by(PREPROCESS),
    choice("cle_balance_method", BALANCE_METHODS, "which ranges of weights are balanced").read_by(PREPROCESS),
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
    bool("include_fast_ft", "finetune weights layer by layer: a stage of its own does, shiftwise-finetune").fixed("false"),
    choice("algorithm", ALGORITHMS, "how integers are chosen").aka(&["finetune_algorithm", "optim_algorithm"]).read_by(FINETUNE),
    int("finetune_positions", 1, "positions of a layer's output, over all samples, that its integers are fitted to (60000 with least_squares, else 8192)").read_by(FINETUNE),
    int("fixed_seed", 0, "seed of finetuning: of the choice of positions and of the order of batches (0 with least_squares, else 1705472343)").aka(&["finetune_seed"]).read_by(FINETUNE),
    float("finetune_regularization", "the pull towards the float weights, as a share of the mean variance of an input").read_by(FINETUNE),
    int("finetune_sweeps", 1, "passes over the inputs of a layer, at most").read_by(FINETUNE),
    bool("finetune_input_scales", "choose the scale of what a layer reads by the error of what the layer makes of it (least squares)").read_by(FINETUNE),
    choice("finetune_order", ORDERS, "the order of a pass over the inputs of a layer: as they lie, or those that vary most, or least, first").read_by(FINETUNE),
    bool("finetune_float_inputs", "tune each layer on what the float model gives to it, quantized, and not on what the layers before it give").read_by(FINETUNE),
    texts("finetune_layers", "tune these nodes only").read_by(FINETUNE),
    texts("finetune_op_types", "tune these operators only").aka(&["target_op_type"]).read_by(FINETUNE),
    choice("finetune_begin", BEGINS, "where adaround and adaquant begin: at the float weights, rounded as in the model, or at what least squares finds").read_by(FINETUNE),
    int("data_size", 1, "finetune on this many samples, at most").read_by(FINETUNE),
    int("num_iterations", 1, "steps of Adam for a layer (adaround, adaquant)").read_by(FINETUNE),
    float("learning_rate", "rate of Adam: 0.1 for the rounding variables of adaround, 1e-5 for the weights of adaquant").read_by(FINETUNE),
    int("finetune_batch_size", 1, "samples in a batch of a step of Adam; a sample stands for 64 positions of a layer's output with adaround, for 256 with adaquant, drawn from all samples").read_by(FINETUNE),
    int("num_batches", 1, "steps in a window of early_stop; 1 is for a tenth of num_iterations").read_by(FINETUNE),
    bool("early_stop", "end the training of a layer when a window of steps is no better than the best before it: by the regulariser of adaround, by the loss of adaquant").read_by(FINETUNE),
    float("drop_ratio", "how likely an input value is that of the quantized model and not that of the float model (adaround, adaquant)").read_by(FINETUNE),
    float("reg_param", "weight of the regulariser of adaround").read_by(FINETUNE),
    floats("beta_range", "exponent of the regulariser of adaround at its start and at its end").read_by(FINETUNE),
    float("warm_start", "share of the steps before the regulariser of adaround, and before early_stop").read_by(FINETUNE),
    bool("update_bias", "train biases, too (adaquant)").read_by(FINETUNE),
    floats("lr_adjust", "a threshold and a rate: the rate of layers whose mean squared error is above the threshold at the start (adaround, adaquant)").read_by(FINETUNE),
    bool("selective_update", "keep a layer's integers only where the outputs of the whole model come nearer to those of the float model; a run over all samples for each layer").read_by(FINETUNE),
    int("output_index", 0, "which output selective_update looks at; all of them by default").read_by(FINETUNE),
    bool("output_qdq", "train through the quantization of a layer's output, too (adaround, adaquant)").aka(&["output_quant_dequant"]).read_by(FINETUNE),
    bool("parallel", "tune each layer on what it reads in the model as it came, without regard to what became of layers before it").read_by(FINETUNE),
    path("ref_model_path", "a float model to come near to, instead of the one that was quantized").read_by(FINETUNE),
    text("optim_device", "what trains").fixed("\"cpu\""),
    text("infer_device", "what runs models; of ONNX Runtime, `provider` chooses it").fixed("\"cpu\""),
    int("mem_opt_level", 0, "where inputs of layers wait: for one layer at a time in memory, up to --max-memory, and beyond in a temporary file").fixed("1"),
    bool("dynamic_batch", "batches of open size").fixed("false"),
    bool("pin_memory", "pin memory for a GPU").fixed("false"),
    bool("use_gds", "read into a GPU").fixed("false"),
    bool("select_max_mem_layer", "try the largest layer first").fixed("false"),
    int("log_period", 1, "steps between messages").elsewhere("each layer is told in one line; --quiet tells none"),
    any("fast_finetune", "parameters of finetuning, each an option of its own").elsewhere("write it as a table, [fast_finetune], whose names are options: NumIterations = 500"),
    any("bfp_attributes", "parameters of block floating point"),
    any("mx_attributes", "parameters of microscaling"),
    any("refine_block_axis", "axes of blocks"),
    bool("bf16_with_clip", "clip before bfloat16").fixed("false"),
    bool("bf16_qdq_to_cast", "write bfloat16 as Cast").fixed("false"),
    bool("enable_vaiml_bf16", "bfloat16 for the VAIML compiler").fixed("false"),
    bool("use_matmul_nbits", "weights of MatMul in 4 bits").fixed("false"),
    any("matmul_nbits_params", "parameters of 4-bit weights"),
];
