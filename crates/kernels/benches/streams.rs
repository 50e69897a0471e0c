//! Kernels that read a tensor once. An item is an element.
#![allow(missing_docs)]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use shiftwise_kernels::elementwise::{UnaryOp, map, map_in_place};
use shiftwise_kernels::histogram::{BINS, Front, accumulate};
use shiftwise_kernels::quantize::{Grid, fake_quantize, quantize_i8};
use shiftwise_kernels::softmax::softmax_in_place;
use shiftwise_kernels::stats::channel_stats;
use shiftwise_kernels::{Pool2d, Scratch, with_portable};

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [50_176, 401_408, 1_000_000];

/// Sums of twelve uniform numbers: nearly Gaussian.
fn gaussian(len: usize) -> Vec<f32> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..len).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
}

fn relu(len: usize) -> Vec<f32> {
    gaussian(len).iter().map(|v| v.max(0.0)).collect()
}

fn count(bencher: Bencher<'_, '_>, values: &[f32]) {
    let mut bins = vec![0; BINS];
    bencher.counter(ItemsCount::new(values.len())).bench_local(|| accumulate(black_box(values), &mut bins));
}

#[divan::bench(args = SIZES)]
fn histogram_gaussian(bencher: Bencher<'_, '_>, len: usize) {
    count(bencher, &gaussian(len));
}

#[divan::bench(args = SIZES)]
fn histogram_relu(bencher: Bencher<'_, '_>, len: usize) {
    count(bencher, &relu(len));
}

#[divan::bench(args = SIZES)]
fn histogram_relu6(bencher: Bencher<'_, '_>, len: usize) {
    let values: Vec<f32> = gaussian(len).iter().map(|v| (6.0 * v).clamp(0.0, 6.0)).collect();
    count(bencher, &values);
}

#[divan::bench(args = SIZES)]
fn histogram_constant(bencher: Bencher<'_, '_>, len: usize) {
    count(bencher, &vec![1.5; len]);
}

#[divan::bench(args = SIZES)]
fn histogram_portable_relu(bencher: Bencher<'_, '_>, len: usize) {
    let values = relu(len);
    let mut bins = vec![0; BINS];
    bencher
        .counter(ItemsCount::new(len))
        .bench_local(|| with_portable(|| accumulate(black_box(&values), &mut bins)));
}

#[divan::bench(args = SIZES)]
fn stats(bencher: Bencher<'_, '_>, len: usize) {
    let values = gaussian(len);
    bencher.counter(ItemsCount::new(len)).bench_local(|| channel_stats(black_box(&values)));
}

#[divan::bench(args = SIZES)]
fn stats_portable(bencher: Bencher<'_, '_>, len: usize) {
    let values = gaussian(len);
    bencher.counter(ItemsCount::new(len)).bench_local(|| with_portable(|| channel_stats(black_box(&values))));
}

/// Calibration of one tensor: statistics of planes of 56 × 56, and the histogram.
#[divan::bench(args = SIZES)]
fn observe_planes(bencher: Bencher<'_, '_>, len: usize) {
    let values = relu(len);
    let mut bins = vec![0; BINS];
    bencher.counter(ItemsCount::new(len)).bench_local(|| {
        for plane in values.chunks(3136) {
            black_box(channel_stats(plane));
            accumulate(plane, &mut bins);
        }
    });
}

const PLANES: [usize; 5] = [49, 196, 784, 3136, 12_544];

/// As above in one pass, by way of a table in front.
#[divan::bench(args = PLANES)]
fn observe_together(bencher: Bencher<'_, '_>, plane: usize) {
    let values = relu(PLANES[4] * 32);
    let (mut bins, mut front) = (vec![0; BINS], Front::default());
    bencher.counter(ItemsCount::new(values.len())).bench_local(|| {
        front.observe(&values, plane, |_, stats| {
            black_box(stats);
        });
        front.flush(&mut bins, (-8.0, 8.0));
    });
}

/// As above for values without zeros.
#[divan::bench(args = PLANES)]
fn observe_gaussian_together(bencher: Bencher<'_, '_>, plane: usize) {
    let values = gaussian(PLANES[4] * 32);
    let (mut bins, mut front) = (vec![0; BINS], Front::default());
    bencher.counter(ItemsCount::new(values.len())).bench_local(|| {
        front.observe(&values, plane, |_, stats| {
            black_box(stats);
        });
        front.flush(&mut bins, (-8.0, 8.0));
    });
}

const GRID: Grid = Grid { scale: 0.031_25, zero_point: 0, qmin: -128, qmax: 127 };

#[divan::bench(args = SIZES)]
fn fake_quantize_int8(bencher: Bencher<'_, '_>, len: usize) {
    let values = gaussian(len);
    let mut out = vec![0.0; len];
    bencher
        .counter(ItemsCount::new(len))
        .bench_local(|| fake_quantize(black_box(&values), black_box(GRID), &mut out));
}

#[divan::bench(args = SIZES)]
fn fake_quantize_portable(bencher: Bencher<'_, '_>, len: usize) {
    let values = gaussian(len);
    let mut out = vec![0.0; len];
    bencher
        .counter(ItemsCount::new(len))
        .bench_local(|| with_portable(|| fake_quantize(black_box(&values), black_box(GRID), &mut out)));
}

#[divan::bench(args = SIZES)]
fn quantize_int8(bencher: Bencher<'_, '_>, len: usize) {
    let values = gaussian(len);
    let mut out = vec![0; len];
    bencher.counter(ItemsCount::new(len)).bench_local(|| quantize_i8(black_box(&values), 0.03, 0, &mut out));
}

#[divan::bench(args = [UnaryOp::Relu, UnaryOp::Sigmoid, UnaryOp::Tanh, UnaryOp::Exp, UnaryOp::Gelu, UnaryOp::Silu])]
fn function(bencher: Bencher<'_, '_>, f: UnaryOp) {
    let values = gaussian(SIZES[0]);
    let mut out = vec![0.0; values.len()];
    bencher.counter(ItemsCount::new(values.len())).bench_local(|| map(f, black_box(&values), &mut out));
}

#[divan::bench(args = [UnaryOp::Relu, UnaryOp::LeakyRelu { alpha: 0.1 }, UnaryOp::Clip { min: 0.0, max: 6.0 }])]
fn function_in_place(bencher: Bencher<'_, '_>, f: UnaryOp) {
    let mut values = gaussian(SIZES[0]);
    bencher.counter(ItemsCount::new(values.len())).bench_local(|| map_in_place(f, black_box(&mut values)));
}

#[divan::bench]
fn softmax_of_197(bencher: Bencher<'_, '_>) {
    let mut values = gaussian(197 * 197 * 3);
    bencher.counter(ItemsCount::new(values.len())).bench_local(|| softmax_in_place(&mut values, 197));
}

#[divan::bench(args = [1, 2])]
fn max_pool_3(bencher: Bencher<'_, '_>, stride: usize) {
    let out = [(112 - 1) / stride + 1; 2];
    let pool = Pool2d {
        planes: 64,
        h: 112,
        w: 112,
        out,
        kernel: [3; 2],
        stride: [stride; 2],
        dilation: [1; 2],
        pads: [1; 4],
    };
    let x = gaussian(64 * 112 * 112);
    let mut y = vec![0.0; 64 * out[0] * out[1]];
    let mut scratch = Scratch::new();
    bencher.counter(ItemsCount::new(x.len())).bench_local(|| pool.max(black_box(&x), &mut y, &mut scratch));
}
