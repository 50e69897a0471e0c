//! Options of a training.

use crate::least_squares::Scales;

use super::Refused;

/// How a layer is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct AdaOptions {
    /// Steps of Adam.
    pub num_iterations: usize,
    /// The rate of Adam: of the rounding variables for AdaRound, of the weights for AdaQuant.
    pub learning_rate: f32,
    /// Output positions in a batch.
    pub batch_size: usize,
    /// Whether training stops when a window of steps is no better than the best before it: AdaRound by its regulariser, AdaQuant by its
    /// loss.
    pub early_stop: bool,
    /// Steps in such a window; a tenth of all where it is 1.
    pub num_batches: usize,
    /// How likely an input is taken from the quantized model and not from the float model.
    pub drop_ratio: f32,
    /// Weight of AdaRound's regulariser.
    pub reg_param: f32,
    /// Exponent of AdaRound's regulariser at its start and at its end.
    pub beta_range: (f32, f32),
    /// Share of the steps before the regulariser, and before training may stop early.
    pub warm_start: f32,
    /// Whether AdaQuant trains the bias.
    pub update_bias: bool,
    /// `(threshold, rate)`: the rate instead of `learning_rate` where the mean squared error of the start is above the threshold.
    pub lr_adjust: Option<(f64, f32)>,
    /// Seed of the order of batches.
    pub fixed_seed: u64,
    /// Where training begins.
    pub begin: Begin,
}

/// Where training begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// At the float weights, that is, with round-to-nearest.
    #[default]
    Weights,
    /// AdaRound at the integers of the start, where they are one of the two that a weight lies between; AdaQuant at the float weights.
    Start,
    /// At the integers of the start, however far they are from the weights: AdaRound decides between each and the one next to it on the side
    /// of its weight; AdaQuant begins in the middle of what is rounded to it.
    Integers,
}

/// A bias that may be trained.
#[derive(Clone, Debug, PartialEq)]
pub struct FreeBias {
    /// What the float model adds to each output channel.
    pub float: Vec<f64>,
    /// Scales and range of its integers; `None` for a bias that stays float.
    pub grid: Option<(Scales, (i32, i32))>,
}

impl AdaOptions {
    /// Defaults for AdaRound.
    pub fn adaround() -> Self {
        Self {
            num_iterations: 1000,
            learning_rate: 0.1,
            batch_size: 64,
            early_stop: false,
            num_batches: 1,
            drop_ratio: 1.0,
            reg_param: 0.01,
            beta_range: (20.0, 2.0),
            warm_start: 0.2,
            update_bias: true,
            lr_adjust: None,
            fixed_seed: 1_705_472_343,
            begin: Begin::Weights,
        }
    }

    /// Defaults for AdaQuant. Its steps are small and all of them count, so batches are larger: noise would be rounded in.
    pub fn adaquant() -> Self {
        Self { learning_rate: 1e-5, batch_size: 256, ..Self::adaround() }
    }

    /// Says which option has a value that makes no sense.
    pub fn check(&self) -> Result<(), Refused> {
        let fail = |option, why: &str| Err(Refused::Option { option, why: why.to_owned() });
        let positive = |v: f32| v > 0.0 && v.is_finite();
        if !positive(self.learning_rate) || self.lr_adjust.is_some_and(|(_, rate)| !positive(rate)) {
            return fail("learning_rate", "a rate is a number above 0");
        }
        if self.lr_adjust.is_some_and(|(threshold, _)| threshold.is_nan()) {
            return fail("lr_adjust", "the threshold is NaN");
        }
        if self.batch_size == 0 || self.num_batches == 0 {
            return fail(
                if self.batch_size == 0 { "batch_size" } else { "num_batches" },
                "there is at least 1",
            );
        }
        if self.num_iterations > 100_000_000 {
            return fail("num_iterations", "there are at most 100000000");
        }
        if !(self.reg_param >= 0.0 && self.reg_param.is_finite()) {
            return fail("reg_param", "it is a number from 0 on");
        }
        if ![self.beta_range.0, self.beta_range.1].iter().all(|b| (1.0..=1000.0).contains(b)) {
            return fail("beta_range", "exponents are from 1 to 1000");
        }
        if !(0.0..=1.0).contains(&self.warm_start) {
            return fail("warm_start", "a share is from 0 to 1");
        }
        if self.drop_ratio.is_nan() {
            return fail("drop_ratio", "it is NaN");
        }
        Ok(())
    }

    /// Steps before the regulariser.
    pub(super) fn warm(&self) -> usize {
        (self.num_iterations as f64 * f64::from(self.warm_start)) as usize
    }

    /// The exponent of the regulariser at a step after the warm start: a cosine from the first to the last.
    pub(super) fn beta(&self, iteration: usize) -> f32 {
        let warm = self.warm();
        let passed = (iteration - warm) as f64 / (self.num_iterations - warm).max(1) as f64;
        let (first, last) = (f64::from(self.beta_range.0), f64::from(self.beta_range.1));
        (last + 0.5 * (first - last) * (1.0 + (std::f64::consts::PI * passed).cos())) as f32
    }

    /// Where the batch of each step begins among `count` positions in random order: an epoch takes blocks that follow each other from a
    /// random place on, in a random order.
    pub(super) fn batches(&self, count: usize, batch: usize) -> Vec<u32> {
        let mut draws = Draws(self.fixed_seed);
        let mut starts = Vec::with_capacity(self.num_iterations + count / batch);
        while starts.len() < self.num_iterations {
            let first = draws.below((count - batch).min(batch - 1) + 1);
            let from = starts.len();
            starts.extend((first..=count - batch).step_by(batch).map(|at| at as u32));
            draws.shuffle(&mut starts[from..]);
        }
        starts.truncate(self.num_iterations);
        starts
    }
}

/// Random numbers (SplitMix64).
pub(super) struct Draws(pub(super) u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// One of `0..n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// Brings values into a random order.
    pub(super) fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.below(i + 1));
        }
    }
}
