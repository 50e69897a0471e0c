#![allow(missing_docs, dead_code)]

use shiftwise_engine::{Engine, Flow, PrepareOptions, embedded};
use shiftwise_graph::{Model, Value};
use shiftwise_preprocess::{Prepared, PreprocessConfig, PreprocessError, prepare};

/// Reproducible numbers between -1 and 1.
pub(crate) fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Every output of the model on noise.
pub(crate) fn outputs(model: &Model) -> Vec<Value> {
    let session = embedded().prepare(model, &PrepareOptions::default()).unwrap();
    let feeds: Vec<(String, Value)> = session
        .inputs()
        .iter()
        .map(|info| {
            let dims = info.ty.tensor().unwrap().fixed_dims().unwrap();
            (info.name.clone(), Value::f32(&dims, noise(7, dims.iter().product())))
        })
        .collect();
    session.run(&feeds, &mut |_, _| Flow::Continue).unwrap()
}

pub(crate) fn try_prepare(model: &Model) -> Result<Prepared, PreprocessError> {
    prepare(model.clone(), &PreprocessConfig::default(), &embedded())
}

/// Prepares with all passes, and checks that the results are what they were, under the names that they had.
pub(crate) fn prepared(model: &Model) -> Prepared {
    prepared_with(model, &PreprocessConfig::default())
}

/// As [`prepared`], with options.
pub(crate) fn prepared_with(model: &Model, config: &PreprocessConfig) -> Prepared {
    let after = prepare(model.clone(), config, &embedded()).unwrap();
    let names = |m: &Model| -> Vec<String> {
        m.graph.inputs().iter().chain(m.graph.outputs()).map(|v| v.name.clone()).collect()
    };
    assert_eq!(names(model), names(&after.model));
    for (x, y) in outputs(model).iter().zip(&outputs(&after.model)) {
        assert_close(x, y);
    }
    after
}

pub(crate) fn assert_close(x: &Value, y: &Value) {
    assert_eq!(x.shape(), y.shape());
    let (Some(a), Some(b)) = (x.as_f32(), y.as_f32()) else { return assert_eq!(x, y) };
    let size = a.iter().filter(|v| v.is_finite()).fold(1e-6f32, |m, v| m.max(v.abs()));
    for (i, (p, q)) in a.iter().zip(b).enumerate() {
        let same = p == q || (p - q).abs() <= 2e-5 * size || (p.is_nan() && q.is_nan());
        assert!(same, "element {i}: {p} became {q} among values up to {size}");
    }
}

/// How many nodes of an operator there are.
pub(crate) fn nodes(model: &Model, op: &str) -> usize {
    model.graph.nodes().filter(|(_, n)| n.is(op)).count()
}

/// Why a pass declined, whatever the node.
pub(crate) fn refusals(prepared: &Prepared, pass: &str) -> Vec<String> {
    let reports = prepared.rewrites.passes.iter().filter(|p| p.pass == pass);
    reports.flat_map(|p| &p.refused).map(|note| note.what.clone()).collect()
}

/// All operators, sorted.
pub(crate) fn operators(model: &Model) -> Vec<String> {
    let mut names: Vec<String> = model.graph.nodes().map(|(_, n)| n.op_type.clone()).collect();
    names.sort();
    names
}

/// Checks that results stay and that `pass` declined once, for a reason that says `reason`.
pub(crate) fn assert_declined(model: &Model, config: &PreprocessConfig, pass: &str, reason: &str) {
    let after = prepared_with(model, config);
    let refused = refusals(&after, pass);
    assert!(refused.len() == 1 && refused[0].contains(reason), "{refused:?} should say {reason:?}");
}
