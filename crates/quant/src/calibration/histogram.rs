//! The histogram of one tensor as methods read it: by sign, from zero outward, cut to the observed range.

use shiftwise_artifact::stats::{TensorView, layout};

/// Values spread evenly between two magnitudes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bin {
    pub(crate) lo: f64,
    pub(crate) hi: f64,
    /// How many values; a whole number unless a bin was cut.
    pub(crate) count: f64,
}

impl Bin {
    fn energy(&self) -> f64 {
        let (center, width) = (f64::midpoint(self.lo, self.hi), self.hi - self.lo);
        self.count * (center * center + width * width / 12.0)
    }
}

/// The values of one sign: bins of magnitudes, ascending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    pub(crate) bins: Vec<Bin>,
    /// Σ x² of all bins before; one entry more than there are bins.
    pub(crate) energy: Vec<f64>,
}

impl Side {
    fn new(bins: Vec<Bin>) -> Self {
        // From zero outward: where outliers are large, the sums of the bulk keep their digits.
        let mut sum = 0.0;
        let mut energy = vec![0.0];
        energy.extend(bins.iter().map(|bin| {
            sum += bin.energy();
            sum
        }));
        Self { bins, energy }
    }

    fn cut(&self, limit: f64) -> Self {
        let bins = self.bins.iter().filter(|bin| bin.lo <= limit).map(|bin| {
            if bin.hi <= limit {
                return *bin;
            }
            Bin { hi: limit, count: bin.count * (limit - bin.lo) / (bin.hi - bin.lo), ..*bin }
        });
        Self::new(bins.filter(|bin| bin.count > 0.0).collect())
    }
}

/// The finite values of one tensor.
///
/// Bins are those of the statistics: 2^-10 of their magnitude wide at most. The outermost ones end at the observed extremes, so that a
/// bound that many values share (the 6 of a Clip) is met exactly. Zeros, and what is nearer to zero than 2^-136, are counted apart.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    pub(crate) negative: Side,
    pub(crate) positive: Side,
    pub(crate) zeros: f64,
    /// Smallest and largest value, exactly.
    pub(crate) range: (f32, f32),
}

impl Histogram {
    /// `None` where there is no finite value.
    pub(crate) fn of(view: TensorView<'_>) -> Option<Self> {
        let range = view.range()?;
        let (mut negative, mut positive, mut zeros) = (Vec::new(), Vec::new(), 0.0);
        let (smallest, largest) = (f64::from(range.0), f64::from(range.1));
        for (bin, count) in view.bins() {
            let count = count as f64;
            if bin == layout::ZERO_BIN || bin == layout::NEGATIVE_ZERO_BIN {
                zeros += count;
                continue;
            }
            let sign = if layout::is_negative(bin) { -1.0 } else { 1.0 };
            let lower = f64::from(layout::bin_lower(bin)) * sign;
            let upper = lower + layout::bin_width(bin);
            // The observed range as magnitudes of this sign.
            let (least, most) = if sign < 0.0 { (-largest, -smallest) } else { (smallest, largest) };
            let (lo, hi) = (lower.max(least), upper.min(most));
            let bin = Bin { lo, hi: hi.max(lo), count };
            if sign < 0.0 { negative.push(bin) } else { positive.push(bin) }
        }
        negative.reverse();
        Some(Self { negative: Side::new(negative), positive: Side::new(positive), zeros, range })
    }

    /// Number of values.
    #[cfg(test)]
    pub(crate) fn count(&self) -> f64 {
        let side = |side: &Side| side.bins.iter().map(|bin| bin.count).sum::<f64>();
        side(&self.negative) + side(&self.positive) + self.zeros
    }

    /// The largest magnitude.
    pub(crate) fn magnitude(&self) -> f32 {
        self.range.1.max(-self.range.0)
    }

    /// What lies in `[lo, hi]`, which contains zero.
    pub(crate) fn within(&self, lo: f32, hi: f32) -> Self {
        Self {
            negative: self.negative.cut(f64::from(-lo)),
            positive: self.positive.cut(f64::from(hi)),
            zeros: self.zeros,
            range: (self.range.0.max(lo), self.range.1.min(hi)),
        }
    }

    /// All bins in ascending order of value.
    pub(crate) fn values(&self) -> Vec<Bin> {
        let negative = self.negative.bins.iter().rev();
        let negative = negative.map(|bin| Bin { lo: -bin.hi, hi: -bin.lo, count: bin.count });
        negative.chain(self.zero_bin()).chain(self.positive.bins.iter().copied()).collect()
    }

    /// All bins in ascending order of magnitude.
    pub(crate) fn magnitudes(&self) -> Vec<Bin> {
        let (mut a, mut b) = (self.negative.bins.iter().peekable(), self.positive.bins.iter().peekable());
        let mut bins: Vec<Bin> = self.zero_bin().collect();
        loop {
            let next = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if x.lo <= y.lo => a.next(),
                (Some(_), None) => a.next(),
                _ => b.next(),
            };
            match next {
                Some(bin) => bins.push(*bin),
                None => return bins,
            }
        }
    }

    fn zero_bin(&self) -> impl Iterator<Item = Bin> {
        (self.zeros > 0.0).then_some(Bin { lo: 0.0, hi: 0.0, count: self.zeros }).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::testing::with_histogram;

    #[test]
    fn sides_end_at_the_observed_extremes() {
        let values = [-3.3, -0.0, 0.0, 1e-43, 0.7, 6.0, 6.0, f32::NAN, f32::NEG_INFINITY];
        with_histogram(&[&values], |h| {
            assert_eq!((h.count(), h.zeros, h.range), (7.0, 3.0, (-3.3, 6.0)));
            assert_eq!(h.positive.bins.last(), Some(&Bin { lo: 6.0, hi: 6.0, count: 2.0 }));
            assert_eq!(h.negative.bins[0].hi, f64::from(3.3_f32));
            let middles: Vec<f64> = h.values().iter().map(|b| f64::midpoint(b.lo, b.hi)).collect();
            assert!(middles.is_sorted(), "{middles:?}");
            assert_eq!(h.magnitudes().len(), 4);
            let cut = h.within(-1.0, 2.0);
            assert_eq!((cut.count(), cut.range), (4.0, (-1.0, 2.0)));
        });
    }
}
