//! Finetuning through its program: better, within limits, the same bits, and killed in the middle.

#![allow(missing_docs, clippy::disallowed_methods)]
#![cfg(unix)]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use shiftwise_tests::{Case, Chain, Run, command, run, say, scratch, slow};

/// A quantized and adjusted model, and a way to finetune it.
struct Bench {
    case: Case,
    chain: Chain,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(case: Case) -> Self {
        let dir = scratch();
        let chain = Chain::quantized(&case, dir.path());
        Self { case, chain, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn finetune(&self, output: &str) -> Command {
        let mut args: Vec<OsString> = vec![self.chain.path("adjusted").into(), "-o".into()];
        args.push(self.path(output).into());
        args.extend(self.case.calibration_data().map(OsString::from));
        command("shiftwise-finetune", args)
    }

    fn bytes(&self, output: &str) -> Vec<Vec<u8>> {
        let file = |name: &str| fs::read(self.path(output).join(name)).expect("a file of the artifact");
        ["model.onnx", "tensors.json", "finetune.json"].map(file).to_vec()
    }

    /// SQNR of the output and, with labels, accuracies: of the adjusted and of the finetuned model; and of the float one.
    fn scores(&self, output: &str, samples: usize) -> ([(f64, f64); 2], f64) {
        let out = self.path("scores");
        let mut args: Vec<OsString> = vec![self.chain.path("prepared").into()];
        args.extend([self.chain.path("adjusted").into(), self.path(output).into()]);
        args.extend(["-o".into(), out.clone().into(), "--samples".into(), samples.to_string().into()]);
        args.extend(self.case.evaluation_data().map(OsString::from));
        let _ = run("shiftwise-evaluate", args).ok();
        let report = fs::read(out.join("report.json")).expect("a report");
        let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
        let number = |v: &serde_json::Value| v.as_f64().expect("a number");
        let of = |i: usize| {
            let model = &report["models"][i];
            (number(&model["outputs"][0]["sqnr"]["mean"]), number(&model["top1"]["percent"]))
        };
        ([of(0), of(1)], number(&report["float"]["top1"]["percent"]))
    }
}

#[test]
fn a_finetuned_model_is_nearer_to_float_and_keeps_every_limit() {
    let bench = Bench::new(Case::demo());
    let told = Run::of(&mut bench.finetune("tuned")).ok();
    assert!(told.stderr.contains("SQNR") && told.stderr.contains("held out"), "{told}");
    let ([before, after], _) = bench.scores("tuned", 400);
    say(&format!("SQNR {:.2} → {:.2} dB, top-1 {} → {}", before.0, after.0, before.1, after.1));
    assert!(after.0 > before.0 + 0.4, "{before:?} {after:?}");
    let tuned = bench.path("tuned");
    let _ = run("shiftwise-npu-check", [tuned.as_os_str(), "--strict".as_ref()]).ok();
    // A later adjustment starts from the integers that were tuned.
    let again = bench.path("again");
    let fix = [tuned.as_os_str(), "--fix".as_ref(), "--strict".as_ref(), "-o".as_ref(), again.as_ref()];
    let _ = run("shiftwise-npu-check", fix).ok();
    let model = |dir: &Path| fs::read(dir.join("model.onnx")).expect("a model");
    assert!(model(&again) == model(&tuned), "nothing was left to adjust");
}

#[test]
fn threads_memory_and_kills_do_not_show() {
    let bench = Bench::new(Case::demo());
    let begin = Instant::now();
    let _ = Run::of(&mut bench.finetune("whole")).ok();
    let whole = begin.elapsed().as_secs_f64();
    let wanted = bench.bytes("whole");
    for (name, args) in [
        ("one thread", ["--threads", "1"]),
        ("three threads", ["--threads", "3"]),
        ("no memory", ["--max-memory", "1"]),
    ] {
        let _ = Run::of(bench.finetune(name).args(args)).ok();
        assert!(bench.bytes(name) == wanted, "{name}");
    }
    let mut went_on = 0;
    for attempt in 0..10 {
        let name = format!("killed {attempt}");
        for share in [0.35, 0.6] {
            let mut command = bench.finetune(&name);
            let mut child =
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
            std::thread::sleep(Duration::from_secs_f64(whole * (share + 0.03 * f64::from(attempt))));
            child.kill().expect("a process that was started");
            let killed = Run::ended("finetune".into(), &child.wait_with_output().expect("it ends"));
            went_on += usize::from(killed.stderr.contains("going on after"));
        }
        let last = Run::of(&mut bench.finetune(&name)).ok();
        went_on += usize::from(last.stderr.contains("going on after"));
        assert!(bench.bytes(&name) == wanted, "{name}");
        assert!(!bench.path(&format!(".{name}.work")).exists());
        if went_on > 0 {
            let _ = Run::of(&mut bench.finetune(&name)).ok().says(&["up to date"]);
            return;
        }
    }
    panic!("it was never killed in the middle");
}

#[test]
fn a_signal_stops_it_and_keeps_what_is_done() {
    let bench = Bench::new(Case::demo());
    for attempt in 1..20 {
        let name = format!("stopped {attempt}");
        let mut child = bench.finetune(&name).stderr(Stdio::piped()).spawn().expect("the program starts");
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
        let _ = Run::of(&mut bench.finetune(&name)).ok().says(&["going on after"]);
        return;
    }
    panic!("the signal never came in the middle");
}

#[test]
fn what_cannot_be_tuned_is_said() {
    let bench = Bench::new(Case::demo());
    let refused = |args: &[&str], code: i32, says: &[&str]| {
        let _ = Run::of(bench.finetune("refused").args(args)).exits(code).says(says);
        assert!(!bench.path("refused").exists());
    };
    refused(&["--algorithm", "adarond"], 2, &["--algorithm", "adarond"]);
    refused(&["--set", "finetune_layers=[\"nowhere\"]"], 2, &["nowhere", "no such layer"]);
    refused(&["--set", "finetune_op_types=[\"Foo\"]"], 2, &["Foo", "finetune_op_types may name Conv"]);
    refused(&["--set", "finetune_positions=0"], 2, &["finetune_positions"]);
    let dataless = [bench.chain.path("adjusted").into(), OsString::from("-o"), bench.path("refused").into()];
    let _ = run("shiftwise-finetune", dataless).exits(2).says(&["--data"]);
    let mut args: Vec<OsString> = vec![bench.case.model.clone().into(), "-o".into()];
    args.push(bench.path("refused").into());
    args.extend(bench.case.calibration_data().map(OsString::from));
    let _ = run("shiftwise-finetune", args).exits(3).says(&["it is not quantized", "shiftwise-quantize"]);
    let mut args: Vec<OsString> = vec![bench.chain.path("adjusted").join("model.onnx").into(), "-o".into()];
    args.push(bench.path("refused").into());
    args.extend(bench.case.calibration_data().map(OsString::from));
    let _ = run("shiftwise-finetune", args).exits(3).says(&["the float model", "give the directory itself"]);

    // One layer only.
    let all = bench.path("all");
    let _ = Run::of(&mut bench.finetune("all")).ok();
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(all.join("finetune.json")).expect("a report")).expect("JSON");
    let first = report["layers"][0]["node"].as_str().expect("a name");
    let only = format!("finetune_layers=[{first:?}]");
    let _ = Run::of(bench.finetune("one").args(["--set", &only])).ok().says(&["tuned 1 layer"]);
}

#[test]
fn options_of_other_algorithms_are_refused() {
    let bench = Bench::new(Case::demo());
    let run = |args: &[&str]| Run::of(bench.finetune("refused").args(args));
    let (least, round, quant) = ("least-squares", "adaround", "adaquant");
    for (algorithm, option, needs) in [
        (least, "num_iterations=1000", "\"adaround\" or \"adaquant\""),
        (least, "output_qdq=true", "\"adaround\" or \"adaquant\""),
        (least, "reg_param=0.5", "\"adaround\""),
        (quant, "beta_range=[10.0, 2.0]", "\"adaround\""),
        (round, "update_bias=true", "\"adaquant\""),
        (round, "num_batches=5", "early_stop = true"),
        (quant, "warm_start=0.5", "early_stop = true"),
        (round, "finetune_sweeps=2", "\"least_squares\""),
        (least, "output_index=0", "selective_update = true"),
    ] {
        let name = option.split('=').next().expect("a name");
        let refused = run(&["--algorithm", algorithm, "--set", option]).exits(2);
        let _ = refused.says(&[&format!("use {name}: nothing reads it"), needs]);
    }
    let _ = run(&["--layers", "1/2", "--set", "parallel=true"]).exits(2).says(&["use parallel", "--layers"]);
    assert!(!bench.path("refused").exists());

    // What --print-config writes can be read again, and a switch that is off asks for nothing.
    let printed = run(&["--set", "early_stop=false", "--print-config"]).ok();
    let file = bench.path("all.toml");
    fs::write(&file, &printed.stdout).expect("a file");
    let again = |more: &[&str]| {
        let mut command = bench.finetune("again");
        Run::of(command.arg("--config").arg(&file).args(["--samples", "2"]).args(more))
    };
    let _ = again(&[]).ok();
    fs::write(&file, printed.stdout.replace("num_iterations = 1000", "num_iterations = 999"))
        .expect("a file");
    let _ = again(&[]).exits(2).says(&["use num_iterations"]);
}

#[test]
fn collapsed_models_recover() {
    let samples = if slow() { 10_000 } else { 100 };
    for (name, gain, loss) in [("mobilenet_v2", 6.0, 4.0), ("resnet20_cifar10", 1.0, 4.0)] {
        let Some(case) = Case::reference(name) else { continue };
        if name == "mobilenet_v2" && !slow() {
            continue;
        }
        let bench = Bench::new(case);
        let _ = Run::of(&mut bench.finetune("tuned")).ok();
        let ([before, after], float) = bench.scores("tuned", samples);
        say(&format!(
            "{name}: SQNR {:.2} → {:.2} dB, top-1 {} → {} of {float}",
            before.0, after.0, before.1, after.1
        ));
        assert!(after.0 > before.0 + gain, "{name}: {before:?} {after:?}");
        assert!(after.1 > float - loss, "{name}: {before:?} {after:?} {float}");
        let _ = run("shiftwise-npu-check", [bench.path("tuned").as_os_str(), "--strict".as_ref()]).ok();
    }
}
