//! Real models.

use std::path::{Path, PathBuf};

use shiftwise_graph::Model;

use super::support::{check, samples};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn demo() {
    let float = Model::load(&root().join("examples/demo/model.onnx")).unwrap();
    check(&float, &samples(&float, 5));
}

/// A reference model, where it is there.
fn reference(name: &str) {
    let Some(folder) = std::env::var_os("SHIFTWISE_TEST_DATA").map(PathBuf::from) else { return };
    let path = folder.join("models").join(name);
    if path.exists() {
        let float = Model::load(&path).unwrap();
        check(&float, &samples(&float, 3));
    }
}

#[test]
fn resnet20() {
    reference("resnet20_cifar10.onnx");
}

#[test]
fn squeezenet() {
    reference("squeezenet1_1.onnx");
}

#[test]
fn bench() {
    use super::super::*;
    use shiftwise_dataset::{DataSpec, Dataset, Recipe, Source};
    let float = Model::load(Path::new("/tmp/mob/quantized/float.onnx")).unwrap();
    let quantized = Model::load(Path::new("/tmp/mob/quantized/model.onnx")).unwrap();
    let spec = DataSpec {
        recipe: Some(Recipe::from_file(&root().join("examples/recipes/mobilenet_v2.toml")).unwrap()),
        ..DataSpec::new(Source::Path("/work/shared/data/imagenet/calibration".into()))
    };
    let inputs = shiftwise_stage::input_specs(&float).unwrap();
    let data = Dataset::open(&spec, &inputs).unwrap();
    let n = data.len().min(100);
    let mem: u64 = std::env::var("MEM").map_or(0, |m| m.parse().unwrap());
    let chunk: usize = std::env::var("CHUNK").map_or(16, |m| m.parse().unwrap());
    let folder = tempfile::tempdir_in("/work/tmp").unwrap();
    let (layers, skipped) = find_layers(&quantized, &float);
    println!("{} layers, skipped {skipped:?}, {n} samples", layers.len());
    let engine = shiftwise_engine::embedded();
    let load = |i: usize| data.load(i).map(|s| s.inputs).map_err(|e| BoxError::from(e));
    let start = std::time::Instant::now();
    {
        use rayon::prelude::*;
        use shiftwise_engine::Engine;
        let f = engine.prepare(&float, &Default::default()).unwrap();
        let q = engine.prepare(&quantized, &Default::default()).unwrap();
        (0..n).into_par_iter().for_each(|i| {
            let s = load(i).unwrap();
            f.run(&s, &mut |_, _| shiftwise_engine::Flow::Continue).unwrap();
            q.run(&s, &mut |_, _| shiftwise_engine::Flow::Continue).unwrap();
        });
    }
    println!("whole runs {:?}", start.elapsed());
    let start = std::time::Instant::now();
    let count = layers.len();
    let mut frontier = Frontier::new(
        &engine,
        &float,
        quantized.clone(),
        layers,
        n,
        &load,
        &|| false,
        Options { folder: folder.path().into(), max_memory: mem, chunk },
    )
    .unwrap();
    for k in 0..count {
        let mut bytes = 0;
        let t = std::time::Instant::now();
        frontier
            .layer(k, false, |pairs| {
                for p in pairs {
                    bytes += p.x.len() * 4 + p.y.len() * 4;
                }
                Ok::<_, FrontierError>(())
            })
            .unwrap();
        let u = frontier.scratch().usage();
        println!(
            "{k} {} {:?} pair {} KiB, waits {} MiB, file peak {} MiB",
            frontier.layers()[k].node,
            t.elapsed(),
            bytes / n / 1024,
            (u.file + u.memory) >> 20,
            u.file_peak >> 20
        );
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("walk {:?} {:?}", start.elapsed(), status.lines().find(|l| l.contains("VmHWM")));
}
