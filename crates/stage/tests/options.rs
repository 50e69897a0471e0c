//! Options by all their names, and layers of settings.
#![allow(missing_docs)]

use shiftwise_stage::options::{Flags, Layers, Reader, Stage, Status, find, nearest_options, preset, rows};
use shiftwise_stage::{ExitStatus, Failure};
use toml::Value;

/// Every option of vai_q_onnx and Quark, in their spelling, and what it is called here.
const FOREIGN: &[(&str, &str)] = &[
    ("quant_format", "quant_format"),
    ("calibrate_method", "calibrate_method"),
    ("input_nodes", "input_nodes"),
    ("output_nodes", "output_nodes"),
    ("op_types_to_quantize", "op_types_to_quantize"),
    ("extra_op_types_to_quantize", "extra_op_types_to_quantize"),
    ("subgraphs_to_exclude", "subgraphs_to_exclude"),
    ("specific_tensor_precision", "specific_tensor_precision"),
    ("random_data_reader_input_shape", "random_shape"),
    ("per_channel", "per_channel"),
    ("reduce_range", "reduce_range"),
    ("activation_type", "activation_type"),
    ("weight_type", "weight_type"),
    ("nodes_to_quantize", "nodes_to_quantize"),
    ("nodes_to_exclude", "nodes_to_exclude"),
    ("optimize_model", "optimize_model"),
    ("use_external_data_format", "use_external_data_format"),
    ("execution_providers", "provider"),
    ("enable_dpu", "enable_npu_cnn"),
    ("enable_npu_cnn", "enable_npu_cnn"),
    ("enable_ipu_cnn", "enable_npu_cnn"),
    ("enable_npu_transformer", "enable_npu_transformer"),
    ("convert_fp16_to_fp32", "convert_fp16_to_fp32"),
    ("convert_nchw_to_nhwc", "convert_nchw_to_nhwc"),
    ("include_cle", "include_cle"),
    ("inclue_cle", "include_cle"),
    ("include_sq", "include_sq"),
    ("include_rotation", "include_rotation"),
    ("include_auto_mp", "include_auto_mp"),
    ("include_fast_ft", "include_fast_ft"),
    ("use_dynamic_quant", "use_dynamic_quant"),
    ("debug_mode", "debug_mode"),
    ("crypto_mode", "crypto_mode"),
    ("print_summary", "print_summary"),
    ("ignore_warnings", "ignore_warnings"),
    ("model_input", "model_input"),
    ("model_output", "model_output"),
    ("calibration_data_reader", "calibration_data_reader"),
    ("calibration_data_path", "data"),
    ("skip_optimization", "skip_optimization"),
    ("skip_onnx_shape", "skip_onnx_shape"),
    ("skip_symbolic_shape", "skip_symbolic_shape"),
    ("auto_merge", "auto_merge"),
    ("int_max", "int_max"),
    ("guess_output_rank", "guess_output_rank"),
    ("verbose", "verbose"),
    ("save_as_external_data", "use_external_data_format"),
    ("all_tensors_to_one_file", "all_tensors_to_one_file"),
    ("external_data_location", "external_data_location"),
    ("external_data_size_threshold", "external_data_threshold"),
    ("ActivationSymmetric", "activation_symmetric"),
    ("WeightSymmetric", "weight_symmetric"),
    ("UseUnsignedReLU", "use_unsigned_relu"),
    ("QuantizeBias", "quantize_bias"),
    ("Int32Bias", "int32_bias"),
    ("Int16Bias", "int16_bias"),
    ("AdjustBiasScale", "adjust_bias_scale"),
    ("AdjustWeightScaleForInt32Bias", "adjust_weight_scale_for_int32_bias"),
    ("RemoveInputInit", "remove_input_init"),
    ("SimplifyModel", "constant_folding"),
    ("SimplifyModelOptions", "simplify_model_options"),
    ("SkipPreprocess", "skip_preprocess"),
    ("OptimizeModel", "optimize_model"),
    ("EnableSubgraph", "enable_subgraph"),
    ("ForceQuantizeNoInputCheck", "force_quantize_no_input_check"),
    ("MatMulConstBOnly", "mat_mul_const_b_only"),
    ("AddQDQPairToWeight", "add_qdq_pair_to_weight"),
    ("OpTypesToExcludeOutputQuantization", "op_types_to_exclude_output_quantization"),
    ("NodesToExcludeOutputQuantization", "nodes_to_exclude_output_quantization"),
    ("DedicatedQDQPair", "dedicated_qdq_pair"),
    ("DedicateDQNode", "dedicate_dq_node"),
    ("QDQOpTypePerChannelSupportToAxis", "qdq_op_type_per_channel_support_to_axis"),
    ("UseQDQVitisCustomOps", "use_qdq_vitis_custom_ops"),
    ("UseQDQContribOps", "use_qdq_contrib_ops"),
    ("QDQKeepRemovableActivations", "qdq_keep_removable_activations"),
    ("CalibTensorRangeSymmetric", "calib_tensor_range_symmetric"),
    ("CalibMovingAverage", "calib_moving_average"),
    ("CalibMovingAverageConstant", "calib_moving_average_constant"),
    ("Percentile", "percentile"),
    ("NumBins", "num_bins"),
    ("NumQuantizedBins", "num_quantized_bins"),
    ("Scenario", "scenario"),
    ("LWPMetric", "lwp_metric"),
    ("PercentileCandidates", "percentile_candidates"),
    ("LWPUseHistogram", "lwp_use_histogram"),
    ("MinMSEModePof2Scale", "min_mse_mode_pof2_scale"),
    ("MinMSEMode", "min_mse_mode_pof2_scale"),
    ("WeightCalibrateMethod", "weight_calibrate_method"),
    ("MinMSEModeFloatScale", "min_mse_mode_float_scale"),
    ("CalibDataSize", "samples"),
    ("CalibWorkerNum", "threads"),
    ("CalibOptimizeMem", "calib_optimize_mem"),
    ("CalibPassthroughOpTypes", "calib_passthrough_op_types"),
    ("SaveTensorHistFig", "save_tensor_hist_fig"),
    ("SaveAndRestore", "save_and_restore"),
    ("TensorsRangeFile", "tensors_range_file"),
    ("UseRandomData", "use_random_data"),
    ("RandomDataReaderInputShape", "random_shape"),
    ("RandomDataReaderInputDataRange", "random_range"),
    ("Int16Scale", "int16_scale"),
    ("ActivationScaled", "activation_scaled"),
    ("WeightScaled", "weight_scaled"),
    ("QuantizeFP16", "quantize_fp16"),
    ("UseFP32Scale", "use_fp32_scale"),
    ("ConvertFP16ToFP32", "convert_fp16_to_fp32"),
    ("ConvertNCHWToNHWC", "convert_nchw_to_nhwc"),
    ("ConvertOpsetVersion", "convert_opset_version"),
    ("FixShapes", "fix_shapes"),
    ("ConvertBNToConv", "convert_bn_to_conv"),
    ("ConvertReduceMeanToGlobalAvgPool", "convert_reduce_mean_to_global_avg_pool"),
    ("SplitLargeKernelPool", "split_large_kernel_pool"),
    ("ConvertSplitToSlice", "convert_split_to_slice"),
    ("FuseInstanceNorm", "fuse_instance_norm"),
    ("FuseL2Norm", "fuse_l2_norm"),
    ("FuseGelu", "fuse_gelu"),
    ("FuseLayerNorm", "fuse_layer_norm"),
    ("FoldBatchNorm", "fold_batch_norm"),
    ("ConvertClipToRelu", "convert_clip_to_relu"),
    ("FoldRelu", "fold_relu"),
    ("ReplaceClip6Relu", "replace_clip6_relu"),
    ("SimulateDPU", "simulate_dpu"),
    ("ConvertLeakyReluToDPUVersion", "convert_leaky_relu_to_dpu_version"),
    ("ConvertSigmoidToHardSigmoid", "convert_sigmoid_to_hard_sigmoid"),
    ("ConvertHardSigmoidToDPUVersion", "convert_hard_sigmoid_to_dpu_version"),
    ("ConvertAvgPoolToDPUVersion", "convert_avg_pool_to_dpu_version"),
    ("ConvertReduceMeanToDPUVersion", "convert_reduce_mean_to_dpu_version"),
    ("ConvertSoftmaxToDPUVersion", "convert_softmax_to_dpu_version"),
    ("ConvertInstanceNormToDPUVersion", "convert_instance_norm_to_dpu_version"),
    ("ConvertClipToDPUVersion", "convert_clip_to_dpu_version"),
    ("NPULimitationCheck", "npu_limitation_check"),
    ("IPULimitationCheck", "npu_limitation_check"),
    ("MaxLoopNum", "max_loop_num"),
    ("AdjustShiftCut", "adjust_shift_cut"),
    ("AdjustShiftBias", "adjust_shift_bias"),
    ("AdjustShiftRead", "adjust_shift_read"),
    ("AdjustShiftWrite", "adjust_shift_write"),
    ("AdjustHardSigmoid", "adjust_hard_sigmoid"),
    ("AdjustShiftSwish", "adjust_shift_swish"),
    ("AlignConcat", "align_concat"),
    ("AlignPool", "align_pool"),
    ("AlignPad", "align_pad"),
    ("AlignSlice", "align_slice"),
    ("AlignTranspose", "align_transpose"),
    ("AlignReshape", "align_reshape"),
    ("AlignEltwiseQuantType", "align_eltwise_quant_type"),
    ("RemoveQDQConvClip", "remove_qdq_conv_clip"),
    ("RemoveQDQConvRelu", "remove_qdq_conv_relu"),
    ("RemoveQDQConvLeakyRelu", "remove_qdq_conv_leaky_relu"),
    ("RemoveQDQConvPRelu", "remove_qdq_conv_prelu"),
    ("RemoveQDQConvGelu", "remove_qdq_conv_gelu"),
    ("RemoveQDQMulAdd", "remove_qdq_mul_add"),
    ("RemoveQDQBetweenOps", "remove_qdq_between_ops"),
    ("RemoveQDQInstanceNorm", "remove_qdq_instance_norm"),
    ("RemoveFusedQDQ", "remove_fused_qdq"),
    ("CLESteps", "cle_steps"),
    ("CLETotalLayerDiffThreshold", "cle_total_layer_diff_threshold"),
    ("CLEScaleAppendBias", "cle_scale_append_bias"),
    ("CLEWeightThreshold", "cle_weight_threshold"),
    ("CLEScaleUseThreshold", "cle_scale_use_threshold"),
    ("CLEBalanceMethod", "cle_balance_method"),
    ("SmoothAlpha", "smooth_alpha"),
    ("RMatrixDim", "r_matrix_dim"),
    ("UseRandomHad", "use_random_had"),
    ("RConfigPath", "r_config_path"),
    ("CopySharedInit", "copy_shared_init"),
    ("CopyBiasInit", "copy_bias_init"),
    ("QuantizeAllOpTypes", "quantize_all_op_types"),
    ("WeightsOnly", "weights_only"),
    ("UseGPTQ", "use_gptq"),
    ("GPTQParams", "gptq_params"),
    ("BiasCorrection", "bias_correction"),
    ("FastFinetune", "fast_finetune"),
    ("OptimAlgorithm", "algorithm"),
    ("OptimDevice", "optim_device"),
    ("InferDevice", "infer_device"),
    ("NumIterations", "num_iterations"),
    ("LearningRate", "learning_rate"),
    ("DataSize", "data_size"),
    ("FixedSeed", "fixed_seed"),
    ("NumBatches", "num_batches"),
    ("EarlyStop", "early_stop"),
    ("DropRatio", "drop_ratio"),
    ("RegParam", "reg_param"),
    ("BetaRange", "beta_range"),
    ("WarmStart", "warm_start"),
    ("UpdateBias", "update_bias"),
    ("LRAdjust", "lr_adjust"),
    ("SelectiveUpdate", "selective_update"),
    ("OutputQDQ", "output_qdq"),
    ("OutputIndex", "output_index"),
    ("TargetOpType", "finetune_op_types"),
    ("MemOptLevel", "mem_opt_level"),
    ("Parallel", "parallel"),
    ("DynamicBatch", "dynamic_batch"),
    ("CacheDir", "tmp_dir"),
    ("NumWorkers", "threads"),
    ("PinMemory", "pin_memory"),
    ("UseGDS", "use_gds"),
    ("RefModelPath", "ref_model_path"),
    ("SelectMaxMemLayer", "select_max_mem_layer"),
    ("LogPeriod", "log_period"),
    ("AutoMixprecision", "auto_mixprecision"),
    ("EnableDualQuantNodePairs", "enable_dual_quant_node_pairs"),
    ("BFPAttributes", "bfp_attributes"),
    ("MXAttributes", "mx_attributes"),
    ("RefineBlockAxis", "refine_block_axis"),
    ("BF16WithClip", "bf16_with_clip"),
    ("BF16QDQToCast", "bf16_qdq_to_cast"),
    ("EnableVaimlBF16", "enable_vaiml_bf16"),
    ("UseMatMulNBits", "use_matmul_nbits"),
    ("MatMulNBitsParams", "matmul_nbits_params"),
    ("TensorQuantOverrides", "tensor_quant_overrides"),
    ("SpecificTensorPrecision", "specific_tensor_precision"),
    ("MixedPrecisionTensor", "mixed_precision_tensor"),
    ("ExecutionProviders", "provider"),
    ("TmpDir", "tmp_dir"),
    ("UserCustomOpLibPath", "user_custom_op_lib_path"),
    ("EncryptionAlgorithm", "encryption_algorithm"),
    ("CryptoMode", "crypto_mode"),
    ("DebugMode", "debug_mode"),
    ("EvalMetrics", "eval_metrics"),
    ("EvalDataReader", "eval_data_reader"),
    ("FillAllValueInfo", "fill_all_value_info"),
    ("PrintSummary", "print_summary"),
    ("IgnoreWarnings", "ignore_warnings"),
    ("QuantizationPreference", "quantization_preference"),
];

fn layers(file: &str, sets: &[&str]) -> Result<Layers, Failure> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.toml");
    shiftwise_artifact::atomic::write(&path, file.as_bytes()).unwrap();
    let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
    Layers::new(Some(&path), &sets).map_err(|mut failure| {
        // The place of the file changes with every run.
        failure.message = failure.message.replace(&format!("{}/", dir.path().display()), "");
        failure
    })
}

fn value(layers: &Layers, flags: &Flags, name: &str) -> Option<Value> {
    layers.merge(flags).unwrap().table.get(name).cloned()
}

#[track_caller]
fn refused(file: &str, sets: &[&str]) -> String {
    let failure = layers(file, sets).unwrap_err();
    assert_eq!(failure.status, ExitStatus::Usage);
    anstream::adapter::strip_str(&failure.render()).to_string()
}

#[test]
fn every_foreign_name_is_known() {
    for (theirs, ours) in FOREIGN {
        assert_eq!(find(theirs).map(|row| row.name), Some(*ours), "{theirs}");
    }
}

#[test]
fn the_table_is_consistent() {
    let mut seen = std::collections::BTreeMap::new();
    for row in rows() {
        assert!(
            row.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
            "{}",
            row.name
        );
        assert!(!row.doc.is_empty() && !row.doc.ends_with('.'), "{}", row.name);
        for name in row.aliases.iter().chain([&row.name]) {
            let key = name.replace('_', "").to_lowercase();
            assert_eq!(seen.insert(key, row.name), None, "two options or aliases are called {name}");
        }
        if let Status::Fixed(value) = row.status {
            layers("", &[&format!("{}={value}", row.name)]).unwrap();
        }
    }
}

#[test]
fn presets_hold_available_options_only() {
    for (name, value) in preset("xint8").unwrap() {
        let row = find(&name).unwrap();
        assert_eq!(row.name, name);
        assert!(matches!(row.status, Status::Available(_)), "{name}");
        let layers = layers("", &[&format!("{name}={value}")]).unwrap();
        assert_eq!(
            layers.merge(&Flags::new()).unwrap().table[&name],
            value,
            "{name} is not in its canonical form"
        );
    }
}

#[test]
fn later_layers_win() {
    let name = "max_loop_num";
    let (none, flag) = (Flags::new(), Flags::new().set(name, Some(20)));
    let (empty, file) = (layers("", &[]).unwrap(), layers("MaxLoopNum = 10", &[]).unwrap());
    let all = layers("max_loop_num = 10", &["MaxLoopNum=30"]).unwrap();
    assert_eq!(value(&empty, &none, name), Some(5.into()));
    assert_eq!(value(&file, &none, name), Some(10.into()));
    assert_eq!(value(&empty, &flag, name), Some(20.into()));
    assert_eq!(value(&file, &flag, name), Some(20.into()));
    assert_eq!(value(&all, &flag, name), Some(30.into()));
    let twice = layers("", &["max_loop_num=7", "max_loop_num=8"]).unwrap();
    assert_eq!(value(&twice, &none, name), Some(8.into()));
}

#[test]
fn tables_are_merged_by_name() {
    let layers =
        layers("fix_dim = { batch = 1, height = 2 }", &["fix_dim.height=3", "FixDim={width=4}"]).unwrap();
    let table = value(&layers, &Flags::new(), "fix_dim").unwrap();
    assert_eq!(table.to_string(), "{ batch = 1, height = 3, width = 4 }");
}

#[test]
fn values_are_brought_into_their_canonical_form() {
    let sets = [
        ("activation_type=QuantType.QInt8", r#""int8""#),
        ("activation_type=vai_q_onnx.QuantType.QUInt8", r#""uint8""#),
        ("calibrate_method=vai_q_onnx.PowerOfTwoMethod.NonOverflow", r#""nonoverflow""#),
        ("preset=XINT8", r#""xint8""#),
        ("AlignConcat=True", "true"),
        ("constant_channel_threshold=2", "2.0"),
        ("op_types_to_quantize=Conv, Gemm", r#"["Conv", "Gemm"]"#),
        (r#"nodes_to_exclude=["a,b"]"#, r#"["a,b"]"#),
        ("data=123", r#""123""#),
        ("data=-", r#""-""#),
        ("RandomDataReaderInputShape={ x = [1, 3, 8] }", "{ x = [1, 3, 8] }"),
        ("RandomDataReaderInputDataRange={ x = [-1, 0.5] }", "{ x = [-1.0, 0.5] }"),
        ("random_range=[0, 255]", r#"{ "*" = [0.0, 255.0] }"#),
    ];
    for (set, wanted) in sets {
        let name = find(set.split('=').next().unwrap()).unwrap().name;
        let found = value(&layers("", &[set]).unwrap(), &Flags::new(), name).unwrap();
        assert_eq!(found.to_string(), wanted, "{set}");
    }
}

#[test]
fn a_fixed_value_may_be_given_and_changes_nothing() {
    let set =
        layers("[extra_options]\nPerChannel = false", &["QuantFormat=QuantFormat.QDQ", "enable_dpu=True"])
            .unwrap();
    assert_eq!(set.merge(&Flags::new()).unwrap(), Layers::default().merge(&Flags::new()).unwrap());
}

#[test]
fn a_dictionary_of_finetuning_holds_options() {
    let file = "batch_size = 3\n[extra_options.FastFinetune]\nOptimAlgorithm = 'adaround'\nBatchSize = 2\nNumIterations = 500\n\
                BetaRange = [20, 2]\nLRAdjust = []\nOptimDevice = 'cpu'\nMemOptLevel = 1\nTargetOpType = ['Conv']";
    let layers = layers(file, &["fast_finetune.NumIterations=7"]).unwrap();
    let get = |name: &str| value(&layers, &Flags::new(), name);
    assert_eq!(get("algorithm"), Some("adaround".into()));
    assert_eq!((get("finetune_batch_size"), get("batch_size")), (Some(2.into()), Some(3.into())));
    assert_eq!(get("num_iterations"), Some(7.into()));
    assert_eq!(get("beta_range"), Some(vec![20.0, 2.0].into()));
    assert_eq!(get("lr_adjust"), Some(Vec::<f64>::new().into()));
    assert_eq!(get("finetune_op_types"), Some(vec!["Conv"].into()));
    assert_eq!(get("fast_finetune"), None);
}

#[test]
fn ranges_are_pairs_of_numbers() {
    let set = layers("random_range = { x = [0, 1], ids = [0, 5] }", &["random_range.ids=[0, 9]"]).unwrap();
    let ranges = value(&set, &Flags::new(), "random_range").unwrap();
    assert_eq!((&ranges["x"], &ranges["ids"]), (&vec![0.0, 1.0].into(), &vec![0.0, 9.0].into()));
    insta::assert_snapshot!(refused("random_range = { x = [1] }", &[]), @"
    error: failed to read option `random_range` (run.toml:1): it needs a lower and an upper number, like [0, 1], or a table of such, like { name = [0, 1] }, not the list [1]
    ");
    insta::assert_snapshot!(refused("random_range = [0, 'a']", &[]), @r#"
    error: failed to read option `random_range` (run.toml:1): it needs a lower and an upper number, like [0, 1], or a table of such, like { name = [0, 1] }, not the list [0, "a"]
    "#);
}

#[test]
fn a_stage_reads_its_own_options_only() {
    let merged = layers("max_loop_num = 3\nsamples = 7", &[]).unwrap().merge(&Flags::new()).unwrap();
    let quantize = merged.of(Reader::Stage(Stage::Quantize));
    assert!(quantize.contains_key("activation_type") && !quantize.contains_key("max_loop_num"));
    assert_eq!(merged.of(Reader::Data).to_string().trim(), "samples = 7");
    assert_eq!(merged.of(Reader::Stage(Stage::NpuCheck))["max_loop_num"], 3.into());
}

#[test]
fn paths_in_a_file_are_relative_to_it() {
    let set = layers("data = 'images'\nrecipe = '/r.toml'", &["labels=l.csv"]).unwrap();
    let path = |name| value(&set, &Flags::new(), name).unwrap().as_str().unwrap().to_owned();
    assert!(path("data").ends_with("/images") && path("data").starts_with('/'), "{}", path("data"));
    assert_eq!((path("recipe").as_str(), path("labels").as_str()), ("/r.toml", "l.csv"));
    for word in ["random", "-"] {
        let set = layers(&format!("data = '{word}'"), &[]).unwrap();
        assert_eq!(value(&set, &Flags::new(), "data"), Some(word.into()));
    }
}

#[test]
fn suggestions_are_near() {
    assert_eq!(nearest_options("activaton_tpye"), ["activation_type"]);
    assert_eq!(nearest_options("RemoveQDQConvReul").first(), Some(&"remove_qdq_conv_relu"));
    assert_eq!(nearest_options("IPULimitationChek").first(), Some(&"npu_limitation_check"));
    assert!(nearest_options("colour_of_the_sky").is_empty());
}

#[test]
fn messages_name_option_place_and_remedy() {
    insta::assert_snapshot!(refused("\n\nactivaton_type = 'int8'", &[]), @r"
    error: failed to read option `activaton_type` (run.toml:3): there is no such option
    help: did you mean `activation_type`?
    ");
    insta::assert_snapshot!(refused("", &["colour_of_the_sky=1"]), @r"
    error: failed to read option `colour_of_the_sky` (--set): there is no such option
    help: `--help` and the documentation list the options
    ");
    insta::assert_snapshot!(refused("", &["MaxLoopNum=five"]), @r#"
    error: failed to read option `max_loop_num` (--set, as `MaxLoopNum`): it needs an integer of at least 1, not the text "five"
    "#);
    insta::assert_snapshot!(refused("AlignConcat = 1", &[]), @r"
    error: failed to read option `align_concat` (run.toml:1, as `AlignConcat`): it needs true or false, not the integer 1
    ");
    insta::assert_snapshot!(refused("max_loop_num = 0", &[]), @r"
    error: failed to read option `max_loop_num` (run.toml:1): it needs an integer of at least 1, not the integer 0
    ");
    insta::assert_snapshot!(refused("", &["op_types_to_quantize=[1]"]), @r"
    error: failed to read option `op_types_to_quantize` (--set): it needs a list of texts, not the integer 1
    ");
    insta::assert_snapshot!(refused("", &["calibrate_method=CalibrationMethod.Distribution"]), @r#"
    error: failed to read option `calibrate_method` (--set): "distribution" is known, but not implemented in this version
    help: this version has calibrate_method = "minmse" or "nonoverflow" or "minmax" or "percentile" or "layerwise_percentile" or "entropy"
    "#);
    insta::assert_snapshot!(refused("", &["preset=A8W8"]), @r#"
    error: failed to read option `preset` (--set): "a8w8" is known, but not implemented in this version
    help: this version has preset = "xint8"
    "#);
    insta::assert_snapshot!(refused("", &["preset=xint9"]), @r#"
    error: failed to read option `preset` (--set): there is no "xint9"
    help: did you mean "xint8"?
    "#);
    insta::assert_snapshot!(refused("", &["PerChannel=True"]), @r"
    error: failed to read option `per_channel` (--set, as `PerChannel`): it is known, but this version has only per_channel = false
      because: per_channel means: a scale for each channel of a weight
    help: remove it
    ");
    insta::assert_snapshot!(refused("", &["quant_format=VitisQuantFormat.QDQ"]), @r#"
    error: failed to read option `quant_format` (--set): "extended_qdq" is known, but not implemented in this version
    help: this version has quant_format = "qdq"
    "#);
    insta::assert_snapshot!(refused("[FastFinetune]\nMemOptLevel = 2", &[]), @r"
    error: failed to read option `mem_opt_level` (run.toml:1, as `MemOptLevel`): it is known, but this version has only mem_opt_level = 1
      because: mem_opt_level means: where inputs of layers wait: for one layer at a time in memory, up to --max-memory, and beyond in a temporary file
    help: remove it
    ");
    insta::assert_snapshot!(refused("", &["FastFinetune.LogPeriod=5"]), @r"
    error: failed to read option `log_period` (--set, as `LogPeriod`): it is known, but not set like this
    help: each layer is told in one line; --quiet tells none
    ");
    insta::assert_snapshot!(refused("UseRandomData = true", &[]), @r#"
    error: failed to read option `use_random_data` (run.toml:1, as `UseRandomData`): it is known, but not set like this
    help: set data = "random"
    "#);
    insta::assert_snapshot!(refused("IPULimitationCheck = true\nnpu_limitation_check = true", &[]), @r"
    error: failed to read option `npu_limitation_check` (run.toml:2): it is set twice
      because: as `IPULimitationCheck` and as `npu_limitation_check`
    help: keep one of them
    ");
    insta::assert_snapshot!(refused("a = 1\nb = = 2", &[]), @r"
    error: failed to parse run.toml
      because: TOML parse error at line 2, column 5
          |
        2 | b = = 2
          |     ^
        extra `=`, expected nothing
    help: see https://toml.io for the syntax
    ");
    insta::assert_snapshot!(refused("", &["force"]), @r#"
    error: failed to read --set "force": it has no `=`
    help: write it as --set name=value
    "#);
    insta::assert_snapshot!(refused("engine = 'onnx'", &[]), @r#"
    error: failed to read option `engine` (run.toml:1): there is no "onnx"
    help: did you mean "auto" or "embedded" or "ort"?
    "#);
}
