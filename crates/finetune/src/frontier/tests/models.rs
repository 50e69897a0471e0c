//! Real models.

use std::path::{Path, PathBuf};

use shiftwise_graph::Model;

use super::support::{check, samples};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn demo() {
    let float = Model::load(&root().join("examples/demo/model.onnx")).unwrap();
    check(&float, &samples(&float, 5));
}

/// A reference model, where it is there.
fn reference(name: &str) {
    let Some(folder) = std::env::var_os("SHIFTWISE_TEST_DATA").map(PathBuf::from) else { return };
    let path = folder.join("models").join(name);
    if path.exists() {
        let float = Model::load(&path).unwrap();
        check(&float, &samples(&float, 3));
    }
}

#[test]
fn resnet20() {
    reference("resnet20_cifar10.onnx");
}

#[test]
fn squeezenet() {
    reference("squeezenet1_1.onnx");
}
