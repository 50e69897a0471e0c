//! Runs of reference models, bare and with every tensor watched. Models are looked for in `$SHIFTWISE_TEST_DATA/models`,
//! or in `shared/models` beside the workspace.
#![allow(missing_docs)]

use std::path::PathBuf;

use divan::Bencher;
use shiftwise_engine::{Engine, Flow, PrepareOptions, Watch, embedded};
use shiftwise_graph::{DataType, Model, Value};

fn main() {
    divan::main();
}

const MODELS: &[&str] =
    &["mobilenet_v2", "squeezenet1_1", "resnet20_cifar10", "ppocr_cls", "yolox_nano", "stories260k"];

fn load(name: &str) -> Option<Model> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("SHIFTWISE_TEST_DATA").map_or_else(beside, PathBuf::from);
    Model::load(&folder.join("models").join(name).with_extension("onnx")).ok()
}

fn feeds(model: &Model) -> Vec<(String, Value)> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let feed = |input: &shiftwise_graph::ValueInfo| {
        let ty = input.ty.tensor()?;
        let dims: Vec<usize> = ty.shape.as_ref()?.iter().map(|d| d.known().unwrap_or(1)).collect();
        let count: usize = dims.iter().product();
        let value = match ty.dtype {
            DataType::Int64 => Value::i64(&dims, vec![7; count]),
            _ => Value::f32(&dims, (0..count).map(|_| next()).collect()),
        };
        Some((input.name.clone(), value))
    };
    model.graph.inputs().iter().map_while(feed).collect()
}

fn run(bencher: Bencher<'_, '_>, name: &str, watch: Watch) {
    let Some(model) = load(name) else { return };
    let feeds = feeds(&model);
    let session = embedded().prepare(&model, &PrepareOptions::watching(watch)).expect("a supported model");
    bencher.bench_local(|| {
        let mut seen = 0;
        let outputs = session.run(&feeds, &mut |_, value| {
            seen += value.len();
            Flow::Continue
        });
        (outputs.expect("a run"), seen)
    });
}

#[divan::bench(args = MODELS)]
fn bare(bencher: Bencher<'_, '_>, name: &str) {
    run(bencher, name, Watch::None);
}

#[divan::bench(args = MODELS)]
fn watch_all(bencher: Bencher<'_, '_>, name: &str) {
    run(bencher, name, Watch::All);
}
