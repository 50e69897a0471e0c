//! Errors by way of the moments, and data that cannot be tuned on.

use super::*;

fn layers() -> Vec<(Layer, Sampling)> {
    let few = Sampling { positions: 500, ..Sampling::default() };
    let padded = |groups, kernel| Window { pads: [1; 4], ..window(groups, kernel) };
    vec![
        (Layer::random(Op::Conv(padded(1, [3, 3])), &[1, 5, 12, 12], &[9, 5, 3, 3], 10, 1), few.clone()),
        (Layer::random(Op::Conv(padded(6, [3, 3])), &[1, 6, 12, 12], &[6, 1, 3, 3], 10, 2), few.clone()),
        (
            Layer::random(Op::Conv(padded(2, [3, 3])), &[1, 8, 6, 6], &[14, 4, 3, 3], 10, 3),
            Sampling::default(),
        ),
        (
            Layer::random(Op::Conv(window(1, [1, 1])), &[1, 140, 5, 5], &[70, 140, 1, 1], 40, 4),
            Sampling::default(),
        ),
        (
            Layer::random(
                Op::ConvTranspose(Window { stride: [2, 2], ..window(1, [4, 4]) }, [0, 0]),
                &[1, 3, 5, 5],
                &[3, 4, 4, 4],
                10,
                5,
            ),
            few.clone(),
        ),
        (
            Layer::random(Op::Gemm { transposed: true, alpha: 0.5, beta: 1.0 }, &[1, 30], &[4, 30], 200, 6),
            few.clone(),
        ),
        (Layer::random(matmul(), &[1, 50, 24], &[24, 10], 20, 7), few),
    ]
}

#[test]
fn errors_are_those_of_the_layer_itself() {
    for (layer, sampling) in layers() {
        let problem = layer.problem(&sampling).unwrap();
        let start = layer.start(1.0 / 16.0, (-128, 127));
        let mut draws = Draws::new(1);
        let bias: Vec<f64> = start.bias.iter().map(|_| f64::from(draws.float())).collect();
        for bias in [bias, problem.best_bias(&start.q, &start.scales)] {
            let errors = problem.error_of(&start.q, &start.scales, &bias);
            let fit = layer.error(&sampling, &start.q, 1.0 / 16.0, &bias, |p| &p.fit);
            let held_out = layer.error(&sampling, &start.q, 1.0 / 16.0, &bias, |p| &p.held_out);
            assert!((errors.fit / fit - 1.0).abs() < 1e-5, "{:?}: {errors:?} is {fit}", layer.op);
            assert!(
                (errors.held_out / held_out - 1.0).abs() < 1e-5,
                "{:?}: {errors:?} is {held_out}",
                layer.op
            );
        }
    }
}

#[test]
fn a_small_error_is_not_lost_beside_a_large_output() {
    let mut layer = Layer::random(matmul(), &[1, 60, 20], &[20, 6], 20, 8);
    let scale = 1.0 / 4096.0;
    let start = layer.start(scale, (-32768, 32767));
    for (x, y) in layer.x.iter_mut().zip(&mut layer.y) {
        for v in x.iter_mut() {
            *v += 30.0;
        }
        let out = forward(&layer.op, x, &layer.x_dims, &layer.weights, &layer.w_dims);
        *y = out.iter().map(|&v| v as f32).collect();
    }
    let sampling = Sampling::default();
    let problem = layer.problem(&sampling).unwrap();
    let bias = problem.best_bias(&start.q, &start.scales);
    let errors = problem.error_of(&start.q, &start.scales, &bias);
    let direct = layer.error(&sampling, &start.q, scale, &bias, |p| &p.fit);
    assert!(errors.fit < 1e-6 * problem.signal().fit, "{errors:?}");
    assert!((errors.fit / direct - 1.0).abs() < 0.02, "{errors:?} is {direct}");
}

#[test]
fn threads_do_not_show_in_the_bits() {
    for (layer, sampling) in layers() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let problem = layer.problem(&sampling).unwrap();
                let scales = [1.0 / 8.0, 1.0 / 16.0].map(Scales::Single);
                problem.solve(
                    &layer.start(1.0 / 16.0, (-8, 7)),
                    &scales,
                    (-8, 7),
                    &super::super::Search::default(),
                )
            })
        };
        let one = run(1);
        let bits = |t: &super::super::Tuned| {
            (t.bias.iter().map(|b| b.to_bits()).collect::<Vec<_>>(), t.after.fit.to_bits(), t.q.clone())
        };
        for threads in [2, 3] {
            assert_eq!(bits(&run(threads)), bits(&one), "{:?} on {threads} threads", layer.op);
        }
    }
}

#[test]
fn what_is_not_finite_is_refused() {
    let sampling = Sampling { positions: 10_000, ..Sampling::default() };
    let layer = || Layer::random(Op::Conv(window(1, [3, 3])), &[1, 3, 6, 6], &[4, 3, 3, 3], 10, 9);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (mut input, mut output) = (layer(), layer());
        input.x[7][20] = bad;
        output.y[7][20] = bad;
        for layer in [input, output] {
            let error = layer.problem(&sampling).err();
            let covers = |first: usize, last: usize| first <= 7 && 7 <= last;
            assert!(
                matches!(error, Some(Untunable::NonFinite { first, last }) if covers(first, last)),
                "{bad}: {error:?}"
            );
        }
    }
    let mut large = layer();
    large.x.iter_mut().flatten().for_each(|v| *v *= 1e20);
    large.weights.fill(0.0);
    assert_eq!(large.problem(&sampling).err(), Some(Untunable::Overflow));
}

#[test]
fn samples_of_another_size_and_layers_that_are_too_large_are_refused() {
    let mut layer = Layer::random(matmul(), &[1, 6, 20], &[20, 6], 20, 8);
    layer.x[4].pop();
    let error = layer.problem(&Sampling::default()).err();
    assert_eq!(error, Some(Untunable::Length { what: "the input", sample: 4, found: 119, expected: 120 }));
    let little = Sampling { max_bytes: 1000, ..Sampling::default() };
    assert!(matches!(layer.problem(&little), Err(Untunable::TooWide { inputs: 20, limit: 1000, .. })));
}
