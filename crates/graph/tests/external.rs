//! Weights in files beside the model, and what is refused about them.

#![allow(missing_docs, clippy::disallowed_methods)]

mod common;

use std::path::Path;

use prost::Message;
use shiftwise_graph::proto::{ModelProto, StringStringEntryProto};
use shiftwise_graph::{Model, Weights};

fn save(folder: &Path, weights: &Weights) -> Model {
    let model = common::small();
    let encoded = model.encode(weights).unwrap();
    std::fs::write(folder.join("model.onnx"), encoded.model).unwrap();
    for (name, segments) in encoded.external {
        std::fs::write(folder.join(name), segments.concat()).unwrap();
    }
    model
}

fn external(threshold: usize) -> Weights {
    Weights::External { location: "model.onnx.data".into(), threshold }
}

/// Loads the small model after its external tensor's entries were changed.
fn with_entries(change: impl Fn(&mut Vec<StringStringEntryProto>)) -> Result<Model, String> {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &external(100));
    let path = folder.path().join("model.onnx");
    let mut message = ModelProto::decode(&*std::fs::read(&path).unwrap()).unwrap();
    let graph = message.graph.as_mut().unwrap();
    let tensor = graph.initializer.iter_mut().find(|t| !t.external_data.is_empty()).unwrap();
    assert_eq!(tensor.name, "w");
    change(&mut tensor.external_data);
    std::fs::write(&path, message.encode_to_vec()).unwrap();
    Model::load(&path).map_err(|e| e.to_string())
}

fn set(key: &'static str, value: &'static str) -> impl Fn(&mut Vec<StringStringEntryProto>) {
    move |entries| {
        entries.retain(|e| e.key != key);
        entries.push(StringStringEntryProto { key: key.into(), value: value.into() });
    }
}

#[track_caller]
fn refused(result: Result<Model, String>, reason: &str) {
    let error = result.expect_err("this must be refused");
    assert!(error.contains("\"w\"") && error.contains(reason), "{error}");
}

#[test]
fn weights_go_out_and_come_back() {
    for threshold in [0, 1, 100, 1 << 20] {
        let folder = tempfile::tempdir().unwrap();
        let model = save(folder.path(), &external(threshold));
        assert_eq!(folder.path().join("model.onnx.data").exists(), threshold <= 432);
        assert_eq!(Model::load(&folder.path().join("model.onnx")).unwrap(), model);
    }
}

#[test]
fn offset_and_length_may_be_absent() {
    let loaded = with_entries(|entries| entries.retain(|e| e.key == "location")).unwrap();
    assert_eq!(loaded, common::small());
}

#[test]
fn locations_outside_of_the_folder_are_refused() {
    for location in ["../model.onnx.data", "/etc/passwd", "a/../../x", ""] {
        refused(with_entries(set("location", location)), "leaves the model's directory");
    }
    refused(with_entries(set("location", "missing")), "put the data file beside the model");
}

#[cfg(unix)]
#[test]
fn links_out_of_the_folder_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &external(100));
    let data = folder.path().join("model.onnx.data");
    let elsewhere = outside.path().join("data");
    std::fs::rename(&data, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &data).unwrap();
    let path = folder.path().join("model.onnx");
    refused(Model::load(&path).map_err(|e| e.to_string()), "links to outside");
    // A link within the folder is none of our business.
    std::fs::remove_file(&data).unwrap();
    std::fs::rename(&elsewhere, folder.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", &data).unwrap();
    assert_eq!(Model::load(&path).unwrap(), common::small());
}

#[test]
fn ranges_that_do_not_fit_are_refused() {
    refused(with_entries(set("offset", "1")), "lie beyond the end of ");
    refused(with_entries(set("offset", "18446744073709551615")), "lie beyond the end of ");
    refused(with_entries(set("offset", "-1")), "is not a number");
    refused(with_entries(set("offset", "99999999999999999999")), "is not a number");
    refused(with_entries(set("length", "431")), "declares 431 bytes but its shape needs 432");
}

#[test]
fn data_in_memory_cannot_be_external() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &external(100));
    let bytes = std::fs::read(folder.path().join("model.onnx")).unwrap();
    assert!(Model::from_bytes(bytes.into()).is_err());
}
