//! Opens arbitrary bytes as a statistics file, with the checksum made right again, and looks at all that is there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shiftwise_artifact::stats::{Stats, VoteKind, merge};

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    if let Some(end) = bytes.len().checked_sub(32) {
        let checksum = blake3::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(checksum.as_bytes());
    }
    let Ok(stats) = Stats::from_bytes(bytes) else { return };
    assert!(stats.samples_seen() <= stats.plan().samples);
    for tensor in stats.tensors() {
        assert_eq!(tensor.bins().map(|(_, n)| n).sum::<u64>(), tensor.finite_count());
        assert_eq!(tensor.bins().next().is_some(), tensor.range().is_some());
        for kind in VoteKind::ALL {
            assert!(tensor.votes(kind).values().sum::<u64>() <= tensor.samples());
        }
        for channel in 0..=tensor.channels() {
            assert!(tensor.channel_variance(channel).is_none_or(|v| v.is_nan() || v >= 0.0));
        }
        let _ = (tensor.mean_sample_min(), tensor.mean_sample_max(), tensor.zero_count());
    }
    // Two of a kind never fit together; that is found before anything is written.
    let plan = stats.plan().clone();
    if !plan.range.is_empty() {
        let again = Stats::from_bytes(stats.as_bytes().to_vec()).expect("it was opened before");
        assert!(merge(plan.fingerprint, &[stats, again], "/nowhere/at/all".as_ref()).is_err());
    }
});
