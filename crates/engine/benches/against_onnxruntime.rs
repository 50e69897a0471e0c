//! The embedded engine beside ONNX Runtime, in turns: bare runs, runs that show every tensor, and the memory of the latter.
//!
//! `cargo bench -p shiftwise-engine --bench against_onnxruntime -- [MODEL..]`, with `SHIFTWISE_PYTHON` naming an interpreter
//! that has `tests/requirements.txt`. `ROUNDS` sets the number of turns. Times are the best of all turns: on-CPU time of one thread
//! where there is one thread, time by the clock on all cores. Beside each ratio of bests stands the median of the ratios
//! of the turns.
#![allow(missing_docs, clippy::print_stdout, clippy::print_stderr)]

#[path = "onnxruntime/peer.rs"]
mod peer;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use peer::Peer;
use shiftwise_engine::{Engine, Flow, PrepareOptions, Session, Watch, embedded};
use shiftwise_graph::{DataType, Model, Value};

const MODELS: [&str; 5] = ["mobilenet_v2", "squeezenet1_1", "resnet50", "vit_tiny", "vit_tiny_layernorm"];
/// Samples of a turn on all cores.
const SAMPLES: usize = 8;
/// Longer than idle threads of ONNX Runtime keep a core busy.
const REST: Duration = Duration::from_millis(30);

type Feeds = Vec<(String, Value)>;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [flag, model, watch, samples] = args.as_slice()
        && flag == "--memory"
    {
        return own_memory(Path::new(model), watch == "all", samples.parse().expect("a number"));
    }
    let rounds = std::env::var("ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(15);
    let python = std::env::var_os("SHIFTWISE_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let works = Command::new(&python).args(["-c", "import onnx, onnxruntime"]).output();
    if !works.is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: no python with onnx and onnxruntime; set SHIFTWISE_PYTHON");
        return;
    }
    let folder = folder();
    if !MODELS[2..].iter().all(|m| folder.join(m).with_extension("onnx").is_file()) {
        peer::models(&python, &["generate", folder.to_str().expect("a path of text")]);
    }
    let chosen: Vec<&str> =
        MODELS.into_iter().filter(|m| args.is_empty() || args.iter().any(|a| a == m)).collect();
    let mut tables = [Vec::new(), Vec::new(), Vec::new()];
    for model in chosen {
        let Some(case) = Case::new(model, &folder, &python) else {
            eprintln!("skipped: {model} is absent; set SHIFTWISE_TEST_DATA");
            continue;
        };
        tables[0].push(case.single(rounds));
        tables[1].push(case.all_cores(rounds));
        tables[2].push(case.memory());
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("\n1 thread, batch 1, ms\n{:20} {HEAD}   difference", "");
    tables[0].iter().for_each(|line| println!("{line}"));
    println!("\n{cores} cores, {SAMPLES} samples, ms\n{:20} {HEAD}", "");
    tables[1].iter().for_each(|line| println!("{line}"));
    println!(
        "\npeak memory, every tensor shown, MiB\n{:20}  embedded  ort  ratio  (batch 1; batch {SAMPLES})",
        ""
    );
    tables[2].iter().for_each(|line| println!("{line}"));
}

const HEAD: &str = "bare: embedded     ort  ratio (median)   all: embedded     ort  ratio (median)";

/// Where generated models and inputs lie.
fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let folder = target.join("bench-models");
    std::fs::create_dir_all(&folder).expect("a folder for models");
    folder
}

struct Case<'a> {
    name: &'a str,
    path: PathBuf,
    exposed: PathBuf,
    input: PathBuf,
    folder: &'a Path,
    python: &'a Path,
}

impl<'a> Case<'a> {
    fn new(name: &'a str, folder: &'a Path, python: &'a Path) -> Option<Self> {
        let made = folder.join(name).with_extension("onnx");
        let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
        let data = std::env::var_os("SHIFTWISE_TEST_DATA").map_or_else(beside, PathBuf::from);
        let path = Some(made).filter(|p| p.is_file());
        let path = path.or_else(|| Some(data.join("models").join(name).with_extension("onnx")))?;
        if !path.is_file() {
            return None;
        }
        let (exposed, input) = (folder.join(format!("{name}.exposed")), folder.join(format!("{name}.input")));
        let text = |p: &Path| p.to_str().expect("a path of text").to_string();
        peer::models(python, &["expose", &text(&path), &text(&exposed)]);
        Some(Self { name, path, exposed, input, folder, python })
    }

    /// Both sessions, and `samples` feeds, whose content the input file has.
    fn prepare(&self, samples: usize) -> ([Box<dyn Session>; 2], Vec<Feeds>) {
        let model = Model::load(&self.path).expect("a model");
        let feeds = feeds(&model, samples);
        let bytes: Vec<u8> = feeds
            .iter()
            .flat_map(|f| f[0].1.as_f32().expect("floats").iter().flat_map(|v| v.to_le_bytes()))
            .collect();
        #[allow(clippy::disallowed_methods, reason = "a temporary file that only this run reads")]
        std::fs::write(&self.input, bytes).expect("an input file");
        let session =
            |watch| embedded().prepare(&model, &PrepareOptions::watching(watch)).expect("a supported model");
        ([session(Watch::None), session(Watch::All)], feeds)
    }

    fn peer(&self, samples: usize, threads: usize) -> Peer {
        Peer::start(self.python, &self.path, Some(&self.exposed), &self.input, samples, threads)
    }

    fn single(&self, rounds: usize) -> String {
        let (sessions, feeds) = self.prepare(1);
        let mut peer = self.peer(1, 1);
        let mut turns = [Turns::default(), Turns::default()];
        peer.warm_up();
        for _ in 0..rounds {
            for (i, what) in ["bare", "all"].into_iter().enumerate() {
                let start = on_cpu();
                run(&*sessions[i], &feeds[0]);
                let own = on_cpu().checked_sub(start).expect("time goes on");
                turns[i].add(own.as_secs_f64(), peer.turn(what).1);
            }
        }
        let mine = run(&*sessions[1], &feeds[0]);
        let theirs = peer.first_output(&self.folder.join("output"));
        let scale = theirs.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let worst = mine.iter().zip(&theirs).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        format!("{:20} {}   {}   {:.1e}", self.name, turns[0].text(), turns[1].text(), worst / scale)
    }

    fn all_cores(&self, rounds: usize) -> String {
        let (sessions, feeds) = self.prepare(SAMPLES);
        let mut peer = self.peer(SAMPLES, 0);
        let mut turns = [Turns::default(), Turns::default()];
        peer.warm_up();
        for _ in 0..rounds.div_ceil(3) {
            for (i, what) in ["bare", "all"].into_iter().enumerate() {
                let start = Instant::now();
                spread(&*sessions[i], &feeds);
                let own = start.elapsed().as_secs_f64();
                turns[i].add(own, peer.turn(what).0);
                std::thread::sleep(REST);
            }
        }
        format!("{:20} {}   {}", self.name, turns[0].text(), turns[1].text())
    }

    fn memory(&self) -> String {
        let mut line = format!("{:20}", self.name);
        for samples in [1, SAMPLES] {
            // The input file is that of the larger batch.
            self.prepare(samples);
            let own = Command::new(std::env::current_exe().expect("a program"))
                .arg("--memory")
                .arg(&self.path)
                .args(["all", &samples.to_string()])
                .output()
                .expect("a child");
            let own: f64 = String::from_utf8_lossy(&own.stdout).trim().parse().unwrap_or(f64::NAN);
            let mut peer =
                Peer::start(self.python, Path::new("-"), Some(&self.exposed), &self.input, samples, 1);
            peer.turn("all");
            peer.turn("all");
            let theirs = peer.memory();
            let ratio = own / theirs;
            line += &format!("  {:8.0} {:5.0} {ratio:5.2};", own / 1024.0, theirs / 1024.0);
        }
        line
    }
}

/// Times of turns: ours, theirs.
#[derive(Default)]
struct Turns(Vec<(f64, f64)>);

impl Turns {
    fn add(&mut self, own: f64, other: f64) {
        self.0.push((own, other));
    }

    fn text(&self) -> String {
        let best = |pick: fn(&(f64, f64)) -> f64| self.0.iter().map(pick).fold(f64::INFINITY, f64::min);
        let (own, other) = (best(|t| t.0), best(|t| t.1));
        let mut ratios: Vec<f64> = self.0.iter().map(|t| t.0 / t.1).collect();
        ratios.sort_by(f64::total_cmp);
        let median = ratios[ratios.len() / 2];
        format!("{:14.2} {:7.2} {:6.2} ({median:6.2})", own * 1e3, other * 1e3, own / other)
    }
}

fn run(session: &dyn Session, feeds: &Feeds) -> Vec<f32> {
    let mut seen = 0;
    let outputs = session.run(feeds, &mut |_, value| {
        seen += value.len();
        Flow::Continue
    });
    std::hint::black_box(seen);
    outputs.expect("a run")[0].as_f32().expect("a float output").to_vec()
}

/// One sample at a time on each of all cores.
fn spread(session: &dyn Session, feeds: &[Feeds]) {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(feeds) = feeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(session, feeds);
                }
            });
        }
    });
}

/// One value for each sample and input, the symbolic batch fixed to one.
fn feeds(model: &Model, samples: usize) -> Vec<Feeds> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut one = |_| {
        let feed = |input: &shiftwise_graph::ValueInfo| {
            let ty = input.ty.tensor().filter(|t| t.dtype == DataType::Float)?;
            let dims: Vec<usize> = ty.shape.as_ref()?.iter().map(|d| d.known().unwrap_or(1)).collect();
            let count = dims.iter().product();
            Some((input.name.clone(), Value::f32(&dims, (0..count).map(|_| next()).collect())))
        };
        model.graph.inputs().iter().map_while(feed).collect()
    };
    (0..samples).map(&mut one).collect()
}

/// Time that this thread has been running; by the clock where the system does not tell.
#[cfg(unix)]
fn on_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Time that this thread has been running; by the clock where the system does not tell.
#[cfg(not(unix))]
fn on_cpu() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// What a fresh process needs at most, in KiB: two runs of one batch of `samples`, every tensor shown.
fn own_memory(path: &Path, all: bool, samples: usize) {
    let model = Model::load(path).expect("a model");
    let watch = if all { Watch::All } else { Watch::None };
    let session = embedded().prepare(&model, &PrepareOptions::watching(watch)).expect("a supported model");
    let info = &model.graph.inputs()[0];
    let dims = info.ty.tensor().and_then(|t| t.shape.as_ref()).expect("a shape");
    let mut shape: Vec<usize> = dims.iter().map(|d| d.known().unwrap_or(1)).collect();
    shape[0] = samples;
    let input = Value::f32(&shape, vec![0.5; shape.iter().product()]);
    let feeds = vec![(info.name.clone(), input)];
    drop(model);
    for _ in 0..2 {
        run(&*session, &feeds);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.split_whitespace().next());
    println!("{}", peak.unwrap_or("nan"));
}
