//! Speed of the work on each layer of real models: sums of second moments, the search for integers, and a step of
//! AdaRound, beside the peak of the `gemm` crate in the same run.
//!
//! `cargo bench -p shiftwise-finetune --bench layers -- [MODEL..]`; `ROUNDS` sets the turns (5), `THREADS` the numbers
//! of threads (1,2). ResNet-50 is known by its shapes; other models are read from `SHIFTWISE_TEST_DATA`. The peak is a
//! product of large squares on every thread at once, measured in turns with what is held against it; shares are
//! medians over the turns. On one thread, time is time on the CPU. Operations are those that are needed: half of a symmetric matrix counts half.
#![allow(missing_docs, clippy::print_stdout, clippy::print_stderr)]

#[path = "layers/shapes.rs"]
mod shapes;

use std::hint::black_box;
use std::time::Instant;

use gemm::Parallelism;
use rayon::prelude::*;
use shapes::{MODELS, Shape};
use shiftwise_finetune::adaptive::{self, AdaOptions};
use shiftwise_finetune::layer::Activation;
use shiftwise_finetune::least_squares::{Collector, Look, Problem, Sampling, Scales, Search, Start};

/// Samples of a job, of which the first few are made and then repeated.
const SAMPLES: usize = 100;
const DISTINCT: usize = 4;
const RANGE: (i32, i32) = (-127, 127);
const SCALE: f32 = 1.0 / 64.0;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let number = |name: &str| std::env::var(name).ok();
    let rounds = number("ROUNDS").and_then(|r| r.parse().ok()).unwrap_or(5);
    let threads = number("THREADS").unwrap_or_else(|| "1,2".into());
    for model in MODELS.into_iter().filter(|m| args.is_empty() || args.iter().any(|a| a == m)) {
        let Some(shapes) = shapes::of(model) else {
            eprintln!("skipped: {model} is absent; set SHIFTWISE_TEST_DATA");
            continue;
        };
        for threads in threads.split(',').map(|n| n.parse().expect("a number of threads")) {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| table(model, &shapes, rounds, threads));
        }
    }
}

/// What is measured of a layer, in this order.
const PARTS: [&str; 3] = ["moments", "descent", "AdaRound"];

/// Operations, seconds and share of the peak: medians over the turns.
#[derive(Clone, Copy)]
struct Speed {
    flops: f64,
    seconds: f64,
    share: f64,
}

fn table(model: &str, shapes: &[(Shape, usize)], rounds: usize, threads: usize) {
    println!("\n{model}, {threads} threads: seconds, GFLOP/s, share of the peak; times in the model");
    println!("{:34} {:>24} {:>24} {:>24}   total", "", PARTS[0], PARTS[1], "AdaRound, 1000 steps");
    let mut all: Vec<(&Shape, f64, [Speed; 3])> = Vec::new();
    for (shape, times) in shapes {
        let speeds = measure(shape, rounds, threads);
        let cells = speeds.map(|Speed { flops, seconds, share }| {
            format!("{seconds:9.4} {:7.1} {:4.0} %", flops / seconds / 1e9, share * 100.0)
        });
        let total = speeds[0].seconds + speeds[1].seconds;
        println!("{:30} ×{times:<2} {}  {total:8.4} s", shape.to_string(), cells.join("  "));
        all.push((shape, *times as f64, speeds));
    }
    let operations = |times: f64, speeds: &[Speed; 3]| times * (speeds[0].flops + speeds[1].flops);
    let layers: f64 = all.iter().map(|(_, times, _)| times).sum();
    let mean = all.iter().map(|(_, times, speeds)| operations(*times, speeds)).sum::<f64>() / layers;
    let large = |times: f64, speeds: &[Speed; 3]| operations(times, speeds) / times >= mean / 2.0;
    let whole = |name: &str, chosen: &dyn Fn(&Shape, f64, &[Speed; 3]) -> bool| {
        let chosen: Vec<_> =
            all.iter().filter(|(shape, times, speeds)| chosen(shape, *times, speeds)).collect();
        let shares = [0, 1, 2].map(|part| {
            // Time at the peak over time: the mean of the shares, weighted with the time.
            let at_peak = |s: &Speed| s.share * s.seconds;
            let sum = |f: &dyn Fn(&Speed) -> f64| {
                chosen.iter().map(|(_, times, speeds)| times * f(&speeds[part])).sum::<f64>()
            };
            format!(
                "{} {:.0} % in {:.2} s",
                PARTS[part],
                100.0 * sum(&at_peak) / sum(&|s| s.seconds),
                sum(&|s| s.seconds)
            )
        });
        if !chosen.is_empty() {
            println!("{name} ({}): {}", chosen.len(), shares.join(", "));
        }
    };
    whole("large layers, with half the mean operations or more", &|_, times, speeds| large(times, speeds));
    whole("depthwise layers", &|shape, _, _| shape.groups > 1);
    whole("all layers", &|_, _, _| true);
}

fn measure(shape: &Shape, rounds: usize, threads: usize) -> [Speed; 3] {
    let data = Data::new(shape);
    let (k, m) = (shape.inputs() as f64, shape.outputs as f64);
    let ada = data.adaptive();
    let options = |num_iterations| AdaOptions { num_iterations, ..AdaOptions::adaround() };
    let step = 4.0 * AdaOptions::adaround().batch_size as f64 * k * m;
    let few = ((2e9 / step) as usize).clamp(10, 300);
    let mut turns: [Vec<(f64, f64, f64)>; 3] = Default::default();
    for _ in 0..rounds {
        let peak = peak(threads);
        let (problem, seconds) = timed(threads, || data.collect());
        let positions = problem.counts().iter().sum::<u64>() as f64;
        turns[0].push((positions * (shape.groups as f64 * k * k + 4.0 * k * m), seconds, peak));

        let search = Search::default();
        let scales = [SCALE, SCALE / 2.0, SCALE * 2.0].map(Scales::Single);
        let (tuned, seconds) = timed(threads, || problem.solve(&data.start, &scales, RANGE, &search));
        // Errors: of start and end on what is fitted, of the start and each scale on what is held out. For each scale, what the
        // inputs' errors are at first, and passes, the last of which need only look ahead.
        let last = usize::from(tuned.sweeps == search.sweeps);
        let passes = scales.len() * (2 + 2 * tuned.sweeps - last);
        turns[1].push(((3 + scales.len() + passes) as f64 * k * k * m, seconds, peak));

        // Twice as many steps look at as many results: the difference is steps alone.
        let time = |iterations| {
            let clock = Clock::start(threads);
            ada.adaround(&data.start, &data.weights, RANGE, &options(iterations)).expect("a layer to train");
            clock.seconds()
        };
        let seconds = (time(3 * few) - time(few)).max(1e-9) / (2 * few) as f64;
        turns[2].push((1000.0 * step, 1000.0 * seconds, peak));
    }
    turns.map(|turns| Speed {
        flops: turns[0].0,
        seconds: median(turns.iter().map(|t| t.1)),
        share: median(turns.iter().map(|(flops, seconds, peak)| flops / seconds / peak)),
    })
}

/// Runs `f` until it took long enough to measure; the seconds of one run.
fn timed<T>(threads: usize, f: impl Fn() -> T) -> (T, f64) {
    let clock = Clock::start(threads);
    let mut runs = 1.0;
    loop {
        let result = f();
        let seconds = clock.seconds();
        if seconds > 0.05 {
            return (result, seconds / runs);
        }
        runs += 1.0;
    }
}

/// Time on the CPU where there is one thread, so that others on the machine do not count; else time by the clock.
struct Clock(Instant, Option<u64>);

impl Clock {
    fn start(threads: usize) -> Self {
        Self(Instant::now(), Self::on_cpu().filter(|_| threads == 1))
    }

    /// Nanoseconds of this thread; nothing where the system does not say.
    fn on_cpu() -> Option<u64> {
        std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
    }

    fn seconds(&self) -> f64 {
        let on_cpu = self.1.and_then(|from| Some((Self::on_cpu()? - from) as f64 / 1e9));
        on_cpu.unwrap_or_else(|| self.0.elapsed().as_secs_f64())
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A layer with what it reads and gives.
struct Data<'a> {
    shape: &'a Shape,
    weights: Vec<f32>,
    samples: Vec<(Vec<f32>, Vec<f32>)>,
    start: Start,
}

impl<'a> Data<'a> {
    fn new(shape: &'a Shape) -> Self {
        let weights = uniform(shape.weight_dims().iter().product(), 1);
        let plane = shape.size * shape.size;
        let samples = (0..DISTINCT as u64).map(|i| {
            let mut x = uniform(shape.channels * plane, 2 * i + 2);
            // Neighbours in the image and among the channels are alike, as behind layers that learnt something.
            for at in 1..x.len() {
                let channel = if at >= plane { x[at - plane] } else { 0.0 };
                x[at] += 0.5 * x[at - 1] + 0.4 * channel;
            }
            for v in &mut x {
                *v = v.max(0.0);
            }
            (x, uniform(shape.outputs * shape.out() * shape.out(), 2 * i + 3))
        });
        let q = weights.iter().map(|w| (w / SCALE).round_ties_even() as i32).collect();
        let start = Start { q, scales: Scales::Single(SCALE), bias: vec![0.0; shape.outputs] };
        Self { shape, samples: samples.collect(), weights, start }
    }

    fn collect(&self) -> Problem {
        let (x, w) = (self.shape.x_dims(), self.shape.weight_dims());
        let sampling = Sampling::default();
        let look = Look::new(&self.shape.op(), &x, &w, &self.weights, 0, SAMPLES, &sampling);
        let mut collector = look
            .and_then(|look| Collector::new(look, sampling.max_bytes))
            .expect("a layer that can be tuned");
        for i in 0..SAMPLES {
            let (x, y) = &self.samples[i % DISTINCT];
            collector.add(i, x, y);
        }
        collector.finish().expect("finite data")
    }

    fn adaptive(&self) -> adaptive::Problem {
        let (op, x, w) = (self.shape.op(), self.shape.x_dims(), self.shape.weight_dims());
        let sampling = adaptive::sampling(0);
        let mut collector =
            adaptive::Collector::new(&op, &Activation::Relu, &x, &w, 0, SAMPLES, &sampling, false)
                .expect("a layer that can be trained");
        for i in 0..SAMPLES {
            let (x, y) = &self.samples[i % DISTINCT];
            collector.add(i, x, y, None);
        }
        collector.finish().expect("finite data")
    }
}

fn uniform(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Operations a second of the `gemm` crate, with a product of its own on each thread.
fn peak(threads: usize) -> f64 {
    const SIZE: usize = 1024;
    let mut all: Vec<[Vec<f32>; 3]> = (0..threads)
        .map(|_| [uniform(SIZE * SIZE, 1), uniform(SIZE * SIZE, 2), vec![0.0; SIZE * SIZE]])
        .collect();
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let clock = Clock::start(threads);
        all.par_iter_mut().for_each(|[a, b, c]| product(SIZE, a, b, c));
        best = best.min(clock.seconds());
    }
    (2 * threads * SIZE * SIZE * SIZE) as f64 / best
}

#[allow(unsafe_code)]
fn product(size: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    assert!([a.len(), b.len(), c.len()] == [size * size; 3], "squares of {size}");
    let row = size as isize;
    // SAFETY: three dense matrices of this size, each in a slice of its own.
    unsafe {
        gemm::gemm(
            size,
            size,
            size,
            c.as_mut_ptr(),
            1,
            row,
            true,
            a.as_ptr(),
            1,
            row,
            b.as_ptr(),
            1,
            row,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
    black_box(c);
}
