//! What Resize reads along one axis: coordinates, and the elements that each place of the result blends.

/// How a place of the result is mapped to the axis of the input.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Coordinate {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfHalfPixelForNn,
    TfCropAndResize,
}

#[derive(Clone, Copy)]
pub(super) enum Nearest {
    /// What was done before there was a choice: up where the axis shrinks, down where it grows.
    Simple,
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// An axis of `from` elements that becomes one of `to`.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) scale: f32,
    /// Begin and end of the part that is resized, as fractions of the axis; for cropping.
    pub(super) part: [f32; 2],
}

/// A kernel of interpolation.
#[derive(Clone, Copy)]
pub(super) enum Filter {
    Linear,
    /// With its coefficient `a`.
    Cubic(f32),
}

/// For each place of the result, the elements that it blends and their weights.
pub(super) struct Blend {
    /// Where the taps of each place begin, and the end.
    starts: Vec<usize>,
    taps: Vec<(usize, f32)>,
}

impl Coordinate {
    /// The place on the axis that element `i` of the result comes from.
    pub(super) fn of(self, i: usize, axis: &Axis) -> f32 {
        let (x, scale) = (i as f32, axis.scale);
        let (n, m) = (axis.from as f32, axis.to as f32);
        match self {
            // An axis that keeps its scale keeps its elements.
            _ if scale == 1.0 => x,
            Self::HalfPixel => (x + 0.5) / scale - 0.5,
            Self::HalfPixelSymmetric => {
                let adjustment = m / (scale * n);
                let offset = n / 2.0 * (1.0 - adjustment);
                offset + ((x + 0.5) / scale - 0.5)
            }
            Self::PytorchHalfPixel if axis.to > 1 => (x + 0.5) / scale - 0.5,
            Self::PytorchHalfPixel => 0.0,
            Self::AlignCorners if axis.to > 1 => x * (n - 1.0) / (m - 1.0),
            Self::AlignCorners => 0.0,
            Self::Asymmetric => x / scale,
            Self::TfHalfPixelForNn => (x + 0.5) / scale,
            Self::TfCropAndResize => {
                let [start, end] = axis.part;
                if axis.to > 1 {
                    start * (n - 1.0) + (x * (end - start) * (n - 1.0)) / (m - 1.0)
                } else {
                    (0.5 * f64::from(start + end) * f64::from(n - 1.0)) as f32
                }
            }
        }
    }

    pub(super) fn all(self, axis: &Axis) -> Vec<f32> {
        (0..axis.to).map(|i| self.of(i, axis)).collect()
    }
}

/// Whether a place lies in the middle between two elements, but for what rounding did to it.
fn is_tie(x: f32) -> bool {
    (x - x.floor() - 0.5).abs() < 1e-6
}

impl Nearest {
    /// The element at a place.
    pub(super) fn of(self, x: f32, axis: &Axis) -> usize {
        let rounded = match self {
            Self::Simple if axis.scale < 1.0 => x.ceil(),
            Self::Simple | Self::Floor => x.floor(),
            Self::RoundPreferFloor if is_tie(x) => x.floor(),
            Self::RoundPreferCeil if is_tie(x) => x.ceil(),
            Self::RoundPreferFloor | Self::RoundPreferCeil => x.round(),
            Self::Ceil => x.ceil(),
        };
        rounded.clamp(0.0, axis.from as f32 - 1.0) as usize
    }
}

impl Filter {
    fn at(self, x: f32) -> f32 {
        let x = x.abs();
        match self {
            Self::Linear => (1.0 - x).max(0.0),
            Self::Cubic(a) if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Self::Cubic(a) if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * a,
            Self::Cubic(_) => 0.0,
        }
    }

    /// Half the width of the kernel.
    fn support(self) -> f32 {
        match self {
            Self::Linear => 1.0,
            Self::Cubic(_) => 2.0,
        }
    }
}

impl Blend {
    pub(super) fn taps(&self) -> impl Iterator<Item = &[(usize, f32)]> {
        self.starts.windows(2).map(|w| &self.taps[w[0]..w[1]])
    }

    /// Between the two elements around each place.
    pub(super) fn linear(places: &[f32], n: usize) -> Self {
        let mut taps = Vec::with_capacity(2 * places.len());
        for p in places {
            let p = p.clamp(0.0, n as f32 - 1.0);
            let low = p as usize;
            let t = p - low as f32;
            if low + 1 < n {
                taps.extend([(low, 1.0 - t), (low + 1, t)]);
            } else {
                // Twice the half, so that no neighbour comes in with weight zero.
                taps.extend([(n - 1, 0.5), (n - 1, 0.5)]);
            }
        }
        Self { starts: (0..=places.len()).map(|i| 2 * i).collect(), taps }
    }

    /// Of the four elements around each place; those outside the axis are its ends, or left out.
    pub(super) fn cubic(places: &[f32], n: usize, a: f32, exclude_outside: bool) -> Self {
        let mut taps = Vec::with_capacity(4 * places.len());
        for p in places {
            let (low, t) = (p.floor(), p - p.floor());
            let filter = Filter::Cubic(a);
            let mut weights = [filter.at(1.0 + t), filter.at(t), filter.at(1.0 - t), filter.at(2.0 - t)];
            let at = |i: usize| low - 1.0 + i as f32;
            if exclude_outside {
                for (i, w) in weights.iter_mut().enumerate() {
                    if at(i) < 0.0 || at(i) >= n as f32 {
                        *w = 0.0;
                    }
                }
                let sum: f32 = weights.iter().sum();
                weights = weights.map(|w| w / sum);
            }
            taps.extend((0..4).map(|i| (at(i).clamp(0.0, n as f32 - 1.0) as usize, weights[i])));
        }
        Self { starts: (0..=places.len()).map(|i| 4 * i).collect(), taps }
    }

    /// With the kernel widened where the axis shrinks, so that every element counts. Elements outside the axis count
    /// as its ends, or are left out.
    pub(super) fn antialias(places: &[f32], axis: &Axis, filter: Filter, exclude_outside: bool) -> Self {
        let scale = 1.0 / axis.scale;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let inverse = if scale >= 1.0 { 1.0 / scale } else { 1.0 };
        let n = axis.from as i64;
        let (mut starts, mut taps) = (vec![0], Vec::new());
        for p in places {
            let center = p + 0.5;
            let (lo, hi) = ((center - support + 0.5).floor() as i64, (center + support + 0.5).floor() as i64);
            let first = taps.len();
            let mut sum = 0.0;
            for i in lo..hi {
                if exclude_outside && !(0..n).contains(&i) {
                    continue;
                }
                let w = filter.at((i as f32 - center + 0.5) * inverse);
                sum += w;
                let at = i.clamp(0, n - 1) as usize;
                match taps[first..].last_mut() {
                    Some((last, weight)) if *last == at => *weight += w,
                    _ => taps.push((at, w)),
                }
            }
            let norm = if sum == 0.0 { 1.0 } else { 1.0 / sum };
            for (_, w) in &mut taps[first..] {
                *w *= norm;
            }
            starts.push(taps.len());
        }
        Self { starts, taps }
    }

    /// Blends the middle of `[outer, n, inner]`.
    pub(super) fn apply(&self, x: &[f32], [n, inner]: [usize; 2], out: &mut [f32]) {
        let (from, to) = ((n * inner).max(1), ((self.starts.len() - 1) * inner).max(1));
        for (x, out) in x.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
            for (taps, out) in self.taps().zip(out.chunks_exact_mut(inner)) {
                if inner == 1 {
                    out[0] = match taps {
                        [(i, a), (j, b)] => x[*i] * a + x[*j] * b,
                        taps => taps.iter().fold(0.0, |sum, (i, w)| sum + x[*i] * w),
                    };
                    continue;
                }
                let row = |i: &usize| &x[i * inner..][..inner];
                match taps {
                    [(i, a), (j, b)] => {
                        for ((o, v), w) in out.iter_mut().zip(row(i)).zip(row(j)) {
                            *o = v * a + w * b;
                        }
                    }
                    taps => {
                        out.fill(0.0);
                        for (i, w) in taps {
                            out.iter_mut().zip(row(i)).for_each(|(o, v)| *o += v * w);
                        }
                    }
                }
            }
        }
    }
}
