//! Models and samples from files and artifacts, and back.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shiftwise_artifact::{Kind, Tool, atomic};
use shiftwise_graph::{
    Builder, DataType, Dim, Model, TensorType, ValueInfo, ValueType, Weights, infer_shapes,
};
use shiftwise_stage::{
    Begin, CommonArgs, Context, DataArgs, DataConfig, EngineArgs, ExitStatus, ExternalData, MODEL_DATA_FILE,
    Stage, data_input, input_specs, load_model, save_model,
};

fn context(sets: &[&str]) -> Context {
    let common = CommonArgs {
        quiet: true,
        set: sets.iter().map(|s| (*s).to_owned()).collect(),
        ..CommonArgs::default()
    };
    Context::new(Stage::Preprocess, Tool { name: "test".into(), version: "0".into() }, common).unwrap()
}

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/demo")
}

/// The demo model in a directory of its own, with external data.
fn external(dir: &Path) -> PathBuf {
    let model = Model::load(&demo().join("model.onnx")).unwrap();
    let mut encoded = model.encode(&Weights::External { location: "m.data".into(), threshold: 64 }).unwrap();
    let (name, segments) = encoded.external.remove(0);
    atomic::write(&dir.join(name), &segments.concat()).unwrap();
    atomic::write(&dir.join("m.onnx"), &encoded.model).unwrap();
    dir.join("m.onnx")
}

#[test]
fn external_data_counts_in_the_fingerprint() {
    let dir = tempfile::tempdir().unwrap();
    let path = external(dir.path());
    let before = load_model(&path, &[]).unwrap().fingerprint;
    assert_eq!(before, load_model(&path, &[]).unwrap().fingerprint);
    let data = dir.path().join("m.data");
    let mut bytes = std::fs::read(&data).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    atomic::write(&data, &bytes).unwrap();
    assert_ne!(before, load_model(&path, &[]).unwrap().fingerprint);
    std::fs::remove_file(&data).unwrap();
    let failure = load_model(&path, &[]).unwrap_err();
    assert_eq!(failure.status, ExitStatus::Input);
    assert!(failure.to_string().contains("m.data"), "{failure}");
}

fn prepare(out: &Path, external: &ExternalData) -> Model {
    let mut model = Model::load(&demo().join("model.onnx")).unwrap();
    infer_shapes(&mut model);
    let context = context(&[]);
    let begun = context.begin(out, Kind::Prepared, BTreeMap::new(), serde_json::json!({})).unwrap();
    let Begin::Write(pending) = begun else { panic!("nothing was there") };
    let writer = pending.writer().unwrap();
    save_model(&writer, &model, external).unwrap();
    context.finish(writer, BTreeMap::new()).unwrap();
    model
}

#[test]
fn models_survive_their_way_through_an_artifact() {
    for external in
        [ExternalData::default(), ExternalData { always: true, threshold: 64, ..ExternalData::default() }]
    {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("prepared");
        let model = prepare(&out, &external);
        assert_eq!(out.join(MODEL_DATA_FILE).exists(), external.always);
        let loaded = load_model(&out, &[Kind::Quantized, Kind::Prepared]).unwrap();
        assert_eq!(loaded.model, model);
        assert!(loaded.artifact.is_some());
        let failure = load_model(&out, &[Kind::Quantized]).unwrap_err();
        assert_eq!(failure.status, ExitStatus::Mismatch);
    }
}

#[test]
fn a_changed_artifact_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("prepared");
    prepare(&out, &ExternalData::default());
    let file = out.join("model.onnx");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    atomic::write(&file, &bytes).unwrap();
    let failure = load_model(&out, &[Kind::Prepared]).unwrap_err();
    assert_eq!(failure.status, ExitStatus::Mismatch);
    assert!(failure.message.contains("model.onnx"), "{failure}");
}

#[test]
fn an_artifact_whose_replacement_was_killed_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("prepared");
    prepare(&out, &ExternalData::default());
    std::fs::rename(&out, dir.path().join(".prepared.old-shiftwise")).unwrap();
    assert!(load_model(&out, &[Kind::Prepared]).unwrap().artifact.is_some());
}

#[test]
fn what_is_no_model_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let junk = dir.path().join("junk.onnx");
    atomic::write(&junk, b"not a model").unwrap();
    for path in [junk.as_path(), Path::new("/no/such.onnx"), dir.path()] {
        let failure = load_model(path, &[Kind::Prepared]).unwrap_err();
        assert_eq!(failure.status, ExitStatus::Input, "{failure}");
        assert!(failure.message.contains(path.to_str().unwrap()) && failure.help.is_some(), "{failure:?}");
    }
}

#[test]
fn inputs_without_a_shape_are_named() {
    let open = |shape| {
        let ty = ValueType::Tensor(TensorType { dtype: DataType::Float, shape });
        Builder::new()
            .input_info(ValueInfo { name: "x".into(), ty })
            .node("Relu", &["x"], &["y"])
            .build(&[("y", &[])], 17)
    };
    let specs = input_specs(&open(Some(vec![Dim::Symbol("n".into()), Dim::Known(3)]))).unwrap();
    assert_eq!(specs[0].shape, [None, Some(3)]);
    assert!(input_specs(&open(None)).unwrap_err().to_string().contains("\"x\""));
}

#[test]
fn samples_come_from_arguments_over_configuration() {
    let demo = demo();
    let recipe = format!("recipe={}", demo.join("recipe.toml").display());
    let context = context(&[&recipe, "samples=5"]);
    let model = load_model(&demo.join("model.onnx"), &[]).unwrap();
    let inputs = input_specs(&model.model).unwrap();
    let args = DataArgs { data: Some(demo.join("calibration")), ..DataArgs::default() };
    let config = args.resolve(&context).unwrap();
    let dataset = args.open(&context, &inputs).unwrap();
    assert_eq!(dataset.len(), 5);
    let five = data_input(&config, &dataset).unwrap();
    let four = DataConfig { samples: Some(4), ..config.clone() };
    assert_ne!(five.fingerprint, data_input(&four, &four.open(&inputs).unwrap()).unwrap().fingerprint);
    assert!(config.config().unwrap()["recipe"]["channels"].is_string());

    let none = DataArgs::default().open(&context, &inputs).unwrap_err();
    assert_eq!(none.status, ExitStatus::Usage);
    let random = DataConfig { data: Some("random".into()), ..DataConfig::default() };
    assert_eq!(random.open(&inputs).unwrap().len(), 16);
}

#[test]
fn random_samples_are_described_by_arguments_over_configuration() {
    let args = |shapes: &[&str], ranges: &[&str]| DataArgs {
        data: Some("random".into()),
        random_shape: shapes.iter().map(|s| (*s).to_owned()).collect(),
        random_range: ranges.iter().map(|s| (*s).to_owned()).collect(),
        ..DataArgs::default()
    };
    let context = context(&[]);
    let config = args(&["x=1x3x8", "a=b=4", "s="], &["-1:1", "x=0:2.5e1"]).resolve(&context).unwrap();
    let spec = config.spec().unwrap().random;
    assert_eq!((&spec.shapes["x"], &spec.shapes["a=b"]), (&vec![1, 3, 8], &vec![4]));
    assert!(spec.shapes["s"].is_empty());
    assert_eq!((spec.range, spec.ranges.len(), spec.ranges["x"]), (Some([-1.0, 1.0]), 1, [0.0, 25.0]));
    // Other random samples are told by their hashes.
    assert_eq!(config.config().unwrap(), args(&[], &[]).resolve(&context).unwrap().config().unwrap());
    for (shape, range) in
        [("x", "0:1"), ("x=1xx", "0:1"), ("x=-1", "0:1"), ("x=1", "0"), ("x=1", "x=a:b"), ("x=1", "0:inf")]
    {
        let failure = args(&[shape], &[range]).resolve(&context).unwrap_err();
        assert_eq!(failure.status, ExitStatus::Usage, "{shape} {range}");
        assert!(failure.help.iter().any(|h| h.contains("NAME=")), "{shape} {range}");
    }
}

#[test]
fn engines_are_chosen_by_name() {
    let open = |set: &[&str]| EngineArgs::default().open(&context(set), &[]);
    let named = |name: &str| EngineArgs { engine: Some(name.into()), ..EngineArgs::default() };
    assert!(open(&[]).unwrap().engine.name().starts_with("embedded"));
    assert!(named("Embedded").open(&context(&[]), &[]).is_ok());
    let code = |args: &EngineArgs, set: &[&str]| args.open(&context(set), &[]).err().unwrap().status;
    assert_eq!(code(&named("tensorrt"), &[]), ExitStatus::Usage);
    // What only ONNX Runtime has is not ignored by the embedded engine, and makes auto take it.
    let absent = "ort_lib=/nowhere/libonnxruntime.so";
    for set in
        [absent, "provider=cuda,cpu", "fidelity=deploy", "execution_providers=['CPUExecutionProvider']"]
    {
        assert_eq!(code(&named("embedded"), &[set]), ExitStatus::Usage, "{set}");
    }
    for name in ["auto", "ort", "onnxruntime"] {
        assert_eq!(code(&named(name), &[absent]), ExitStatus::Input, "{name}");
        assert_eq!(code(&named(name), &["max_memory=many"]), ExitStatus::Usage, "{name}");
    }
    assert!(open(&["max_memory=512M"]).is_ok(), "the embedded engine keeps within any limit");
    assert_eq!(
        context(&["engine=auto"]).merged(&shiftwise_stage::Flags::new()).unwrap().table["engine"],
        "auto".into()
    );
}
