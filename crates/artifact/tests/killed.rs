//! Processes that are killed, and disks that are full: the test runs itself as a child process.
#![cfg(unix)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{observe, plan, reference, specs};
use shiftwise_artifact::atomic;
use shiftwise_artifact::stats::{Stats, Working, seal};

const DIR: &str = "SHIFTWISE_TEST_CHILD_DIR";
const SAMPLES: u64 = 3000;

/// This test program, to run one of its children.
fn child(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).env(DIR, dir);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn child_dir() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// Not a test of its own: collects, with a checkpoint every few samples.
#[test]
fn child_collects() {
    let Some(dir) = child_dir() else { return };
    if dir.join("stats.bin").exists() {
        return Working::discard(&dir.join("w")).unwrap();
    }
    let mut working = Working::open_or_create(&dir.join("w"), &plan(SAMPLES), &specs()).unwrap();
    let mut accumulator = working.accumulator();
    for batch in working.pending().chunks(7) {
        for &sample in batch {
            observe(&mut accumulator, sample).unwrap();
        }
        working.checkpoint(&mut [&mut accumulator]).unwrap();
    }
    seal(&working, &dir.join("stats.bin")).unwrap();
    working.remove().unwrap();
}

#[test]
fn a_killed_collection_goes_on_to_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let (mut killed, mut last) = (0, 0);
    for round in 0_u64.. {
        let mut process = child("child_collects", root.path()).spawn().unwrap();
        // Delays from 5 to 105 ms in no regular order.
        std::thread::sleep(Duration::from_millis(5 + round * 37 % 100));
        if let Some(status) = process.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        process.kill().unwrap();
        if process.wait().unwrap().success() {
            break;
        }
        killed += 1;
        if let Some(progress) = Working::progress_at(&root.path().join("w")).unwrap() {
            assert!(progress.done >= last, "progress was lost");
            last = progress.done;
        }
        if killed == 40 {
            assert!(child("child_collects", root.path()).status().unwrap().success());
            break;
        }
    }
    assert!(killed > 3, "it must be killed to mean anything");
    assert!(fs::read(root.path().join("stats.bin")).unwrap() == reference(SAMPLES));
    let mut names: Vec<_> =
        fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    // Killed while it sealed: the next writer removes that, but not in its first minute.
    names.retain(|name| !name.starts_with(".stats.bin.tmp-"));
    assert_eq!(names, ["stats.bin"], "nothing stays beside the result");
}

/// Run a child that cannot write files larger than `kib`; writing past that fails as it does on a full disk.
fn with_limit(name: &str, dir: &Path, kib: u32) -> bool {
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" {name} --exact --nocapture", kib * 2);
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(std::env::current_exe().unwrap()).env(DIR, dir);
    shell.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

/// Not a test of its own: fails to write a file, as it must.
#[test]
fn child_writes_too_much() {
    let Some(dir) = child_dir() else { return };
    let path = dir.join("f");
    let error = atomic::write(&path, &vec![1; 1 << 20]).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert!(error.contains("too large") || error.contains("No space left"), "{error}");
}

/// Not a test of its own: the pages do not fit on the disk, though the checkpoint does.
#[test]
fn child_checkpoints_too_much() {
    let Some(dir) = child_dir() else { return };
    let mut working = Working::open_or_create(&dir.join("w"), &plan(3), &specs()).unwrap();
    let mut accumulator = working.accumulator();
    observe(&mut accumulator, 0).unwrap();
    let error = working.checkpoint(&mut [&mut accumulator]).unwrap_err().to_string();
    assert!(error.contains("pages.bin"), "{error}");
    // What is on disk is ahead of this process, which must not go on.
    assert!(working.checkpoint(&mut [&mut accumulator]).is_err());
    assert!(seal(&working, &dir.join("stats.bin")).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn a_place_that_takes_no_files_is_named() {
    let place = Path::new("/proc/shiftwise");
    let errors = [atomic::write(place, b"x").err(), atomic::AtomicDir::begin(place).err()];
    for error in errors {
        let error = error.expect("nobody can write there");
        assert!(error.to_string().contains("/proc/"), "{error}");
        assert_eq!(error.exit_class().code(), 2);
    }
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    atomic::write(&root.path().join("f"), b"old").unwrap();
    assert!(with_limit("child_writes_too_much", root.path(), 64));
    assert_eq!(fs::read(root.path().join("f")).unwrap(), b"old");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn a_disk_that_fills_up_during_a_checkpoint_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    assert!(with_limit("child_checkpoints_too_much", root.path(), 64));
    let mut working = Working::open_or_create(&root.path().join("w"), &plan(3), &specs()).unwrap();
    assert_eq!(working.pending(), [1, 2]);
    let mut accumulator = working.accumulator();
    for sample in [1, 2] {
        observe(&mut accumulator, sample).unwrap();
    }
    working.checkpoint(&mut [&mut accumulator]).unwrap();
    let path = root.path().join("stats.bin");
    seal(&working, &path).unwrap();
    Stats::open(&path).unwrap();
    assert!(fs::read(&path).unwrap() == reference(3));
}
