//! What positions read, and which positions are looked at.

use proptest::prelude::*;

use super::super::Patches;
use super::*;

/// The layer as products of gathered inputs with rows of weights equals the layer.
fn agrees(op: &Op, x_dims: &[usize], w_dims: &[usize]) {
    let mut draws = Draws::new(7);
    let x = draws.floats(x_dims.iter().product());
    let w = draws.floats(w_dims.iter().product());
    let expected = forward(op, &x, x_dims, &w, w_dims);
    let patches = Patches::new(op, x_dims, w_dims).unwrap();
    assert_eq!(patches.y_len(), expected.len(), "{op:?}");
    let Geometry { groups, outputs, inputs, .. } = *patches.geometry();
    let rows = patches.geometry().to_rows(&w);
    assert_eq!(patches.geometry().from_rows(&rows), w, "{op:?}");
    // From the last position to the first, with room before and after.
    let positions: Vec<usize> = (0..patches.positions()).rev().collect();
    let (n, stride, at) = (positions.len(), positions.len() + 5, 3);
    let (mut gathered, mut y) = (vec![9.0; groups * inputs * stride], vec![9.0; groups * outputs * stride]);
    patches.gather(&x, &positions, &mut gathered, stride, at);
    let floats: Vec<f32> = expected.iter().map(|&v| v as f32).collect();
    patches.gather_output(&floats, &positions, &mut y, stride, at);
    for channel in 0..groups * outputs {
        let group = channel / outputs;
        for p in at..at + n {
            let sum: f64 = (0..inputs)
                .map(|k| {
                    let x = gathered[(group * inputs + k) * stride + p];
                    f64::from(rows[channel * inputs + k]) * f64::from(x)
                })
                .sum();
            assert!((sum - f64::from(y[channel * stride + p])).abs() < 1e-4, "{op:?} channel {channel}");
        }
    }
    let untouched =
        |rows: &[f32]| rows.chunks(stride).all(|r| r[..at].iter().chain(&r[at + n..]).all(|&v| v == 9.0));
    assert!(untouched(&gathered) && untouched(&y));
}

#[test]
fn matrix_products_read_rows() {
    agrees(&Op::MatMul, &[5, 7], &[7, 3]);
    agrees(&Op::MatMul, &[1, 2, 3, 4], &[4, 6]);
    agrees(&Op::MatMul, &[4], &[4, 6]);
    for transposed in [false, true] {
        let dims = if transposed { [3, 7] } else { [7, 3] };
        agrees(&Op::Gemm { transposed, alpha: 0.5, beta: 2.0 }, &[4, 7], &dims);
    }
}

#[test]
fn lines_are_images_of_one_row() {
    let line = Window { stride: [1, 2], dilation: [1, 2], pads: [0, 3, 0, 1], ..window(2, [1, 3]) };
    agrees(&Op::Conv(line), &[1, 4, 11], &[6, 2, 3]);
    agrees(&Op::ConvTranspose(line, [0, 1]), &[1, 4, 11], &[4, 3, 3]);
}

proptest! {
    #[test]
    fn images_are_read_as_convolutions_read_them(
        groups in 1usize..4, per in [1usize..3, 1..4], kernel in [1usize..4, 1..4], stride in [1usize..4, 1..4],
        dilation in [1usize..3, 1..3], pads in [0usize..3, 0..3, 0..3, 0..3], size in [3usize..8, 3..8],
        batch in 1usize..3, transposed: bool,
    ) {
        let window = Window { groups, kernel, stride, dilation, pads };
        let x_dims = [batch, groups * per[0], size[0], size[1]];
        let reach = |axis: usize| dilation[axis] * (kernel[axis] - 1) + 1;
        if transposed {
            let full = |axis: usize| (size[axis] - 1) * stride[axis] + reach(axis);
            prop_assume!((0..2).all(|axis| full(axis) > pads[axis] + pads[axis + 2]));
            let extra = [stride[0] - 1, stride[1] / 2];
            agrees(&Op::ConvTranspose(window, extra), &x_dims, &[x_dims[1], per[1], kernel[0], kernel[1]]);
        } else {
            prop_assume!((0..2).all(|axis| size[axis] + pads[axis] + pads[axis + 2] >= reach(axis)));
            agrees(&Op::Conv(window), &x_dims, &[groups * per[1], per[0], kernel[0], kernel[1]]);
        }
    }

    #[test]
    fn positions_are_distinct_spread_and_the_same_every_time(
        available in 1usize..3000, samples in 5usize..200, wanted in 1usize..20_000, seed: u64, sample in 0usize..200,
    ) {
        let sampling = Sampling { positions: wanted, seed, ..Sampling::default() };
        let positions = Positions::new(available, samples, 1, &sampling).unwrap();
        let picked = positions.of(sample);
        prop_assert_eq!(&picked, &positions.of(sample));
        let mut all: Vec<usize> = picked.fit.iter().chain(&picked.held_out).copied().collect();
        all.sort_unstable();
        prop_assert!(all.windows(2).all(|w| w[0] < w[1]) && all.last().is_none_or(|&p| p < available));
        let of_sample = wanted.div_ceil(samples);
        let enough = available >= of_sample + of_sample.div_ceil(4) && available >= 5;
        if enough {
            prop_assert!(picked.fit.len() >= of_sample && picked.fit.len() <= of_sample + 4);
            prop_assert!(!picked.held_out.is_empty());
            // No stretch without a position is longer than two parts.
            let part = available.div_ceil(all.len());
            prop_assert!(all.windows(2).all(|w| w[1] - w[0] <= 2 * part));
        } else {
            prop_assert_eq!(all.len(), available);
            prop_assert_eq!(picked.fit.is_empty(), sample % 5 == 4);
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let shape = |op: Op, x: &[usize], w: &[usize]| {
        assert!(matches!(Patches::new(&op, x, w), Err(Untunable::Shape { .. })), "{op:?} {x:?} {w:?}");
    };
    shape(Op::MatMul, &[3, 4], &[5, 2]);
    shape(Op::MatMul, &[3, 4], &[2, 4, 2]);
    shape(Op::MatMul, &[], &[1, 4]);
    shape(Op::Conv(window(1, [3, 3])), &[1, 2, 2, 5], &[4, 2, 3, 3]);
    shape(Op::Conv(window(1, [3, 3])), &[1, 2, 5, 5], &[4, 2, 3, 1]);
    shape(Op::Conv(window(1, [3, 3])), &[1, 3, 5, 5], &[4, 2, 3, 3]);
    shape(Op::Conv(window(0, [3, 3])), &[1, 2, 5, 5], &[4, 2, 3, 3]);
    shape(Op::Conv(window(1, [3, 3])), &[1, usize::MAX / 2, 5, 5], &[4, 2, 3, 3]);
    shape(Op::Conv(window(1, [1, 1])), &[1, 2, usize::MAX, 5], &[4, 2, 1, 1]);
    shape(
        Op::ConvTranspose(Window { pads: [9; 4], ..window(1, [3, 3]) }, [0, 0]),
        &[1, 2, 4, 4],
        &[2, 2, 3, 3],
    );
    let norm = Op::InstanceNormalization { epsilon: 1e-5 };
    assert_eq!(Patches::new(&norm, &[1, 2, 4, 4], &[2]), Err(Untunable::Operator));
    assert!(Positions::new(4, 1, 0, &Sampling::default()).is_err());
}
