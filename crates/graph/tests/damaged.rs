//! Damaged files give an error or a consistent model, never a panic.

#![allow(missing_docs)]

mod common;

use bytes::Bytes;
use proptest::prelude::*;
use shiftwise_graph::{Model, Weights, infer_shapes};

/// Whatever loads must be usable.
fn exercise(bytes: Bytes) -> bool {
    let Ok(mut model) = Model::from_bytes(bytes) else { return false };
    infer_shapes(&mut model);
    model.graph.check("test").unwrap();
    let _ = model.encode(&Weights::External { location: "data".into(), threshold: 16 });
    let again = Model::from_bytes(common::encode(&model)).unwrap();
    // Not a number differs from itself; the bytes do not.
    assert_eq!(common::encode(&again), common::encode(&model));
    true
}

#[test]
fn a_small_model_cut_anywhere() {
    let bytes = common::encode(&common::small());
    assert!(exercise(bytes.clone()));
    for end in 0..bytes.len() {
        exercise(bytes.slice(..end));
    }
}

#[test]
fn reference_models_cut_anywhere() {
    for path in common::reference_models() {
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        let step = (bytes.len() / 64).clamp(300, 100_003);
        for end in (0..bytes.len()).step_by(step) {
            let _ = Model::from_bytes(bytes.slice(..end));
        }
    }
}

#[test]
fn a_file_that_is_no_model_says_so() {
    for content in [&b""[..], b"hello, world", b"\x89PNG\r\n\x1a\n"] {
        let error = Model::from_bytes(Bytes::from_static(content)).unwrap_err().to_string();
        assert!(error.starts_with("decode model in memory as an ONNX model"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn flipped_bytes(flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..=255), 1..6)) {
        let mut bytes = common::encode(&common::small()).to_vec();
        for (index, mask) in flips {
            let at = index.index(bytes.len());
            bytes[at] ^= mask;
        }
        exercise(bytes.into());
    }

    #[test]
    fn missing_middle(from in any::<prop::sample::Index>(), length in 1usize..40) {
        let mut bytes = common::encode(&common::small()).to_vec();
        let from = from.index(bytes.len());
        bytes.drain(from..(from + length).min(bytes.len()));
        exercise(bytes.into());
    }
}
