//! Samples that are the same in every process.
#![allow(dead_code, missing_docs)]

use shiftwise_artifact::stats::{Accumulator, Plan, TensorSpec};
use shiftwise_artifact::{Error, Fingerprint};

pub(crate) fn specs() -> Vec<TensorSpec> {
    vec![
        TensorSpec::channel_first("conv", &[1, 3, 5, 4]),
        TensorSpec::flat("logits", &[-1, 7]),
        TensorSpec::channel_first("never seen", &[1, 2]),
    ]
}

pub(crate) fn plan(samples: u64) -> Plan {
    Plan::whole(Fingerprint::of_bytes(b"plan"), samples)
}

/// Values of all magnitudes, now and then none that is a number.
pub(crate) fn values(sample: u64, tensor: u64, count: usize) -> Vec<f32> {
    let mut state = sample.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ tensor.wrapping_mul(0xd1b5_4a32_d192_ed03);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    (0..count)
        .map(|_| match next() % 64 {
            0 => f32::NAN,
            1 => f32::NEG_INFINITY,
            2 => -0.0,
            3 => f32::from_bits(next() % 1000),
            _ => (next() as f32 / 2e9 - 0.5) * 2_f32.powi(next() as i32 % 12 - 6),
        })
        .collect()
}

/// One sample in a batch of its own.
pub(crate) fn observe(accumulator: &mut Accumulator, sample: u64) -> Result<(), Error> {
    accumulator.begin(&[sample])?;
    let elected = [Some(sample as i8 % 5), None, Some((sample % 255) as i8).filter(|&p| p != -128), None];
    accumulator.observe_with(0, &values(sample, 0, 60), 20, elected)?;
    accumulator.observe(1, &values(sample, 1, 7), 1)?;
    accumulator.finish();
    Ok(())
}

/// The bytes of statistics collected in one piece.
pub(crate) fn reference(samples: u64) -> Vec<u8> {
    let root = tempfile::tempdir().unwrap();
    let mut working =
        shiftwise_artifact::stats::Working::open_or_create(&root.path().join("w"), &plan(samples), &specs())
            .unwrap();
    let mut accumulator = working.accumulator();
    (0..samples).for_each(|sample| observe(&mut accumulator, sample).unwrap());
    working.checkpoint(&mut [&mut accumulator]).unwrap();
    let path = root.path().join("stats.bin");
    shiftwise_artifact::stats::seal(&working, &path).unwrap();
    std::fs::read(path).unwrap()
}
