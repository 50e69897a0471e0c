//! Speed of least-squares rounding beside that of the `gemm` crate's product of the same size, on one thread and on two.
//!
//! Operations are those that are needed: half of a symmetric matrix counts half.
#![allow(missing_docs, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use gemm::Parallelism;
use shiftwise_finetune::layer::{Op, Window};
use shiftwise_finetune::least_squares::{Collector, Problem, Sampling, Scales, Search, Start};

struct Layer {
    name: &'static str,
    channels: usize,
    outputs: usize,
    groups: usize,
    kernel: usize,
    size: usize,
    samples: usize,
}

impl Layer {
    const fn new(
        name: &'static str,
        [channels, outputs, groups]: [usize; 3],
        kernel: usize,
        samples: usize,
    ) -> Self {
        Self { name, channels, outputs, groups, kernel, size: 14, samples }
    }

    fn inputs(&self) -> usize {
        self.channels / self.groups * self.kernel * self.kernel
    }

    /// Collects the moments; the seconds that adding them took.
    fn collect(&self) -> (Problem, f64) {
        let pad = self.kernel / 2;
        let op = Op::Conv(Window {
            groups: self.groups,
            kernel: [self.kernel; 2],
            stride: [1, 1],
            dilation: [1, 1],
            pads: [pad; 4],
        });
        let x_dims = [1, self.channels, self.size, self.size];
        let w_dims = [self.outputs, self.channels / self.groups, self.kernel, self.kernel];
        let plane = self.size * self.size;
        let weights = uniform(w_dims.iter().product(), 1);
        let sampling = Sampling { positions: self.samples * plane * 4 / 5, ..Sampling::default() };
        let mut collector = Collector::new(&op, &x_dims, &w_dims, &weights, 0, self.samples, &sampling)
            .expect("a layer that can be tuned");
        let data: Vec<_> = (0..self.samples as u64)
            .map(|i| (uniform(self.channels * plane, 2 * i + 2), uniform(self.outputs * plane, 2 * i + 3)))
            .collect();
        let started = Instant::now();
        for (i, (x, y)) in data.iter().enumerate() {
            collector.add(i, x, y);
        }
        let problem = collector.finish().expect("finite data");
        (problem, started.elapsed().as_secs_f64())
    }

    fn moment_flops(&self) -> f64 {
        let (k, m) = (self.inputs() as f64, self.outputs as f64);
        (self.samples * self.size * self.size) as f64 * (self.groups as f64 * k * k + 4.0 * k * m)
    }

    /// Seconds of a pass over all inputs.
    fn sweep(&self, problem: &Problem, block: usize) -> f64 {
        let len = problem.geometry().weight_len();
        let start =
            Start { q: vec![0; len], scales: Scales::Single(1.0 / 64.0), bias: vec![0.0; self.outputs] };
        let time = |sweeps| {
            let search = Search { sweeps, block, ..Search::default() };
            let (mut seconds, mut took) = (f64::INFINITY, 0);
            for _ in 0..5 {
                let started = Instant::now();
                took = problem.solve(&start, &[Scales::Single(1.0 / 64.0)], (-127, 127), &search).sweeps;
                seconds = seconds.min(started.elapsed().as_secs_f64());
            }
            (seconds, took as f64)
        };
        let (one, all) = (time(1), time(6));
        (all.0 - one.0) / (all.1 - one.1)
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

/// Billions of operations a second of the `gemm` crate, on one thread.
#[allow(unsafe_code)]
fn reference(m: usize, k: usize, n: usize) -> f64 {
    let (a, b, mut c) = (uniform(m * k, 1), uniform(k * n, 2), vec![0f32; m * n]);
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let started = Instant::now();
        // SAFETY: three dense matrices of these sizes, each in a slice of its own.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                n as isize,
                true,
                a.as_ptr(),
                1,
                k as isize,
                b.as_ptr(),
                1,
                n as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
        black_box(&mut c);
        best = best.min(started.elapsed().as_secs_f64());
    }
    2.0 * (m * k * n) as f64 / best / 1e9
}

fn main() {
    let layers = [
        Layer::new("3x3, K = 576", [64, 64, 1], 3, 100),
        Layer::new("3x3, K = 1152", [128, 128, 1], 3, 40),
        Layer::new("3x3, K = 4608", [512, 512, 1], 3, 10),
        Layer::new("1x1, K = 576", [576, 160, 1], 1, 100),
        Layer::new("1x1, K = 96", [96, 576, 1], 1, 100),
        Layer::new("depthwise 3x3", [960, 960, 960], 3, 100),
    ];
    let blocks = [4, 8, 16, 32];
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            for layer in &layers {
                let k = layer.inputs();
                let runs: Vec<(Problem, f64)> = (0..2).map(|_| layer.collect()).collect();
                let seconds = runs[0].1.min(runs[1].1);
                println!(
                    "{threads} threads, {:15} moments {:6.1} GFLOP/s ({seconds:.2} s), gemm on one thread {:6.1}",
                    layer.name,
                    layer.moment_flops() / seconds / 1e9,
                    reference(k, 768, k),
                );
                let flops = 2.0 * (k * k * layer.outputs) as f64;
                let rates = blocks.map(|block| {
                    format!("{:.1} at {block}", flops / layer.sweep(&runs[1].0, block) / 1e9)
                });
                println!("{:27}  sweep   {} GFLOP/s", "", rates.join(", "));
            }
        });
    }
}
