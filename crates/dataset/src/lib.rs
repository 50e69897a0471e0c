//! Samples for calibration and evaluation: images with a recipe, NPY and NPZ arrays as files and as a
//! stream, ONNX test data, random values; labels.
//!
//! A [`Dataset`] knows where its samples are and decodes one at a time on the thread that asks. The same sources give
//! the same samples in the same order with the same bits, on any number of threads. This crate must never hand out a
//! partly decoded sample, guess a shape or a normalization, or resize what it was not told to resize.

mod array;
mod dataset;
mod error;
mod image;
mod labels;
mod recipe;
mod shape;
mod source;
mod spec;

pub use dataset::{Dataset, Sample};
pub use error::{DataError, Misfit, Result};
pub use recipe::{Channels, Crop, Layout, PerChannel, Recipe, Resize};
pub use spec::{DataSpec, InputSpec, RandomSpec, Source};
