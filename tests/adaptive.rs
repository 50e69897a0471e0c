//! AdaRound and AdaQuant through their program, on small networks with every operator that they train.

#![allow(missing_docs, clippy::disallowed_methods)]
#![cfg(unix)]

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use shiftwise_graph::{Attribute, Builder, Model, Tensor, Weights};
use shiftwise_tests::{Run, command, run, scratch};

/// Values that look like noise in [-1, 1].
fn noise(dims: &[usize], seed: usize) -> Tensor {
    let value = |i: usize| (((i + 1) * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
    let values: Vec<f32> = (0..dims.iter().product()).map(value).collect();
    Tensor::f32(dims, &values)
}

/// Convolutions with activations, a transposed one, both normalisations, a product and a Gemm.
fn network() -> Model {
    let ints = |values: &[i64]| Attribute::Ints(values.to_vec());
    Builder::new()
        .input("x", &[1, 3, 8, 8])
        .constant("w0", noise(&[8, 3, 3, 3], 1))
        .constant("b0", noise(&[8], 2))
        .node_with("Conv", &["x", "w0", "b0"], &["c0"], &[("pads", ints(&[1; 4]))])
        .node("Relu", &["c0"], &["a0"])
        .constant("s1", noise(&[8], 3))
        .constant("b1", noise(&[8], 4))
        .node("InstanceNormalization", &["a0", "s1", "b1"], &["n1"])
        .constant("w2", noise(&[8, 6, 2, 2], 5))
        .constant("b2", noise(&[6], 6))
        .node_with("ConvTranspose", &["n1", "w2", "b2"], &["c2"], &[("strides", ints(&[2, 2]))])
        .node("LeakyRelu", &["c2"], &["a2"])
        .constant("shape", Tensor::i64(&[2], &[64, 24]))
        .node("Reshape", &["a2", "shape"], &["r3"])
        .constant("s3", noise(&[24], 7))
        .constant("b3", noise(&[24], 8))
        .node("LayerNormalization", &["r3", "s3", "b3"], &["n3"])
        .constant("w4", noise(&[24, 16], 9))
        .node("MatMul", &["n3", "w4"], &["m4"])
        .constant("w5", noise(&[10, 16], 10))
        .constant("b5", noise(&[10], 11))
        .node_with("Gemm", &["m4", "w5", "b5"], &["y"], &[("transB", Attribute::Int(1))])
        .build(&[("y", &[64, 10])], 17)
}

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let this = Self { dir: scratch() };
        let model = this.path("model.onnx");
        fs::write(&model, network().encode(&Weights::Inline).unwrap().model).unwrap();
        let arguments = |list: &[&str]| -> Vec<OsString> {
            let path = |word: &&str| match word.strip_prefix('@') {
                Some(name) => this.path(name).into(),
                None => OsString::from(word),
            };
            list.iter().map(path).collect()
        };
        let _ = run("shiftwise-preprocess", arguments(&["@model.onnx", "-o", "@prepared"])).ok();
        let collect = ["collect", "@prepared", "-o", "@stats", "--data", "random", "--samples", "20"];
        let _ = run("shiftwise-calibrate", arguments(&collect)).ok();
        let quantize = ["@prepared", "--stats", "@stats", "-o", "@quantized"];
        let _ = run("shiftwise-quantize", arguments(&quantize)).ok();
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn finetune(&self, output: &str, settings: &[&str]) -> Command {
        let mut args: Vec<OsString> = vec![self.path("quantized").into(), "-o".into()];
        args.push(self.path(output).into());
        args.extend(["--data", "random", "--samples", "20"].map(OsString::from));
        for setting in settings {
            args.extend(["--set".into(), setting.into()]);
        }
        command("shiftwise-finetune", args)
    }

    fn report(&self, output: &str) -> Value {
        let text = fs::read(self.path(output).join("finetune.json")).expect("a report");
        serde_json::from_slice(&text).expect("JSON")
    }

    fn bytes(&self, output: &str) -> Vec<Vec<u8>> {
        let file = |name: &str| fs::read(self.path(output).join(name)).expect("a file of the artifact");
        ["model.onnx", "tensors.json", "finetune.json"].map(file).to_vec()
    }
}

/// Every layer is no worse on held-out positions than before.
fn never_worse(report: &Value) {
    for layer in report["layers"].as_array().expect("layers") {
        let of = |at: &str| layer[at]["held_out"].as_f64();
        if let (Some(before), Some(after)) = (of("before"), of("after")) {
            assert!(after <= before, "{layer}");
        }
    }
}

const QUICK: &str = "num_iterations=200";

#[test]
fn every_operator_is_trained_and_none_becomes_worse() {
    let bench = Bench::new();
    for (name, settings) in [
        ("adaround", &["algorithm=adaround", QUICK][..]),
        ("adaquant", &["algorithm=adaquant", QUICK, "learning_rate=1e-3"]),
        ("from least squares", &["algorithm=adaround", QUICK, "finetune_begin=least_squares"]),
        ("output", &["algorithm=adaround", QUICK, "output_qdq=true", "early_stop=true"]),
        ("mixed", &["algorithm=adaround", QUICK, "drop_ratio=0.5", "parallel=true"]),
        ("of float", &["algorithm=adaquant", QUICK, "learning_rate=1e-3", "drop_ratio=0"]),
    ] {
        let _ = Run::of(&mut bench.finetune(name, settings)).ok();
        let report = bench.report(name);
        never_worse(&report);
        let tuned = |layer: &&Value| layer["outcome"] == "tuned";
        let layers = report["layers"].as_array().expect("layers");
        let ops: Vec<&str> = layers.iter().filter(tuned).filter_map(|l| l["op"].as_str()).collect();
        assert!(ops.contains(&"Conv") && ops.contains(&"ConvTranspose"), "{name}: {report}");
        for layer in layers.iter().filter(tuned) {
            assert!(layer["method"].is_string() && layer["iterations"].as_u64() > Some(0), "{layer}");
        }
        for op in ["Conv", "InstanceNormalization", "ConvTranspose", "LayerNormalization", "MatMul", "Gemm"] {
            assert!(layers.iter().any(|l| l["op"] == op && !l["before"].is_null()), "{name} {op}: {report}");
        }
    }
    assert_ne!(bench.bytes("adaround")[0], bench.bytes("output")[0], "the output's quantization counts");
    let said = fs::read_to_string(bench.path("adaround").join("tensors.json")).unwrap();
    assert!(said.contains("tuned by AdaRound"), "{said}");
}

#[test]
fn threads_and_kills_do_not_show() {
    let bench = Bench::new();
    for settings in [
        &["algorithm=adaround", "num_iterations=3000"][..],
        &["algorithm=adaquant", "num_iterations=3000", "learning_rate=1e-4"],
    ] {
        let name = |what: &str| format!("{what} {}", settings[0]);
        let begin = Instant::now();
        let _ = Run::of(&mut bench.finetune(&name("whole"), settings)).ok();
        let whole = begin.elapsed().as_secs_f64();
        let wanted = bench.bytes(&name("whole"));
        for threads in ["1", "4"] {
            let name = name(threads);
            let _ = Run::of(bench.finetune(&name, settings).args(["--threads", threads])).ok();
            assert!(bench.bytes(&name) == wanted, "{name}");
        }
        let went_on = (0..20).any(|attempt| {
            let name = name(&format!("killed {attempt}"));
            let mut command = bench.finetune(&name, settings);
            let mut child = command.stderr(Stdio::null()).spawn().expect("the program starts");
            std::thread::sleep(Duration::from_secs_f64(whole * (0.4 + 0.02 * f64::from(attempt))));
            child.kill().expect("a process that was started");
            let _ = child.wait();
            let last = Run::of(&mut bench.finetune(&name, settings)).ok();
            assert!(bench.bytes(&name) == wanted, "{name}");
            last.stderr.contains("going on after")
        });
        assert!(went_on, "it was never killed in the middle");
    }
}

#[test]
fn an_update_that_does_not_help_the_whole_model_is_undone() {
    let bench = Bench::new();
    let settings = ["algorithm=adaround", QUICK, "selective_update=true"];
    let _ = Run::of(&mut bench.finetune("selected", &settings)).ok();
    let report = bench.report("selected");
    let layers = report["layers"].as_array().expect("layers");
    for layer in layers.iter().filter(|l| l["reason"].as_str().is_some_and(|r| r.contains("no nearer"))) {
        assert_eq!((&layer["outcome"], &layer["changed"]), (&"kept".into(), &0.into()));
    }
    let beyond = ["algorithm=adaround", "selective_update=true", "output_index=1"];
    let _ = Run::of(&mut bench.finetune("beyond", &beyond)).exits(2).says(&["output_index = 1"]);
}

#[test]
fn samples_with_nan_leave_their_layers_as_they_are() {
    let bench = Bench::new();
    let folder = bench.path("samples");
    fs::create_dir(&folder).unwrap();
    for i in 0..8 {
        let value = move |n: usize| ((n * 31 + i * 17) % 101) as f32 / 50.0 - 1.0;
        let hole = move |n: usize| if i == 3 && n.is_multiple_of(7) { f32::NAN } else { value(n) };
        let npy = shiftwise_tests::npy(&[1, 3, 8, 8], (0..3 * 8 * 8).map(hole));
        fs::write(folder.join(format!("{i}.npy")), npy).unwrap();
    }
    let mut args: Vec<OsString> = vec![bench.path("quantized").into(), "--data".into(), folder.into()];
    args.extend(["-o".into(), bench.path("nan").into(), "--algorithm".into(), "adaround".into()]);
    let told = run("shiftwise-finetune", args).ok();
    assert!(told.stderr.contains("NaN in the layer's input"), "{told}");
    let report = bench.report("nan");
    assert!(report["layers"].as_array().unwrap().iter().any(|l| l["outcome"] == "skipped"), "{report}");
}

#[test]
fn values_that_make_no_sense_are_refused_before_anything_runs() {
    let bench = Bench::new();
    for (setting, says) in [
        ("beta_range=[1]", "beta_range"),
        ("warm_start=2", "warm_start"),
        ("lr_adjust=[1, 2, 3]", "lr_adjust"),
        ("learning_rate=0", "learning_rate"),
        ("optim_device=cuda", "optim_device"),
        ("mem_opt_level=2", "mem_opt_level"),
    ] {
        let mut command = bench.finetune("refused", &["algorithm=adaquant", setting]);
        let _ = Run::of(&mut command).exits(2).says(&[says]);
    }
}
