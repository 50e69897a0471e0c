//! Models with functions of their own.
#![allow(missing_docs)]

mod common;

use shiftwise_engine::{Engine, Flow, PrepareOptions, embedded};
use shiftwise_graph::{Model, Value};

#[test]
fn calls_of_functions_compute_what_the_functions_say() {
    let Some(python) = common::python() else { return };
    let folder = tempfile::tempdir().unwrap();
    common::oracle(&python, "functions.py", &[folder.path().to_str().unwrap()]);
    let model = Model::load(&folder.path().join("model.onnx")).unwrap();
    assert!(embedded().unsupported(&model).is_empty());
    let session = embedded().prepare(&model, &PrepareOptions::default()).unwrap();
    for case in ["False", "True"] {
        let case = folder.path().join(case);
        let (inputs, outputs) = common::names(&case);
        let at = |kind: &str, i: usize| common::npy(&case.join(format!("{kind}_{i}.npy")));
        let feeds: Vec<(String, Value)> =
            inputs.into_iter().enumerate().map(|(i, n)| (n, at("in", i))).collect();
        let results = session.run(&feeds, &mut |_, _| Flow::Continue).unwrap();
        assert_eq!(results.len(), outputs.len());
        for (i, got) in results.iter().enumerate() {
            assert!(common::difference(got, &at("out", i)) < 1e-6, "output {i}: {got:?}");
        }
    }
}

#[test]
fn a_function_that_calls_itself_is_an_error() {
    let Some(python) = common::python() else { return };
    let folder = tempfile::tempdir().unwrap();
    common::oracle(&python, "functions.py", &[folder.path().to_str().unwrap()]);
    let mut model = Model::load(&folder.path().join("model.onnx")).unwrap();
    let twice = model.functions.iter_mut().find(|f| f.name == "sloped").unwrap();
    twice.node[0].op_type = "twice".into();
    twice.node[0].domain = "own".into();
    let error = model.without_functions().unwrap_err().to_string();
    assert!(error.contains("calls itself"), "{error}");
}
