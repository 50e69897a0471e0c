//! What comes out of a training.

use super::*;

const RANGE: (i32, i32) = (-8, 7);

fn quick() -> AdaOptions {
    AdaOptions { num_iterations: 400, batch_size: 64, ..AdaOptions::adaround() }
}

/// Neighbours in the input are alike, so errors of one weight can make up for those of another.
fn toy(activation: Activation) -> Layer {
    Layer::random(Op::MatMul, activation, [&[100, 24], &[24, 10]], 8)
}

fn never_worse(layer: &Layer, problem: &Problem, start: &Start, tuned: &Tuned) {
    assert!(tuned.after.held_out <= tuned.before.held_out);
    assert_eq!(tuned.before, problem.error_of(&start.q, &start.scales, &start.bias));
    assert_eq!(tuned.after, problem.error_of(&tuned.q, &tuned.scales, &tuned.bias));
    assert_eq!(tuned.scales, start.scales);
    assert_eq!(tuned.q.len(), layer.weights.len());
}

#[test]
fn adaround_is_better_than_the_nearest() {
    for activation in [Activation::None, Activation::Relu, Activation::Tanh] {
        let layer = toy(activation);
        let problem = layer.problem(&sampling_of(800)).unwrap();
        let start = layer.start(0.15, RANGE);
        let tuned = problem.adaround(&start, &layer.weights, RANGE, &quick()).unwrap();
        never_worse(&layer, &problem, &start, &tuned);
        assert!(tuned.after.held_out < 0.6 * tuned.before.held_out, "{tuned:?}");
        assert!(tuned.after.fit < 0.6 * tuned.before.fit, "{tuned:?}");
        assert_eq!(tuned.bias, start.bias);
        assert_eq!(tuned.iterations, 400);
        assert_ne!(tuned.q, start.q);
        for (q, w) in tuned.q.iter().zip(&layer.weights) {
            let floor = (w / 0.15).floor();
            let ends = [floor, floor + 1.0].map(|q| q.clamp(-8.0, 7.0) as i32);
            assert!(ends.contains(q), "{q} for {}", w / 0.15);
        }
    }
}

fn sampling_of(positions: usize) -> Sampling {
    Sampling { positions, seed: 5, max_bytes: 1 << 30 }
}

#[test]
fn adaround_begins_at_the_integers_of_the_start() {
    let layer = toy(Activation::Relu);
    let problem = layer.problem(&sampling_of(800)).unwrap();
    let first = problem.adaround(&layer.start(0.15, RANGE), &layer.weights, RANGE, &quick()).unwrap();
    let start = Start { q: first.q.clone(), scales: first.scales.clone(), bias: first.bias.clone() };
    let none = AdaOptions { begin: Begin::Start, num_iterations: 0, ..quick() };
    let method = super::super::unit::Method::Round;
    let run = super::super::unit::Run {
        problem: &problem,
        options: &none,
        method,
        batches: Vec::new(),
        batch: 64,
        rate: 0.1,
    };
    let mut units = problem.units(&run, &start, &layer.weights, RANGE);
    let errors: Vec<f64> = units.iter().flat_map(|u| u.best.errors.clone()).collect();
    // Only other integers than those of the start could be better, or worse.
    for unit in &mut units {
        unit.best.errors.fill(f64::INFINITY);
        unit.best.q.fill(0);
        unit.look(&run);
    }
    let rows: Vec<i32> = units.iter().flat_map(|u| u.best.q.clone()).collect();
    assert_eq!(problem.source.to_weights(&rows), start.q);
    assert_eq!(errors, units.iter().flat_map(|u| u.best.errors.clone()).collect::<Vec<f64>>());
    let options = AdaOptions { begin: Begin::Start, ..quick() };
    let second = problem.adaround(&start, &layer.weights, RANGE, &options).unwrap();
    never_worse(&layer, &problem, &start, &second);
}

#[test]
fn a_start_that_cannot_be_beaten_stays() {
    // The float model's weights lie on the grid, and it reads the same.
    let mut layer = toy(Activation::Relu);
    layer.weights.iter_mut().for_each(|w| *w = (*w * 4.0).round() / 4.0);
    let weights: Vec<f64> = layer.weights.iter().map(|&w| w.into()).collect();
    for i in 0..layer.x.len() {
        layer.y[i] = layer.forward(&layer.x[i], &weights).iter().map(|&v| v as f32).collect();
    }
    let problem = layer.problem(&sampling_of(800)).unwrap();
    let start = layer.start(0.25, RANGE);
    for tuned in [
        problem.adaround(&start, &layer.weights, RANGE, &quick()).unwrap(),
        problem
            .adaquant(&start, &layer.weights, RANGE, None, &AdaOptions { learning_rate: 0.05, ..quick() })
            .unwrap(),
    ] {
        assert_eq!(tuned.q, start.q);
        assert_eq!(tuned.before, tuned.after);
    }
}

#[test]
fn adaquant_moves_weights_and_bias() {
    let mut layer = toy(Activation::Relu);
    // The start's bias is not that of the float model.
    let float: Vec<f64> = layer.bias.iter().map(|&b| b.into()).collect();
    let problem = layer.problem(&sampling_of(800)).unwrap();
    layer.bias.iter_mut().for_each(|b| *b += 0.2);
    let start = layer.start(0.15, RANGE);
    let options = AdaOptions { learning_rate: 1e-3, ..quick() };
    let tuned = problem.adaquant(&start, &layer.weights, RANGE, None, &options).unwrap();
    never_worse(&layer, &problem, &start, &tuned);
    assert_eq!(tuned.bias, start.bias);
    assert!(tuned.after.held_out < 0.9 * tuned.before.held_out, "{tuned:?}");
    let grid = (Scales::Single(1.0 / 64.0), (-128, 127));
    let free = FreeBias { float, grid: Some(grid) };
    let freed = problem.adaquant(&start, &layer.weights, RANGE, Some(&free), &options).unwrap();
    never_worse(&layer, &problem, &start, &freed);
    assert!(freed.after.held_out < 0.5 * tuned.after.held_out, "{freed:?} {tuned:?}");
    for (new, old) in freed.bias.iter().zip(&start.bias) {
        assert!(
            new == old || (new * 64.0).fract() == 0.0,
            "{new} is an integer times its scale, or as it was"
        );
    }
    let held = AdaOptions { update_bias: false, ..options };
    let held = problem.adaquant(&start, &layer.weights, RANGE, Some(&free), &held).unwrap();
    assert_eq!(held, tuned);
}

#[test]
fn the_bits_are_the_same_for_any_number_of_threads() {
    let wide = Layer::random(
        Op::Conv(Window { pads: [1; 4], ..window(1, [3, 3]) }),
        Activation::Gelu(false),
        [&[1, 4, 9, 9], &[70, 4, 3, 3]],
        6,
    );
    let depthwise = Layer::random(
        Op::Conv(Window { pads: [1; 4], ..window(6, [3, 3]) }),
        Activation::Clip(0.0, 6.0),
        [&[1, 6, 9, 9], &[6, 1, 3, 3]],
        6,
    );
    for layer in [wide, depthwise] {
        let options = AdaOptions {
            num_iterations: 60,
            batch_size: 50,
            drop_ratio: 0.5,
            early_stop: true,
            ..AdaOptions::adaround()
        };
        let with = |threads: usize, seed: u64| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let problem = layer.problem(&sampling_of(300)).unwrap();
                let start = layer.start(0.1, RANGE);
                let options = AdaOptions { fixed_seed: seed, ..options.clone() };
                let round = problem.adaround(&start, &layer.weights, RANGE, &options).unwrap();
                let options = AdaOptions { learning_rate: 3e-3, ..options };
                let free = FreeBias { float: start.bias.clone(), grid: None };
                let quant = problem.adaquant(&start, &layer.weights, RANGE, Some(&free), &options).unwrap();
                (round, quant)
            })
        };
        let one = with(1, 9);
        assert_eq!(one, with(2, 9));
        assert_eq!(one, with(3, 9));
        assert_ne!(one, with(1, 10), "the seed matters");
    }
}

#[test]
fn training_stops_early_when_all_is_decided() {
    let layer = toy(Activation::None);
    let problem = layer.problem(&sampling_of(800)).unwrap();
    let start = layer.start(0.15, RANGE);
    let options =
        AdaOptions { num_iterations: 4000, num_batches: 20, early_stop: true, reg_param: 1.0, ..quick() };
    let tuned = problem.adaround(&start, &layer.weights, RANGE, &options).unwrap();
    assert!((820..4000).contains(&tuned.iterations), "{}", tuned.iterations);
    never_worse(&layer, &problem, &start, &tuned);
}

#[test]
fn a_rate_for_bad_starts() {
    let layer = toy(Activation::None);
    let problem = layer.problem(&sampling_of(800)).unwrap();
    let start = layer.start(0.15, RANGE);
    let run = |options: &AdaOptions| problem.adaround(&start, &layer.weights, RANGE, options).unwrap();
    let above = run(&AdaOptions { lr_adjust: Some((0.0, 0.02)), ..quick() });
    assert_eq!(above, run(&AdaOptions { learning_rate: 0.02, ..quick() }));
    assert_eq!(run(&AdaOptions { lr_adjust: Some((1e9, 0.02)), ..quick() }), run(&quick()));
}

#[test]
fn inputs_of_the_float_model() {
    let mut layer = toy(Activation::None);
    // What the quantized model reads says nothing; only by the float inputs the better integers can be found.
    for (i, x) in layer.x.iter_mut().enumerate().filter(|(i, _)| i % 2 == 0) {
        x.iter_mut().zip(&layer.x_float[i]).for_each(|(x, f)| *x = f + 0.01);
    }
    let problem = layer.problem(&sampling_of(800)).unwrap();
    let start = layer.start(0.15, RANGE);
    let run = |drop_ratio| {
        let options = AdaOptions { drop_ratio, ..quick() };
        problem.adaround(&start, &layer.weights, RANGE, &options).unwrap()
    };
    let all = [run(1.0), run(0.5), run(0.0)];
    for tuned in &all {
        never_worse(&layer, &problem, &start, tuned);
        assert!(tuned.after.held_out < 0.6 * tuned.before.held_out, "{tuned:?}");
    }
    assert!(all[0].q != all[1].q && all[1].q != all[2].q);
}

#[test]
fn positions_are_fewer_where_bytes_are() {
    let layer = toy(Activation::None);
    let bytes = 4 * (2 * 24 + 10);
    for (max_bytes, most) in [(bytes * 200, 200), (bytes * 40, 40)] {
        let problem = layer.problem(&Sampling { positions: 800, seed: 0, max_bytes }).unwrap();
        let [fit, held_out] = problem.counts();
        assert!(fit + held_out <= most && fit > held_out && held_out > 0, "{fit} {held_out} of {most}");
    }
    let refused = layer.problem(&Sampling { positions: 800, seed: 0, max_bytes: bytes * 20 });
    assert!(matches!(refused.err(), Some(Refused::Layer(Untunable::TooWide { .. }))));
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let layer = toy(Activation::None);
    let with = |change: &dyn Fn(&mut Layer)| {
        let mut layer = layer.clone();
        change(&mut layer);
        layer.problem(&sampling_of(800)).err()
    };
    let non_finite = Some(Refused::Layer(Untunable::NonFinite { first: 2, last: 2 }));
    assert_eq!(with(&|l| l.x[2].fill(f32::NAN)), non_finite);
    assert_eq!(with(&|l| l.y[2].fill(f32::INFINITY)), non_finite);
    assert_eq!(with(&|l| l.x_float[2].fill(f32::NAN)), non_finite);
    assert!(matches!(with(&|l| l.x[1].truncate(5)), Some(Refused::Layer(Untunable::Length { .. }))));
    assert!(matches!(with(&|l| l.activation = Activation::Softmax(1)), Some(Refused::Activation(_))));
    assert!(matches!(
        with(&|l| l.activation = Activation::PRelu(vec![0.1; 3])),
        Some(Refused::Activation(_))
    ));
    let mut collector = layer.collector(&sampling_of(800)).unwrap();
    collector.add(0, &layer.x[0], &layer.y[0], None);
    assert!(matches!(collector.finish().err(), Some(Refused::FloatInputs(_))));

    let problem = layer.problem(&sampling_of(800)).unwrap();
    let start = layer.start(0.15, RANGE);
    let run = |start: &Start, weights: &[f32], options: &AdaOptions| {
        problem.adaround(start, weights, RANGE, options).err()
    };
    let mut nan = layer.weights.clone();
    nan[3] = f32::NAN;
    assert!(matches!(run(&start, &nan, &quick()), Some(Refused::Start { what: "float weights", .. })));
    let bad = Start { scales: Scales::Single(0.0), ..start.clone() };
    assert!(matches!(run(&bad, &layer.weights, &quick()), Some(Refused::Start { what: "scales", .. })));
    let bad = Start { bias: vec![f64::NAN; 10], ..start.clone() };
    assert!(matches!(run(&bad, &layer.weights, &quick()), Some(Refused::Start { what: "bias", .. })));
    let mut far = start.clone();
    far.q[0] = 8;
    assert!(matches!(run(&far, &layer.weights, &quick()), Some(Refused::Start { what: "integers", .. })));
    for (option, options) in [
        ("batch_size", AdaOptions { batch_size: 0, ..quick() }),
        ("learning_rate", AdaOptions { learning_rate: f32::NAN, ..quick() }),
        ("beta_range", AdaOptions { beta_range: (20.0, 0.0), ..quick() }),
        ("warm_start", AdaOptions { warm_start: 1.5, ..quick() }),
        ("reg_param", AdaOptions { reg_param: -1.0, ..quick() }),
    ] {
        let refused = run(&start, &layer.weights, &options);
        assert!(matches!(refused, Some(Refused::Option { option: o, .. }) if o == option), "{option}");
    }
}
