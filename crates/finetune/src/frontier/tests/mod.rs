//! What a walk shows is what runs of the whole models show, bit for bit.

mod failures;
mod float_inputs;
mod graphs;
mod layers;
mod models;
mod support;
