//! Matrix products in register tiles, where the CPU has fused multiply-add.
//!
//! The right matrix is packed into panels of a few vectors' width, by whoever knows where its elements come from: a
//! convolution unfolds its image straight into them. The left matrix, which a convolution's weight is, is read where
//! it lies. Every element is one chain of fused multiply-adds along the depth, whatever tile it falls into, so
//! neither the tiles nor the blocks of depth show in the bits.

mod tiles;

use std::cell::Cell;
use std::ops::Range;

use crate::isa::{Isa, current};

/// Floats of the packed block: what stays in a second-level cache.
const BLOCK_FLOATS: usize = 192 * 1024;
/// Depth of a block. A tile's rows of the left matrix stay in the first-level cache.
const BLOCK_DEPTH: usize = 768;

/// What the chains start from.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// One value for each row, or zero.
    Rows(Option<&'a [f32]>),
    /// The old content of the result.
    Result,
}

/// What is done to complete sums: `clamp(sum · scale + shift)`, factors of each row.
#[derive(Clone, Copy, Default)]
pub(crate) struct Finish<'a> {
    pub(crate) affine: Option<(&'a [f32], &'a [f32])>,
    pub(crate) limits: Option<(f32, f32)>,
}

impl Finish<'_> {
    /// The same for the rows from `from` on.
    pub(crate) fn rows(self, from: usize) -> Self {
        Self { affine: self.affine.map(|(a, b)| (&a[from..], &b[from..])), ..self }
    }
}

/// A rectangle of the right matrix, in panels: `depth` × `width` each, row-major, one after the other. Panels are of
/// the widest width, but for the last columns.
pub(crate) struct Panels<'a> {
    data: &'a mut [f32],
    depth: usize,
    columns: usize,
    widest: usize,
}

/// Columns of the panel that starts `left` columns before the end.
#[inline(always)]
fn panel_width(widest: usize, left: usize) -> usize {
    // Three quarters of the widest panel cost as much in two.
    if left + 8 > widest {
        widest
    } else if left > 8 {
        16
    } else {
        8
    }
}

/// Columns with those that fill up the last panel.
fn padded(widest: usize, columns: usize) -> usize {
    let mut at = columns / widest * widest;
    while at < columns {
        at += panel_width(widest, columns - at);
    }
    at
}

impl Panels<'_> {
    /// Fills a row of the rectangle.
    #[inline(always)]
    pub(crate) fn set_row(&mut self, row: usize, values: &[f32]) {
        assert!(row < self.depth && values.len() == self.columns, "a row of the block");
        set_row(self.data, self.depth, self.widest, row, values);
    }

    /// Fills the rectangle from `from[row * row_stride + column * column_stride]`.
    pub(crate) fn copy(&mut self, from: &[f32], row_stride: usize, column_stride: usize) {
        if column_stride == 1 {
            copy_rows(self.data, self.depth, self.widest, self.columns, from, row_stride);
        } else {
            copy_strided(self.data, self.depth, self.widest, self.columns, from, row_stride, column_stride);
        }
    }
}

#[inline(always)]
fn set_row(data: &mut [f32], depth: usize, widest: usize, row: usize, values: &[f32]) {
    match widest {
        32 => set_row_of::<32>(data, depth, row, values),
        _ => set_row_of::<16>(data, depth, row, values),
    }
}

#[inline(always)]
fn set_row_of<const W: usize>(data: &mut [f32], depth: usize, row: usize, values: &[f32]) {
    let (full, rest) = values.as_chunks::<W>();
    let (head, tail) = data.split_at_mut(full.len() * depth * W);
    let mut panels = head.as_chunks_mut::<W>().0.get_mut(row..).unwrap_or_default();
    for values in full {
        panels[0] = *values;
        panels = panels.get_mut(depth..).unwrap_or_default();
    }
    let (mut rest, mut tail) = (rest, tail);
    while !rest.is_empty() {
        let width = panel_width(W, rest.len());
        let (panel, next) = tail.split_at_mut(depth * width);
        let target = &mut panel[row * width..][..width];
        let len = width.min(rest.len());
        for (t, &v) in target.iter_mut().zip(rest) {
            *t = v;
        }
        target[len..].iter_mut().for_each(|v| *v = 0.0);
        (rest, tail) = (&rest[len..], next);
    }
}

#[inline(always)]
fn copy_rows_body(
    data: &mut [f32],
    depth: usize,
    widest: usize,
    columns: usize,
    from: &[f32],
    row_stride: usize,
) {
    for row in 0..depth {
        set_row(data, depth, widest, row, &from[row * row_stride..][..columns]);
    }
}

dispatch! {
    fn copy_rows(
        data: &mut [f32], depth: usize, widest: usize, columns: usize, from: &[f32], row_stride: usize,
    ) => copy_rows_body, wide
}

#[inline(always)]
fn copy_strided_body(
    data: &mut [f32],
    depth: usize,
    widest: usize,
    columns: usize,
    from: &[f32],
    row_stride: usize,
    column_stride: usize,
) {
    let (mut at, mut data) = (0, data);
    while at < columns {
        let width = panel_width(widest, columns - at);
        let (panel, next) = data.split_at_mut(depth * width);
        let len = width.min(columns - at);
        for (row, target) in panel.chunks_exact_mut(width).enumerate() {
            let from = &from[at * column_stride + row * row_stride..];
            for (t, &v) in target[..len].iter_mut().zip(from.iter().step_by(column_stride)) {
                *t = v;
            }
            target[len..].fill(0.0);
        }
        at += width;
        data = next;
    }
}

dispatch! {
    fn copy_strided(
        data: &mut [f32], depth: usize, widest: usize, columns: usize, from: &[f32], row_stride: usize,
        column_stride: usize,
    ) => copy_strided_body
}

/// Rows of the left matrix, `row_stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_stride: usize,
}

/// The result: rows `stride` apart, each of which may be cut into runs of columns that do not follow each other.
pub(crate) struct Target<'a> {
    data: &'a mut [f32],
    stride: usize,
    /// The column that the first panel starts with.
    first: usize,
    /// Columns of a run.
    run: usize,
    /// From the start of a run to that of the next.
    run_stride: usize,
}

impl<'a> Target<'a> {
    /// Whole rows.
    pub(crate) fn rows(data: &'a mut [f32], stride: usize) -> Self {
        Self { data, stride, first: 0, run: usize::MAX, run_stride: 0 }
    }

    /// The columns `i · run ..` of the rows are a matrix of their own, with rows of `run` elements, which starts at
    /// `i · run_stride`.
    pub(crate) fn images(data: &'a mut [f32], run: usize, run_stride: usize) -> Self {
        Self { data, stride: run, first: 0, run, run_stride }
    }

    /// Where in a row the column is.
    #[inline(always)]
    fn place(&self, column: usize) -> Place {
        let (image, within) = (column / self.run, column % self.run);
        Place {
            start: image * self.run_stride + within,
            room: self.run - within,
            run: self.run,
            gap: self.run_stride.wrapping_sub(self.run),
        }
    }
}

/// Where in a row of the result the columns of a tile are.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    /// Columns that follow each other from there.
    room: usize,
    /// Columns of the runs that follow.
    run: usize,
    /// From the end of a run to the start of the next.
    gap: usize,
}

/// Whether this thread computes products here.
pub(crate) fn available() -> bool {
    current() != Isa::Portable
}

/// Columns that the tiles of a result compute beyond those that it has.
pub(crate) fn unused(columns: usize) -> usize {
    padded(widest(), columns) - columns
}

fn widest() -> usize {
    match current() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => 32,
        _ => 16,
    }
}

/// Copies the rectangle of these rows and columns of the right matrix into panels.
pub(crate) type Fill<'a> = &'a mut dyn FnMut(Range<usize>, Range<usize>, &mut Panels<'_>);

thread_local! {
    static PACKED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// `c = finish(start + a · b)` for an `a` of `m` × `k` and a `b` of `k` × `n`, which `fill` knows.
///
/// No dimension is zero. Panics when the slices are too short.
pub(crate) fn product(
    [m, k, n]: [usize; 3],
    a: Left<'_>,
    fill: Fill<'_>,
    c: &mut Target<'_>,
    start: Start<'_>,
    finish: Finish<'_>,
) {
    let widest = widest();
    let depth = k.div_ceil(k.div_ceil(BLOCK_DEPTH));
    let most = (BLOCK_FLOATS / depth.max(m)).max(256);
    let columns = n.div_ceil(n.div_ceil(most)).next_multiple_of(widest);
    let mut buffer = PACKED.take();
    let len = depth * padded(widest, columns.min(n));
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    for first in (0..n).step_by(columns) {
        let columns = columns.min(n - first);
        for top in (0..k).step_by(depth) {
            let depth = depth.min(k - top);
            let data = &mut buffer[..depth * padded(widest, columns)];
            let mut panels = Panels { data, depth, columns, widest };
            fill(top..top + depth, first..first + columns, &mut panels);
            let start = if top == 0 { start } else { Start::Result };
            let finish = if top + depth == k { finish } else { Finish::default() };
            let a = Left { data: &a.data[top..], ..a };
            let c = Target { data: c.data, first, ..*c };
            tiles::block(m, a, &panels, c, start, finish);
        }
    }
    PACKED.set(buffer);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + seed) % 1009) as f32 / 504.0 - 1.0).collect()
    }

    /// Every remainder of rows and columns, one and several blocks of depth, each start and each finish.
    #[test]
    fn tiles_of_every_shape_sum_the_same() {
        if available() {
            every_shape();
            crate::isa::NARROW.set(true);
            every_shape();
            crate::isa::NARROW.set(false);
        }
    }

    fn every_shape() {
        for (m, k, n) in
            [(1, 1, 1), (7, 5, 49), (9, 3, 40), (15, 1600, 33), (6, 20, 25), (13, 8, 300), (3, 770, 24)]
        {
            let (a, b, old) = (values(m * k, 1), values(k * n, 2), values(m * n, 3));
            let (bias, scale, shift) = (values(m, 4), values(m, 5), values(m, 6));
            for (from_result, transposed, finished) in [(false, false, true), (true, true, false)] {
                let (row, column) = if transposed { (1, k) } else { (n, 1) };
                let mut fill = |rows: Range<usize>, columns: Range<usize>, panels: &mut Panels<'_>| {
                    panels.copy(&b[rows.start * row + columns.start * column..], row, column);
                };
                let start = if from_result { Start::Result } else { Start::Rows(Some(&bias)) };
                let finish = Finish {
                    affine: finished.then_some((&scale, &shift)),
                    limits: finished.then_some((-0.5, 2.0)),
                };
                let mut got = old.clone();
                let mut target = Target::rows(&mut got, n);
                product([m, k, n], Left { data: &a, row_stride: k }, &mut fill, &mut target, start, finish);
                for i in 0..m {
                    for j in 0..n {
                        let first = if from_result { old[i * n + j] } else { bias[i] };
                        let sum = (0..k).fold(first, |s, t| a[i * k + t].mul_add(b[t * row + j * column], s));
                        let want = if finished { (sum * scale[i] + shift[i]).clamp(-0.5, 2.0) } else { sum };
                        assert_eq!(got[i * n + j], want, "{m} x {k} x {n}, element {i} {j}");
                    }
                }
            }
        }
    }

    /// Runs of every remainder, and of one column, within and across tiles.
    #[test]
    fn images_of_a_row_go_to_their_places() {
        if available() {
            every_run();
            crate::isa::NARROW.set(true);
            every_run();
            crate::isa::NARROW.set(false);
        }
    }

    fn every_run() {
        for (m, k, run, images) in [(9, 3, 1, 70), (3, 1600, 3, 13), (5, 4, 49, 9), (8, 770, 30, 12)] {
            let (a, b, n) = (values(m * k, 1), values(k * run * images, 2), run * images);
            let mut fill = |rows: Range<usize>, columns: Range<usize>, panels: &mut Panels<'_>| {
                panels.copy(&b[rows.start * n + columns.start..], n, 1);
            };
            // A row more in each image, which is not of the product.
            let stride = (m + 1) * run;
            let mut got = vec![f32::NAN; images * stride];
            let mut target = Target::images(&mut got, run, stride);
            let left = Left { data: &a, row_stride: k };
            product([m, k, n], left, &mut fill, &mut target, Start::Rows(None), Finish::default());
            for (i, got) in got.iter().enumerate() {
                let (image, row, column) = (i / stride, i % stride / run, i % run);
                if row == m {
                    assert!(got.is_nan(), "element {i}");
                    continue;
                }
                let column = image * run + column;
                let want = (0..k).fold(0.0f32, |s, t| a[row * k + t].mul_add(b[t * n + column], s));
                assert_eq!(*got, want, "{m} x {k}, images of {run}, element {i}");
            }
        }
    }
}
