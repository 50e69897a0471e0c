//! What is read is written again, without loss.

#![allow(missing_docs, clippy::print_stderr, clippy::disallowed_methods)]

mod common;

use std::path::Path;
use std::process::Command;

use shiftwise_graph::{Model, Weights};

#[test]
fn reference_models_survive_a_round_trip() {
    for path in common::reference_models() {
        let model = Model::load(&path).unwrap();
        let encoded = model.encode(&Weights::Inline).unwrap();
        assert!(encoded.external.is_empty());
        let again = Model::from_bytes(encoded.model.clone().into()).unwrap();
        assert!(model == again, "{} differs after a round trip", path.display());
        let twice = again.encode(&Weights::Inline).unwrap().model;
        assert!(encoded.model == twice, "{}: encoding is not stable", path.display());
    }
}

#[test]
fn the_onnx_package_sees_the_same_graph() {
    let Some(python) = std::env::var_os("SHIFTWISE_PYTHON") else {
        eprintln!("skipped: SHIFTWISE_PYTHON does not name a python with the onnx package");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/same_graph.py");
    let folder = tempfile::tempdir().unwrap();
    for path in common::reference_models() {
        let written = folder.path().join("model.onnx");
        let encoded = Model::load(&path).unwrap().encode(&Weights::Inline).unwrap();
        std::fs::write(&written, encoded.model).unwrap();
        let done = Command::new(&python).arg(&script).arg(&path).arg(&written).output().unwrap();
        assert!(done.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&done.stdout));
    }
}

#[test]
fn a_small_model_survives_a_round_trip() {
    let model = common::small();
    model.graph.check("test").unwrap();
    let again = Model::from_bytes(common::encode(&model)).unwrap();
    assert_eq!(model, again);
}

#[test]
fn declared_types_of_what_says_its_own_type_are_dropped() {
    use shiftwise_graph::proto::{ModelProto, ValueInfoProto};
    // A declaration for an initializer and one for a tensor that nothing makes.
    let mut message: ModelProto = prost::Message::decode(common::encode(&common::small())).unwrap();
    let graph = message.graph.as_mut().unwrap();
    let ty = graph.input[0].r#type.clone();
    for name in ["w", "gone", "y"] {
        graph.value_info.push(ValueInfoProto { name: name.into(), r#type: ty.clone(), ..Default::default() });
    }
    let model = Model::from_bytes(prost::Message::encode_to_vec(&message).into()).unwrap();
    assert_eq!(model.graph.types().map(|(name, _)| name).collect::<Vec<_>>(), ["y"]);
    assert_eq!(Model::from_bytes(common::encode(&model)).unwrap(), model);
}
