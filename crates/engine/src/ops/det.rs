//! Det.

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, results};
use crate::number::{Number, each_real};
use crate::scalar::{slice, value};

pub(super) const OPS: &[Op] = &[Op::float("Det", compile)];

fn compile(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, _| {
        let x = args.value(0)?;
        let &[ref batch @ .., rows, cols] = x.shape() else {
            return Err(format!("its input of shape {:?} is not a matrix", x.shape()));
        };
        if rows != cols {
            return Err(format!("its matrices of {rows} x {cols} are not square"));
        }
        each_real!(x, a => value(batch, determinants(slice(a), rows, batch.iter().product())))
            .map(|v| results![v])
    }))
}

fn determinants<T: Number>(x: &[T], n: usize, matrices: usize) -> Vec<T> {
    let matrix = |i: usize| x[i * n * n..][..n * n].iter().map(|v| v.real()).collect();
    (0..matrices).map(|i| T::of(determinant(matrix(i), n))).collect()
}

/// By elimination with partial pivoting.
fn determinant(mut m: Vec<f64>, n: usize) -> f64 {
    let mut product = 1.0;
    for c in 0..n {
        let pivot = (c..n).fold(c, |p, r| if m[r * n + c].abs() > m[p * n + c].abs() { r } else { p });
        if m[pivot * n + c] == 0.0 {
            return 0.0;
        }
        if pivot != c {
            (0..n).for_each(|k| m.swap(pivot * n + k, c * n + k));
            product = -product;
        }
        product *= m[c * n + c];
        for r in c + 1..n {
            let factor = m[r * n + c] / m[c * n + c];
            for k in c..n {
                m[r * n + k] -= factor * m[c * n + k];
            }
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::determinant;

    #[test]
    fn rows_may_change_places() {
        assert_eq!(determinant(vec![0.0, 2.0, 3.0, 4.0], 2), -6.0);
        assert_eq!(determinant(vec![1.0, 2.0, 2.0, 4.0], 2), 0.0);
        assert_eq!(determinant(vec![], 0), 1.0);
    }
}
