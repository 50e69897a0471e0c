//! Matrix products of integers, exact modulo 2³².

#[inline(always)]
fn product_body(m: usize, k: usize, n: usize, a: &[i32], b: &[i32], c: &mut [i32], c_stride: usize) {
    for i in 0..m {
        let out = &mut c[i * c_stride..][..n];
        let (pairs, last) = a[i * k..][..k].as_chunks::<4>();
        for (p, w) in pairs.iter().enumerate() {
            let rows = &b[p * 4 * n..][..4 * n];
            let (r0, rest) = rows.split_at(n);
            let (r1, rest) = rest.split_at(n);
            let (r2, r3) = rest.split_at(n);
            for ((((o, a), b), c), d) in out.iter_mut().zip(r0).zip(r1).zip(r2).zip(r3) {
                let left = w[0].wrapping_mul(*a).wrapping_add(w[1].wrapping_mul(*b));
                let right = w[2].wrapping_mul(*c).wrapping_add(w[3].wrapping_mul(*d));
                *o = o.wrapping_add(left).wrapping_add(right);
            }
        }
        for (p, w) in last.iter().enumerate() {
            let row = &b[(k - last.len() + p) * n..][..n];
            out.iter_mut().zip(row).for_each(|(o, v)| *o = o.wrapping_add(w.wrapping_mul(*v)));
        }
    }
}

dispatch! {
    fn product(m: usize, k: usize, n: usize, a: &[i32], b: &[i32], c: &mut [i32], c_stride: usize) => product_body
}

/// `c += a @ b` with `a` of `m` × `k` and `b` of `k` × `n`, dense and row-major, and `c` of `m` × `n` in rows of
/// `c_stride` elements. Sums wrap around.
///
/// Panics when a matrix does not lie inside its slice or `c_stride < n`.
pub fn matmul_add(m: usize, k: usize, n: usize, a: &[i32], b: &[i32], c: &mut [i32], c_stride: usize) {
    assert_eq!(a.len(), m * k, "left matrix");
    assert_eq!(b.len(), k * n, "right matrix");
    assert!(c_stride >= n, "rows of the product overlap");
    if m > 0 && n > 0 && k > 0 {
        product(m, k, n, a, b, c, c_stride);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_exact_and_wrap() {
        for k in 1..10 {
            let (m, n) = (3, 5);
            let a: Vec<i32> = (0..m * k).map(|i| i as i32 * 7 - 20).collect();
            let b: Vec<i32> = (0..k * n).map(|i| 13 - i as i32 * 3).collect();
            let mut c = vec![1; m * 6];
            matmul_add(m, k, n, &a, &b, &mut c, 6);
            for i in 0..m {
                for j in 0..n {
                    let want: i32 = (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
                    assert_eq!(c[i * 6 + j], want + 1, "{k} {i} {j}");
                }
                assert_eq!(c[i * 6 + 5], 1);
            }
        }
        let mut c = [1];
        matmul_add(1, 1, 1, &[i32::MAX], &[2], &mut c, 1);
        assert_eq!(c, [-1]);
    }
}
