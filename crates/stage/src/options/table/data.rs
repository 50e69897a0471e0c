//! Samples, statistics, engines, and the run itself.

use super::{CALIBRATE, DATA, ENGINE, EVALUATE, QUANTIZE, RUN};
use crate::options::row::{
    Choice, Row, any, bool, choice, float, floats, int, no, path, ranges, shapes, text, texts, yes,
};

#[rustfmt::skip]
const PRESETS: &[Choice] = &[
    yes("xint8", &["XINT8_DEFAULT", "XINT8_CONFIG"]),
    no("xint8_adaround", &[]), no("xint8_adaquant", &[]), no("xint8_weightsonly_adaround", &[]), no("vint8", &[]),
    no("s8s8_aaws", &[]), no("s8s8_aaws_adaround", &[]), no("s8s8_aaws_adaquant", &[]),
    no("u8s8_aaws", &[]), no("u8s8_aaws_adaround", &[]), no("u8s8_aaws_adaquant", &[]), no("u8u8_aawa", &[]),
    no("s16s8_asws", &[]), no("s16s8_asws_adaround", &[]), no("s16s8_asws_adaquant", &[]), no("u16s8_aaws", &[]),
    no("u16s8_aaws_adaround", &[]), no("u16s8_aaws_adaquant", &[]),
    no("a8w8", &[]), no("a8w8_adaround", &[]), no("a8w8_adaquant", &[]),
    no("a16w8", &[]), no("a16w8_adaround", &[]), no("a16w8_adaquant", &[]),
    no("fp16", &[]), no("fp16_adaquant", &[]), no("bf16", &[]), no("bf16_adaquant", &[]),
    no("bfp16", &[]), no("bfp16_adaquant", &[]),
    no("mx4", &[]), no("mx4_adaquant", &[]), no("mx6", &[]), no("mx6_adaquant", &[]), no("mx9", &[]), no("mx9_adaquant", &[]),
    no("mxfp8e5m2", &[]), no("mxfp8e5m2_adaquant", &[]), no("mxfp8e4m3", &[]), no("mxfp8e4m3_adaquant", &[]),
    no("mxfp6e3m2", &[]), no("mxfp6e3m2_adaquant", &[]), no("mxfp6e2m3", &[]), no("mxfp6e2m3_adaquant", &[]),
    no("mxfp4e2m1", &[]), no("mxfp4e2m1_adaquant", &[]), no("mxint8", &[]), no("mxint8_adaquant", &[]),
    no("s16s16_mixed_s8s8", &[]), no("bf16_mixed_bfp16", &[]), no("bf16_mixed_bfp16_adaquant", &[]),
    no("bf16_mixed_mxint8", &[]), no("bf16_mixed_mxint8_adaquant", &[]),
    no("bf16_bfp16", &[]), no("bf16_mxint8", &[]), no("mx9_int8", &[]),
    no("int8_cnn_default", &[]), no("int16_cnn_default", &[]), no("int8_transformer_default", &[]), no("int16_transformer_default", &[]),
    no("int8_cnn_accurate", &[]), no("int16_cnn_accurate", &[]), no("int8_transformer_accurate", &[]), no("int16_transformer_accurate", &[]),
    no("matmul_nbits", &[]), no("uint8_dynamic_quant", &[]),
];

const ENGINES: &[Choice] = &[yes("auto", &[]), yes("embedded", &[]), yes("ort", &["onnxruntime"])];

const METRICS: &[Choice] = &[yes("mae", &[]), yes("mse", &[])];

const FIDELITIES: &[Choice] = &[yes("fake-quant", &[]), yes("deploy", &[])];

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    choice("preset", PRESETS, "values for all options, which everything else overrides").read_by(RUN),
    int("threads", 1, "how many threads work; all cores by default").aka(&["calib_worker_num", "num_workers"]).read_by(RUN),
    path("data", "samples: a folder of images or .npy files, an .npz or .npy file, ONNX test data, random, or - for .npz archives from the standard input").aka(&["calibration_data_path"]).read_by(DATA),
    path("recipe", "how images become inputs (TOML)").read_by(DATA),
    int("samples", 1, "use this many samples").aka(&["calib_data_size"]).read_by(DATA),
    path("labels", "classes of the samples (CSV with the columns file,label)").read_by(DATA),
    bool("collect_all", "collect statistics of every float tensor").read_by(CALIBRATE),
    int("batch_size", 1, "how many samples a thread runs at a time, node by node; results do not depend on it").aka(&["calib_batch_size"]).read_by(CALIBRATE),
    bool("skip_bad_samples", "leave out samples that cannot be read, and report them").read_by(DATA),
    int("seed", 0, "seed of random samples").read_by(DATA),
    shapes("random_shape", "shapes of inputs of random samples, like { input = [1, 3, 224, 224] }").aka(&["random_data_reader_input_shape"]).read_by(DATA),
    ranges("random_range", "ranges of inputs of random samples, like { input = [-1, 1] }, or [-1, 1] for all").aka(&["random_data_reader_input_data_range"]).read_by(DATA),
    choice("engine", ENGINES, "what runs the model").read_by(ENGINE),
    path("ort_lib", "the library of ONNX Runtime").read_by(ENGINE),
    texts("provider", "execution providers of ONNX Runtime, the first that can run a node does").aka(&["providers", "execution_providers"]).read_by(ENGINE),
    texts("provider_option", "options of execution providers, as PROVIDER.KEY=VALUE").aka(&["provider_options"]).read_by(ENGINE),
    choice("fidelity", FIDELITIES, "how ONNX Runtime computes quantized models: as they are defined, or fused to integers").read_by(ENGINE),
    text("max_memory", "about how much memory may be used for tensors that are watched in ONNX Runtime, or wait in finetuning: 512M, 2G").read_by(ENGINE),
    float("min_top1", "fail unless every quantized model has at least this top-1 accuracy, in percent").read_by(EVALUATE),
    float("max_top1_loss", "fail where a quantized model loses more top-1 accuracy than this, in points").read_by(EVALUATE),
    float("min_sqnr", "fail where the mean SQNR of an output is below this, in decibels").read_by(EVALUATE),

    any("model_input", "the model").elsewhere("give the model as the first argument"),
    any("model_output", "the output").elsewhere("use -o"),
    any("calibration_data_reader", "an object of Python").elsewhere("use data and recipe"),
    bool("use_random_data", "calibrate on random samples").elsewhere("set data = \"random\""),
    bool("calib_optimize_mem", "keep activations on disk").fixed("true"),
    float("calib_moving_average_constant", "weight of the newest sample in moving averages"),
    bool("calib_moving_average", "average the extremes of samples (minmax, nonoverflow)").read_by(QUANTIZE),
    bool("calib_tensor_range_symmetric", "make ranges symmetric around zero").read_by(QUANTIZE),
    texts("calib_passthrough_op_types", "operators whose output takes the range of their input"),
    bool("save_tensor_hist_fig", "draw histograms").elsewhere("the evaluation report has them"),
    any("save_and_restore", "keep calibration results").elsewhere("statistics are always kept, in the output of shiftwise-calibrate"),
    any("tensors_range_file", "keep calibration results").elsewhere("statistics are always kept, in the output of shiftwise-calibrate"),
    float("percentile", "the part of the values that a range holds, in percent").read_by(QUANTIZE),
    int("num_bins", 2, "bins of entropy calibration").read_by(QUANTIZE),
    int("num_quantized_bins", 2, "bins of the quantized distribution of entropy calibration").read_by(QUANTIZE),
    any("scenario", "scenario of distribution calibration"),
    choice("lwp_metric", METRICS, "which error decides between the candidates of layer-wise percentile calibration").read_by(QUANTIZE),
    floats("percentile_candidates", "candidates of layer-wise percentile calibration, in percent").read_by(QUANTIZE),
    bool("lwp_use_histogram", "use histograms in layer-wise percentile calibration").fixed("true"),

    bool("debug_mode", "log more").elsewhere("use -v, or -vv"),
    bool("print_summary", "print a summary").fixed("true"),
    bool("ignore_warnings", "hide warnings").elsewhere("use --quiet"),
    any("tmp_dir", "where temporary files go").aka(&["cache_dir"]).elsewhere("they are always beside the output"),
    any("user_custom_op_lib_path", "a library of custom operators"),
    any("encryption_algorithm", "encrypt models"),
    bool("crypto_mode", "encrypt models").fixed("false"),
    any("eval_metrics", "metrics of evaluation"),
    any("eval_data_reader", "an object of Python").elsewhere("use shiftwise-evaluate --data"),
    any("quantization_preference", "bundles of options: accuracy, speed, resource efficiency"),
];
