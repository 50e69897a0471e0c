//! What is done to the float model before anything is quantized.

use super::{MODEL_WRITERS, PREPROCESS, QUANTIZE};
use crate::options::row::{Row, any, bool, int, ints, shapes, text, texts};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    bool("optimize_model", "rewrite the float graph at all; false keeps it as it is, but for fixed dimensions and conversions").read_by(PREPROCESS),
    bool("constant_folding", "compute what depends on constants only").aka(&["simplify_model"]).read_by(PREPROCESS),
    bool("remove_identity", "remove nodes that do nothing: Identity, Dropout, casts to the same type").read_by(PREPROCESS),
    bool("fold_batch_norm", "fold batch normalizations into the convolution or matrix product before them").read_by(PREPROCESS),
    ints("fix_dim", "extents for named dimensions, like { batch = 1 }").read_by(PREPROCESS),
    shapes("fix_shapes", "shapes for inputs, like { input = [1, 3, 224, 224] }").read_by(PREPROCESS),
    bool("use_external_data_format", "keep weights in a file beside the model").aka(&["save_as_external_data"]).read_by(MODEL_WRITERS),
    int("external_data_threshold", 0, "smallest tensor in bytes that goes to the file beside the model").aka(&["external_data_size_threshold"]).read_by(MODEL_WRITERS),

    bool("all_tensors_to_one_file", "one file for all external data; false: a file for each tensor").read_by(MODEL_WRITERS),
    text("external_data_location", "where external data goes: a file like \"weights.bin\", or a folder like \"weights/\", in the output directory").read_by(MODEL_WRITERS),
    bool("remove_input_init", "constants are not listed as inputs of the model").fixed("true"),
    bool("skip_preprocess", "skip every conversion and rewrite, but not the fixing of dimensions and shape inference").read_by(PREPROCESS),
    bool("skip_optimization", "skip rewrites, as optimize_model = false does; conversions that are asked for are done").read_by(PREPROCESS),
    bool("skip_onnx_shape", "skip shape inference on the result; what the rewrites knew stays").read_by(PREPROCESS),
    bool("skip_symbolic_shape", "skip following what shape arithmetic computes; each operator is looked at by itself").read_by(PREPROCESS),
    bool("auto_merge", "make named dimensions one where an operator needs them to be equal").read_by(PREPROCESS),
    int("int_max", 1, "a Slice that ends here or beyond goes to the end of a named dimension").read_by(PREPROCESS),
    bool("guess_output_rank", "outputs of unknown operators have the type and the rank of the first input").read_by(PREPROCESS),
    int("verbose", 0, "how much is logged").elsewhere("use -q for errors only, nothing for warnings, -v or -vv for details: what is logged is no property of the output"),
    any("simplify_model_options", "options of the simplifier of other tools"),
    int("convert_opset_version", 0, "raise the operator set to this version, 10 to 21; 0 leaves it").read_by(PREPROCESS),
    bool("upgrade_opset", "raise the operator set where a fusion needs a newer one").read_by(PREPROCESS),
    bool("convert_fp16_to_fp32", "convert float16 models to float32, with their inputs and outputs").read_by(PREPROCESS),
    bool("convert_nchw_to_nhwc", "let the model take and give its images channels-last").read_by(PREPROCESS),
    bool("convert_bn_to_conv", "turn batch normalizations that cannot be folded into depthwise convolutions").fixed("false"),
    bool("convert_reduce_mean_to_global_avg_pool", "turn ReduceMean over height and width into GlobalAveragePool").fixed("false"),
    bool("split_large_kernel_pool", "split a GlobalAveragePool with a large kernel into two poolings").fixed("false"),
    bool("convert_split_to_slice", "turn Split into Slice nodes").fixed("false"),
    bool("convert_clip_to_relu", "turn quantized Clip from 0 into Relu: what is quantized saturates").read_by(QUANTIZE),
    bool("fuse_instance_norm", "fuse decomposed instance normalizations").read_by(PREPROCESS),
    bool("fuse_l2_norm", "fuse decomposed L2 normalizations whose epsilon does not matter").read_by(PREPROCESS),
    bool("fuse_gelu", "fuse decomposed Gelu; into that of com.microsoft before opset 20").read_by(PREPROCESS),
    bool("fuse_layer_norm", "fuse decomposed layer normalizations; needs opset 17").read_by(PREPROCESS),
    bool("fuse_activations", "fuse decomposed Sigmoid and HardSigmoid, also inside of HardSwish").read_by(PREPROCESS),
    bool("replace_clip6_relu", "turn Clip(0, 6) into Relu before equalization; this changes what the model computes").read_by(PREPROCESS),
    bool("range_safe_equalization", "scale channels between layers as far as statistics of the model (--stats) say that it computes the same").read_by(PREPROCESS),
    texts("copy_shared_init", "give each user of a shared constant its own copy, for these operators; [] for all").read_by(PREPROCESS),
    texts("copy_bias_init", "give each user of a shared bias its own copy, for these operators; [] for all that have one").read_by(PREPROCESS),
    bool("enable_subgraph", "quantize bodies of If and Loop").fixed("false"),
];
