//! Elementwise, broadcasting, pooling, normalising and matrix kernels against their definitions.
#![allow(missing_docs)]

use proptest::prelude::*;
use shiftwise_kernels::broadcast::{BinaryOp, binary, binary_in_place, broadcast_shape};
use shiftwise_kernels::elementwise::{UnaryOp, map, map_in_place};
use shiftwise_kernels::matmul::{MatRef, matmul, matmul_batched, matmul_into, syrk_accumulate};
use shiftwise_kernels::norm::{batch_norm_affine, instance_norm, layer_norm, per_channel_affine};
use shiftwise_kernels::pool::global_average;
use shiftwise_kernels::softmax::{log_softmax_in_place, softmax_in_place};
use shiftwise_kernels::{Pool2d, Scratch, with_portable};

fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect()
}

fn close(got: f32, want: f64, tolerance: f64) -> bool {
    (f64::from(got) - want).abs() <= tolerance * (1.0 + want.abs())
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

#[test]
fn functions_match_their_definitions_on_every_path() {
    type Definition = fn(f64) -> f64;
    let cases: [(UnaryOp, Definition); 22] = [
        (UnaryOp::Relu, |x| x.max(0.0)),
        (UnaryOp::LeakyRelu { alpha: 0.125 }, |x| if x < 0.0 { x * 0.125 } else { x }),
        (UnaryOp::Elu { alpha: 0.5 }, |x| if x < 0.0 { 0.5 * x.exp_m1() } else { x }),
        (UnaryOp::ThresholdedRelu { alpha: 1.0 }, |x| if x > 1.0 { x } else { 0.0 }),
        (UnaryOp::Clip { min: -1.0, max: 6.0 }, |x| x.clamp(-1.0, 6.0)),
        (UnaryOp::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
        (UnaryOp::HardSigmoid { alpha: 0.25, beta: 0.5 }, |x| (0.25 * x + 0.5).clamp(0.0, 1.0)),
        (UnaryOp::HardSwish, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        (UnaryOp::Silu, |x| x / (1.0 + (-x).exp())),
        (UnaryOp::Mish, |x| x * x.exp().ln_1p().tanh()),
        (UnaryOp::Tanh, f64::tanh),
        (UnaryOp::GeluTanh, |x| {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
        }),
        (UnaryOp::Exp, f64::exp),
        (UnaryOp::Abs, f64::abs),
        (UnaryOp::Neg, |x| -x),
        (UnaryOp::Sign, |x| if x == 0.0 { 0.0 } else { x.signum() }),
        (UnaryOp::Floor, f64::floor),
        (UnaryOp::Ceil, f64::ceil),
        (UnaryOp::Round, f64::round_ties_even),
        (UnaryOp::Softsign, |x| x / (1.0 + x.abs())),
        (UnaryOp::Softplus, |x| x.exp().ln_1p()),
        (UnaryOp::Reciprocal, |x| 1.0 / x),
    ];
    let x: Vec<f32> = numbers(1, 4099).iter().map(|v| v * 4.0 + 0.001).chain([f32::NAN]).collect();
    for (f, define) in cases {
        let mut y = vec![0.0; x.len()];
        map(f, &x, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            assert!(
                if x.is_nan() { y.is_nan() } else { close(y, define(x.into()), 2e-6) },
                "{f:?}({x}) = {y}"
            );
        }
        let mut portable = x.clone();
        with_portable(|| map_in_place(f, &mut portable));
        assert!(same_bits(&y, &portable), "{f:?}");
    }
    let positive: Vec<f32> = x[..4099].iter().map(|v| v.abs()).collect();
    for (f, define) in [(UnaryOp::Log, f64::ln as Definition), (UnaryOp::Sqrt, f64::sqrt)] {
        let mut y = positive.clone();
        map_in_place(f, &mut y);
        assert!(positive.iter().zip(&y).all(|(&x, &y)| close(y, define(x.into()), 1e-6)));
    }
    // Φ of the normal distribution, by tables.
    let mut gelu = [1.0, -1.0, 2.0, -3.0];
    map_in_place(UnaryOp::Gelu, &mut gelu);
    for (got, want) in gelu.iter().zip([0.841_344_7, -0.158_655_3, 1.954_5, -0.004_049_7]) {
        assert!((got - want).abs() < 3e-7, "{got}");
    }
}

type BinaryDefinition = fn(f32, f32) -> f32;

/// Shapes that broadcast: a full one, and for either side the axes that are one, and how many leading ones are cut.
fn shapes() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    prop::collection::vec((1..5_usize, any::<bool>(), any::<bool>()), 0..5).prop_flat_map(|axes| {
        let n = axes.len();
        (Just(axes), 0..=n).prop_map(|(axes, cut)| {
            let a: Vec<usize> = axes.iter().map(|&(n, one, _)| if one { 1 } else { n }).collect();
            let b: Vec<usize> = axes.iter().map(|&(n, _, one)| if one { 1 } else { n }).collect();
            (a, b[cut..].to_vec())
        })
    })
}

/// The element of a broadcast tensor at a position of the result.
fn at(values: &[f32], shape: &[usize], position: &[usize]) -> f32 {
    let tail = &position[position.len() - shape.len()..];
    values[shape.iter().zip(tail).fold(0, |i, (&n, &p)| i * n + if n == 1 { 0 } else { p })]
}

fn positions(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![vec![]], |all, &n| {
        all.iter().flat_map(|p| (0..n).map(move |i| [p.as_slice(), &[i]].concat())).collect()
    })
}

proptest! {
    #[test]
    fn broadcasting_matches_its_definition((a_shape, b_shape) in shapes(), swap: bool, seed: u64) {
        let (a_shape, b_shape) = if swap { (b_shape, a_shape) } else { (a_shape, b_shape) };
        let a = numbers(seed, a_shape.iter().product());
        let b = numbers(seed ^ 1, b_shape.iter().product());
        let shape = broadcast_shape(&a_shape, &b_shape).unwrap();
        let cases: [(BinaryOp, BinaryDefinition); 7] = [
            (BinaryOp::Add, |a, b| a + b), (BinaryOp::Sub, |a, b| a - b), (BinaryOp::Mul, |a, b| a * b),
            (BinaryOp::Div, |a, b| a / b), (BinaryOp::Min, f32::min), (BinaryOp::Max, f32::max),
            (BinaryOp::PRelu, |a, b| if a < 0.0 { a * b } else { a }),
        ];
        for (op, define) in cases {
            let want: Vec<f32> =
                positions(&shape).iter().map(|p| define(at(&a, &a_shape, p), at(&b, &b_shape, p))).collect();
            let mut got = vec![0.0; want.len()];
            binary(op, &a, &a_shape, &b, &b_shape, &mut got);
            prop_assert!(same_bits(&got, &want), "{:?} {:?} {:?}", op, a_shape, b_shape);
            if shape[..] == a_shape[..] {
                let mut got = a.clone();
                binary_in_place(op, &mut got, &a_shape, &b, &b_shape);
                prop_assert!(same_bits(&got, &want), "{:?} in place", op);
            }
        }
    }

    #[test]
    fn batched_products_match_their_definition(
        (a_batch, b_batch) in shapes(), m in 1..7_usize, k in 0..7_usize, n in 1..7_usize, seed: u64,
    ) {
        let shape = broadcast_shape(&a_batch, &b_batch).unwrap();
        let a_shape = [a_batch.as_slice(), &[m, k]].concat();
        let b_shape = [b_batch.as_slice(), &[k, n]].concat();
        let a = numbers(seed, a_shape.iter().product());
        let b = numbers(seed ^ 1, b_shape.iter().product());
        let mut c = vec![f32::NAN; shape.iter().product::<usize>() * m * n];
        matmul_batched(&a_batch, &b_batch, m, k, n, &a, &b, &mut c);
        for (batch, c) in positions(&shape).iter().zip(c.chunks_exact(m * n)) {
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let want: f64 = (0..k)
                    .map(|l| {
                        f64::from(at(&a, &a_shape, &[batch.as_slice(), &[i, l]].concat()))
                            * f64::from(at(&b, &b_shape, &[batch.as_slice(), &[l, j]].concat()))
                    })
                    .sum();
                prop_assert!(close(c[i * n + j], want, 1e-5));
            }
        }
    }

    #[test]
    fn products_take_transposes_and_factors(
        m in 1..40_usize, k in 1..40_usize, n in 1..40_usize, ta: bool, tb: bool, alpha in -2.0_f32..2.0, beta in -2.0_f32..2.0, seed: u64,
    ) {
        let (a, b, c) = (numbers(seed, m * k), numbers(seed ^ 1, k * n), numbers(seed ^ 2, m * n));
        let left = if ta { MatRef::transposed(&a, m) } else { MatRef::row_major(&a, k) };
        let right = if tb { MatRef::transposed(&b, k) } else { MatRef::strided(&b, n, 1) };
        let mut got = c.clone();
        matmul(m, k, n, left, right, &mut got, alpha, beta);
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let sum: f64 = (0..k)
                .map(|l| {
                    f64::from(if ta { a[l * m + i] } else { a[i * k + l] })
                        * f64::from(if tb { b[j * k + l] } else { b[l * n + j] })
                })
                .sum();
            let want = f64::from(alpha) * sum + f64::from(beta) * f64::from(c[i * n + j]);
            prop_assert!(close(got[i * n + j], want, 1e-4));
        }
    }

    #[test]
    fn pooling_matches_its_definition(
        planes in 1..4_usize, h in 1..12_usize, w in 1..40_usize, kernel in [1..5_usize, 1..5_usize],
        stride in [1..4_usize, 1..4_usize], dilation in [1..3_usize, 1..3_usize],
        pads in [0..3_usize, 0..3_usize, 0..3_usize, 0..3_usize], ceil: bool, include: bool, seed: u64,
    ) {
        let out = [0, 1].map(|a| {
            let padded = [h, w][a] + pads[a] + pads[a + 2];
            let reach = dilation[a] * (kernel[a] - 1) + 1;
            if padded < reach { return 0; }
            let steps = if ceil { (padded - reach).div_ceil(stride[a]) } else { (padded - reach) / stride[a] };
            // A window that would start in the far padding is dropped.
            if ceil && steps * stride[a] >= [h, w][a] + pads[a] { steps } else { steps + 1 }
        });
        let pool = Pool2d { planes, h, w, out, kernel, stride, dilation, pads };
        let x = numbers(seed, planes * h * w);
        let (mut max, mut mean) = (vec![0.0; planes * out[0] * out[1]], vec![0.0; planes * out[0] * out[1]]);
        let mut scratch = Scratch::new();
        pool.max(&x, &mut max, &mut scratch);
        pool.average(&x, include, &mut mean, &mut scratch);
        for (i, p) in positions(&[planes, out[0], out[1]]).iter().enumerate() {
            let (mut top, mut sum, mut inside, mut padded) = (f32::NEG_INFINITY, 0.0, 0, 0);
            for k in positions(&kernel) {
                let y = p[1] * stride[0] + k[0] * dilation[0];
                let x0 = p[2] * stride[1] + k[1] * dilation[1];
                padded += i32::from(y < h + pads[0] + pads[2] && x0 < w + pads[1] + pads[3]);
                let (y, x0) = (y.wrapping_sub(pads[0]), x0.wrapping_sub(pads[1]));
                if y < h && x0 < w {
                    let v = x[(p[0] * h + y) * w + x0];
                    top = top.max(v);
                    sum += f64::from(v);
                    inside += 1;
                }
            }
            prop_assert_eq!(max[i], top);
            let count = if include { padded } else { inside };
            let want = sum / f64::from(count);
            let right = if count == 0 { mean[i].is_nan() } else { close(mean[i], want, 1e-6) };
            prop_assert!(right, "{} is not {}", mean[i], want);
        }
    }

    #[test]
    fn rows_are_normalised(rows in 1..5_usize, cols in 1..70_usize, seed: u64) {
        let x = numbers(seed, rows * cols);
        let (gamma, beta) = (numbers(seed ^ 1, cols), numbers(seed ^ 2, cols));
        let mut layer = vec![0.0; x.len()];
        layer_norm(&x, &gamma, Some(&beta), 1e-3, &mut layer);
        let (mut instance, mut affine) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let (g, b) = (numbers(seed ^ 3, rows), numbers(seed ^ 4, rows));
        instance_norm(&x, cols, &g, &b, 1e-3, &mut instance);
        per_channel_affine(&x, cols, &g, &b, &mut affine);
        let (mut soft, mut log) = (x.clone(), x.clone());
        softmax_in_place(&mut soft, cols);
        log_softmax_in_place(&mut log, cols);
        let mut means = vec![0.0; rows];
        global_average(&x, cols, &mut means);
        for (r, row) in x.chunks_exact(cols).enumerate() {
            let n = cols as f64;
            let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
            let total: f64 = row.iter().map(|&v| f64::from(v).exp()).sum();
            prop_assert!(close(means[r], mean, 1e-6));
            for (c, &v) in row.iter().enumerate() {
                let i = r * cols + c;
                let standard = (f64::from(v) - mean) / (variance + 1e-3).sqrt();
                prop_assert!(close(layer[i], standard * f64::from(gamma[c]) + f64::from(beta[c]), 1e-4));
                prop_assert!(close(instance[i], standard * f64::from(g[r]) + f64::from(b[r]), 1e-4));
                prop_assert!(close(affine[i], f64::from(v) * f64::from(g[r]) + f64::from(b[r]), 1e-6));
                prop_assert!(close(soft[i], f64::from(v).exp() / total, 1e-6));
                prop_assert!(close(log[i], f64::from(v) - total.ln(), 1e-6));
            }
        }
    }
}

#[test]
fn batch_normalisation_folds_to_factors() {
    let (mut scale, mut shift) = ([0.0], [0.0]);
    batch_norm_affine([&[2.0], &[1.0], &[3.0], &[4.0]], 0.0, &mut scale, &mut shift);
    assert_eq!((scale[0], shift[0]), (1.0, -2.0));
}

#[test]
fn second_moments_accumulate() {
    let mut acc = vec![1.0; 4];
    syrk_accumulate(&[1.0, 2.0, 3.0, 4.0], 2, &mut acc);
    assert_eq!(acc, [11.0, 15.0, 15.0, 21.0]);
}

#[test]
fn an_empty_sum_of_products_is_zero() {
    let mut c = [f32::NAN, f32::NAN];
    matmul(1, 0, 2, MatRef::row_major(&[], 0), MatRef::row_major(&[], 2), &mut c, 1.0, 0.0);
    assert_eq!(c, [0.0, 0.0]);
}

#[test]
fn square_roots_and_powers() {
    let mut out = [0.0; 3];
    binary(BinaryOp::Pow, &[3.0, 2.0, 9.0], &[3], &[2.0, 3.0, 0.5], &[3], &mut out);
    assert_eq!(out, [9.0, 8.0, 3.0]);
}

#[test]
#[should_panic(expected = "exceeds its slice")]
fn a_matrix_outside_its_slice_is_refused() {
    let mut c = [0.0; 4];
    matmul_into(
        2,
        2,
        2,
        MatRef::strided(&[0.0; 4], 3, 1),
        MatRef::row_major(&[0.0; 4], 2),
        &mut c,
        2,
        1.0,
        0.0,
    );
}

#[test]
fn rows_with_a_nan_become_nan() {
    for position in [0, 5, 16, 20] {
        let mut row = numbers(1, 21);
        row[position] = f32::NAN;
        softmax_in_place(&mut row, 21);
        assert!(row.iter().all(|v| v.is_nan()), "{position}");
    }
}
