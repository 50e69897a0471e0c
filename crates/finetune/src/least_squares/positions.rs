//! Which positions of a layer's output are looked at.

use super::{Sampling, Untunable};

/// One in so many is held out.
const HELD_OUT: usize = 5;

/// A choice of positions for every sample: a function of the seed, the layer and the sample alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Positions {
    /// Positions of a sample.
    available: usize,
    /// How many of them are taken.
    taken: usize,
    /// Period of the held-out samples; `None` where positions of each sample are held out.
    held_out_samples: Option<usize>,
    key: u64,
}

/// The positions of one sample, each list ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picked {
    /// What is fitted to.
    pub fit: Vec<usize>,
    /// What is only looked at to decide between results.
    pub held_out: Vec<usize>,
}

impl Positions {
    /// Positions of `samples` samples with `available` positions each.
    ///
    /// Where a sample has enough positions, one in five of those that are taken is held out; else all of every fifth
    /// sample.
    pub fn new(available: usize, samples: usize, layer: u64, sampling: &Sampling) -> Result<Self, Untunable> {
        let fit = sampling.positions.div_ceil(samples.max(1)).max(1);
        let wanted = fit.saturating_add(fit.div_ceil(HELD_OUT - 1)).max(HELD_OUT);
        let taken = wanted.min(available);
        let held_out_samples = if available >= wanted {
            None
        } else if samples >= HELD_OUT {
            Some(HELD_OUT)
        } else if available >= HELD_OUT {
            None
        } else if samples >= 2 && available > 0 {
            Some(samples)
        } else {
            return Err(Untunable::TooFew { positions: available, samples });
        };
        let key = mix(mix(sampling.seed) ^ layer);
        Ok(Self { available, taken, held_out_samples, key })
    }

    /// The positions of a sample, spread over all of it: one out of each of as many parts of equal size.
    pub fn of(&self, sample: usize) -> Picked {
        let key = mix(self.key ^ sample as u64);
        let part = |i: usize| (self.available as u128 * i as u128 / self.taken as u128) as usize;
        let at = |i: usize| {
            let (from, to) = (part(i), part(i + 1));
            from + (mix(key ^ i as u64) % (to - from) as u64) as usize
        };
        let mut picked = Picked::default();
        for i in 0..self.taken {
            let held_out = match self.held_out_samples {
                Some(period) => sample % period == period - 1,
                None => (i + sample) % HELD_OUT == HELD_OUT - 1,
            };
            if held_out { &mut picked.held_out } else { &mut picked.fit }.push(at(i));
        }
        picked
    }
}

/// Spreads a counter over all numbers (the finaliser of SplitMix64).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
