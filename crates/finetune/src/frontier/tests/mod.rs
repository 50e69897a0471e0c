//! What a walk shows is what runs of the whole models show, bit for bit.

mod failures;
mod graphs;
mod layers;
mod models;
mod support;
