//! Slopes against central differences in double precision.

use super::super::unit::{Method, Run};
use super::*;

fn activations(channels: usize) -> Vec<Activation> {
    let slopes = (0..channels).map(|c| 0.05 * c as f32 - 0.1).collect();
    vec![
        Activation::None,
        Activation::Relu,
        Activation::LeakyRelu(0.1),
        Activation::PRelu(slopes),
        Activation::PRelu(vec![0.25]),
        Activation::Clip(-0.4, 0.7),
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Gelu(false),
        Activation::Gelu(true),
    ]
}

/// With each activation: the slopes over soft weights, and over the bias, of a batch of all positions.
fn check(op: Op, x_dims: &[usize], w_dims: &[usize]) {
    for activation in activations(channels(&op, w_dims)) {
        let layer = Layer::random(op, activation.clone(), [x_dims, w_dims], 5);
        let problem = layer.problem(&everything()).unwrap();
        let range = (-8, 7);
        // Away from the target, and with weights outside the range.
        let mut layer = layer;
        for (i, w) in layer.weights.iter_mut().enumerate() {
            *w += 0.3 * ((i % 7) as f32 - 3.0) / 3.0;
        }
        let start = layer.start(0.125, range);
        let free = FreeBias { float: start.bias.clone(), grid: None };
        for method in [Method::Round, Method::Straight(Some(&free))] {
            let options = AdaOptions { num_iterations: 1, ..AdaOptions::adaround() };
            let batch = problem.fit.count;
            let batches = options.batches(batch, batch);
            let run = Run { problem: &problem, options: &options, method, batches, batch, rate: 0.1 };
            let mut units = problem.units(&run, &start, &layer.weights, range);
            for unit in &mut units {
                unit.backward(&run, 0);
            }
            let inputs = problem.shape.inputs;
            let collect = |f: fn(&super::super::unit::Unit) -> &Vec<f32>| {
                let rows = units.iter().flat_map(|u| f(u).chunks(u.row).flat_map(|row| &row[..inputs]));
                problem.source.to_weights(&rows.copied().collect::<Vec<f32>>())
            };
            let w: Vec<f64> = collect(|u| &u.w).into_iter().map(f64::from).collect();
            let g = collect(|u| &u.g);
            if matches!(method, Method::Round) {
                for (soft, weight) in w.iter().zip(&layer.weights) {
                    let cut = f64::from(*weight).clamp(-1.0, 0.875);
                    assert!((soft - cut).abs() < 1e-6, "the soft weights begin at the weights");
                }
            }
            let loss: f64 = units.iter().map(|u| u.sums[0]).sum();
            let want = layer.loss(0..4, &w);
            assert!((loss - want).abs() <= 1e-4 * want, "{op:?} {activation:?}: loss {loss} {want}");
            let step = 1e-6;
            let differences: Vec<f64> = (0..w.len())
                .map(|i| {
                    let at = |d: f64| {
                        let mut w = w.clone();
                        w[i] += d;
                        layer.loss(0..4, &w)
                    };
                    (at(step) - at(-step)) / (2.0 * step)
                })
                .collect();
            let largest = differences.iter().fold(0.0f64, |m, d| m.max(d.abs()));
            assert!(largest > 1e-4, "{op:?} {activation:?}: there is a slope");
            for (i, (got, want)) in g.iter().zip(&differences).enumerate() {
                let error = (f64::from(*got) - want).abs();
                assert!(error <= 2e-4 * largest, "{op:?} {activation:?} weight {i}: {got} {want}");
            }
            let slopes: Vec<f32> = units.iter().flat_map(|u| u.bias.iter().map(|b| b.g)).collect();
            for (c, got) in slopes.iter().enumerate() {
                let at = |d: f32| {
                    let mut layer = layer.clone();
                    layer.bias[c] += d;
                    layer.loss(0..4, &w)
                };
                // A bias is single precision, so the step is one that it can make.
                let step = 2f32.powi(-12);
                let want = (at(step) - at(-step)) / (2.0 * f64::from(step));
                let error = (f64::from(*got) - want).abs();
                assert!(
                    error <= 5e-3 * (largest + want.abs()),
                    "{op:?} {activation:?} bias {c}: {got} {want}"
                );
            }
        }
    }
}

#[test]
fn convolutions() {
    check(Op::Conv(window(1, [3, 3])), &[1, 2, 5, 6], &[9, 2, 3, 3]);
    let grouped = Window { stride: [2, 1], dilation: [1, 2], pads: [1, 2, 0, 1], ..window(2, [2, 3]) };
    check(Op::Conv(grouped), &[2, 4, 5, 6], &[6, 2, 2, 3]);
    check(Op::Conv(Window { groups: 2, ..grouped }), &[1, 4, 5, 6], &[18, 2, 2, 3]);
    let depthwise = Window { stride: [2, 2], pads: [1; 4], ..window(3, [3, 3]) };
    check(Op::Conv(depthwise), &[1, 3, 6, 7], &[3, 1, 3, 3]);
}

#[test]
fn transposed_convolutions() {
    let window = Window { stride: [2, 3], dilation: [2, 1], pads: [1, 0, 0, 2], ..window(2, [2, 3]) };
    check(Op::ConvTranspose(window, [1, 0]), &[1, 4, 3, 3], &[4, 3, 2, 3]);
    check(Op::ConvTranspose(Window { groups: 1, ..window }, [0, 1]), &[1, 2, 3, 3], &[2, 8, 2, 3]);
}

#[test]
fn matrices() {
    check(Op::Gemm { transposed: false, alpha: 0.7, beta: 0.5 }, &[8, 6], &[6, 10]);
    check(Op::Gemm { transposed: true, alpha: 1.5, beta: 1.0 }, &[8, 6], &[4, 6]);
    check(Op::MatMul, &[9, 7], &[7, 12]);
}

#[test]
fn normalisations() {
    check(Op::InstanceNormalization { epsilon: 1e-3 }, &[2, 3, 4, 5], &[3]);
    check(Op::LayerNormalization { epsilon: 1e-3, axis: 1 }, &[9, 11], &[11]);
}
