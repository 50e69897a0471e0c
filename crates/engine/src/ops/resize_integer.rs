//! Interpolation of integers by Resize: linear as one truncated sum of float32 products, antialiased an axis at a time
//! with rounding, in fixed point for bytes.

use super::resize_axis::Blend;
use crate::args::Outcome;
use crate::pool::Workspace;
use crate::scalar::{Scalar, count};

/// Bits of a weight behind the point.
const POINT: u32 = 22;

/// An integer type that Resize interpolates.
pub(super) trait Integer: Scalar {
    /// Whether images with channels last are blended in fixed point.
    const BYTE: bool;
    /// Truncated, as a conversion in C does.
    fn truncated(v: f32) -> Self;
    fn to_f32(self) -> f32;
    fn to_i64(self) -> i64;
    /// The value, which lies between those of elements.
    fn of(v: i64) -> Self;
    /// `Σ w · x` over one antialiased window.
    fn weighted(taps: &[(usize, f32)], x: &[Self], stride: usize) -> Self;
}

macro_rules! integer {
    ($ty:ty, $sum:expr) => {
        impl Integer for $ty {
            const BYTE: bool = size_of::<$ty>() == 1;

            fn truncated(v: f32) -> Self {
                v as Self
            }

            fn to_f32(self) -> f32 {
                self as f32
            }

            fn to_i64(self) -> i64 {
                self.into()
            }

            fn of(v: i64) -> Self {
                v as Self
            }

            fn weighted(taps: &[(usize, f32)], x: &[Self], stride: usize) -> Self {
                $sum(taps.iter().map(|(i, w)| (x[i * stride], *w)))
            }
        }
    };
}

macro_rules! fixed {
    ($ty:ty) => {
        |products: std::iter::Map<_, _>| {
            let mut sum = 1i64 << (POINT - 1);
            for (v, w) in products {
                let w: f32 = w;
                sum += i64::from(v) * (w * (1u32 << POINT) as f32).round() as i64;
            }
            (sum >> POINT).clamp(<$ty>::MIN.into(), <$ty>::MAX.into()) as $ty
        }
    };
}

integer!(u8, fixed!(u8));
integer!(i8, fixed!(i8));
integer!(i32, |products: std::iter::Map<_, _>| {
    let mut sum = 0.0f32;
    for (v, w) in products {
        let (v, w): (i32, f32) = (v, w);
        sum += v as f32 * w;
    }
    sum.round() as i32
});

/// Every axis at once; `blends` has two taps for each place of an axis, or is `None` where an axis keeps its elements.
pub(super) fn linear<T: Integer>(
    x: &[T],
    shape: &[usize],
    to: &[usize],
    blends: &[Option<Blend>],
    ws: &mut Workspace,
) -> Outcome<Vec<T>> {
    let mut out = T::buffer(ws, count(to)?)?;
    let strides: Vec<usize> = crate::strided::strides(shape).into_iter().map(|s| s as usize).collect();
    let tables: Vec<Vec<Vec<(usize, f32)>>> = blends
        .iter()
        .zip(to)
        .map(|(blend, m)| match blend {
            Some(blend) => blend.taps().map(<[_]>::to_vec).collect(),
            None => (0..*m).map(|i| vec![(i, 1.0)]).collect(),
        })
        .collect();
    let mut index = vec![0usize; to.len()];
    let mut corners: Vec<(usize, f32)> = Vec::new();
    for o in &mut out {
        corners.clear();
        corners.push((0, 1.0));
        // The last axis varies fastest, and its weights come first in the products.
        for ((table, i), stride) in tables.iter().zip(&index).zip(&strides).rev() {
            let taps = &table[*i];
            let inner = corners.len();
            for (place, weight) in &taps[1..] {
                for k in 0..inner {
                    let (at, w) = corners[k];
                    corners.push((at + place * stride, w * weight));
                }
            }
            let (place, weight) = taps[0];
            corners[..inner].iter_mut().for_each(|(at, w)| (*at, *w) = (*at + place * stride, *w * weight));
        }
        *o = T::truncated(corners.iter().fold(0.0f32, |sum, (at, w)| sum + w * x[*at].to_f32()));
        for (i, m) in index.iter_mut().zip(to).rev() {
            *i += 1;
            if *i < *m {
                break;
            }
            *i = 0;
        }
    }
    Ok(out)
}

/// Images of `[batch, height, width, channels]` whose rows and columns come from `places`; weights have ten bits behind
/// the point.
pub(super) fn fixed_linear<T: Integer>(
    x: &[T],
    shape: &[usize],
    to: &[usize],
    places: &[Vec<f32>; 2],
    ws: &mut Workspace,
) -> Outcome<Vec<T>> {
    const ONE: i64 = 1 << 10;
    let table = |places: &[f32], n: usize| -> Vec<[(usize, i64); 2]> {
        let tap = |p: &f32| {
            let p = p.clamp(0.0, n as f32 - 1.0);
            let (low, fixed) = (p as usize, (p * ONE as f32) as i64);
            if low + 1 < n {
                let t = fixed - low as i64 * ONE;
                [(low, ONE - t), (low + 1, t)]
            } else {
                [(n - 1, ONE / 2); 2]
            }
        };
        places.iter().map(tap).collect()
    };
    let (&[_, h, w, c], &[batch, oh, ow, _]) = (shape, to) else {
        return Err(format!("an input of shape {shape:?} is not an image with channels last"));
    };
    let (rows, columns) = (table(&places[0], h), table(&places[1], w));
    let mut out = T::buffer(ws, count(to)?)?;
    let mut results = out.iter_mut();
    for image in x.chunks_exact((h * w * c).max(1)).take(batch) {
        for row in &rows[..oh] {
            for column in &columns[..ow] {
                for (k, o) in results.by_ref().take(c).enumerate() {
                    let mut sum = 0;
                    for (i, a) in row {
                        for (j, b) in column {
                            sum += a * b * image[(i * w + j) * c + k].to_i64();
                        }
                    }
                    *o = T::of(sum / (ONE * ONE));
                }
            }
        }
    }
    Ok(out)
}

/// One antialiased axis: the middle of `[outer, n, inner]`.
pub(super) fn antialias<T: Integer>(blend: &Blend, x: &[T], [n, inner]: [usize; 2], out: &mut [T]) {
    let to = out.len() / (x.len() / (n * inner)).max(1);
    for (x, out) in x.chunks_exact(n * inner).zip(out.chunks_exact_mut(to.max(1))) {
        for (taps, out) in blend.taps().zip(out.chunks_exact_mut(inner)) {
            for (k, o) in out.iter_mut().enumerate() {
                *o = T::weighted(taps, &x[k..], inner);
            }
        }
    }
}
