//! Sums of products of few rows, where a matrix product does not pay: the inputs of depthwise layers.

use crate::isa::mul_add;

/// Sums of which a dot product is made; element `i` goes to number `i mod 64`, and they are added pairwise, halves first.
/// With fewer, each addition waits for the one before.
const LANES: usize = 64;

/// Adds products of rows: `a[i, j] += x_i · x_j` for `j ≥ i` and `b[o, i] += d_o · x_i`.
///
/// Rows of `x` and `d` are `stride` apart, and their first `n` elements count; `a` is `[inputs, inputs]`, and below its
/// diagonal stays as it is; `b` is `[outputs, inputs]`. Panics where lengths do not fit.
pub fn add_moments(
    x: &[f32],
    d: &[f32],
    stride: usize,
    n: usize,
    inputs: usize,
    a: &mut [f32],
    b: &mut [f32],
) {
    assert!(n <= stride && x.len() >= inputs * stride && a.len() == inputs * inputs, "rows of inputs");
    assert!(b.len().is_multiple_of(inputs) && d.len() >= b.len() / inputs * stride, "rows of outputs");
    run_moments(x, d, stride, n, inputs, a, b);
}

/// `y += Σ_k w_k x_k`, with the rows `x_k` `stride` apart. Panics where lengths do not fit.
pub fn add_rows(w: &[f32], x: &[f32], stride: usize, y: &mut [f32]) {
    assert!(y.len() <= stride && x.len() >= w.len() * stride, "a row for each weight");
    run_rows(w, x, stride, y);
}

/// Subtracts a number from all values.
pub fn shift(values: &mut [f32], by: f32) {
    run_shift(values, by);
}

dispatch! {
    fn run_moments(
        x: &[f32], d: &[f32], stride: usize, n: usize, inputs: usize, a: &mut [f32], b: &mut [f32],
    ) => fma moments_body, wide
}

dispatch! {
    fn run_rows(w: &[f32], x: &[f32], stride: usize, y: &mut [f32]) => fma rows_body, wide
}

dispatch! {
    fn run_shift(values: &mut [f32], by: f32) => shift_body, wide
}

#[inline(always)]
fn shift_body(values: &mut [f32], by: f32) {
    for value in values {
        *value -= by;
    }
}

#[inline(always)]
fn rows_body<const FMA: bool>(w: &[f32], x: &[f32], stride: usize, y: &mut [f32]) {
    for (&w, x) in w.iter().zip(x.chunks(stride)) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = mul_add::<FMA>(w, x, *y);
        }
    }
}

#[inline(always)]
fn moments_body<const FMA: bool>(
    x: &[f32],
    d: &[f32],
    stride: usize,
    n: usize,
    inputs: usize,
    a: &mut [f32],
    b: &mut [f32],
) {
    for i in 0..inputs {
        let row = &x[i * stride..][..n];
        add_dots::<FMA>(row, &x[i * stride..], stride, &mut a[i * inputs + i..(i + 1) * inputs]);
    }
    for (sums, d) in b.chunks_exact_mut(inputs).zip(d.chunks(stride)) {
        add_dots::<FMA>(&d[..n], x, stride, sums);
    }
}

/// Adds the products of a row with rows that are `stride` apart, to one sum each.
#[inline(always)]
fn add_dots<const FMA: bool>(row: &[f32], x: &[f32], stride: usize, sums: &mut [f32]) {
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum += dot::<FMA>(row, &x[i * stride..][..row.len()]);
    }
}

#[inline(always)]
fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] = mul_add::<FMA>(a[i], b[i], lanes[i]);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane = mul_add::<FMA>(a, b, *lane);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{NARROW, with_portable};

    fn draws(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn moments_are_sums_of_products_on_every_cpu() {
        for (inputs, outputs, n, stride) in [(1, 1, 1, 1), (9, 1, 768, 784), (9, 2, 77, 80), (6, 3, 15, 15)] {
            let (x, d) = (draws(inputs * stride, 1), draws(outputs * stride, 2));
            let all = || {
                let (mut a, mut b) = (vec![1.0; inputs * inputs], vec![1.0; outputs * inputs]);
                add_moments(&x, &d, stride, n, inputs, &mut a, &mut b);
                let mut y = d[..n].to_vec();
                add_rows(&d[..inputs.min(d.len())], &x, stride, &mut y);
                shift(&mut y, 0.3);
                (a, b, y)
            };
            let (a, b, y) = all();
            let close = |got: f32, want: f64| assert!((f64::from(got) - want).abs() < 1e-4, "{got} {want}");
            let dot = |p: &[f32], q: &[f32]| -> f64 {
                1.0 + (0..n).map(|k| f64::from(p[k]) * f64::from(q[k])).sum::<f64>()
            };
            for i in 0..inputs {
                for j in 0..inputs {
                    let below = j < i;
                    let want = if below { 1.0 } else { dot(&x[i * stride..], &x[j * stride..]) };
                    close(a[i * inputs + j], want);
                }
                for o in 0..outputs {
                    close(b[o * inputs + i], dot(&d[o * stride..], &x[i * stride..]));
                }
            }
            for (p, &y) in y.iter().enumerate() {
                let weights = d[..inputs.min(d.len())].iter().enumerate();
                let sum: f64 = weights.map(|(k, &w)| f64::from(w) * f64::from(x[k * stride + p])).sum();
                close(y, f64::from(d[p]) + sum - f64::from(0.3f32));
            }
            // Widths of vectors do not show.
            NARROW.set(true);
            let narrow = all();
            NARROW.set(false);
            assert_eq!(narrow, (a.clone(), b.clone(), y.clone()));
            let portable = with_portable(all);
            portable.0.iter().zip(&a).for_each(|(p, &q)| close(*p, f64::from(q)));
        }
    }
}
