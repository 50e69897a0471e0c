//! The size of a real network: 65 tensors, 64 channels each, 50 touched pages each.
#![allow(missing_docs)]

use divan::Bencher;
use shiftwise_artifact::Fingerprint;
use shiftwise_artifact::stats::{
    Accumulator, ChannelSample, Plan, Stats, TensorSample, TensorSpec, Working, seal,
};

fn main() {
    divan::main();
}

fn specs() -> Vec<TensorSpec> {
    (0..65).map(|i| TensorSpec::channel_first(format!("tensor {i}"), &[1, 64, 56, 56])).collect()
}

/// Gaussian-like values over 25 binades of both signs.
fn values(seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..64 * 56 * 56)
        .map(|_| (next() + next() + next() + next() - 2.0) * 2_f32.powf(-20.0 * next() * next()))
        .collect()
}

fn fill(accumulator: &mut Accumulator, sample: u64) {
    accumulator.begin(&[sample]).unwrap();
    for tensor in 0..65 {
        accumulator.observe(tensor, &values(tensor as u64), 56 * 56).unwrap();
    }
    accumulator.finish();
}

struct Setup {
    root: tempfile::TempDir,
    working: Working,
    accumulator: Accumulator,
}

fn setup(samples: u64) -> Setup {
    let root = tempfile::tempdir().unwrap();
    let plan = Plan::whole(Fingerprint::of_bytes(b"bench"), samples);
    let working = Working::open_or_create(&root.path().join("w"), &plan, &specs()).unwrap();
    let mut accumulator = working.accumulator();
    fill(&mut accumulator, 0);
    Setup { root, working, accumulator }
}

#[divan::bench(sample_count = 10)]
fn checkpoint(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(|| setup(1)).bench_local_values(|mut s| {
        s.working.checkpoint(&mut [&mut s.accumulator]).unwrap();
        s
    });
}

#[divan::bench(sample_count = 10)]
fn reopen(bencher: Bencher<'_, '_>) {
    let mut s = setup(1);
    s.working.checkpoint(&mut [&mut s.accumulator]).unwrap();
    let (dir, plan) = (s.working.dir().to_owned(), s.working.plan().clone());
    drop(s.working);
    bencher.bench_local(|| Working::open_or_create(&dir, &plan, &specs()).unwrap());
}

#[divan::bench(sample_count = 10)]
fn seal_file(bencher: Bencher<'_, '_>) {
    let mut s = setup(1);
    s.working.checkpoint(&mut [&mut s.accumulator]).unwrap();
    bencher.bench_local(|| seal(&s.working, &s.root.path().join("stats.bin")).unwrap());
}

#[divan::bench(sample_count = 10)]
fn open(bencher: Bencher<'_, '_>) {
    let mut s = setup(1);
    s.working.checkpoint(&mut [&mut s.accumulator]).unwrap();
    let path = s.root.path().join("stats.bin");
    seal(&s.working, &path).unwrap();
    bencher.bench_local(|| Stats::open(&path).unwrap());
}

#[divan::bench(sample_count = 10)]
fn all_bins_of_all_tensors(bencher: Bencher<'_, '_>) {
    let accumulator = setup(1).accumulator;
    let stats =
        Stats::from_accumulators(&Plan::whole(Fingerprint::of_bytes(b"bench"), 1), &[accumulator]).unwrap();
    bencher.bench_local(|| stats.tensors().map(|t| t.bins().map(|(_, n)| n).sum::<u64>()).sum::<u64>());
}

#[divan::bench(sample_count = 10)]
fn observe_200k_values(bencher: Bencher<'_, '_>) {
    let mut s = setup(1_000);
    let values = values(1);
    bencher.bench_local(|| {
        s.accumulator.begin(&[1]).unwrap();
        s.accumulator.observe(0, &values, 56 * 56).unwrap();
        s.accumulator.finish();
    });
}

#[divan::bench(sample_count = 10)]
fn add_1280_channels(bencher: Bencher<'_, '_>) {
    let specs = vec![TensorSpec::channel_first("x", &[1, 1280, 7, 7])];
    let mut accumulator = Accumulator::new(specs).unwrap();
    let channels: Vec<ChannelSample> = (1_i16..=1280)
        .map(|i| {
            let mut channel = ChannelSample::default();
            (1_i16..50).for_each(|j| channel.push(f32::from(i * j % 97) / 31.0 - 1.0));
            channel
        })
        .collect();
    let sample = TensorSample {
        elements: 1280 * 49,
        nans: 0,
        infinities: 0,
        range: Some((-1.0, 96.0 / 31.0 - 1.0)),
        channels: &channels,
        elected: [None; 4],
    };
    bencher.bench_local(|| {
        accumulator.begin(&[1]).unwrap();
        accumulator.add_sample(0, &sample).unwrap();
        accumulator.finish();
    });
}
