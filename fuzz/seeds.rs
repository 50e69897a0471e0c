//! Writes whole files into `corpus/`, from which mutation starts.

use std::fs;
use std::path::Path;

use shiftwise_artifact::stats::{Accumulator, Plan, Stats, TensorSpec, Working};
use shiftwise_artifact::{Fingerprint, atomic};

fn observe(accumulator: &mut Accumulator, samples: u64) {
    for sample in 0..samples {
        let values: Vec<f32> =
            (0..600_u64).map(|i| (sample * 31 + i * i % 7919) as f32 / 997.0 - 2.0).collect();
        accumulator.begin(&[sample]).unwrap();
        accumulator
            .observe_with(0, &values, 100, [Some((sample % 100) as i8), None, Some(-3), None])
            .unwrap();
        accumulator.observe(1, &[f32::NAN, -0.0, f32::INFINITY, 1.0], 1).unwrap();
        accumulator.finish();
    }
}

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let specs = [TensorSpec::channel_first("a", &[1, 6, 10, 10]), TensorSpec::flat("b", &[4])];
    for name in ["stats", "checkpoint"] {
        fs::create_dir_all(corpus.join(name)).unwrap();
    }
    for samples in [0, 1, 4, 300] {
        let plan = Plan::whole(Fingerprint::of_bytes(b"fuzz"), samples);
        let mut accumulator = Accumulator::new(specs.to_vec()).unwrap();
        observe(&mut accumulator, samples);
        let stats = Stats::from_accumulators(&plan, &[accumulator]).unwrap();
        stats.save(&corpus.join(format!("stats/seed-{samples}"))).unwrap();

        let dir = tempfile::tempdir().unwrap();
        let mut working = Working::open_or_create(dir.path(), &plan, &specs).unwrap();
        let mut accumulator = working.accumulator();
        observe(&mut accumulator, samples);
        working.checkpoint(&mut [&mut accumulator]).unwrap();
        let checkpoint = fs::read(dir.path().join("checkpoint.bin")).unwrap();
        atomic::write(&corpus.join(format!("checkpoint/seed-{samples}")), &checkpoint).unwrap();
    }
}
