//! Copies between layouts: what transposing, slicing and broadcasting have in common.

use smallvec::{SmallVec, smallvec};

use crate::args::Shape;
use crate::scalar::Scalar;

/// Steps between neighbours along each axis.
pub(crate) type Strides = SmallVec<[isize; 6]>;

/// Rows and columns of the tiles in which both sides of a transposing copy stay in the cache.
const TILE: usize = 16;

/// Row-major strides of a shape.
pub(crate) fn strides(shape: &[usize]) -> Strides {
    let mut strides: Strides = smallvec![1; shape.len()];
    for i in (0..shape.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * shape[i + 1] as isize;
    }
    strides
}

/// Strides with which a tensor of `shape` reads as one of the larger `target`: zero along broadcast axes.
pub(crate) fn broadcast_strides(shape: &[usize], target: &[usize]) -> Strides {
    let mut result: Strides = smallvec![0; target.len() - shape.len()];
    result.extend(strides(shape).into_iter().zip(shape).map(|(s, n)| if *n == 1 { 0 } else { s }));
    result
}

/// Fills `out`, dense of `shape`, with the elements at `start + Σ index · stride` of `from`.
///
/// The caller makes sure that all of them lie inside `from`.
pub(crate) fn copy<T: Scalar>(from: &[T], start: usize, shape: &[usize], strides: &[isize], out: &mut [T]) {
    if out.is_empty() {
        return;
    }
    let (shape, strides) = merged(shape, strides);
    match (shape.as_slice(), strides.as_slice()) {
        ([], _) => out[0] = from[start],
        ([n], [s]) => row(from, start as isize, *n, *s, out),
        ([outer @ .., rows, cols], [steps @ .., s_row, s_col]) => {
            let plane = rows * cols;
            let mut index: Shape = smallvec![0; outer.len()];
            for out in out.chunks_exact_mut(plane) {
                let base =
                    start as isize + index.iter().zip(steps).map(|(i, s)| *i as isize * s).sum::<isize>();
                two(from, base, [*rows, *cols], [*s_row, *s_col], out);
                for (i, n) in index.iter_mut().zip(outer).rev() {
                    *i += 1;
                    if *i < *n {
                        break;
                    }
                    *i = 0;
                }
            }
        }
        _ => {}
    }
}

/// Joins neighbouring axes that are walked as one, and drops those of one element.
fn merged(shape: &[usize], strides: &[isize]) -> (Shape, Strides) {
    let (mut dims, mut steps) = (Shape::new(), Strides::new());
    for (&n, &s) in shape.iter().zip(strides) {
        if n == 1 {
            continue;
        }
        if let (Some(d), Some(p)) = (dims.last_mut(), steps.last_mut())
            && *p == s * n as isize
        {
            (*d, *p) = (*d * n, s);
        } else {
            dims.push(n);
            steps.push(s);
        }
    }
    (dims, steps)
}

fn two<T: Scalar>(
    from: &[T],
    base: isize,
    [rows, cols]: [usize; 2],
    [s_row, s_col]: [isize; 2],
    out: &mut [T],
) {
    if s_row == 1 && s_col > 1 && rows > 4 && cols > 4 {
        for r0 in (0..rows).step_by(TILE) {
            for c0 in (0..cols).step_by(TILE) {
                for r in r0..(r0 + TILE).min(rows) {
                    let first = base as usize + r;
                    let width = TILE.min(cols - c0);
                    for (c, o) in out[r * cols + c0..][..width].iter_mut().enumerate() {
                        *o = from[first + (c0 + c) * s_col as usize];
                    }
                }
            }
        }
        return;
    }
    for (r, out) in out.chunks_exact_mut(cols).enumerate() {
        row(from, base + r as isize * s_row, cols, s_col, out);
    }
}

fn row<T: Scalar>(from: &[T], base: isize, n: usize, step: isize, out: &mut [T]) {
    match step {
        1 => out[..n].copy_from_slice(&from[base as usize..][..n]),
        0 => out[..n].fill(from[base as usize]),
        2.. => {
            for (o, v) in out[..n].iter_mut().zip(from[base as usize..].iter().step_by(step as usize)) {
                *o = *v;
            }
        }
        _ => {
            for (i, o) in out[..n].iter_mut().enumerate() {
                *o = from[(base + i as isize * step) as usize];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_reads_the_right_elements() {
        let from: Vec<i64> = (0..24).collect();
        let mut out = vec![0; 24];
        copy(&from, 0, &[4, 2, 3], &[1, 12, 4], &mut out);
        assert_eq!(out[..6], [0, 4, 8, 12, 16, 20]);
        let mut out = vec![0; 3];
        copy(&from, 23, &[3], &[-2], &mut out);
        assert_eq!(out, [23, 21, 19]);
        let mut out = vec![0; 6];
        copy(&from, 0, &[2, 3], &[0, 1], &mut out);
        assert_eq!(out, [0, 1, 2, 0, 1, 2]);
        let mut out = vec![0; 24];
        copy(&from, 0, &[6, 4], &[1, 6], &mut out);
        assert_eq!(out[..5], [0, 6, 12, 18, 1]);
        let big: Vec<i64> = (0..40 * 50).collect();
        let mut out = vec![0; 2000];
        copy(&big, 0, &[50, 40], &[1, 50], &mut out);
        assert!((0..2000).all(|i| out[i] == ((i % 40) * 50 + i / 40) as i64));
    }
}
