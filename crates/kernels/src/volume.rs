//! Windows that slide over volumes of up to three dimensions, of any element type: what pooling, convolution by
//! unfolding and folding need where the two-dimensional kernels do not reach.

use std::ops::AddAssign;

/// Geometry of a window of `kernel` taps, `dilation` apart, that moves by `stride` over a volume of `size`, which
/// `begin` elements of padding precede. Axes that are not there have size, kernel, stride and dilation one.
///
/// The output size is given, not computed, because ceil mode lets windows overhang the padded volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Input size.
    pub size: [usize; 3],
    /// Output size.
    pub out: [usize; 3],
    /// Taps along each axis, at least one.
    pub kernel: [usize; 3],
    /// Strides, at least one.
    pub stride: [usize; 3],
    /// Dilations, at least one.
    pub dilation: [usize; 3],
    /// Padding before the volume.
    pub begin: [usize; 3],
}

/// The taps of one window along one axis that lie inside the volume.
#[derive(Clone, Copy, Debug)]
struct Taps {
    /// Place of the first on the axis.
    first: usize,
    count: usize,
}

impl Volume {
    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.size.iter().product()
    }

    /// Windows.
    pub fn output_len(&self) -> usize {
        self.out.iter().product()
    }

    /// Taps of a window.
    pub fn kernel_len(&self) -> usize {
        self.kernel.iter().product()
    }

    fn check(&self) {
        let positive = self.kernel.iter().chain(&self.stride).chain(&self.dilation).all(|s| *s > 0);
        assert!(positive, "{self:?}");
    }

    /// The taps inside the volume of one window after the other along an axis.
    fn taps(&self, axis: usize) -> impl Iterator<Item = Taps> {
        let (stride, dilation) = (self.stride[axis], self.dilation[axis]);
        let (begin, size, kernel) = (self.begin[axis], self.size[axis], self.kernel[axis]);
        (0..self.out[axis]).map(move |o| {
            let start = o * stride;
            let skipped = begin.saturating_sub(start).div_ceil(dilation).min(kernel);
            // The first tap behind the volume.
            let end = (size + begin).saturating_sub(start).div_ceil(dilation).min(kernel);
            let count = end.saturating_sub(skipped);
            Taps { first: if count > 0 { start + skipped * dilation - begin } else { 0 }, count }
        })
    }

    /// Calls `f` with each window in order: its number, and a function that calls another with the place of each of
    /// its elements inside the volume, in row-major order.
    ///
    /// Panics when the geometry has a zero.
    pub fn windows(&self, mut f: impl FnMut(usize, &dyn Fn(&mut dyn FnMut(usize)))) {
        self.check();
        let [dz, dy, dx] = self.dilation;
        let [_, h, w] = self.size;
        let mut number = 0;
        for tz in self.taps(0) {
            for ty in self.taps(1) {
                for tx in self.taps(2) {
                    f(number, &|visit| {
                        for i in 0..tz.count {
                            for j in 0..ty.count {
                                let row = ((tz.first + i * dz) * h + ty.first + j * dy) * w;
                                (0..tx.count).for_each(|k| visit(row + tx.first + k * dx));
                            }
                        }
                    });
                    number += 1;
                }
            }
        }
    }

    /// How many taps of each window along an axis count for a mean that includes padding, of which `end` elements
    /// follow the volume.
    pub fn padded_taps(&self, axis: usize, end: usize) -> Vec<usize> {
        let padded = self.begin[axis] + self.size[axis] + end;
        let window = |o: usize| {
            padded.saturating_sub(o * self.stride[axis]).div_ceil(self.dilation[axis]).min(self.kernel[axis])
        };
        (0..self.out[axis]).map(window).collect()
    }

    /// Unfolds one channel: a row of all windows for each tap, `outside` where a tap is outside the volume.
    ///
    /// Panics when a length contradicts the geometry.
    pub fn unfold<T: Copy>(&self, channel: &[T], outside: T, columns: &mut [T]) {
        self.check();
        assert_eq!(channel.len(), self.input_len(), "input of {self:?}");
        assert_eq!(columns.len(), self.kernel_len() * self.output_len(), "columns of {self:?}");
        if self.output_len() == 0 {
            return;
        }
        for (tap, row) in columns.chunks_exact_mut(self.output_len()).enumerate() {
            self.each_line(tap, |out, line| {
                let out = &mut row[out * self.out[2]..][..self.out[2]];
                let Some((base, lo, hi, start)) = line else { return out.fill(outside) };
                out[..lo].fill(outside);
                out[hi..].fill(outside);
                let from = channel[base..base + self.size[2]].iter().skip(start).step_by(self.stride[2]);
                out[lo..hi].iter_mut().zip(from).for_each(|(o, v)| *o = *v);
            });
        }
    }

    /// Adds every element of unfolded windows to the element of the channel that it stands for: the adjoint of
    /// [`Volume::unfold`].
    ///
    /// Panics when a length contradicts the geometry.
    pub fn fold_add<T: Copy + AddAssign>(&self, columns: &[T], channel: &mut [T]) {
        self.check();
        assert_eq!(channel.len(), self.input_len(), "input of {self:?}");
        assert_eq!(columns.len(), self.kernel_len() * self.output_len(), "columns of {self:?}");
        if self.output_len() == 0 {
            return;
        }
        for (tap, row) in columns.chunks_exact(self.output_len()).enumerate() {
            self.each_line(tap, |out, line| {
                let Some((base, lo, hi, start)) = line else { return };
                let from = &row[out * self.out[2]..][lo..hi];
                let to = channel[base..base + self.size[2]].iter_mut().skip(start).step_by(self.stride[2]);
                to.zip(from).for_each(|(o, v)| *o += *v);
            });
        }
    }

    /// Calls `f` for each line of windows with what one tap reads there: the offset of the line of the volume, the
    /// windows `[lo, hi)` that read inside of it, and the place that the first of them reads.
    fn each_line(&self, tap: usize, mut f: impl FnMut(usize, Option<(usize, usize, usize, usize)>)) {
        let [_, ky, kx] = self.kernel;
        let place = [tap / (ky * kx), tap / kx % ky, tap % kx];
        let inside = |axis: usize, o: usize| {
            let at = o * self.stride[axis] + place[axis] * self.dilation[axis];
            at.checked_sub(self.begin[axis]).filter(|at| *at < self.size[axis])
        };
        let (offset, stride) = (place[2] * self.dilation[2], self.stride[2]);
        let (lo, hi) = crate::conv::valid_range(self.size[2], self.out[2], stride, offset, self.begin[2]);
        for oz in 0..self.out[0] {
            for oy in 0..self.out[1] {
                let line = match (inside(0, oz), inside(1, oy)) {
                    (Some(z), Some(y)) if lo < hi => {
                        let base = (z * self.size[1] + y) * self.size[2];
                        Some((base, lo, hi, lo * stride + offset - self.begin[2]))
                    }
                    _ => None,
                };
                f(oz * self.out[1] + oy, line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: Volume = Volume {
        size: [3, 4, 5],
        out: [2, 3, 3],
        kernel: [2, 3, 2],
        stride: [2, 1, 2],
        dilation: [1, 1, 2],
        begin: [1, 0, 1],
    };

    #[test]
    fn unfolding_agrees_with_the_windows() {
        let channel: Vec<usize> = (1..=60).collect();
        let mut columns = vec![9; VOLUME.kernel_len() * VOLUME.output_len()];
        VOLUME.unfold(&channel, 0, &mut columns);
        VOLUME.windows(|number, each| {
            let mut seen = Vec::new();
            each(&mut |i| seen.push(channel[i]));
            let column = columns.iter().skip(number).step_by(VOLUME.output_len());
            assert_eq!(seen, column.copied().filter(|v| *v > 0).collect::<Vec<_>>(), "window {number}");
        });
    }

    #[test]
    fn folding_is_the_adjoint_of_unfolding() {
        let channel: Vec<i64> = (0..60).map(|i| i * 7 % 11 - 5).collect();
        let columns: Vec<i64> = (0..12 * 18).map(|i| i * 5 % 13 - 6).collect();
        let (mut unfolded, mut folded) = (vec![0; 12 * 18], vec![0; 60]);
        VOLUME.unfold(&channel, 0, &mut unfolded);
        VOLUME.fold_add(&columns, &mut folded);
        let dot = |a: &[i64], b: &[i64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<i64>();
        assert_eq!(dot(&unfolded, &columns), dot(&channel, &folded));
    }
}
