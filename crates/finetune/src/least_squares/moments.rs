//! Second moments of the inputs `x` of a layer and of what its float weights leave, `d = y − Wx`.

use rayon::prelude::*;
use shiftwise_kernels::matmul::{MatRef, matmul_into};
use shiftwise_kernels::moments::{add_moments, add_rows, shift};
use shiftwise_kernels::stats::channel_stats;

use super::Geometry;

/// Positions that are added at once.
pub(super) const CHUNK: usize = 768;
/// From one row of a chunk to the next; with a whole multiple of the cache's ways, columns would evict each other.
pub(super) const STRIDE: usize = CHUNK + 16;
/// Rows and columns of a square that is transposed at once.
const TILE: usize = 32;
/// Groups up to this size are summed without a matrix product.
const NARROW: usize = 32;

/// Sums over positions. Every sum is taken about a pivot, so that a mean far from zero does not swallow the variance.
pub(super) struct Moments {
    geometry: Geometry,
    count: u64,
    /// About the means of the first chunk, of `x` and of `d`.
    pivot: Option<[Vec<f32>; 2]>,
    sum_x: Vec<f64>,
    sum_d: Vec<f64>,
    square_d: Vec<f64>,
    sum_y: Vec<f64>,
    square_y: Vec<f64>,
    /// `Σ x xᵀ` of each group, `[inputs, inputs]`; blocks below the diagonal are not filled.
    a: Vec<f32>,
    /// `Σ d xᵀ` of each group, `[outputs, inputs]`.
    b: Vec<f32>,
}

/// Centred moments: means, and means of products of what differs from the mean.
pub(super) struct Centred {
    pub(super) mean_x: Vec<f64>,
    pub(super) mean_d: Vec<f64>,
    /// `E[d²]` of each output channel.
    pub(super) square_d: Vec<f64>,
    /// `E[y²]`, summed over all output channels.
    pub(super) signal: f64,
    /// `E[x xᵀ]` of each group.
    pub(super) a: Vec<f32>,
    /// `E[d xᵀ]` of each group.
    pub(super) b: Vec<f32>,
}

/// The data contains infinity or NaN.
pub(super) struct NonFinite;

impl Moments {
    /// All moments.
    pub(super) fn new(geometry: Geometry) -> Self {
        let Geometry { groups, outputs, inputs, .. } = geometry;
        Self {
            a: vec![0.0; groups * inputs * inputs],
            b: vec![0.0; groups * outputs * inputs],
            ..Self::of_outputs(geometry)
        }
    }

    /// Only those of the outputs.
    pub(super) fn of_outputs(geometry: Geometry) -> Self {
        let Geometry { groups, outputs, inputs, .. } = geometry;
        let zeros = |n: usize| vec![0.0; n];
        Self {
            geometry,
            count: 0,
            pivot: None,
            sum_x: zeros(groups * inputs),
            sum_d: zeros(groups * outputs),
            square_d: zeros(groups * outputs),
            sum_y: zeros(groups * outputs),
            square_y: zeros(groups * outputs),
            a: Vec::new(),
            b: Vec::new(),
        }
    }

    /// Bytes that the moments take, at their most.
    pub(super) fn bytes(geometry: &Geometry) -> Option<usize> {
        let matrix = geometry.inputs.checked_add(geometry.outputs)?.checked_mul(geometry.inputs)?;
        let chunk = (2 * geometry.inputs + geometry.outputs).checked_mul(STRIDE)?;
        matrix.checked_add(chunk)?.checked_mul(geometry.groups)?.checked_mul(4)
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds `n` positions: rows of `x`, `[groups · inputs]`, and of `y`, `[groups · outputs]`, both [`STRIDE`] apart.
    /// Overwrites both. `minus_w` is the negated weights, `[group, output, input]`.
    pub(super) fn add(
        &mut self,
        x: &mut [f32],
        y: &mut [f32],
        n: usize,
        minus_w: &[f32],
    ) -> Result<(), NonFinite> {
        if n == 0 {
            return Ok(());
        }
        y.par_chunks(STRIDE)
            .zip(self.sum_y.par_iter_mut())
            .zip(self.square_y.par_iter_mut())
            .with_min_len(16)
            .for_each(|((row, sum), square)| {
                let stats = channel_stats(&row[..n]);
                *sum += stats.sum;
                *square += stats.sum_sq;
            });
        self.subtract_product(x, y, n, minus_w);
        let [pivot_x, pivot_d] = self.pivot.get_or_insert_with(|| [means(x, n), means(y, n)]);
        let finite = shift_rows(x, pivot_x, n, &mut self.sum_x, None);
        if !finite || !shift_rows(y, pivot_d, n, &mut self.sum_d, Some(&mut self.square_d)) {
            return Err(NonFinite);
        }
        self.count += n as u64;
        if self.a.is_empty() {
            return Ok(());
        }
        if self.geometry.inputs <= NARROW && self.geometry.outputs <= 4 {
            self.add_narrow(x, y, n);
        } else {
            self.add_wide(x, y, n);
        }
        Ok(())
    }

    /// `y −= W x`.
    fn subtract_product(&self, x: &[f32], y: &mut [f32], n: usize, minus_w: &[f32]) {
        let Geometry { outputs, inputs, .. } = self.geometry;
        // Whether bits are the same must not hang on the number of threads: bands are cut by the shape alone.
        let band = outputs.min(64);
        for_bands(y, outputs, STRIDE, band, |group, first, y| {
            let x = &x[group * inputs * STRIDE..][..inputs * STRIDE];
            let w = &minus_w[(group * outputs + first) * inputs..];
            let rows = y.len() / STRIDE;
            if inputs <= NARROW && outputs <= 4 {
                for (y, w) in y.chunks_mut(STRIDE).zip(w.chunks(inputs)) {
                    add_rows(w, x, STRIDE, &mut y[..n]);
                }
            } else {
                let (w, x) = (MatRef::row_major(w, inputs), MatRef::row_major(x, STRIDE));
                matmul_into(rows, inputs, n, w, x, y, STRIDE, 1.0, 1.0);
            }
        });
    }

    fn add_narrow(&mut self, x: &[f32], d: &[f32], n: usize) {
        let Geometry { outputs, inputs, .. } = self.geometry;
        let a = self.a.par_chunks_mut(inputs * inputs);
        let b = self.b.par_chunks_mut(outputs * inputs);
        let groups = a.zip(b).zip(x.par_chunks(inputs * STRIDE)).zip(d.par_chunks(outputs * STRIDE));
        groups.with_min_len(4).for_each(|(((a, b), x), d)| {
            add_moments(x, d, STRIDE, n, inputs, a, b);
        });
    }

    fn add_wide(&mut self, x: &[f32], d: &[f32], n: usize) {
        let Geometry { outputs, inputs, .. } = self.geometry;
        let band = band(inputs);
        // Every band packs the right matrix anew, which is fast where its rows lie in one piece.
        let mut columns = vec![0.0; x.len() / STRIDE * n];
        let tiles = |(group, columns): (usize, &mut [f32])| {
            let x = &x[group * inputs * STRIDE..][..inputs * STRIDE];
            columns.par_chunks_mut(TILE * inputs).enumerate().for_each(|(i, tile)| {
                for (k, row) in x.chunks(STRIDE).enumerate() {
                    for (value, &from) in tile[k..].iter_mut().step_by(inputs).zip(&row[i * TILE..]) {
                        *value = from;
                    }
                }
            });
        };
        columns.par_chunks_mut(inputs * n).enumerate().for_each(tiles);
        for_bands(&mut self.a, inputs, inputs, band, |group, first, a| {
            let left = MatRef::row_major(&x[(group * inputs + first) * STRIDE..], STRIDE);
            let right = MatRef::row_major(&columns[group * inputs * n + first..], inputs);
            let rows = a.len() / inputs;
            matmul_into(rows, n, inputs - first, left, right, &mut a[first..], inputs, 1.0, 1.0);
        });
        for_bands(&mut self.b, outputs, inputs, outputs.min(band), |group, first, b| {
            let left = MatRef::row_major(&d[(group * outputs + first) * STRIDE..], STRIDE);
            let right = MatRef::row_major(&columns[group * inputs * n..], inputs);
            let rows = b.len() / inputs;
            matmul_into(rows, n, inputs, left, right, b, inputs, 1.0, 1.0);
        });
    }

    /// The variance of `d`, summed over the output channels: what the best bias leaves.
    pub(super) fn variance(&self) -> f64 {
        let n = self.count.max(1) as f64;
        self.square_d.iter().zip(&self.sum_d).map(|(q, s)| (q / n - (s / n).powi(2)).max(0.0)).sum()
    }

    /// The centred moments; `None` when there are none, or they exceed single precision.
    pub(super) fn finish(self) -> Option<Centred> {
        let Geometry { groups, outputs, inputs, .. } = self.geometry;
        let [pivot_x, pivot_d] = self.pivot?;
        let n = self.count as f64;
        let over = |sums: &[f64]| -> Vec<f64> { sums.iter().map(|s| s / n).collect() };
        let (mean_x, mean_d) = (over(&self.sum_x), over(&self.sum_d));
        let (mut a, mut b) = (self.a, self.b);
        for group in 0..groups {
            let mean = &mean_x[group * inputs..][..inputs];
            let a = &mut a[group * inputs * inputs..][..inputs * inputs];
            a.par_chunks_mut(inputs).enumerate().for_each(|(i, row)| {
                for j in i..inputs {
                    row[j] = (f64::from(row[j]) / n - mean[i] * mean[j]) as f32;
                }
                row[i] = row[i].max(0.0);
            });
            mirror(a, inputs);
            let b = &mut b[group * outputs * inputs..][..outputs * inputs];
            for (row, &d) in b.chunks_mut(inputs).zip(&mean_d[group * outputs..]) {
                for (value, &x) in row.iter_mut().zip(mean) {
                    *value = (f64::from(*value) / n - d * x) as f32;
                }
            }
        }
        let square_d: Vec<f64> =
            over(&self.square_d).iter().zip(&mean_d).map(|(q, m)| (q - m * m).max(0.0)).collect();
        let variances = over(&self.square_y).into_iter().zip(over(&self.sum_y)).map(|(q, m)| q - m * m);
        let signal = variances.map(|v| v.max(0.0)).sum();
        // No product of two exceeds the squares of both.
        let diagonals = a.chunks(inputs * inputs).flat_map(|a| a.iter().step_by(inputs + 1));
        let mut finite = diagonals.chain(&b).all(|v| v.is_finite());
        finite &= square_d.iter().all(|v| v.is_finite() && *v < f64::from(f32::MAX));
        let about = |mean: Vec<f64>, pivot: &[f32]| {
            mean.iter().zip(pivot).map(|(m, &p)| m + f64::from(p)).collect::<Vec<f64>>()
        };
        let (mean_x, mean_d) = (about(mean_x, &pivot_x), about(mean_d, &pivot_d));
        finite.then_some(Centred { mean_x, mean_d, square_d, signal, a, b })
    }
}

/// Rows of a band of `Σ x xᵀ`: wide enough that packing the right matrix does not show, narrow enough to split.
fn band(inputs: usize) -> usize {
    (inputs / 8).next_multiple_of(32).clamp(96, 384)
}

/// Calls `f(group, first row of the band, rows of the band)` for bands of at most `band` rows of each group's matrix
/// of `rows` × `stride`, in parallel.
fn for_bands(
    data: &mut [f32],
    rows: usize,
    stride: usize,
    band: usize,
    f: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    let group = |(group, data): (usize, &mut [f32])| {
        data.par_chunks_mut(band * stride).enumerate().for_each(|(i, data)| f(group, i * band, data));
    };
    data.par_chunks_mut(rows * stride).enumerate().for_each(group);
}

/// Copies what is above the diagonal below it.
fn mirror(a: &mut [f32], size: usize) {
    for top in (0..size).step_by(TILE) {
        for left in (0..=top).step_by(TILE) {
            for i in top..(top + TILE).min(size) {
                for j in left..(left + TILE).min(i) {
                    a[i * size + j] = a[j * size + i];
                }
            }
        }
    }
}

/// The mean of each row's first `n` values.
fn means(rows: &[f32], n: usize) -> Vec<f32> {
    rows.par_chunks(STRIDE).map(|row| (channel_stats(&row[..n]).sum / n as f64) as f32).collect()
}

/// Subtracts the pivots and adds up what is left, and its squares. Whether all of it is finite.
fn shift_rows(
    rows: &mut [f32],
    pivot: &[f32],
    n: usize,
    sum: &mut [f64],
    square: Option<&mut [f64]>,
) -> bool {
    let rows = rows.par_chunks_mut(STRIDE).zip(pivot).zip(sum).with_min_len(16);
    let one = |((row, &pivot), total): ((&mut [f32], &f32), &mut f64)| {
        shift(&mut row[..n], pivot);
        let stats = channel_stats(&row[..n]);
        *total += stats.sum;
        (stats.nan == 0 && stats.inf == 0, stats.sum_sq)
    };
    match square {
        None => rows.map(|row| one(row).0).reduce(|| true, |a, b| a && b),
        Some(square) => rows
            .zip(square)
            .map(|(row, square)| {
                let (finite, sum_sq) = one(row);
                *square += sum_sq;
                finite
            })
            .reduce(|| true, |a, b| a && b),
    }
}
