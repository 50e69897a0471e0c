//! AdaRound and AdaQuant: integers chosen by gradient descent on a layer's output after its activation.
//!
//! With `x` what a layer reads in the quantized model and `y` what it gives in the float model, both lessen the mean over
//! positions of `Σ_c (act(Ŵx + b)_c − act(y)_c)²` with Adam on batches of sampled positions. AdaRound decides for every
//! weight between `⌊W/s⌋` and the integer above: `Ŵ = s·clamp(⌊W/s⌋ + h(α))` with a sigmoid `h` that is pushed to 0 or 1.
//! AdaQuant moves the weights themselves, and the bias, straight through rounding.
//!
//! A [`Collector`] gathers what sampled positions read and give; the [`Problem`] that it leaves trains. What is kept are, for every
//! output channel, the rounded integers with the least error on positions that were held out, of all that were looked at on the way and the
//! start: no result is worse than the start there.
//!
//! The loss is a sum over output channels of which each has weights of its own, so channels train side by side without
//! knowing of each other, and nothing depends on the number of threads.

#![allow(
    clippy::inline_always,
    reason = "loops must be compiled inside the function of each instruction set"
)]

mod collect;
mod function;
mod measure;
mod options;
mod problem;
mod simd;
mod source;
mod step;
mod unit;

#[cfg(test)]
mod tests;

pub use collect::{Collector, sampling};
pub use function::OutputGrid;
pub use options::{AdaOptions, Begin, FreeBias};
pub use problem::{Problem, Tuned};

use crate::least_squares::Untunable;

/// Why a layer cannot be trained.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The layer or its data.
    #[error(transparent)]
    Layer(#[from] Untunable),
    /// The activation that follows the layer.
    #[error("the activation after the layer cannot be trained through: {0}")]
    Activation(&'static str),
    /// More samples than were announced, or the same one again.
    #[error("sample {0} exceeds the samples that were announced")]
    Unannounced(usize),
    /// Float inputs for some samples but not for others, or none where they are needed.
    #[error("{0}")]
    FloatInputs(&'static str),
    /// An option, by its name.
    #[error("{option}: {why}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// What the layer has now does not fit it.
    #[error("the layer's present {what}: {why}")]
    Start {
        /// Integers, scales, bias or weights.
        what: &'static str,
        /// What is wrong.
        why: &'static str,
    },
}
