//! What the search finds.

use proptest::prelude::*;

use super::super::{Order, Search};
use super::*;

const FREE: Search = Search { lambda: 1e-3, sweeps: 20, order: Order::Natural, block: 16, free_bias: true };

fn sampling() -> Sampling {
    Sampling { positions: 400, ..Sampling::default() }
}

fn random(inputs: usize, outputs: usize, seed: u64) -> Layer {
    Layer::random(matmul(), &[1, 60, inputs], &[inputs, outputs], 10, seed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn never_worse_than_round_to_nearest_or_than_the_start(
        inputs in 1usize..40, outputs in 1usize..80, seed: u64, bits in 2u32..8, block in 1usize..20,
        order in 0usize..3, free_bias: bool,
    ) {
        let layer = random(inputs, outputs, seed);
        let problem = layer.problem(&sampling()).unwrap();
        let hi = (1 << (bits - 1)) - 1;
        let range = (-hi - 1, hi);
        let scale = 1.0 / hi as f32;
        let order = [Order::Natural, Order::Variance, Order::LeastVariance][order];
        let search = Search { order, block, free_bias, ..FREE };
        let start = layer.start(scale, range);
        let tuned = problem.solve(&start, &[scale / 2.0, scale, scale * 2.0].map(Scales::Single), range, &search);
        prop_assert!(tuned.after.held_out <= tuned.before.held_out);
        prop_assert!(tuned.q.iter().all(|q| (range.0..=range.1).contains(q)));
        prop_assert!(free_bias || tuned.bias == start.bias);
        prop_assert_eq!(tuned.after, problem.error_of(&tuned.q, &tuned.scales, &tuned.bias));

        // Against round-to-nearest with its own best bias, without the held-out positions having a say.
        let system = |s: f32| problem.integers(&Scales::Single(s), &start.bias, range, &search);
        let found = system(scale);
        let bias = |q: &[i32]| if free_bias {
            problem.best_bias(q, &start.scales)
        } else {
            start.bias.clone()
        };
        let fit = |q: &[i32]| problem.error_of(q, &start.scales, &bias(q)).fit;
        prop_assert!(fit(&found) <= fit(&start.q) * (1.0 + 1e-5));
    }

    #[test]
    fn a_scale_is_a_unit(inputs in 1usize..30, outputs in 1usize..20, seed: u64, shift in -6i32..7) {
        let layer = random(inputs, outputs, seed);
        let factor = 2f32.powi(shift);
        let mut scaled = random(inputs, outputs, seed);
        scaled.weights.iter_mut().for_each(|w| *w *= factor);
        scaled.y.iter_mut().flatten().for_each(|y| *y *= factor);
        let solve = |layer: &Layer, scale: f32| {
            let start = layer.start(scale, (-8, 7));
            layer.problem(&sampling()).unwrap().solve(&start, &[Scales::Single(scale)], (-8, 7), &FREE)
        };
        let (one, other) = (solve(&layer, 0.125), solve(&scaled, 0.125 * factor));
        prop_assert_eq!(one.q, other.q);
    }
}

#[test]
fn tiny_layers_get_the_best_integers_there_are_in_most_draws() {
    let (mut best, mut all) = (0, 0);
    let mut excess = 0.0f64;
    for seed in 0..200 {
        let inputs = 2 + seed as usize % 3;
        let layer = random(inputs, 1, seed);
        let problem = layer.problem(&sampling()).unwrap();
        let scales = Scales::Single(0.5);
        let cost = |q: &[i32]| problem.error_of(q, &scales, &problem.best_bias(q, &scales)).fit;
        let search = Search { lambda: 0.0, ..FREE };
        let found = cost(&problem.integers(&scales, &[0.0], (-2, 2), &search));
        let least = (0..5usize.pow(inputs as u32))
            .map(|i| {
                let q: Vec<i32> = (0..inputs).map(|k| (i / 5usize.pow(k as u32) % 5) as i32 - 2).collect();
                cost(&q)
            })
            .fold(f64::INFINITY, f64::min);
        all += 1;
        best += i32::from(found <= least * (1.0 + 1e-6));
        excess = excess.max(found / least);
    }
    // Measured: 177 of 200, and 1.46 times the least error at worst.
    assert!(best * 100 >= all * 85 && excess < 2.0, "{best} of {all}, at worst {excess} of the least error");
}

#[test]
fn rounding_follows_inputs_that_move_together() {
    let (mut nearest, mut tuned) = (0.0, 0.0);
    for seed in 0..5 {
        let mut layer = Layer::random(matmul(), &[1, 60, 64], &[64, 32], 40, seed);
        for (x, y) in layer.x.iter_mut().zip(&mut layer.y) {
            for row in x.chunks_mut(64) {
                (1..64).for_each(|k| row[k] = 0.9 * row[k - 1] + 0.3 * row[k]);
            }
            *y = forward(&layer.op, x, &layer.x_dims, &layer.weights, &layer.w_dims)
                .iter()
                .map(|&v| v as f32)
                .collect();
        }
        let problem = layer.problem(&Sampling::default()).unwrap();
        let start = layer.start(0.25, (-4, 4));
        let result = problem.solve(&start, &[Scales::Single(0.25)], (-4, 4), &FREE);
        let bias = problem.best_bias(&start.q, &start.scales);
        nearest += problem.error_of(&start.q, &start.scales, &bias).held_out;
        tuned += result.after.held_out;
    }
    assert!(tuned < 0.7 * nearest, "{tuned} after {nearest}");
}

#[test]
fn inputs_that_never_vary_keep_their_nearest_integers() {
    let mut layer = random(12, 5, 3);
    for x in &mut layer.x {
        for row in x.chunks_mut(12) {
            (row[2], row[7]) = (0.0, 3.7);
        }
    }
    for lambda in [0.0, 1e-3] {
        let problem = layer.problem(&sampling()).unwrap();
        let start = layer.start(0.125, (-8, 8));
        let search = Search { lambda, ..FREE };
        let q = problem.integers(&start.scales, &start.bias, (-8, 8), &search);
        for k in [2, 7] {
            assert_eq!(q[k * 5..][..5], start.q[k * 5..][..5], "input {k} with lambda {lambda}");
        }
        assert_ne!(q, start.q);
        // What the constant gives beyond its float weights is left to the bias.
        let tuned = problem.solve(&start, &[Scales::Single(0.125)], (-8, 8), &search);
        let direct = layer.error(&sampling(), &tuned.q, 0.125, &tuned.bias, |p| &p.held_out);
        assert!((tuned.after.held_out / direct - 1.0).abs() < 1e-4);
    }
}

#[test]
fn each_output_chooses_among_its_scales() {
    let layer = random(24, 6, 5);
    let problem = layer.problem(&sampling()).unwrap();
    let single = layer.start(0.25, (-8, 7));
    let start = Start { scales: Scales::PerOutput(vec![0.25; 6]), ..single };
    let candidates = [0.0625, 0.125, 0.25].map(|s| Scales::PerOutput(vec![s; 6]));
    let tuned = problem.solve(&start, &candidates, (-8, 7), &FREE);
    let wholes =
        candidates.each_ref().map(|s| problem.solve(&start, std::slice::from_ref(s), (-8, 7), &FREE));
    assert!(wholes.iter().all(|whole| tuned.after.held_out <= whole.after.held_out + 1e-9));
    assert!(tuned.after.held_out < tuned.before.held_out);
}

#[test]
fn a_start_that_cannot_be_improved_is_kept_bit_for_bit() {
    let mut layer = random(8, 4, 11);
    layer.weights.iter_mut().for_each(|w| *w = (*w * 8.0).round() / 8.0);
    for (x, y) in layer.x.iter().zip(&mut layer.y) {
        *y = forward(&layer.op, x, &layer.x_dims, &layer.weights, &layer.w_dims)
            .iter()
            .map(|&v| v as f32)
            .collect();
    }
    let problem = layer.problem(&sampling()).unwrap();
    let start = layer.start(0.125, (-8, 8));
    let tuned = problem.solve(&start, &[Scales::Single(0.25)], (-8, 8), &FREE);
    assert_eq!((tuned.q, tuned.scales, tuned.bias), (start.q, start.scales, start.bias));
}
