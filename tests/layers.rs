//! Layers that several machines tune make the model that one machine makes of them, and shares that do not fit together are refused.

#![allow(missing_docs, clippy::disallowed_methods)]
#![cfg(unix)]

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use shiftwise_tests::{Case, Chain, Run, command, run, say, scratch};

/// A quantized and adjusted model, and ways to finetune it.
struct Bench {
    case: Case,
    chain: Chain,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let (case, dir) = (Case::demo(), scratch());
        let chain = Chain::quantized(&case, dir.path());
        Self { case, chain, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn finetune(&self, output: &str, more: &[&str]) -> Command {
        let mut args: Vec<OsString> = vec![self.chain.path("adjusted").into(), "-o".into()];
        args.push(self.path(output).into());
        args.extend(self.case.calibration_data().map(OsString::from));
        args.extend(more.iter().map(OsString::from));
        command("shiftwise-finetune", args)
    }

    /// Tunes a share, into a folder of its name.
    fn share(&self, share: &str) -> String {
        let name = share.replace('/', "-of-");
        let _ = Run::of(&mut self.finetune(&name, &["--layers", share])).ok();
        name
    }

    fn merge(&self, output: &str, parts: &[&str], more: &[&str]) -> Run {
        let mut args: Vec<OsString> = vec![self.chain.path("adjusted").into(), "-o".into()];
        args.extend([self.path(output).into(), "--merge".into()]);
        args.extend(parts.iter().map(|part| self.path(part).into()));
        args.extend(more.iter().map(OsString::from));
        run("shiftwise-finetune", args)
    }

    fn bytes(&self, output: &str) -> Vec<Vec<u8>> {
        let file = |name: &str| fs::read(self.path(output).join(name)).expect("a file of the artifact");
        ["model.onnx", "float.onnx", "tensors.json", "finetune.json"].map(file).to_vec()
    }

    fn json(&self, file: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path(file)).expect("a file")).expect("JSON")
    }
}

#[test]
fn shares_merged_in_any_order_are_what_one_machine_makes() {
    let bench = Bench::new();
    let whole = ["--set", "finetune_float_inputs=true"];
    let _ = Run::of(&mut bench.finetune("whole", &whole)).ok();
    let wanted = bench.bytes("whole");
    let layers = bench.json("whole/finetune.json")["layers"].as_array().expect("layers").len();
    for (of, orders) in [
        (1, vec![vec![0]]),
        (2, vec![vec![0, 1], vec![1, 0]]),
        (3, vec![vec![0, 1, 2], vec![2, 0, 1], vec![1, 2, 0], vec![2, 1, 0]]),
    ] {
        let parts: Vec<String> = (1..=of).map(|i| bench.share(&format!("{i}/{of}"))).collect();
        let each: Vec<usize> = parts
            .iter()
            .map(|part| bench.json(&format!("{part}/layers.json")).as_array().expect("layers").len())
            .collect();
        assert!(each.iter().all(|n| *n > 0) && each.iter().sum::<usize>() == layers, "{each:?}");
        for order in orders {
            let name = format!("merged {order:?}");
            let order: Vec<&str> = order.iter().map(|i: &usize| parts[*i].as_str()).collect();
            let _ = bench.merge(&name, &order, &[]).ok().says(&["tuned "]);
            assert!(bench.bytes(&name) == wanted, "{name}");
        }
    }
    // What was merged is what one machine makes, so there is nothing to do; nor is it merged again.
    let _ = Run::of(&mut bench.finetune("merged [1, 0]", &whole)).ok().says(&["up to date"]);
    let _ = bench.merge("merged [1, 0]", &["2-of-2", "1-of-2"], &[]).ok().says(&["up to date"]);
    let _ = bench.merge("whole", &["1-of-2", "2-of-2"], &[]).ok().says(&["up to date"]);
    // Each layer on what the layers before it give is something else.
    let _ = Run::of(&mut bench.finetune("sequential", &[])).ok();
    assert!(bench.bytes("sequential") != wanted);
    let _ = Run::of(&mut bench.finetune("sequential", &whole)).exits(5).says(&["--force"]);

    let merged = bench.path("merged [0]");
    let _ = run("shiftwise-npu-check", [merged.as_os_str(), "--strict".as_ref()]).ok();
    let out = bench.path("scores");
    let mut args: Vec<OsString> = vec![bench.chain.path("prepared").into()];
    args.extend(["adjusted", "sequential", "whole"].map(|name| bench.path(name).into()));
    args.extend(["-o".into(), out.into()]);
    args.extend(bench.case.evaluation_data().map(OsString::from));
    let _ = run("shiftwise-evaluate", args).ok();
    let report = bench.json("scores/report.json");
    let sqnr = |i: usize| report["models"][i]["outputs"][0]["sqnr"]["mean"].as_f64().expect("a number");
    let [adjusted, sequential, whole] = [0, 1, 2].map(sqnr);
    say(&format!("SQNR {adjusted:.2} dB, in sequence {sequential:.2} dB, on float inputs {whole:.2} dB"));
    assert!(whole > adjusted && whole > sequential - 2.0, "{adjusted} {sequential} {whole}");
}

#[test]
fn shares_that_do_not_make_a_whole_are_refused() {
    let bench = Bench::new();
    let merge = |parts: &[&str], code: i32, says: &[&str]| {
        let _ = bench.merge("merged", parts, &[]).exits(code).says(says);
        assert!(!bench.path("merged").exists());
    };
    for share in ["1/3", "2/3", "3/3", "1/2"] {
        let _ = bench.share(share);
    }
    // A share is done once, and is none of another number.
    let _ = Run::of(&mut bench.finetune("2-of-3", &["--layers", "2/3"])).ok().says(&["up to date"]);
    let _ = Run::of(&mut bench.finetune("2-of-3", &["--layers", "1/3"])).exits(5).says(&["--force"]);
    merge(&["1-of-3", "3-of-3"], 5, &["1 share of 3 missing", "--layers 2/3"]);
    merge(&["3-of-3"], 5, &["2 shares of 3 missing", "--layers 1/3, --layers 2/3"]);
    merge(&["1-of-3", "2-of-3", "3-of-3", "2-of-3"], 5, &["2-of-3", "it is share 2/3, and so is"]);
    merge(&["1-of-2", "2-of-3"], 5, &["2-of-3", "it is share 2/3, but", "one of 2"]);
    merge(&["1-of-3", "nowhere"], 3, &["nowhere", "no such share"]);
    merge(&["1-of-3", "adjusted"], 5, &["adjusted", "layers"]);
    let other = |name: &str, more: &[&str]| {
        let args = [&["--layers", "2/3"], more].concat();
        let _ = Run::of(&mut bench.finetune(name, &args)).ok();
    };
    other("fewer", &["--samples", "20"]);
    merge(&["1-of-3", "fewer", "3-of-3"], 5, &["fewer", "other samples"]);
    other("seed", &["--set", "fixed_seed=1"]);
    merge(&["1-of-3", "seed", "3-of-3"], 5, &["seed", "options.fixed_seed differs"]);
    let quantized = bench.chain.path("quantized");
    let mut foreign: Vec<OsString> = vec![quantized.into(), "-o".into(), bench.path("foreign").into()];
    foreign.extend(["--layers".into(), "2/3".into()]);
    foreign.extend(bench.case.calibration_data().map(OsString::from));
    let changed = fs::read(bench.chain.model("quantized")).expect("a model")
        != fs::read(bench.chain.model("adjusted")).expect("a model");
    let _ = run("shiftwise-finetune", foreign).ok();
    if changed {
        merge(&["1-of-3", "foreign", "3-of-3"], 5, &["foreign", "another model"]);
    }
    // One that was changed on its way.
    let damaged = bench.path("3-of-3").join("layers.json");
    let text = fs::read_to_string(&damaged).expect("a file");
    fs::write(&damaged, text.replacen('1', "2", 1)).expect("a changed file");
    merge(&["1-of-3", "2-of-3", "3-of-3"], 5, &["layers.json"]);
    fs::write(&damaged, text).expect("the file as it was");

    // Options are those of the shares.
    let all = ["1-of-3", "2-of-3", "3-of-3"];
    let _ = bench.merge("merged", &all, &["--set", "fixed_seed=1"]).exits(5).says(&["leave options out"]);
    let _ = bench.merge("merged", &all, &["--set", "finetune_sweeps=4"]).ok();
    // A share is no model.
    let check = run("shiftwise-npu-check", [bench.path("1-of-3")]);
    let _ = check.exits(5).says(&["layers"]);
}

#[test]
fn wrong_shares_are_wrong_usage() {
    let bench = Bench::new();
    let refused = |more: &[&str], says: &[&str]| {
        let _ = Run::of(&mut bench.finetune("refused", more)).exits(2).says(says);
        assert!(!bench.path("refused").exists());
    };
    refused(&["--layers", "0/3"], &["numbered from 1"]);
    refused(&["--layers", "4/3"], &["no part 4 of 3"]);
    refused(&["--layers", "abc"], &["like 2/4"]);
    refused(&["--layers", "1/100"], &["1/100", "the model has", "layers"]);
    refused(&["--layers", "1/2", "--set", "finetune_float_inputs=false"], &["finetune_float_inputs"]);
    refused(&["--layers", "1/2", "--set", "selective_update=true"], &["selective_update"]);
    refused(&["--merge", "part"], &["--merge", "cannot be used with"]);
    let _ = bench.merge("refused", &["part"], &["--layers", "1/2"]).exits(2).says(&["cannot be used with"]);
}

#[test]
fn a_share_that_is_stopped_goes_on() {
    let bench = Bench::new();
    let wanted = bench.share("1/1");
    let _ = bench.merge("whole", &[&wanted], &[]).ok();
    for attempt in 1..20 {
        let name = format!("stopped {attempt}");
        let layers = ["--layers", "1/1"];
        let mut child =
            bench.finetune(&name, &layers).stderr(Stdio::piped()).spawn().expect("the program starts");
        let layer = bench.path(&format!(".{name}.work")).join("layer-00001.json");
        while !layer.exists() && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let id = child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", id.as_str()]).stderr(Stdio::null()).status();
        let stopped = Run::ended("finetune".into(), &child.wait_with_output().expect("it ends"));
        if stopped.code == Some(0) {
            continue;
        }
        let _ = stopped.exits(75).says(&["run the same command again"]);
        let _ = bench.merge("early", &[&name], &[]).exits(3).says(&["no such share"]);
        let _ = Run::of(&mut bench.finetune(&name, &layers)).ok().says(&["going on after"]);
        assert!(!bench.path(&format!(".{name}.work")).exists());
        let merged = format!("merged {attempt}");
        let _ = bench.merge(&merged, &[&name], &[]).ok();
        assert!(bench.bytes(&merged) == bench.bytes("whole"));
        return;
    }
    panic!("the signal never came in the middle");
}
