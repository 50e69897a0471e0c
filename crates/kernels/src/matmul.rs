//! Matrix products, single-threaded: in our register tiles where they fit, else on the `gemm` crate.

use std::ops::Range;

use gemm::Parallelism;

use crate::product::{self, Finish, Left, Panels, Start, Target};

/// With fewer rows, packing the right matrix costs more than it saves.
const FEW_ROWS: usize = 8;

/// A matrix inside a slice: element `(i, j)` is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a> {
    data: &'a [f32],
    row_stride: usize,
    col_stride: usize,
}

impl<'a> MatRef<'a> {
    /// A row-major matrix with `cols` columns.
    pub fn row_major(data: &'a [f32], cols: usize) -> Self {
        Self { data, row_stride: cols, col_stride: 1 }
    }

    /// The transpose of a row-major matrix with `cols` columns.
    pub fn transposed(data: &'a [f32], cols: usize) -> Self {
        Self { data, row_stride: 1, col_stride: cols }
    }

    /// A matrix with any strides, in elements.
    pub fn strided(data: &'a [f32], row_stride: usize, col_stride: usize) -> Self {
        Self { data, row_stride, col_stride }
    }

    /// Whether a `rows` × `cols` matrix lies inside the slice.
    fn holds(&self, rows: usize, cols: usize) -> bool {
        span(rows, cols, self.row_stride, self.col_stride).is_some_and(|n| n <= self.data.len())
    }
}

/// Elements from the first to the last of a strided matrix; `None` when that overflows the address space.
fn span(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Option<usize> {
    if rows == 0 || cols == 0 {
        return Some(0);
    }
    let last = (rows - 1).checked_mul(row_stride)?.checked_add((cols - 1).checked_mul(col_stride)?)?;
    last.checked_add(1).filter(|&n| isize::try_from(n).is_ok())
}

/// `c = alpha * a @ b + beta * c` with `a` of `m` × `k`, `b` of `k` × `n`, and `c` of `m` × `n` in rows of
/// `c_stride` elements. With `beta == 0` the old content of `c` is not read.
///
/// Panics when a matrix does not lie inside its slice or `c_stride < n`.
#[allow(clippy::too_many_arguments, reason = "the usual signature of a matrix product")]
pub fn matmul_into(
    m: usize,
    k: usize,
    n: usize,
    a: MatRef<'_>,
    b: MatRef<'_>,
    c: &mut [f32],
    c_stride: usize,
    alpha: f32,
    beta: f32,
) {
    assert!(a.holds(m, k), "left matrix of {m} x {k} exceeds its slice");
    assert!(b.holds(k, n), "right matrix of {k} x {n} exceeds its slice");
    assert!(c_stride >= n, "rows of the product overlap");
    assert!(span(m, n, c_stride, 1).is_some_and(|s| s <= c.len()), "product of {m} x {n} exceeds its slice");
    if m == 0 || n == 0 {
        return;
    }
    if k > 0
        && m >= FEW_ROWS
        && a.col_stride == 1
        && alpha == 1.0
        && (beta == 0.0 || beta == 1.0)
        && product::available()
    {
        let mut fill = |rows: Range<usize>, columns: Range<usize>, panels: &mut Panels<'_>| {
            let first = rows.start * b.row_stride + columns.start * b.col_stride;
            panels.copy(&b.data[first..], b.row_stride, b.col_stride);
        };
        let left = Left { data: a.data, row_stride: a.row_stride };
        let start = if beta == 0.0 { Start::Rows(None) } else { Start::Result };
        let mut target = Target::rows(c, c_stride);
        return product::product([m, k, n], left, &mut fill, &mut target, start, Finish::default());
    }
    #[allow(unsafe_code)]
    // SAFETY: the assertions above put every element that the strides can reach inside the three slices, whose
    // strides therefore fit `isize`; rows of `c` do not overlap, and `c` is borrowed exclusively, so it aliases
    // neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            c_stride as isize,
            beta != 0.0,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            beta,
            alpha,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// `c = alpha * a @ b + beta * c` for a dense row-major `c` of `m` × `n`.
#[allow(clippy::too_many_arguments, reason = "the usual signature of a matrix product")]
pub fn matmul(
    m: usize,
    k: usize,
    n: usize,
    a: MatRef<'_>,
    b: MatRef<'_>,
    c: &mut [f32],
    alpha: f32,
    beta: f32,
) {
    assert_eq!(c.len(), m * n, "product of {m} x {n}");
    matmul_into(m, k, n, a, b, c, n, alpha, beta);
}

/// Matrix products over the leading axes with numpy broadcasting: `a` is `[a_batch.., m, k]`, `b` is
/// `[b_batch.., k, n]`, `c` is `[broadcast(a_batch, b_batch).., m, n]`, all dense and row-major.
///
/// Panics when the batch shapes do not broadcast or a length contradicts its shape.
#[allow(clippy::too_many_arguments, reason = "the usual signature of a matrix product")]
pub fn matmul_batched(
    a_batch: &[usize],
    b_batch: &[usize],
    m: usize,
    k: usize,
    n: usize,
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
) {
    let (a_count, b_count) = (a_batch.iter().product::<usize>(), b_batch.iter().product::<usize>());
    assert_eq!(a.len(), a_count * m * k, "left operand");
    assert_eq!(b.len(), b_count * k * n, "right operand");
    if b_count == 1 && a_batch.len() >= b_batch.len() {
        // One right matrix for all: the left ones are a single tall matrix.
        let rows = a_count * m;
        return matmul(rows, k, n, MatRef::row_major(a, k), MatRef::row_major(b, n), c, 1.0, 0.0);
    }
    let shape = crate::broadcast::broadcast_shape(a_batch, b_batch).expect("batch shapes broadcast");
    let count: usize = shape.iter().product();
    assert_eq!(c.len(), count * m * n, "product");
    let a_strides = crate::broadcast::strides_in(a_batch, &shape);
    let b_strides = crate::broadcast::strides_in(b_batch, &shape);
    for i in 0..count {
        let (ai, bi) = crate::broadcast::offsets(i, &shape, &a_strides, &b_strides);
        let left = MatRef::row_major(&a[ai * m * k..][..m * k], k);
        let right = MatRef::row_major(&b[bi * k * n..][..k * n], n);
        matmul(m, k, n, left, right, &mut c[i * m * n..][..m * n], 1.0, 0.0);
    }
}

/// Adds the second moments of the rows of `x`, `[rows, k]`, to `acc`, `[k, k]`: `acc += xᵀ x`.
pub fn syrk_accumulate(x: &[f32], k: usize, acc: &mut [f32]) {
    assert_eq!(acc.len(), k * k, "second moments of {k} columns");
    if k == 0 {
        return;
    }
    assert_eq!(x.len() % k, 0, "rows of {k} columns");
    let rows = x.len() / k;
    matmul(k, rows, k, MatRef::transposed(x, k), MatRef::row_major(x, k), acc, 1.0, 1.0);
}
