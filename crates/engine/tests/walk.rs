//! What the walker promises, on graphs whose results are known.
#![allow(missing_docs)]

use std::collections::BTreeSet;

use shiftwise_engine::{Engine, EngineError, Flow, PrepareOptions, Session, Watch, embedded};
use shiftwise_graph::{Builder, Model, Tensor, Value};

fn prepare(model: &Model, watch: Watch) -> Box<dyn Session> {
    embedded().prepare(model, &PrepareOptions::watching(watch)).unwrap()
}

fn feed(values: &[f32]) -> Vec<(String, Value)> {
    vec![("x".into(), Value::f32(&[values.len()], values.to_vec()))]
}

/// What is shown, and the outputs.
fn observe(session: &dyn Session, feeds: &[(String, Value)]) -> (Vec<(String, Vec<f32>)>, Vec<Value>) {
    let mut seen = Vec::new();
    let outputs = session.run(feeds, &mut |id, v| {
        seen.push((session.watched()[id.index()].clone(), v.as_f32().unwrap_or(&[]).to_vec()));
        Flow::Continue
    });
    (seen, outputs.unwrap())
}

/// x → a = −x → b = |a| → y = a·b, and c = b·b beside it.
fn diamond() -> Model {
    Builder::new()
        .input("x", &[2])
        .node("Neg", &["x"], &["a"])
        .node("Abs", &["a"], &["b"])
        .node("Mul", &["a", "b"], &["y"])
        .node("Mul", &["b", "b"], &["c"])
        .build(&[("y", &[2]), ("c", &[2])], 13)
}

#[test]
fn every_watched_tensor_is_shown_once_in_order() {
    let session = prepare(&diamond(), Watch::All);
    let (seen, outputs) = observe(&*session, &feed(&[1.0, -2.0]));
    let names: Vec<&str> = seen.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(names, ["a", "b", "y", "c"]);
    let values: Vec<&[f32]> = seen.iter().map(|(_, v)| v.as_slice()).collect();
    assert_eq!(values, [&[-1.0, 2.0], &[1.0, 2.0], &[-1.0, 4.0], &[1.0, 4.0]]);
    assert_eq!(outputs[0].as_f32().unwrap(), [-1.0, 4.0]);
    assert_eq!(outputs[1].as_f32().unwrap(), [1.0, 4.0]);
    let again = observe(&*session, &feed(&[1.0, -2.0]));
    assert_eq!(again.1, outputs, "reused memory changes nothing");
}

#[test]
fn a_feed_is_never_written_to() {
    let model = Builder::new().input("x", &[2]).node("Relu", &["x"], &["y"]).build(&[("y", &[2])], 13);
    let feeds = feed(&[-1.0, 1.0]);
    let (_, outputs) = observe(&*prepare(&model, Watch::None), &feeds);
    assert_eq!(outputs[0].as_f32().unwrap(), [0.0, 1.0]);
    assert_eq!(feeds[0].1.as_f32().unwrap(), [-1.0, 1.0]);
}

#[test]
fn outputs_may_be_inputs_constants_and_read_again() {
    let model = Builder::new()
        .input("x", &[2])
        .constant("k", Tensor::f32(&[1], &[3.0]))
        .node("Relu", &["x"], &["y"])
        .node("Neg", &["y"], &["z"])
        .build(&[("x", &[2]), ("y", &[2]), ("z", &[2]), ("y", &[2]), ("k", &[1])], 13);
    let (_, outputs) = observe(&*prepare(&model, Watch::None), &feed(&[-1.0, 1.0]));
    let outputs: Vec<&[f32]> = outputs.iter().map(|v| v.as_f32().unwrap()).collect();
    assert_eq!(outputs, [&[-1.0, 1.0][..], &[0.0, 1.0], &[-0.0, -1.0], &[0.0, 1.0], &[3.0]]);
}

#[test]
fn constants_are_computed_once_and_still_shown() {
    let model = Builder::new()
        .input("x", &[2])
        .constant("k", Tensor::f32(&[2], &[3.0, 4.0]))
        .node("Neg", &["k"], &["m"])
        .node("Add", &["x", "m"], &["y"])
        .build(&[("y", &[2])], 13);
    for _ in 0..2 {
        let (seen, _) = observe(&*prepare(&model, Watch::All), &feed(&[1.0, 1.0]));
        assert_eq!(seen, [("m".into(), vec![-3.0, -4.0]), ("y".into(), vec![-2.0, -3.0])]);
    }
}

#[test]
fn a_visitor_can_end_a_run() {
    let session = prepare(&diamond(), Watch::All);
    let mut count = 0;
    let outputs = session.run(&feed(&[1.0, 2.0]), &mut |_, _| {
        count += 1;
        if count == 2 { Flow::Stop } else { Flow::Continue }
    });
    assert_eq!((count, outputs.unwrap().len()), (2, 0));
}

#[test]
fn names_that_cannot_be_watched_are_errors() {
    let watch = |name: &str| {
        let options = PrepareOptions::watching(Watch::Named(BTreeSet::from([name.to_string()])));
        embedded().prepare(&diamond(), &options).err()
    };
    assert!(watch("b").is_none());
    assert!(matches!(watch("nothing"), Some(EngineError::UnknownTensor { .. })));
    assert!(matches!(watch("x"), Some(EngineError::NotComputed { .. })));
}

#[test]
fn only_named_tensors_are_shown_even_off_the_way_to_the_outputs() {
    let model = Builder::new()
        .input("x", &[2])
        .node("Neg", &["x"], &["y"])
        .node("Abs", &["x"], &["side"])
        .build(&[("y", &[2])], 13);
    let session = prepare(&model, Watch::Named(BTreeSet::from(["side".to_string()])));
    let (seen, _) = observe(&*session, &feed(&[-1.0, 2.0]));
    assert_eq!(seen, [("side".into(), vec![1.0, 2.0])]);
}

#[test]
fn all_unsupported_nodes_are_listed() {
    let model = Builder::new()
        .input("x", &[2])
        .node("Neg", &["x"], &["a"])
        .node("Frobnicate", &["a"], &["b"])
        .node_with("Resize", &["b", "", "s"], &["y"], &[("mode", "sharp".into())])
        .constant("s", Tensor::f32(&[1], &[2.0]))
        .build(&[("y", &[4])], 13);
    let refused = embedded().unsupported(&model);
    let ops: Vec<&str> = refused.iter().map(|u| u.op.as_str()).collect();
    assert_eq!(ops, ["Frobnicate", "Resize"]);
    let error = embedded().prepare(&model, &PrepareOptions::default()).err().unwrap().to_string();
    assert!(error.contains("Frobnicate node \"b\"") && error.contains("sharp"), "{error}");
    let future = Builder::new().input("x", &[2]).node("Neg", &["x"], &["y"]).build(&[("y", &[2])], 99);
    assert!(embedded().unsupported(&future)[0].why.contains("99"));
}

#[test]
fn wrong_shapes_are_errors_that_name_the_node() {
    let bad = |op: &str, shape: &[usize]| {
        let count = shape.iter().product();
        let model = Builder::new()
            .input("x", &[2])
            .constant("w", Tensor::f32(shape, &vec![1.0; count]))
            .node(op, &["x", "w"], &["y"])
            .build(&[("y", &[2])], 13);
        prepare(&model, Watch::None)
            .run(&feed(&[1.0, 2.0]), &mut |_, _| Flow::Continue)
            .unwrap_err()
            .to_string()
    };
    for (op, shape) in [("MatMul", &[3, 3][..]), ("Add", &[3]), ("Conv", &[1, 1, 3, 3]), ("Gather", &[1])] {
        let message = bad(op, shape);
        assert!(message.contains(&format!("{op} node \"y\"")), "{message}");
    }
}

/// Conv → BatchNormalization → Clip, then Q/DQ.
fn fusable() -> Model {
    let wave = |n: usize, f: f32| (0..n).map(|i| (i as f32 * f).sin()).collect::<Vec<_>>();
    let channel = |f: f32| Tensor::f32(&[4], &wave(4, f).iter().map(|v| v.abs() + 0.1).collect::<Vec<_>>());
    Builder::new()
        .input("x", &[2, 3, 9, 9])
        .constant("w", Tensor::f32(&[4, 3, 3, 3], &wave(108, 0.7)))
        .constant("g", channel(0.3))
        .constant("b", channel(0.5))
        .constant("m", channel(0.7))
        .constant("v", channel(0.9))
        .constant("lo", Tensor::f32(&[], &[0.0]))
        .constant("hi", Tensor::f32(&[], &[6.0]))
        .constant("s", Tensor::f32(&[], &[0.03]))
        .constant("z", Tensor::i8(&[], &[-5]))
        .node("Conv", &["x", "w"], &["c"])
        .node("BatchNormalization", &["c", "g", "b", "m", "v"], &["n"])
        .node("Clip", &["n", "lo", "hi"], &["r"])
        .node("QuantizeLinear", &["r", "s", "z"], &["q"])
        .node("DequantizeLinear", &["q", "s", "z"], &["y"])
        .build(&[("y", &[2, 4, 7, 7])], 13)
}

fn image() -> Vec<(String, Value)> {
    vec![("x".into(), Value::f32(&[2, 3, 9, 9], (0..486).map(|i| (i as f32 * 0.37).cos() * 3.0).collect()))]
}

#[test]
fn watching_and_concurrency_change_no_bit() {
    let model = fusable();
    let (all, bare) = (prepare(&model, Watch::All), prepare(&model, Watch::None));
    let (seen, observed) = observe(&*all, &image());
    assert_eq!(seen.len(), 5, "nothing is fused away that is watched");
    let (_, expected) = observe(&*bare, &image());
    assert_eq!(observed, expected);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(observe(&*bare, &image()).1, expected);
                }
            });
        }
    });
}

#[test]
fn a_group_ends_before_a_watched_tensor() {
    let model = fusable();
    for name in ["c", "n", "r", "q"] {
        let session = prepare(&model, Watch::Named(BTreeSet::from([name.to_string()])));
        let (seen, outputs) = observe(&*session, &image());
        assert_eq!(seen.len(), 1, "{name}");
        assert_eq!(outputs, observe(&*prepare(&model, Watch::None), &image()).1);
    }
}

#[test]
fn together_gives_what_each_gives_alone() {
    let session = prepare(&diamond(), Watch::All);
    let feeds = [feed(&[1.0, -2.0]), feed(&[0.5, 4.0]), feed(&[-3.0, 0.0])];
    let mut together = vec![Vec::new(); 3];
    let outputs = session.run_together(&feeds.each_ref().map(Vec::as_slice), &mut |run, id, value| {
        let name = session.watched()[id.index()].clone();
        together[run].push((name, value.as_f32().unwrap().to_vec()));
        Flow::Continue
    });
    let alone: Vec<_> = feeds.iter().map(|f| observe(&*session, f)).collect();
    assert_eq!(together, alone.iter().map(|a| a.0.clone()).collect::<Vec<_>>());
    assert_eq!(outputs.unwrap(), alone.into_iter().map(|a| a.1).collect::<Vec<_>>());
}

#[test]
fn together_names_the_feed_that_fails_and_stops_as_a_whole() {
    let session = prepare(&diamond(), Watch::All);
    let (good, bad) = (feed(&[1.0, 2.0]), feed(&[1.0, 2.0, 3.0]));
    let failed = session.run_together(&[&good, &bad], &mut |_, _, _| Flow::Continue).unwrap_err();
    assert_eq!(failed.0, 1);
    let mut seen = 0;
    let stopped = session.run_together(&[&good, &good], &mut |_, _, _| {
        seen += 1;
        if seen == 3 { Flow::Stop } else { Flow::Continue }
    });
    assert_eq!((stopped.unwrap().len(), seen), (0, 3));
}
