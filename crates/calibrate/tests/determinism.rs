//! The sealed file depends on the samples alone.

#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use shiftwise_artifact::Fingerprint;
use shiftwise_artifact::stats::{Plan, STATS_FILE, Stats, Working, seal_with};
use shiftwise_calibrate::{CalibrateConfig, Collector, Outcome, tensors_to_collect};
use shiftwise_dataset::{DataSpec, Dataset, Source};
use shiftwise_engine::{Engine, PrepareOptions, Watch, embedded};
use shiftwise_graph::{Builder, DataType, Model, Patch, Tensor, TensorType};
use shiftwise_stage::{Interrupt, Progress, input_specs};

const SAMPLES: u64 = 12;

fn model() -> Model {
    let weight: Vec<f32> = (0..36).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut model = Builder::new()
        .input("x", &[1, 2, 9, 9])
        .constant("w", Tensor::f32(&[2, 2, 3, 3], &weight))
        .node("Conv", &["x", "w"], &["c"])
        .node("Relu", &["c"], &["r"])
        .node("GlobalAveragePool", &["r"], &["y"])
        .build(&[("y", &[1, 2, 1, 1])], 13);
    let mut patch = Patch::new();
    patch.set_type("c", TensorType::fixed(DataType::Float, &[1, 2, 7, 7]));
    patch.set_type("r", TensorType::fixed(DataType::Float, &[1, 2, 7, 7]));
    model.graph.apply("types", patch).unwrap();
    model
}

/// Collects in pieces: each piece opens the working directory anew, as after a kill.
fn collect(dir: &Path, order: &[u64], threads: usize, pieces: usize) -> Vec<u8> {
    let model = model();
    let specs = tensors_to_collect(&model, &CalibrateConfig::default()).unwrap();
    let watched: BTreeSet<String> = specs.iter().map(|s| s.name.clone()).filter(|t| t != "x").collect();
    let session = embedded().prepare(&model, &PrepareOptions::watching(Watch::Named(watched))).unwrap();
    let source = Source::Random { seed: 3, count: SAMPLES as usize };
    let dataset = Dataset::open(&DataSpec::new(source), &input_specs(&model).unwrap()).unwrap();
    let plan = Plan::whole(Fingerprint::of_bytes(b"test"), SAMPLES);
    let interrupt = Interrupt::default();
    let progress = Progress::new("", SAMPLES, "", true);
    let places: Vec<usize> = (0..SAMPLES as usize).collect();
    let mut last = Vec::new();
    for piece in order.chunks(order.len().div_ceil(pieces)) {
        let mut working = Working::open_or_create(&dir.join("work"), &plan, &specs).unwrap();
        let collector = Collector {
            session: session.as_ref(),
            dataset: &dataset,
            first: 0,
            places: &places,
            skip_bad_samples: false,
            threads,
            batch_size: 1,
            interrupt: &interrupt,
            progress: &progress,
        };
        match collector.run(&mut working, piece).unwrap() {
            Outcome::Complete(accumulators) => last = accumulators,
            // The piece is not the last one: it ends with what a killed process would have kept at best.
            Outcome::Interrupted => {}
        }
    }
    let working = Working::open_or_create(&dir.join("work"), &plan, &specs).unwrap();
    seal_with(&working, &last, &dir.join(STATS_FILE)).unwrap();
    std::fs::read(dir.join(STATS_FILE)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn order_threads_and_pieces_do_not_show(
        order in Just((0..SAMPLES).collect::<Vec<_>>()).prop_shuffle(),
        threads in 1usize..4,
        pieces in 1usize..5,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let reference = collect(&dir.path().join("a"), &(0..SAMPLES).collect::<Vec<_>>(), 1, 1);
        let other = collect(&dir.path().join("b"), &order, threads, pieces);
        prop_assert!(reference == other);
    }
}

#[test]
fn what_is_collected_is_what_flows() {
    let dir = tempfile::tempdir().unwrap();
    collect(dir.path(), &(0..SAMPLES).collect::<Vec<_>>(), 2, 1);
    let stats = Stats::open(&dir.path().join(STATS_FILE)).unwrap();
    let names: Vec<&str> = stats.tensors().map(shiftwise_artifact::stats::TensorView::name).collect();
    assert_eq!(names, ["x", "r", "y"], "the tensor between a convolution and its Relu is not asked for");
    let r = stats.tensor("r").unwrap();
    assert_eq!((r.samples(), r.elements(), r.channels()), (SAMPLES, SAMPLES * 2 * 49, 2));
    // The pooled output is the mean of what was pooled.
    let y = stats.tensor("y").unwrap();
    for channel in 0..2 {
        let (pooled, all) = (y.channel_mean(channel).unwrap(), r.channel_mean(channel).unwrap());
        assert!((pooled - all).abs() < 1e-6, "{pooled} {all}");
    }
    assert!(r.min().unwrap() >= 0.0 && stats.tensor("x").unwrap().max().unwrap() < 1.0);
}
