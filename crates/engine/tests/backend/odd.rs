//! The same models with inputs that do not fit: every one is an error or a result, never a panic.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use shiftwise_engine::{Engine, Flow, PrepareOptions, embedded};
use shiftwise_graph::{Graph, Model, TensorType, Value, ValueInfo, ValueType};

use crate::cases;

/// What an input may be replaced by.
fn variants(value: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    let n = value.len();
    for shape in [
        vec![],
        vec![n],
        vec![1, n],
        vec![n, 1, 1],
        vec![1, 1, n, 1],
        vec![0],
        vec![0, 3],
        vec![2, 0, 3, 1, 1],
    ] {
        let len: usize = shape.iter().product();
        found.extend(cut(value, len).and_then(|v| v.reshaped(&shape)));
    }
    let mut fewer = value.shape().to_vec();
    for axis in 0..fewer.len() {
        let size = fewer[axis];
        for other in [0, 1, size.saturating_sub(1)] {
            fewer[axis] = other;
            found.extend(cut(value, fewer.iter().product()).and_then(|v| v.reshaped(&fewer)));
        }
        fewer[axis] = size;
    }
    match value {
        Value::I64(a) => {
            for v in [0, -1, 1, 3, -100, i64::MAX, i64::MIN] {
                found.push(Value::I64(a.mapv(|_| v)));
            }
        }
        Value::I32(a) => found.extend([0, -1, i32::MIN].map(|v| Value::I32(a.mapv(|_| v)))),
        Value::F32(a) => {
            found.push(Value::F64(a.mapv(f64::from)));
            found.extend([f32::NAN, f32::INFINITY, -1e30].map(|v| Value::F32(a.mapv(|_| v))));
        }
        _ => {}
    }
    found
}

/// The first elements of a value, as a vector; they are not enough for all lengths.
fn cut(value: &Value, len: usize) -> Option<Value> {
    macro_rules! each {
        ($($variant:ident)*) => {
            match value {
                $(Value::$variant(a) => {
                    let elements: Vec<_> = a.iter().copied().take(len).collect();
                    (elements.len() == len).then(|| Value::from(ndarray::Array1::from(elements).into_dyn()))
                })*
            }
        };
    }
    each!(F32 F64 F16 Bf16 I64 I32 I16 I8 U64 U32 U16 U8 Bool)
}

/// The model without the shapes that it declares, its inputs of the types of `feeds`.
fn loosened(model: &Model, feeds: &[(String, Value)]) -> Model {
    let graph = &model.graph;
    let inputs = feeds.iter().map(|(name, v)| ValueInfo {
        name: name.clone(),
        ty: ValueType::Tensor(TensorType { dtype: v.dtype(), shape: None }),
    });
    let initializers = graph.initializers().map(|(n, t)| (n.to_string(), t.clone())).collect();
    let nodes = graph.nodes().map(|(_, n)| n.clone()).collect();
    let graph = Graph::new("odd", inputs.collect(), graph.outputs().to_vec(), initializers, nodes);
    Model { graph, ..model.clone() }
}

/// All of them with `SHIFTWISE_SLOW`, else every seventh.
#[test]
fn odd_inputs_do_not_panic() {
    let Some(folder) = crate::folder() else { return };
    let step = if std::env::var_os("SHIFTWISE_SLOW").is_some() { 1 } else { 7 };
    let (mut tried, mut runs, mut report) = (0, 0, String::new());
    for case in cases::all(&folder) {
        // A loop may be asked to run for ever.
        if ["loop", "range"].iter().any(|part| case.name.contains(part)) {
            continue;
        }
        let Ok(loaded) = case.load() else { continue };
        for i in 0..loaded.feeds.len() {
            for variant in variants(&loaded.feeds[i].1) {
                tried += 1;
                if tried % step != 0 {
                    continue;
                }
                let shape = format!("{} {:?}", variant.dtype(), variant.shape());
                let mut feeds = loaded.feeds.clone();
                feeds[i].1 = variant;
                let model = loosened(&loaded.model, &feeds);
                let Ok(session) = embedded().prepare(&model, &PrepareOptions::default()) else { continue };
                let run = || session.run(&feeds, &mut |_, _| Flow::Continue).is_ok();
                runs += 1;
                if catch_unwind(AssertUnwindSafe(run)).is_err() {
                    writeln!(report, "{}: input {i} as {shape}", case.name).unwrap();
                }
            }
        }
    }
    assert!(runs > 500, "{runs} runs");
    assert!(report.is_empty(), "of {runs} runs, these panic:\n{report}");
}
