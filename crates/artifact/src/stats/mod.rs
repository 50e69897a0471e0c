//! Float-bit histograms and moments of tensors.
//!
//! A histogram over f32 values is indexed by the top 19 bits of the value's own bits ([`layout`]), so it needs no range and
//! one pass, and counts add exactly in any order. Beside it stand exact extremes, and sums made per sample in f64 and
//! added as fixed-point integers ([`FixedSum`]): associative too, as are counts of what samples elected ([`VoteKind`]).
//! Hence the bytes of a finished file depend on the samples alone, not on threads, batches, order, or how often the process
//! was killed.
//!
//! Workers fill [`Accumulator`]s in memory. [`Working`] takes them over from time to time, durably, and knows which
//! samples are done. When all are, [`seal()`] writes the finished file, which [`Stats`] opens. [`merge()`] joins the
//! finished files of shards.

mod accumulator;
mod checkpoint;
mod container;
pub mod layout;
mod merge;
mod moments;
mod pages;
mod plan;
mod seal;
mod sealed;
mod view;
mod votes;
mod working;

pub use accumulator::{Accumulator, TensorSample};
pub use merge::merge;
pub use moments::{ChannelSample, FixedSum};
pub use plan::{Plan, TensorSpec};
pub use seal::{seal, seal_with};
pub use sealed::{STATS_FILE, Stats};
pub use view::TensorView;
pub use votes::{Elected, VoteKind};
pub use working::{Progress, Working};
