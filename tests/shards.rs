//! Statistics are the same bytes however their collection was cut up, and shards that do not fit together are refused.

#![allow(missing_docs, clippy::disallowed_methods)]
#![cfg(unix)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use shiftwise_tests::{Case, Run, command, run, scratch, slow};

/// Numbers that are the same in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 40
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.next() as usize % (i + 1));
        }
    }
}

/// A prepared model, and its samples under two names each.
struct Bench {
    dir: tempfile::TempDir,
    recipe: PathBuf,
}

impl Bench {
    /// A reference model where it is there, else the demo.
    fn new(samples: usize) -> Self {
        let case = Case::reference("resnet20_cifar10").unwrap_or_else(Case::demo);
        let dir = scratch();
        let prepared = dir.path().join("prepared");
        let _ = run("shiftwise-preprocess", [case.model.as_os_str(), "-o".as_ref(), prepared.as_ref()]).ok();
        let mut images: Vec<PathBuf> =
            fs::read_dir(&case.calibration).expect("a folder").flatten().map(|e| e.path()).collect();
        images.retain(|image| image.extension().is_some_and(|e| e != "csv"));
        images.sort();
        images.truncate(samples);
        let mut names: Vec<usize> = (0..images.len()).collect();
        Chance(11).shuffle(&mut names);
        for (folder, names) in [("samples", None), ("shuffled", Some(names))] {
            let folder = dir.path().join(folder);
            fs::create_dir(&folder).expect("a new folder");
            for (i, image) in images.iter().enumerate() {
                let name = names.as_ref().map_or(i, |names| names[i]);
                let extension = image.extension().expect("an image").to_str().expect("UTF-8");
                fs::copy(image, folder.join(format!("{name:04}.{extension}"))).expect("a copied image");
            }
        }
        Self { recipe: case.recipe, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A subcommand with the prepared model and samples.
    fn over(&self, what: &str, folder: &str, output: &str) -> Command {
        let mut args: Vec<OsString> = vec![what.into(), self.path("prepared").into(), "-o".into()];
        args.extend([self.path(output).into(), "--data".into(), self.path(folder).into()]);
        args.extend(["--recipe".into(), self.recipe.clone().into()]);
        command("shiftwise-calibrate", args)
    }

    fn plan(&self, folder: &str, name: &str, shards: u64) -> Run {
        let mut command = self.over("plan", folder, name);
        Run::of(command.args(["--shards", &shards.to_string()])).ok()
    }

    /// Collects one shard, or all of a plan.
    fn collect(&self, plan: &str, output: &str, shard: Option<&str>) -> Command {
        let mut args: Vec<OsString> = vec!["collect".into(), self.path("prepared").into(), "--plan".into()];
        args.extend([self.path(plan).into(), "-o".into(), self.path(output).into()]);
        args.extend(shard.into_iter().flat_map(|shard| ["--shard".into(), shard.into()]));
        command("shiftwise-calibrate", args)
    }

    fn merge<'a>(&self, plan: &str, output: &str, shards: impl IntoIterator<Item = &'a Path>) -> Run {
        let mut args: Vec<OsString> = vec!["merge".into(), "--plan".into(), self.path(plan).into()];
        args.extend(["-o".into(), self.path(output).into()]);
        args.extend(shards.into_iter().map(Into::into));
        Run::of(&mut command("shiftwise-calibrate", args))
    }

    fn status(&self, plan: &str, output: &str, flags: &[&str]) -> Run {
        let mut args: Vec<OsString> = vec!["status".into(), "--plan".into(), self.path(plan).into()];
        args.extend(["-o".into(), self.path(output).into()]);
        args.extend(flags.iter().map(Into::into));
        Run::of(&mut command("shiftwise-calibrate", args)).ok()
    }

    fn stats(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name).join("stats.bin")).expect("there are statistics")
    }
}

#[test]
fn threads_batches_shards_and_order_do_not_show() {
    let bench = Bench::new(if slow() { 100 } else { 24 });
    let _ = Run::of(&mut bench.over("collect", "samples", "whole")).ok();
    let whole = bench.stats("whole");
    let mut chance = Chance(5);
    let mut cases = 0;
    for (at, shards) in [1, 3, 7].into_iter().enumerate() {
        for threads in ["1", "2", "4"] {
            for batch in ["1", "3", "8"] {
                let folder = if (at + cases) % 2 == 0 { "shuffled" } else { "samples" };
                let plan = format!("plan {shards} {folder}");
                let _ = bench.plan(folder, &plan, shards);
                let name = format!("{shards} shards, {threads} threads, batches of {batch}");
                let mut order: Vec<u64> = (1..=shards).collect();
                chance.shuffle(&mut order);
                for i in order {
                    let shard = format!("{i}/{shards}");
                    let mut collect = bench.collect(&plan, &name, Some(&shard));
                    let _ = Run::of(collect.args(["--threads", threads, "--batch-size", batch])).ok();
                }
                let _ = bench.merge(&plan, &name, []).ok();
                assert!(bench.stats(&name) == whole, "{name}");
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 27);
    // The same without a plan, and with a plan in one piece.
    let mut direct = bench.over("collect", "shuffled", "direct");
    let _ = Run::of(direct.args(["--batch-size", "8", "--threads", "4"])).ok();
    assert!(bench.stats("direct") == whole);
    let _ = Run::of(&mut bench.collect("plan 7 samples", "in one piece", None)).ok();
    assert!(bench.stats("in one piece") == whole);
    // What was merged is what one run over the plan gives, so there is nothing to do.
    let _ = bench.merge("plan 7 samples", "in one piece", []).ok().says(&["up to date"]);
}

#[test]
fn kills_at_any_moment_do_not_show() {
    let bench = Bench::new(if slow() { 100 } else { 40 });
    let begin = Instant::now();
    let _ = Run::of(&mut bench.over("collect", "samples", "whole")).ok();
    let whole = begin.elapsed().as_secs_f64();
    let _ = bench.plan("samples", "plan", 3);
    let mut chance = Chance(3);
    let mut kills = 0;
    let mut went_on = BTreeSet::new();
    for attempt in 0_u64.. {
        let shard = format!("{}/3", attempt % 3 + 1);
        let output = format!("killed {}", attempt / 3);
        for _ in 0..6 {
            let mut command = bench.collect("plan", &output, Some(&shard));
            command.env("SHIFTWISE_CHECKPOINT_SECONDS", "0.002");
            let mut child =
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
            let wait = whole * 0.9 * (chance.next() % 1000) as f64 / 1000.0;
            std::thread::sleep(Duration::from_secs_f64(wait));
            let killed = child.try_wait().expect("a child").is_none();
            child.kill().expect("a process that was started");
            let ended = Run::ended("collect".into(), &child.wait_with_output().expect("it ends"));
            if ended.stderr.contains("going on after") {
                went_on.insert(attempt);
            }
            if !killed || ended.code.is_some() {
                break;
            }
            kills += 1;
        }
        let run = Run::of(&mut bench.collect("plan", &output, Some(&shard))).ok();
        if run.stderr.contains("going on after") {
            went_on.insert(attempt);
        }
        if attempt % 3 == 2 {
            let _ = bench.merge("plan", &output, []).ok();
            assert!(bench.stats(&output) == bench.stats("whole"), "after {kills} kills");
            if kills >= 10 && !went_on.is_empty() {
                return;
            }
        }
        assert!(attempt < 60, "{kills} kills, {} resumed", went_on.len());
    }
}

#[test]
fn shards_that_do_not_make_a_whole_are_refused() {
    let bench = Bench::new(12);
    let planned = bench.plan("samples", "plan", 5);
    let _ = planned.says(&["12 samples in 5 shards", "--array=1-5"]);
    for shard in ["1/5", "4/5"] {
        let _ = Run::of(&mut bench.collect("plan", "stats", Some(shard))).ok();
    }
    // What is there is not made again.
    let again = Run::of(&mut bench.collect("plan", "stats", Some("4/5"))).ok();
    let _ = again.says(&["up to date"]);

    let status = bench.status("plan", "stats", &[]);
    assert!(status.stdout.contains("2 of 5 shards done; to collect: --array=2-3,5"), "{status}");
    assert_eq!(bench.status("plan", "stats", &["--missing"]).stdout, "2-3,5\n");
    let json = bench.status("plan", "stats", &["--json"]).json();
    assert_eq!((json["done"].as_u64(), json["each"][1]["state"].as_str()), (Some(2), Some("missing")));
    let _ = bench.merge("plan", "stats", []).exits(5).says(&["3 shards of 5 missing", "--array=2-3,5"]);
    assert!(!bench.path("stats").exists());

    // Statistics of a shard are not those of the model.
    let part = bench.path("stats.shards/1-of-5");
    let quantize = run(
        "shiftwise-quantize",
        [
            bench.path("prepared").as_os_str(),
            "--stats".as_ref(),
            part.as_ref(),
            "-o".as_ref(),
            bench.path("q").as_ref(),
        ],
    );
    let _ = quantize.exits(5).says(&["samples 1 to 2 of 12", "merge"]);

    for shard in ["2/5", "3/5", "5/5"] {
        let _ = Run::of(&mut bench.collect("plan", "stats", Some(shard))).ok();
    }
    let dirs: Vec<PathBuf> = (1..=5).map(|i| bench.path(&format!("stats.shards/{i}-of-5"))).collect();
    let named = |indices: &[usize]| {
        let dirs: Vec<&Path> = indices.iter().map(|&i| dirs[i].as_path()).collect();
        bench.merge("plan", "named", dirs)
    };
    let _ = named(&[0, 1, 2, 4]).exits(5).says(&["1 shard of 5 missing", "--array=4"]);
    let _ = named(&[0, 1, 2, 3, 4, 2]).exits(5).says(&["3-of-5", "it is shard 3/5, and so is"]);
    let _ = bench.merge("plan", "named", [bench.path("nowhere").as_path()]).exits(3).says(&["nowhere"]);

    // Shards of another plan: of fewer samples.
    let mut fewer = bench.over("plan", "samples", "fewer");
    let _ = Run::of(fewer.args(["--samples", "10", "--shards", "5"])).ok();
    let _ = Run::of(&mut bench.collect("fewer", "other", Some("2/5"))).ok();
    let foreign = bench.path("other.shards/2-of-5");
    let with_foreign = dirs.iter().map(PathBuf::as_path).take(4).chain([foreign.as_path()]);
    let _ = bench.merge("plan", "named", with_foreign).exits(5).says(&["2-of-5", "another plan"]);

    // One that is left from before the samples changed.
    fs::remove_dir_all(&dirs[3]).expect("a shard");
    fs::rename(&foreign, &dirs[3]).expect("a moved shard");
    let _ =
        bench.merge("plan", "stats", []).exits(5).says(&["4-of-5", "another plan", "--array=4", "--force"]);
    assert_eq!(bench.status("plan", "stats", &["--missing"]).stdout, "4\n");
    let stale = Run::of(&mut bench.collect("plan", "stats", Some("4/5")));
    let _ = stale.exits(5).says(&["--force"]);
    let _ = Run::of(bench.collect("plan", "stats", Some("4/5")).arg("--force")).ok();

    // Any order.
    let _ = named(&[3, 0, 4, 2, 1]).ok();
    let _ = bench.merge("plan", "stats", []).ok().says(&["merged 5 shards of 12 samples"]);
    let _ = Run::of(&mut bench.over("collect", "samples", "whole")).ok();
    assert!(bench.stats("named") == bench.stats("whole") && bench.stats("stats") == bench.stats("whole"));
}

#[test]
fn a_plan_is_kept_to() {
    let bench = Bench::new(6);
    let _ = bench.plan("samples", "plan", 2);
    let usage = |shard: &str, says: &str| {
        let _ = Run::of(&mut bench.collect("plan", "stats", Some(shard))).exits(2).says(&[says]);
    };
    usage("1/3", "the plan has 2 shards");
    usage("0/2", "numbered from 1");
    usage("3/2", "no part 3 of 2");
    usage("x", "like 2/4");
    let mut more = bench.over("plan", "samples", "too many");
    let _ = Run::of(more.args(["--shards", "7"])).exits(2).says(&["6 samples", "7 shards"]);
    let mut planless = bench.over("collect", "samples", "stats");
    let _ = Run::of(planless.args(["--shard", "1/2"])).exits(2).says(&["--plan"]);

    let refused = |args: &[&str], says: &str| {
        let run = Run::of(bench.collect("plan", "stats", Some("1/2")).args(args));
        let _ = run.exits(5).says(&[says]);
    };
    refused(&["--samples", "4"], "samples is not what the plan was made with");
    refused(&["--all"], "other tensors");
    let recipe = bench.path("other.toml");
    fs::write(&recipe, "divide = 128\n").expect("a new file");
    refused(&["--recipe", recipe.to_str().expect("UTF-8")], "recipe is not");
    let demo = Case::demo();
    if fs::read(&demo.recipe).ok() != fs::read(&bench.recipe).ok() {
        let other = bench.path("other model");
        let _ = run("shiftwise-preprocess", [demo.model.as_os_str(), "-o".as_ref(), other.as_ref()]).ok();
        let args = ["collect".as_ref(), other.as_os_str(), "--plan".as_ref(), bench.path("plan").as_os_str()]
            .map(ToOwned::to_owned);
        let mut collect = command("shiftwise-calibrate", args);
        collect.arg("-o").arg(bench.path("stats"));
        let _ = Run::of(&mut collect).exits(5).says(&["another model"]);
    }

    // Samples that moved are found where --data says; those that changed are not used.
    let moved = bench.path("moved");
    fs::rename(bench.path("samples"), &moved).expect("a moved folder");
    let _ = Run::of(&mut bench.collect("plan", "stats", Some("1/2"))).exits(3);
    let place = moved.to_str().expect("UTF-8");
    let _ = Run::of(bench.collect("plan", "stats", Some("1/2")).args(["--data", place])).ok();
    let plan: serde_json::Value =
        serde_json::from_slice(&fs::read(bench.path("plan/plan.json")).expect("a plan")).expect("JSON");
    let (third, last) = (&plan["samples"][3]["id"], &plan["samples"][5]["id"]);
    let file = |id: &serde_json::Value| moved.join(id.as_str().expect("a name"));
    fs::copy(file(third), file(last)).expect("a changed sample");
    let changed = Run::of(bench.collect("plan", "stats", Some("2/2")).args(["--data", place]));
    let _ = changed.exits(5).says(&[last.as_str().expect("a name"), "has changed"]);
    fs::remove_file(file(last)).expect("a sample");
    let gone = Run::of(bench.collect("plan", "stats", Some("2/2")).args(["--data", place]));
    let _ = gone.exits(5).says(&["not there any more"]);
}
