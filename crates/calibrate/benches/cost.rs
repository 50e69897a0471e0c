//! What calibration costs: its time as a ratio to a bare float run of the same samples by the same engine, both measured in
//! turn in one run, the size of what it leaves, and its peak memory for few samples and for many.
//!
//! Models and samples come from the folder that `SHIFTWISE_TEST_DATA` names (default: `../shared` beside the workspace);
//! without it only the demo is measured.

#![allow(clippy::print_stdout, missing_docs)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shiftwise_artifact::stats::{Plan, STATS_FILE, TensorSpec, Working, seal_with};
use shiftwise_artifact::{Fingerprint, peak_memory_bytes};
use shiftwise_calibrate::{CalibrateConfig, Collector, Outcome, tensors_to_collect};
use shiftwise_dataset::{DataSpec, Dataset, Recipe, Source};
use shiftwise_engine::{Engine, Flow, PrepareOptions, Session, Watch, embedded};
use shiftwise_graph::Model;
use shiftwise_stage::{Interrupt, Progress, input_specs};

const ROUNDS: usize = 5;
/// Samples that times are taken with.
const SAMPLES: usize = 100;
/// Set in a child process whose peak memory is to be measured: `case,samples,model`. More samples than [`SAMPLES`] are made up.
const CHILD: &str = "SHIFTWISE_BENCH_MEMORY_OF";

struct Case {
    name: &'static str,
    model: PathBuf,
    data: PathBuf,
    recipe: PathBuf,
    /// Numbers of samples whose peak memory is compared.
    few_and_many: [usize; 2],
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared =
        std::env::var_os("SHIFTWISE_TEST_DATA").map_or_else(|| root.join("../shared"), PathBuf::from);
    let demo = root.join("examples/demo");
    let mut cases = vec![Case {
        name: "demo",
        model: demo.join("model.onnx"),
        data: demo.join("calibration"),
        recipe: demo.join("recipe.toml"),
        few_and_many: [10, SAMPLES],
    }];
    for (name, few_and_many) in [("squeezenet1_1", [10, SAMPLES]), ("mobilenet_v2", [SAMPLES, 50 * SAMPLES])]
    {
        let model = shared.join(format!("models/{name}.onnx"));
        if model.exists() {
            let recipe = root.join(format!("examples/recipes/{name}.toml"));
            let data = shared.join("data/imagenet/calibration");
            cases.push(Case { name, model, data, recipe, few_and_many });
        } else {
            println!("skipped: {name} (no {})", model.display());
        }
    }
    cases
}

struct Setup {
    dataset: Dataset,
    bare: Box<dyn Session>,
    watching: Box<dyn Session>,
    specs: Vec<TensorSpec>,
    prepared: PathBuf,
}

/// A prepared model: the program of the stage is what users run.
fn prepare(case: &Case, dir: &Path) -> PathBuf {
    let prepared = dir.join(case.name);
    let mut arguments =
        vec!["run", "--release", "--quiet", "--locked", "--package", "shiftwise-preprocess", "--"];
    let (model, output) =
        (case.model.to_string_lossy().into_owned(), prepared.to_string_lossy().into_owned());
    arguments.extend([model.as_str(), "-o", output.as_str(), "--quiet"]);
    let status = Command::new(env!("CARGO")).args(arguments).status().expect("cargo runs");
    assert!(status.success(), "prepare {}", case.name);
    prepared.join("model.onnx")
}

fn set_up(case: &Case, prepared: PathBuf, samples: usize) -> Setup {
    let model = Model::load(&prepared).expect("the prepared model loads");
    let inputs = input_specs(&model).expect("inputs");
    let spec = if samples > SAMPLES {
        DataSpec::new(Source::Random { seed: 1, count: samples })
    } else {
        DataSpec {
            recipe: Some(Recipe::from_file(&case.recipe).expect("the recipe is valid")),
            limit: Some(samples),
            ..DataSpec::new(Source::Path(case.data.clone()))
        }
    };
    let dataset = Dataset::open(&spec, &inputs).expect("samples");
    let specs = tensors_to_collect(&model, &CalibrateConfig::default()).expect("tensors");
    let watched: BTreeSet<String> =
        specs.iter().map(|s| s.name.clone()).filter(|t| !model.graph.is_input(t)).collect();
    let session = |watch| embedded().prepare(&model, &PrepareOptions::watching(watch)).expect("supported");
    Setup { dataset, bare: session(Watch::None), watching: session(Watch::Named(watched)), specs, prepared }
}

/// Decodes and runs every sample and keeps nothing.
fn bare(setup: &Setup, session: &dyn Session, threads: usize) -> Duration {
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= setup.dataset.len() {
                        return;
                    }
                    let sample = setup.dataset.load(i).expect("a sample");
                    session.run(&sample.inputs, &mut |_, _| Flow::Continue).expect("a run");
                }
            });
        }
    });
    start.elapsed()
}

/// Everything that `collect` does with the samples, to the finished file, and the bytes of that.
fn calibrate(setup: &Setup, threads: usize, dir: &Path) -> (Duration, u64) {
    let start = Instant::now();
    let plan = Plan::whole(Fingerprint::of_bytes(b"bench"), setup.dataset.len() as u64);
    let work = dir.join("work");
    let mut working = Working::open_or_create(&work, &plan, &setup.specs).expect("a working directory");
    let progress = Progress::new("", plan.samples, "", true);
    let places: Vec<usize> = (0..setup.dataset.len()).collect();
    let collector = Collector {
        session: setup.watching.as_ref(),
        dataset: &setup.dataset,
        first: 0,
        places: &places,
        skip_bad_samples: false,
        threads,
        batch_size: CalibrateConfig::default().batch_size as usize,
        interrupt: &Interrupt::default(),
        progress: &progress,
    };
    let todo = working.pending();
    let Outcome::Complete(accumulators) = collector.run(&mut working, &todo).expect("a collection") else {
        unreachable!("nothing interrupts the benchmark")
    };
    let file = dir.join(STATS_FILE);
    seal_with(&working, &accumulators, &file).expect("a sealed file");
    let elapsed = start.elapsed();
    working.remove().expect("the working directory goes");
    (elapsed, std::fs::metadata(&file).expect("the sealed file").len())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if let Ok(child) = std::env::var(CHILD) {
        let mut parts = child.split(',');
        let (name, samples, prepared) = (parts.next(), parts.next(), parts.next());
        let case = cases().into_iter().find(|c| Some(c.name) == name).expect("the case");
        let samples = samples.and_then(|s| s.parse().ok()).expect("a number");
        let setup = set_up(&case, prepared.expect("a model").into(), samples);
        calibrate(&setup, cores, dir.path());
        println!("{}", peak_memory_bytes().expect("the system tells peak memory"));
        return;
    }
    println!("model            threads       bare   watching  calibrate   ratio       stats   peak memory");
    for case in cases() {
        let prepared = prepare(&case, dir.path());
        let setup = set_up(&case, prepared, SAMPLES);
        for threads in [1, cores] {
            bare(&setup, setup.bare.as_ref(), threads);
            let (mut plain, mut shown, mut observed) = (Vec::new(), Vec::new(), Vec::new());
            let mut size = 0;
            for _ in 0..ROUNDS {
                plain.push(bare(&setup, setup.bare.as_ref(), threads));
                shown.push(bare(&setup, setup.watching.as_ref(), threads));
                let (elapsed, bytes) = calibrate(&setup, threads, dir.path());
                observed.push(elapsed);
                size = bytes;
            }
            let (plain, shown, observed) = (median(plain), median(shown), median(observed));
            let each = |d: Duration| format!("{:.2}", d.as_secs_f64() * 1e3 / setup.dataset.len() as f64);
            let ratio = observed.as_secs_f64() / plain.as_secs_f64();
            let peak = if threads == 1 { String::new() } else { memory(&case, &setup) };
            let times = [plain, shown, observed].map(|d| format!("{:>8} ms", each(d)));
            println!("{:<16} {threads:>7} {} {ratio:>7.2} {size:>9} B   {peak}", case.name, times.join(""));
        }
    }
}

fn memory(case: &Case, setup: &Setup) -> String {
    let peak = |samples: usize| -> f64 {
        let child = Command::new(std::env::current_exe().expect("the benchmark"))
            .env(CHILD, format!("{},{samples},{}", case.name, setup.prepared.display()))
            .output()
            .expect("a child runs");
        let text = String::from_utf8_lossy(&child.stdout).into_owned();
        text.lines().last().and_then(|l| l.parse::<f64>().ok()).expect("the child prints its peak memory")
    };
    let [few, many] = case.few_and_many;
    let (of_few, of_many) = (peak(few), peak(many));
    let ratio = of_many / of_few;
    format!(
        "{:.1} MB with {few} samples, {:.1} MB with {many}, ratio {ratio:.3}",
        of_few / 1e6,
        of_many / 1e6
    )
}
