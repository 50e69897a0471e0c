//! Bad input is refused with the documented exit code and a message that names the thing, and leaves nothing half-written.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use shiftwise_graph::{Builder, DataType, Dim, Model, TensorType, ValueInfo, ValueType, Weights};
use shiftwise_tests::{Case, Chain, Run, command, npy, root, run, scratch, skip};

/// A folder for inputs, and one that must stay empty.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = scratch();
        fs::create_dir(dir.path().join("out")).expect("a new folder");
        Self { dir }
    }

    /// A bench with the prepared demo.
    fn prepared() -> Self {
        let bench = Self::new();
        let args = [Case::demo().model.into_os_string(), "-o".into(), bench.path("prepared").into()];
        let _ = run("shiftwise-preprocess", args).ok();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a program that writes to `out/it` and must fail. `{}` in arguments stands for the bench's folder.
    fn refuses(&self, program: &str, args: &[&str], code: i32, texts: &[&str]) {
        let run = run(program, self.arguments(args)).exits(code).says(texts);
        assert_eq!(run.stdout, "", "{run}");
        assert!(!run.stderr.contains("this is a bug"), "{run}");
        self.is_clean(&run);
    }

    fn arguments(&self, args: &[&str]) -> Vec<OsString> {
        let dir = self.dir.path().to_str().expect("a path in UTF-8");
        let model = Case::demo().model.display().to_string();
        let fill = |arg: &&str| arg.replace("{}", dir).replace("{model}", &model).into();
        args.iter().chain(&["-o", "{}/out/it"]).map(fill).collect()
    }

    /// Only the working directory, where a collection goes on, may be left.
    fn is_clean(&self, run: &Run) {
        for entry in fs::read_dir(self.path("out")).expect("a folder").flatten() {
            assert_eq!(entry.file_name(), ".it.work", "{run}");
        }
    }

    fn save(&self, name: &str, model: &Model) {
        let encoded = model.encode(&Weights::Inline).expect("a small model");
        fs::write(self.path(name), encoded.model).expect("a written file");
    }

    /// A folder with the first calibration images of the demo.
    fn images(&self, name: &str, count: usize) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir(&folder).expect("a new folder");
        let mut files: Vec<_> = fs::read_dir(Case::demo().calibration).expect("a folder").flatten().collect();
        files.retain(|f| f.path().extension().is_some_and(|e| e == "png"));
        files.sort_by_key(fs::DirEntry::file_name);
        for file in &files[..count] {
            fs::copy(file.path(), folder.join(file.file_name())).expect("a copied image");
        }
        folder
    }
}

fn cut(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).and_then(|f| f.set_len(length)).expect("a shorter file");
}

#[test]
fn samples_that_are_not_there_or_damaged() {
    let bench = Bench::prepared();
    fs::create_dir(bench.path("empty")).expect("a new folder");
    let collect = |data: &str, code, texts: &[&str]| {
        bench.refuses("shiftwise-calibrate", &["collect", "{}/prepared", "--data", data], code, texts);
    };
    collect("{}/empty", 3, &["/empty", "found no file", "images"]);
    collect("{}/nowhere", 3, &["/nowhere"]);

    let folder = bench.images("damaged", 10);
    cut(&folder.join("003_cross.png"), 300);
    collect("{}/damaged", 3, &["003_cross.png", "--skip-bad-samples"]);
    fs::write(folder.join("004_heart.png"), "no image").expect("a written file");
    let args = bench.arguments(&["collect", "{}/prepared", "--data", "{}/damaged", "--skip-bad-samples"]);
    let _ = run("shiftwise-calibrate", args).ok().says(&["003_cross.png", "004_heart.png", "2 left out"]);
    let manifest = fs::read(bench.path("out/it/artifact.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(
        (&manifest["notes"]["samples"], &manifest["notes"]["skipped_samples"]),
        (&8.into(), &2.into())
    );

    // Without the flag, what was left out is not forgiven.
    let args = bench.arguments(&["collect", "{}/prepared", "--data", "{}/damaged"]);
    let _ = run("shiftwise-calibrate", args).exits(5).says(&["skip_bad_samples"]);
}

#[test]
fn samples_of_another_model() {
    let bench = Bench::prepared();
    let float = |name: &str| ValueInfo::f32(name, &[1, 4]);
    let two = Builder::new().input_info(float("left")).input_info(float("right"));
    let two = two.node("Add", &["left", "right"], &["sum"]).build(&[("sum", &[1, 4])], 13);
    bench.save("two.onnx", &two);
    for name in ["left", "wrong"] {
        let folder = bench.path("arrays").join(name);
        fs::create_dir_all(&folder).expect("a new folder");
        fs::write(folder.join("0.npy"), zeros(&[1, 4])).expect("a written file");
    }
    npz(&bench.path("arrays.npz"), &["left", "wrong"], &[5, 4]);
    let collect = |model: &str, data: &str, texts: &[&str]| {
        bench.refuses("shiftwise-calibrate", &["collect", model, "--data", data], 3, texts);
    };
    collect("{}/two.onnx", "{}/arrays", &["right", "left"]);
    collect("{}/two.onnx", "{}/arrays.npz", &["arrays.npz", "wrong", "left", "right"]);

    npz(&bench.path("small.npz"), &["input"], &[5, 3, 40, 40]);
    collect("{}/prepared", "{}/small.npz", &["small.npz", "input", "40", "48"]);
}

fn npz(path: &Path, names: &[&str], shape: &[usize]) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).expect("a new file"));
    for name in names {
        archive
            .start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default())
            .expect("a new array");
        archive.write_all(&zeros(shape)).expect("a written array");
    }
    archive.finish().expect("a written file");
}

fn zeros(shape: &[usize]) -> Vec<u8> {
    npy(shape, std::iter::repeat_n(0.0, shape.iter().product()))
}

#[test]
fn models_that_cannot_be_used() {
    let bench = Bench::new();
    let prepare = |model: &str, more: &[&str], code, texts: &[&str]| {
        bench.refuses("shiftwise-preprocess", &[&[model], more].concat(), code, texts);
    };
    prepare("{}/nowhere.onnx", &[], 3, &["nowhere.onnx"]);
    for length in [0, 1, 1000, 100_000] {
        fs::copy(Case::demo().model, bench.path("cut.onnx")).expect("a copied model");
        cut(&bench.path("cut.onnx"), length);
        prepare("{}/cut.onnx", &[], 3, &["cut.onnx"]);
    }
    fs::write(bench.path("text.onnx"), "this is not a model").expect("a written file");
    prepare("{}/text.onnx", &[], 3, &["text.onnx"]);
    fs::create_dir(bench.path("folder")).expect("a new folder");
    prepare("{}/folder", &[], 2, &["folder", ".onnx file"]);

    let shape = Some(vec![Dim::Known(1), Dim::Known(3), Dim::Symbol("height".into()), Dim::Unknown]);
    let ty = ValueType::Tensor(TensorType { dtype: DataType::Float, shape });
    let input = ValueInfo { name: "picture".into(), ty };
    let dynamic = Builder::new().input_info(input).node("Relu", &["picture"], &["y"]);
    bench.save("dynamic.onnx", &dynamic.build(&[("y", &[1, 3, 8, 8])], 13));
    prepare("{}/dynamic.onnx", &["--fix-dim", "hight=8"], 2, &["hight", "height"]);
}

#[test]
fn dimensions_that_nobody_fixed() {
    let bench = Bench::new();
    let dims = [Dim::Known(1), Dim::Known(2), Dim::Symbol("height".into()), Dim::Symbol("width".into())];
    let info = |name: &str| {
        let ty = TensorType { dtype: DataType::Float, shape: Some(dims.to_vec()) };
        ValueInfo { name: name.into(), ty: ValueType::Tensor(ty) }
    };
    let mut model = Builder::new()
        .input_info(info("picture"))
        .node("Relu", &["picture"], &["r"])
        .node("Add", &["r", "picture"], &["y"])
        .build(&[("y", &[1, 2, 8, 8])], 13);
    let mut patch = shiftwise_graph::Patch::new();
    let ValueType::Tensor(ty) = info("y").ty else { unreachable!() };
    patch.set_type("y", ty);
    model.graph.apply("test", patch).expect("a model");
    bench.save("dynamic.onnx", &model);
    bench.refuses(
        "shiftwise-calibrate",
        &["collect", "{}/dynamic.onnx", "--data", "random"],
        3,
        &["picture", "[1, 2, ?, ?]", "--fix-dim 'picture[2]=N'"],
    );
    let args = ["{}/dynamic.onnx", "--fix-dim", "picture[2]=8", "--fix-dim", "width=8"];
    let _ = run("shiftwise-preprocess", bench.arguments(&args)).ok();
    fs::rename(bench.path("out/it"), bench.path("fixed")).expect("a prepared model");
    let args = ["collect", "{}/fixed", "--data", "random"];
    let _ = run("shiftwise-calibrate", bench.arguments(&args)).ok();
}

#[test]
fn options_that_do_not_exist() {
    let bench = Bench::new();
    let model = Case::demo().model;
    let model = model.to_str().expect("a path in UTF-8");
    let prepare = |more: &[&str], texts: &[&str]| {
        bench.refuses("shiftwise-preprocess", &[&[model], more].concat(), 2, texts);
    };
    prepare(&["--set", "fold_bath_norm=false"], &["fold_bath_norm", "did you mean", "fold_batch_norm"]);
    prepare(&["--set", "fold_batch_norm=perhaps"], &["fold_batch_norm", "true or false"]);
    prepare(&["--set", "fold_batch_norm"], &["--set name=value"]);
    prepare(&["--preset", "xint9"], &["xint9", "did you mean", "xint8"]);
    prepare(&["--threads", "0"], &["--threads"]);
    prepare(&["--fix-dim", "N"], &["--fix-dim", "N"]);
    fs::write(bench.path("run.toml"), "calibrate_methd = \"minmse\"\n").expect("a written file");
    prepare(&["--config", "{}/run.toml"], &["run.toml", "calibrate_methd", "calibrate_method"]);
    fs::write(bench.path("run.toml"), "this is no toml\n").expect("a written file");
    prepare(&["--config", "{}/run.toml"], &["run.toml"]);
    bench.refuses("shiftwise-preprocess", &[model, "--config", "{}/nowhere.toml"], 3, &["nowhere.toml"]);
    let recipe = ["collect", model, "--data", "random", "--recipe", "{}/nowhere.toml"];
    bench.refuses("shiftwise-calibrate", &recipe, 3, &["nowhere.toml"]);
    bench.refuses("shiftwise-calibrate", &["collect", model], 2, &["--data"]);
    let engine = ["collect", model, "--data", "random", "--engine", "steam"];
    bench.refuses("shiftwise-calibrate", &engine, 2, &["steam", "embedded"]);
}

#[test]
fn artifacts_that_do_not_fit_together() {
    let bench = Bench::new();
    let chain = Chain::quantized(&Case::demo(), bench.dir.path());
    let other =
        Builder::new().input("x", &[1, 4]).node("Add", &["x", "x"], &["y"]).build(&[("y", &[1, 4])], 13);
    bench.save("other.onnx", &other);
    let _ = run(
        "shiftwise-calibrate",
        ["collect", "{}/other.onnx", "--data", "random", "-o", "{}/others"]
            .map(|a| a.replace("{}", bench.dir.path().to_str().expect("a path in UTF-8"))),
    )
    .ok();
    let quantize = |stats: &str, code, texts: &[&str]| {
        bench.refuses("shiftwise-quantize", &["{}/prepared", "--stats", stats], code, texts);
    };
    quantize("{}/others", 5, &["others", "prepared", "shiftwise-calibrate collect"]);
    quantize("{}/nowhere", 3, &["nowhere"]);
    quantize("{}/prepared", 5, &["prepared", "stats"]);
    bench.refuses("shiftwise-npu-check", &["{}/prepared", "--fix"], 5, &["prepared", "quantized"]);

    // Another configuration is not what is there, and does not replace it unless told to.
    let before = fs::read(chain.model("quantized")).expect("a model");
    let args = |more: &[&str]| {
        let dir = bench.dir.path().to_str().expect("a path in UTF-8");
        let args = ["{}/prepared", "--stats", "{}/stats", "-o", "{}/quantized"];
        args.iter().chain(more).map(|a| a.replace("{}", dir)).collect::<Vec<_>>()
    };
    let changed = ["--set", "calibrate_method=nonoverflow"];
    let refused = run("shiftwise-quantize", args(&changed)).exits(5);
    let _ = refused.says(&["/quantized", "calibrate_method", "minmse", "nonoverflow", "--force"]);
    assert!(fs::read(chain.model("quantized")).expect("a model") == before);
    let _ = run("shiftwise-quantize", args(&[&changed[..], &["--force"]].concat())).ok();
    assert!(fs::read(chain.model("quantized")).expect("a model") != before);

    // What was damaged since is noticed.
    let stats = chain.path("stats").join("stats.bin");
    let mut bytes = fs::read(&stats).expect("statistics");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&stats, bytes).expect("a written file");
    quantize("{}/stats", 5, &["stats.bin", "checksum", "--force"]);
}

#[test]
fn settings_of_the_script() {
    let dir = scratch();
    let demo = Case::demo();
    let (model, data) = (demo.model.display().to_string(), demo.calibration.display().to_string());
    let script = |settings: &[String], code, texts: &[&str]| {
        let mut command = Command::new(root().join("scripts/quantize"));
        command.args(settings).current_dir(dir.path()).env_remove("SHIFTWISE_SETTINGS");
        let programs = shiftwise_tests::program("shiftwise-preprocess");
        command.env("SHIFTWISE_BIN", programs.parent().expect("a folder"));
        let _ = Run::of(&mut command).exits(code).says(texts);
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    };
    let given = |more: &[&str]| {
        let mut all = vec![format!("MODEL={model}"), format!("DATA={data}")];
        all.extend(more.iter().map(|s| (*s).to_owned()));
        all
    };
    script(&given(&["MODLE=x"]), 2, &["MODLE", "MODEL"]);
    script(&given(&["PRESET=xint9"]), 2, &["xint9"]);
    script(&given(&["xint8"]), 2, &["xint8", "NAME=value"]);
    script(&given(&["FINETUNE=adarond"]), 2, &["FINETUNE"]);
    script(&[format!("DATA={data}")], 2, &["MODEL="]);
    script(&[format!("MODEL={model}")], 2, &["DATA="]);
    script(&["MODEL=nowhere.onnx".to_owned(), format!("DATA={data}")], 3, &["nowhere.onnx"]);
}

/// The stages that write much, on the demo.
const WRITERS: [(&str, &[&str]); 4] = [
    ("shiftwise-preprocess", &["{model}"]),
    ("shiftwise-calibrate", &["collect", "{}/prepared", "--data", "random"]),
    ("shiftwise-quantize", &["{}/prepared", "--stats", "{}/stats"]),
    ("shiftwise-npu-check", &["{}/quantized", "--fix"]),
];

/// A limit on the size of files makes a write fail in the middle, where there is room on the disk.
#[cfg(unix)]
#[test]
fn files_that_must_not_grow() {
    let bench = Bench::new();
    let chain = Chain::quantized(&Case::demo(), bench.dir.path());
    for (program, args) in WRITERS {
        for blocks in [1, 20, 100] {
            let inner = command(program, bench.arguments(args));
            let mut limited = Command::new("sh");
            limited.args(["-c", &format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$0\" \"$@\"")]);
            limited.arg(inner.get_program()).args(inner.get_args()).env("NO_COLOR", "1");
            let run = Run::of(&mut limited).exits(3).says(&["failed to write", "/out/"]);
            bench.is_clean(&run);
        }
        // With room again, the same command finishes.
        let _ = run(program, bench.arguments(args)).ok();
        if program != "shiftwise-calibrate" {
            let stage = match program {
                "shiftwise-preprocess" => "prepared",
                "shiftwise-quantize" => "quantized",
                _ => "adjusted",
            };
            let whole = fs::read(chain.model(stage)).expect("a model");
            assert!(fs::read(bench.path("out/it/model.onnx")).expect("a model") == whole);
        }
        fs::remove_dir_all(bench.path("out/it")).expect("an output");
    }
}

/// A small file system of its own, which is gone with the shell that has mounted it.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full() {
    if !Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|o| o.status.success()) {
        skip("a file system cannot be mounted here");
        return;
    }
    let bench = Bench::new();
    let _ = Chain::quantized(&Case::demo(), bench.dir.path());
    let script =
        "mount -t tmpfs -o size=$1 none \"$2\"; shift; cd \"$1\"; shift; \"$@\"; code=$?; ls -A; exit $code";
    for (program, args) in WRITERS {
        for size in ["8k", "40k", "100k"] {
            let inner = command(program, bench.arguments(args));
            let mut mounted = Command::new("unshare");
            mounted.args(["-rm", "sh", "-c", script, "sh", size]).arg(bench.path("out"));
            mounted.arg(inner.get_program()).args(inner.get_args()).env("NO_COLOR", "1");
            let run = Run::of(&mut mounted).exits(3).says(&["failed to write", "/out/", "the disk is full"]);
            assert!(["", ".it.work\n"].contains(&run.stdout.as_str()), "{run}");
        }
    }
}
