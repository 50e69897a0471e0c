//! Whole models against ONNX Runtime: outputs, and every intermediate tensor.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeMap;

use shiftwise_engine::{Engine, Flow, PrepareOptions, Watch, embedded};
use shiftwise_graph::{DataType, Model, Value};

fn compare(case: &str, tolerance: f64) {
    let name = format!("{}.onnx", case.split('@').next().unwrap());
    let (Some(path), Some(python)) = (common::model(&name), common::python()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file);
    common::oracle(
        &python,
        "models.py",
        &[path.to_str().unwrap(), folder.path().to_str().unwrap(), case, "--all"],
    );
    let (inputs, outputs) = common::names(folder.path());
    let feeds: Vec<(String, Value)> =
        inputs.into_iter().enumerate().map(|(i, n)| (n, common::npy(&at(&format!("in_{i}.npy"))))).collect();
    let model = Model::load(&path).unwrap();

    let session = embedded().prepare(&model, &PrepareOptions::default()).unwrap();
    let bare = session.run(&feeds, &mut |_, _| panic!("nothing is watched")).unwrap();
    for (i, got) in bare.iter().enumerate() {
        let diff = common::difference(got, &common::npy(&at(&format!("out_{i}.npy"))));
        assert!(diff <= tolerance, "output {i} of {name}: {diff:e}");
    }

    let session = embedded().prepare(&model, &PrepareOptions::watching(Watch::All)).unwrap();
    let places: BTreeMap<&str, usize> = outputs.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    let mut seen = vec![0; session.watched().len()];

    let observed = session
        .run(&feeds, &mut |id, value| {
            seen[id.index()] += 1;
            let tensor = &session.watched()[id.index()];
            let want = common::npy(&at(&format!("out_{}.npy", places[tensor.as_str()])));
            let diff = common::difference(value, &want);
            // Sums differ in their order, and what nearly cancels inside a network is relative to little.
            assert!(diff <= 10.0 * tolerance, "{tensor} of {name}: {diff:e}");
            Flow::Continue
        })
        .unwrap();
    assert!(seen.iter().all(|n| *n == 1), "every watched tensor is seen once");
    assert_eq!(seen.len(), places.len(), "every intermediate tensor is watched");
    assert_eq!(bare, observed, "watching changes no bit");
}

macro_rules! models {
    ($($name:ident $tolerance:literal)*) => {
        $(#[test]
        fn $name() {
            compare(stringify!($name), $tolerance);
        })*
    };
}

models! {
    mobilenet_v2 1e-4
    squeezenet1_1 1e-4
    resnet20_cifar10 1e-4
    ppocr_cls 1e-4
    ppocrv3_det 1e-4
    yolox_nano 1e-4
    stories260k 1e-4
    superres 1e-4
    ultraface 1e-4
    silero_vad 1e-4
}

/// ONNX Runtime widens float16 and rounds what leaves the graph, so that asking it for more tensors changes its outputs.
#[test]
fn float16_is_computed_in_float32() {
    let (Some(path), Some(python)) = (common::model("mobilenet_v2_fp16.onnx"), common::python()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file);
    let case = "mobilenet_v2_fp16";
    common::oracle(&python, "models.py", &[path.to_str().unwrap(), folder.path().to_str().unwrap(), case]);
    let model = Model::load(&path).unwrap();
    let feeds = [("input".to_string(), common::npy(&at("in_0.npy")))];
    let session = embedded().prepare(&model, &PrepareOptions::watching(Watch::All)).unwrap();
    let mut seen = 0;
    let results = session
        .run(&feeds, &mut |_, value| {
            assert_eq!(value.dtype(), DataType::Float16, "as the model declares it");
            seen += 1;
            Flow::Continue
        })
        .unwrap();
    assert_eq!(seen, model.graph.node_count());
    let difference = common::difference(&results[0], &common::npy(&at("out_0.npy")));
    assert!(difference <= 1e-4, "{difference:e}");
}

#[test]
fn custom_operators_are_refused_by_name() {
    let Some(path) = common::model("superres_custom_ops.onnx") else { return };
    let model = Model::load(&path).unwrap();
    let refused = embedded().unsupported(&model);
    let ops: Vec<&str> = refused.iter().map(|u| u.op.as_str()).collect();
    assert!(ops.contains(&"com.microsoft.extensions.DecodeImage"), "{ops:?}");
    assert!(ops.contains(&"com.microsoft.extensions.EncodeImage"), "{ops:?}");
    let error = embedded().prepare(&model, &PrepareOptions::default()).err().unwrap().to_string();
    assert!(error.contains("DecodeImage") && error.contains("EncodeImage"), "{error}");
}

#[test]
fn silero_vad_at_its_other_rate() {
    compare("silero_vad@8k", 1e-4);
}
