//! Steps of coordinate descent over integers, for many independent outputs side by side.

use crate::isa::mul_add;

/// Above it, the step of single precision is one: adding it rounds to integers, ties to even.
const ROUNDER: f32 = (3 << 22) as f32;

/// What is fixed while the integers of a block of inputs change.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The symmetric matrix from the block's first element on; rows are `stride` apart.
    pub a: &'a [f32],
    /// From one row of the matrix to the next.
    pub stride: usize,
    /// The least and the largest integer, of at most 2²¹.
    pub range: (f32, f32),
    /// Scale of each output.
    pub scales: &'a [f32],
    /// One over the scale of each output.
    pub inverse_scales: &'a [f32],
}

/// Visits the inputs of a block in turn: `q_k ← clamp(round(q_k − r_k / (s · a_kk)))` for each output, and
/// `r_i += a_ki · s · Δq_k` for all inputs `i` of the block. Inputs with `a_kk ≤ 0` stay as they are.
///
/// `q`, `r` and `moved` are `[inputs, outputs]`; `moved` gets `s · Δq`. Gives whether an integer changed. Panics where
/// lengths do not fit.
pub fn visit(block: &Block<'_>, q: &mut [f32], r: &mut [f32], moved: &mut [f32]) -> bool {
    let width = block.scales.len();
    assert!(width > 0 && block.inverse_scales.len() == width, "a scale for each output");
    assert!(q.len().is_multiple_of(width), "whole inputs");
    assert!(r.len() == q.len() && moved.len() == q.len(), "as much of each");
    run(block, q, r, moved)
}

dispatch! {
    fn run(block: &Block<'_>, q: &mut [f32], r: &mut [f32], moved: &mut [f32]) -> bool => fma body, wide
}

#[inline(always)]
fn body<const FMA: bool>(block: &Block<'_>, q: &mut [f32], r: &mut [f32], moved: &mut [f32]) -> bool {
    let width = block.scales.len();
    let inputs = q.len() / width;
    let mut any = false;
    let visits = q.chunks_exact_mut(width).zip(moved.chunks_exact_mut(width)).enumerate();
    for (k, (q, moved)) in visits {
        let row = &block.a[k * block.stride..][..inputs];
        if row[k] <= 0.0 {
            moved.fill(0.0);
            continue;
        }
        if !step(block, 1.0 / row[k], q, &r[k * width..][..width], moved) {
            continue;
        }
        any = true;
        for (r, &a) in r.chunks_exact_mut(width).zip(row) {
            for (r, &moved) in r.iter_mut().zip(&*moved) {
                *r = mul_add::<FMA>(a, moved, *r);
            }
        }
    }
    any
}

/// Moves the integers of one input; whether one changed.
#[inline(always)]
fn step(block: &Block<'_>, step: f32, q: &mut [f32], r: &[f32], moved: &mut [f32]) -> bool {
    let (lo, hi) = block.range;
    let mut changed = 0;
    let scales = block.scales.iter().zip(block.inverse_scales);
    for (((q, r), (s, inverse)), moved) in q.iter_mut().zip(r).zip(scales).zip(moved) {
        let best = ((*q - r * step * inverse).max(lo).min(hi) + ROUNDER) - ROUNDER;
        let by = best - *q;
        // But for the sign of a zero.
        changed |= by.to_bits() << 1;
        *moved = by * s;
        *q = best;
    }
    changed != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::with_portable;

    #[test]
    fn every_cpu_takes_the_same_steps() {
        let mut state = 1u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        for (inputs, width) in [(1, 1), (8, 64), (5, 17), (12, 33)] {
            // Halves and quarters: sums are exact, fused or not.
            let stride = inputs + 3;
            let mut a: Vec<f32> = (0..inputs * stride).map(|_| (draw() * 4.0).round() / 4.0).collect();
            (0..inputs).for_each(|k| a[k * stride + k] = if k == 3 { 0.0 } else { 2.0 });
            let scales: Vec<f32> = (0..width).map(|o| [0.5, 0.25][o % 2]).collect();
            let inverse: Vec<f32> = scales.iter().map(|s| 1.0 / s).collect();
            let block =
                Block { a: &a, stride, range: (-4.0, 3.0), scales: &scales, inverse_scales: &inverse };
            let r: Vec<f32> = (0..inputs * width).map(|_| (draw() * 32.0).round() / 8.0).collect();
            let visited = || {
                let (mut q, mut r, mut moved) = (vec![1.0; r.len()], r.clone(), vec![9.0; r.len()]);
                let any = visit(&block, &mut q, &mut r, &mut moved);
                (q, r, moved, any)
            };
            let (q, after, moved, any) = visited();
            assert_eq!(with_portable(visited), (q.clone(), after.clone(), moved.clone(), any));
            assert!(q.iter().all(|q| (-4.0..=3.0).contains(q) && q.fract() == 0.0));
            for o in 0..width {
                assert!(inputs <= 3 || (q[3 * width + o], moved[3 * width + o]) == (1.0, 0.0));
                for i in 0..inputs {
                    let at = i * width + o;
                    let sum: f32 = (0..inputs).map(|k| a[k * stride + i] * moved[k * width + o]).sum();
                    assert_eq!(after[at], r[at] + sum, "input {i} of {inputs}, output {o}");
                }
                let first = (1.0 - r[o] / (2.0 * scales[o])).clamp(-4.0, 3.0).round_ties_even();
                assert_eq!(q[o], first, "output {o} of {width}");
            }
        }
    }
}
