//! What goes wrong leaves the walk where it was.

use std::sync::atomic::{AtomicUsize, Ordering};

use shiftwise_engine::embedded;
use shiftwise_graph::Tensor;

use super::super::*;
use super::graphs::branches;
use super::support::{options, quantize, samples, turned};

/// An error of a visitor.
#[derive(Debug)]
enum Stop {
    Here,
    Frontier(FrontierError),
}

impl From<FrontierError> for Stop {
    fn from(error: FrontierError) -> Self {
        Self::Frontier(error)
    }
}

#[test]
fn a_layer_that_was_interrupted_can_be_visited_again() {
    let float = branches();
    let samples = samples(&float, 9);
    let quantized = quantize(&float, &samples);
    let (layers, _) = find_layers(&quantized, &float);
    let engine = embedded();
    let load = |i: usize| Ok(samples[i].clone());
    let left = AtomicUsize::new(usize::MAX);
    let stops = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err();
    let folder = tempfile::tempdir().unwrap();
    let mut frontier =
        Frontier::new(&engine, &float, quantized, layers, 9, &load, &stops, options(&folder, 0, 2)).unwrap();
    for k in 0..frontier.layers().len() {
        let before = frontier.scratch().usage().file;
        left.store(5, Ordering::SeqCst);
        let stopped = frontier.layer(k, false, |_| Ok::<_, Stop>(()));
        assert!(matches!(stopped, Err(Stop::Frontier(FrontierError::Interrupted))));
        left.store(usize::MAX, Ordering::SeqCst);
        let stopped =
            frontier.layer(k, false, |pairs| if pairs[0].sample == 4 { Err(Stop::Here) } else { Ok(()) });
        assert!(matches!(stopped, Err(Stop::Here)));
        assert_eq!(frontier.scratch().usage().file, before);
        let mut seen = 0;
        frontier
            .layer(k, false, |pairs| {
                seen += pairs.len();
                assert!(pairs.iter().all(|p| p.x_float.is_none()));
                Ok::<_, FrontierError>(())
            })
            .unwrap();
        assert_eq!(seen, 9);
        let again = frontier.layer(k, false, |_| Ok::<_, FrontierError>(()));
        assert!(matches!(again, Err(FrontierError::Passed { .. })));
    }
    assert!(frontier.runs().iter().flatten().all(|n| *n <= 1));
}

#[test]
fn constants_are_refused_that_do_not_fit_or_come_too_late() {
    let float = branches();
    let samples = samples(&float, 2);
    let quantized = quantize(&float, &samples);
    let (layers, _) = find_layers(&quantized, &float);
    let engine = embedded();
    let load = |i: usize| Ok(samples[i].clone());
    let folder = tempfile::tempdir().unwrap();
    let mut frontier = Frontier::new(
        &engine,
        &float,
        quantized.clone(),
        layers,
        2,
        &load,
        &|| false,
        options(&folder, 0, 2),
    )
    .unwrap();
    frontier.layer(1, false, |_| Ok::<_, FrontierError>(())).unwrap();
    let late = turned(&quantized.graph, &frontier.layers()[0]);
    assert!(matches!(frontier.tune(0, &late), Err(FrontierError::Passed { layer: 0 })));
    let name = frontier.layers()[1].weight.integers.clone();
    let said = |r: Result<(), FrontierError>| r.unwrap_err().to_string();
    let wrong = said(frontier.tune(1, &[(name.clone(), Tensor::i8(&[1], &[1]))]));
    assert!(wrong.contains("[8, 8, 3, 3]") && wrong.contains("c1"), "{wrong}");
    let other = frontier.layers()[2].weight.integers.clone();
    let tensor = turned(&quantized.graph, &frontier.layers()[2]).remove(0).1;
    let wrong = said(frontier.tune(1, &[(other, tensor)]));
    assert!(wrong.contains("read elsewhere"), "{wrong}");
    assert!(said(frontier.tune(1, &[("no".into(), Tensor::i8(&[1], &[1]))])).contains("no such constant"));
    assert_eq!(frontier.finish(), quantized);
}

#[test]
fn samples_that_cannot_be_read_or_fed_are_named() {
    let float = branches();
    let samples = samples(&float, 2);
    let quantized = quantize(&float, &samples);
    let engine = embedded();
    let folder = tempfile::tempdir().unwrap();
    let message = |load: &Load<'_>| {
        let (layers, _) = find_layers(&quantized, &float);
        let options = options(&folder, 0, 2);
        let mut frontier =
            Frontier::new(&engine, &float, quantized.clone(), layers, 2, load, &|| false, options).unwrap();
        let error = frontier.layer(0, false, |_| Ok::<_, FrontierError>(())).unwrap_err();
        (error.sample(), error.to_string())
    };
    let (sample, wrong) =
        message(&|i| if i == 1 { Err("it is torn".into()) } else { Ok(samples[i].clone()) });
    assert!(sample == Some(1) && wrong.contains("it is torn"), "{wrong}");
    let (sample, wrong) = message(&|_| Ok(Vec::new()));
    assert!(sample == Some(0) && wrong.contains("\"x\""), "{wrong}");
}
