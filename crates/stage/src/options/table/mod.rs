//! The table of all options, one line each, in files by theme.

mod algorithms;
mod data;
mod npu;
mod preprocess;
mod quantize;

use super::row::{Reader, Row, Stage};

const PREPROCESS: &[Reader] = &[Reader::Stage(Stage::Preprocess)];
const QUANTIZE: &[Reader] = &[Reader::Stage(Stage::Quantize)];
const CALIBRATE: &[Reader] = &[Reader::Stage(Stage::Calibrate)];
/// What decides which tensors are quantized decides which are collected.
const PLACEMENT: &[Reader] = &[Reader::Stage(Stage::Calibrate), Reader::Stage(Stage::Quantize)];
const NPU: &[Reader] = &[Reader::Stage(Stage::NpuCheck)];
const EVALUATE: &[Reader] = &[Reader::Stage(Stage::Evaluate)];
const MODEL_WRITERS: &[Reader] = &[
    Reader::Stage(Stage::Preprocess),
    Reader::Stage(Stage::Quantize),
    Reader::Stage(Stage::NpuCheck),
    Reader::Stage(Stage::Finetune),
];
const FINETUNE: &[Reader] = &[Reader::Stage(Stage::Finetune)];
const DATA: &[Reader] = &[Reader::Data];
const ENGINE: &[Reader] = &[Reader::Engine];
const RUN: &[Reader] = &[Reader::Run];

/// Every option that is known, whether implemented or not.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [preprocess::ROWS, data::ROWS, quantize::ROWS, npu::ROWS, algorithms::ROWS].into_iter().flatten()
}
