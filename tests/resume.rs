//! What is killed and run again comes to the same end as what ran through, and does nothing twice.

#![allow(missing_docs, clippy::disallowed_methods)]
#![cfg(unix)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shiftwise_tests::{Case, Chain, Run, command, npy, program, root, run, scratch};

const SAMPLES: usize = 500;

/// Numbers in 0..1 that are the same in every run.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }
}

/// The demo, prepared, and a way to collect its statistics.
struct Collection {
    dir: tempfile::TempDir,
}

impl Collection {
    fn new() -> Self {
        let dir = scratch();
        let case = Case::demo();
        let prepared = dir.path().join("prepared");
        let _ = run("shiftwise-preprocess", [case.model.as_os_str(), "-o".as_ref(), prepared.as_ref()]).ok();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, name: &str, data: &[&str]) -> Command {
        let mut args: Vec<OsString> = vec!["collect".into(), self.path("prepared").into()];
        args.extend(["-o".into(), self.path(name).into()]);
        args.extend(data.iter().map(Into::into));
        let mut command = command("shiftwise-calibrate", args);
        command.env("SHIFTWISE_CHECKPOINT_SECONDS", "0.01");
        command
    }

    fn stats(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name).join("stats.bin")).expect("there are statistics")
    }

    /// Samples as arrays of floats, a file each.
    fn arrays(&self, name: &str) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir(&folder).expect("a new folder");
        let mut values = Moments(7);
        for i in 0..SAMPLES {
            let pixels = (0..3 * 48 * 48).map(|_| values.next() as f32 * 2.0 - 1.0);
            let bytes = npy(&[3, 48, 48], pixels);
            fs::write(folder.join(format!("{i:04}.npy")), bytes).expect("a written file");
        }
        folder
    }
}

fn send(signal: &str, process: i64) {
    let status = Command::new("kill").args([signal, "--", &process.to_string()]).status();
    assert!(status.expect("there is kill").success());
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

fn wait(child: Child) -> Run {
    let output = child.wait_with_output().expect("the program ends");
    Run::ended("the program".to_owned(), &output)
}

#[test]
fn kills_do_not_show_in_statistics() {
    let collection = Collection::new();
    let data = ["--data", "random", "--samples", "500"];
    let begin = Instant::now();
    let _ = Run::of(&mut collection.command("whole", &data)).ok();
    let whole = begin.elapsed().as_secs_f64();

    let mut moments = Moments(1);
    let mut went_on = 0;
    for attempt in 0..20 {
        let name = format!("killed {attempt}");
        let mut kills = 0;
        let last = loop {
            let mut child = start(&mut collection.command(&name, &data));
            if kills < 4 {
                std::thread::sleep(Duration::from_secs_f64(whole * (0.05 + 0.6 * moments.next())));
                child.kill().expect("a process that was started");
                kills += 1;
            }
            let run = wait(child);
            went_on += usize::from(run.stderr.contains("going on after"));
            if run.code.is_some() {
                break run;
            }
        };
        let _ = last.ok();
        assert!(collection.stats(&name) == collection.stats("whole"), "killed {kills} times");
        assert!(!collection.path(&format!(".{name}.work")).exists());
        if went_on >= 3 && attempt >= 1 {
            return;
        }
    }
    panic!("it was never killed in the middle");
}

#[test]
fn what_a_kill_after_the_end_left_is_cleared_up() {
    let collection = Collection::new();
    let data = ["--data", "random", "--samples", "5"];
    let _ = Run::of(&mut collection.command("whole", &data)).ok();
    let left = collection.path(".whole.work");
    fs::create_dir(&left).expect("a new folder");
    fs::write(left.join("checkpoint.bin"), "what a killed process left").expect("a new file");
    let _ = Run::of(&mut collection.command("whole", &data)).ok().says(&["up to date"]);
    assert!(!left.exists());
}

#[test]
fn a_signal_keeps_what_is_done_even_if_files_are_renamed_then() {
    let collection = Collection::new();
    let folder = collection.arrays("arrays");
    let data = ["--data", folder.to_str().expect("a path in UTF-8"), "--threads", "2"];
    let _ = Run::of(&mut collection.command("whole", &data)).ok();

    let mut moments = Moments(2);
    for attempt in 0..20 {
        let name = format!("stopped {attempt}");
        let mut child = start(&mut collection.command(&name, &data));
        let begun = collection.path(&format!(".{name}.work")).join("checkpoint.bin");
        while !begun.exists() && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_secs_f64(0.02 + 0.2 * moments.next()));
        if child.try_wait().expect("a child").is_none() {
            send("-TERM", i64::from(child.id()));
        }
        let stopped = wait(child);
        if stopped.code == Some(0) {
            continue;
        }
        let _ = stopped.exits(75).says(&["interrupted:", "run the same command again"]);
        assert!(!collection.path(&name).exists());

        let turned = collection.path("turned");
        fs::create_dir(&turned).expect("a new folder");
        for i in 0..SAMPLES {
            let (from, to) = (format!("{i:04}.npy"), format!("{:04}.npy", SAMPLES - 1 - i));
            fs::rename(folder.join(from), turned.join(to)).expect("a renamed file");
        }
        let data = ["--data", turned.to_str().expect("a path in UTF-8")];
        let _ = Run::of(&mut collection.command(&name, &data)).ok().says(&["going on after"]);
        assert!(collection.stats(&name) == collection.stats("whole"));
        return;
    }
    panic!("the signal never came in the middle");
}

#[test]
fn threads_and_names_of_files_do_not_show_in_statistics() {
    let collection = Collection::new();
    let case = Case::demo();
    let turned = collection.path("turned");
    fs::create_dir(&turned).expect("a new folder");
    let mut images: Vec<_> = fs::read_dir(&case.calibration).expect("a folder").flatten().collect();
    images.retain(|image| image.path().extension().is_some_and(|e| e == "png"));
    images.sort_by_key(std::fs::DirEntry::file_name);
    for (i, image) in images.iter().rev().enumerate() {
        fs::copy(image.path(), turned.join(format!("{i:03}.png"))).expect("a copied image");
    }
    let recipe = case.recipe.to_str().expect("a path in UTF-8");
    let collect = |name: &str, folder: &Path, threads: &str| {
        let folder = folder.to_str().expect("a path in UTF-8");
        let data = ["--data", folder, "--recipe", recipe, "--threads", threads];
        let _ = Run::of(&mut collection.command(name, &data)).ok();
        collection.stats(name)
    };
    let reference = collect("one thread", &case.calibration, "1");
    assert!(collect("two threads", &case.calibration, "2") == reference);
    assert!(collect("five threads", &case.calibration, "5") == reference);
    assert!(collect("renamed", &turned, "2") == reference);
}

/// Quantizes the demo with scripts/quantize.
fn quantize(out: &Path) -> Command {
    let demo = root().join("examples/demo");
    let mut command = Command::new(root().join("scripts/quantize"));
    for (name, path) in [
        ("MODEL", demo.join("model.onnx")),
        ("DATA", demo.join("calibration")),
        ("RECIPE", demo.join("recipe.toml")),
        ("EVAL_DATA", demo.join("evaluation")),
        ("OUT", out.to_owned()),
    ] {
        command.arg(format!("{name}={}", path.display()));
    }
    let programs = program("shiftwise-preprocess");
    command.env("SHIFTWISE_BIN", programs.parent().expect("a folder")).env_remove("SHIFTWISE_SETTINGS");
    // A group of its own, so that the script is killed with what it runs.
    command.process_group(0);
    command
}

#[test]
fn a_killed_script_goes_on_with_the_stage_that_was_not_done() {
    let dir = scratch();
    let whole = dir.path().join("whole");
    let begin = Instant::now();
    let _ = Run::of(&mut quantize(&whole)).ok();
    let duration = begin.elapsed().as_secs_f64();
    let wanted = fs::read(whole.join("model_xint8.onnx")).expect("the finished model");
    let finetuned = Chain::finetuned(&Case::demo(), &dir.path().join("by hand")).model("finetuned");
    assert!(fs::read(finetuned).expect("a model") == wanted, "the script does what the programs do");

    // Once the statistics are there, whatever comes next is killed.
    let out = dir.path().join("killed");
    let up_to_date = |stage: &str| format!("up to date: {}/{stage}", out.display());
    let mut child = start(&mut quantize(&out));
    while !out.join("stats").exists() && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    send("-KILL", -i64::from(child.id()));
    let killed = wait(child);
    assert_eq!(killed.code, None, "{killed}");
    let again = Run::of(&mut quantize(&out)).ok();
    let again = again.says(&[&up_to_date("prepared"), &up_to_date("stats")]);
    assert!(again.stderr.contains("evaluation"), "{again}");
    assert!(!again.stderr.contains(&up_to_date("evaluation")), "{again}");
    assert!(fs::read(out.join("model_xint8.onnx")).expect("the finished model") == wanted);

    // A third time there is nothing to do.
    let stages = ["prepared", "stats", "quantized", "adjusted", "finetuned", "evaluation"].map(up_to_date);
    let third = Run::of(&mut quantize(&out)).ok();
    let third = third.says(&stages.each_ref().map(String::as_str));
    assert!(!third.stderr.contains("wrote "), "{third}");

    // Any moment.
    let out = dir.path().join("killed often");
    let mut moments = Moments(3);
    for _ in 0..5 {
        let child = start(&mut quantize(&out));
        std::thread::sleep(Duration::from_secs_f64(duration * moments.next()));
        let group = -i64::from(child.id());
        // The group is there until it is waited for.
        send("-KILL", group);
        let _ = wait(child);
    }
    let _ = Run::of(&mut quantize(&out)).ok();
    assert!(fs::read(out.join("model_xint8.onnx")).expect("the finished model") == wanted);
    let left: Vec<_> = fs::read_dir(&out).expect("a folder").flatten().map(|e| e.file_name()).collect();
    let odd: Vec<_> = left.iter().filter(|n| n.to_string_lossy().contains(".tmp-")).collect();
    assert!(odd.is_empty(), "{odd:?}");
}
