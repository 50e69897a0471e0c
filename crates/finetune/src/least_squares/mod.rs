//! Least-squares rounding: the integers, the scale and the bias with which a layer gives what the float model gives.
//!
//! With `x` what the layer reads in the quantized model and `y` what it gives in the float model, integers `Q` in a
//! range, a scale `s` out of a few candidates and a bias `b` are sought that minimise `E‖y − (sQx + b)‖²`. Only second
//! moments of `x` and `y` enter, so the data is read once, and what follows does not touch it again.
//!
//! All of it is written in `Δ = sQ − W` and `d = y − Wx`, which are small where `sQ` and `W`, `y` and `Wx` are not:
//! the error is `E‖d − Δx − b‖²`, and sums in single precision do not cancel. A [`Collector`] samples positions of the
//! output and sums the moments, and the [`Problem`] that it leaves weighs any integers, and searches for better ones.
//!
//! Nothing here depends on the number of threads: every sum has a fixed order.

mod collect;
mod descent;
mod geometry;
mod moments;
mod patches;
mod positions;
mod problem;
mod residual;

#[cfg(test)]
mod tests;

pub use collect::{Collector, Look};
pub use geometry::Geometry;
pub use patches::Patches;
pub use positions::{Picked, Positions};
pub use problem::{Errors, Problem, Start, Tuned};
pub use residual::Residual;

/// Which positions of a layer's output are looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Positions, over all samples, that the integers are fitted to. A quarter as many are held out.
    pub positions: usize,
    /// Seed of the choice.
    pub seed: u64,
    /// Bytes that the moments of one layer may take.
    pub max_bytes: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { positions: 60_000, seed: 0, max_bytes: 2 << 30 }
    }
}

/// How the integers are searched for.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// The pull towards the float weights, as a share of the mean variance of an input: what the samples do not
    /// determine stays at round-to-nearest.
    pub lambda: f64,
    /// Passes over all inputs, at most.
    pub sweeps: usize,
    /// The order of a pass.
    pub order: Order,
    /// Inputs that are worked off one by one before a matrix product brings the others up to date.
    pub block: usize,
    /// Whether the bias is chosen too. Otherwise it is that of the start.
    pub free_bias: bool,
}

impl Default for Search {
    fn default() -> Self {
        Self { lambda: 3e-2, sweeps: 4, order: Order::Natural, block: 8, free_bias: true }
    }
}

/// The order in which a pass works off the inputs of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As the weights lie.
    Natural,
    /// Those that vary most first.
    Variance,
    /// Those that vary least first.
    LeastVariance,
}

/// Scales of the integers of a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Scales {
    /// One for all.
    Single(f32),
    /// One for each output channel.
    PerOutput(Vec<f32>),
}

impl Scales {
    /// The scale of an output channel.
    pub fn of(&self, output: usize) -> f32 {
        match self {
            Self::Single(scale) => *scale,
            Self::PerOutput(scales) => scales[output],
        }
    }
}

/// Why the integers of a layer cannot be chosen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Untunable {
    /// The operator multiplies no weights with inputs.
    #[error("the operator is no sum of products of weights and inputs")]
    Operator,
    /// The shapes do not fit the operator.
    #[error("input {x:?} and weights {w:?} do not fit the operator: {why}")]
    Shape {
        /// Dimensions of the input.
        x: Vec<usize>,
        /// Dimensions of the weights.
        w: Vec<usize>,
        /// What does not fit.
        why: &'static str,
    },
    /// The moments exceed [`Sampling::max_bytes`].
    #[error(
        "the moments of {inputs} inputs an output take {bytes} bytes, more than the {limit} that they may take"
    )]
    TooWide {
        /// Inputs of an output.
        inputs: usize,
        /// What the moments would take.
        bytes: usize,
        /// What they may take.
        limit: usize,
    },
    /// Too little data to hold some out.
    #[error("{positions} positions of {samples} samples are too few to hold some out")]
    TooFew {
        /// Positions of a sample.
        positions: usize,
        /// Samples.
        samples: usize,
    },
    /// Infinity or NaN in the data.
    #[error("infinity or NaN in the layer's input, weights or output, in samples {first} to {last}")]
    NonFinite {
        /// The first sample that may contain it.
        first: usize,
        /// The last one.
        last: usize,
    },
    /// A sample is not as large as it was said to be.
    #[error("{what} of sample {sample} has {found} elements instead of {expected}")]
    Length {
        /// Input or output.
        what: &'static str,
        /// The sample.
        sample: usize,
        /// Elements that it has.
        found: usize,
        /// Elements that it should have.
        expected: usize,
    },
    /// The squares exceed single precision.
    #[error("the squares of the layer's inputs or outputs exceed single precision")]
    Overflow,
}
