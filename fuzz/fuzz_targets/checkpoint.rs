//! Opens arbitrary bytes as a checkpoint, with the checksum made right again, as a process does that goes on.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use shiftwise_artifact::Fingerprint;
use shiftwise_artifact::stats::{Plan, TensorSpec, Working, seal};
use tempfile::TempDir;

/// In memory where the system has such a place: every input is a file.
static DIR: LazyLock<TempDir> = LazyLock::new(|| {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory")
});

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    if let Some(end) = bytes.len().checked_sub(32) {
        let checksum = blake3::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(checksum.as_bytes());
    }
    let dir = DIR.path();
    // Not synced, and not renamed: nobody goes on from here.
    fs::write(dir.join("checkpoint.bin"), &bytes).expect("a file in memory");
    let _ = Working::progress_at(dir);
    let specs = [TensorSpec::channel_first("a", &[1, 6, 10, 10]), TensorSpec::flat("b", &[4])];
    let plan = Plan::whole(Fingerprint::of_bytes(b"fuzz"), 4);
    if let Ok(working) = Working::open_or_create(dir, &plan, &specs) {
        assert_eq!(working.pending().len() as u64, working.progress().pending);
        let _ = seal(&working, &dir.join("stats.bin"));
    }
    let _ = fs::remove_file(dir.join("pages.bin"));
});
