//! Softmax over the last axis.

use crate::math::exp;

const LANES: usize = 16;

#[inline(always)]
fn softmax_body(x: &mut [f32], cols: usize, log: bool) {
    for row in x.chunks_exact_mut(cols) {
        let top = row_max(row);
        // Where everything is −∞ the definition has no value; NaN, as the quotient 0/0 gives.
        let mut lanes = [0.0_f32; LANES];
        let (chunks, tail) = row.as_chunks_mut::<LANES>();
        for chunk in chunks {
            for (lane, v) in lanes.iter_mut().zip(chunk) {
                let e = exp(*v - top);
                *lane += e;
                *v = if log { *v - top } else { e };
            }
        }
        for (lane, v) in lanes.iter_mut().zip(tail) {
            let e = exp(*v - top);
            *lane += e;
            *v = if log { *v - top } else { e };
        }
        let sum = sum_lanes(lanes);
        if log {
            let shift = sum.ln();
            for v in row {
                *v -= shift;
            }
        } else {
            for v in row {
                *v /= sum;
            }
        }
    }
}

/// Largest element of a row; NaN when the first or last kept comparison met one.
#[inline(always)]
fn row_max(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, tail) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if *lane > v { *lane } else { v };
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(tail) {
        *lane = if *lane > v { *lane } else { v };
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
}

/// Sum of the accumulators, halves first.
#[inline(always)]
pub(crate) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

dispatch! { fn softmax_rows(x: &mut [f32], cols: usize, log: bool) => softmax_body, wide }

/// `e^(x − max) / Σ e^(x − max)` of each row of `[rows, cols]`, in place. A row with a NaN is NaN.
///
/// Panics when `cols` does not divide the length.
pub fn softmax_in_place(x: &mut [f32], cols: usize) {
    checked(x, cols, false);
}

/// `x − max − ln Σ e^(x − max)` of each row of `[rows, cols]`, in place. A row with a NaN is NaN.
///
/// Panics when `cols` does not divide the length.
pub fn log_softmax_in_place(x: &mut [f32], cols: usize) {
    checked(x, cols, true);
}

fn checked(x: &mut [f32], cols: usize, log: bool) {
    if x.is_empty() {
        return;
    }
    assert!(cols > 0 && x.len().is_multiple_of(cols), "rows of {cols} columns");
    softmax_rows(x, cols, log);
}
