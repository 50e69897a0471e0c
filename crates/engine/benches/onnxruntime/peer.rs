//! ONNX Runtime in a Python process that runs when it is told to.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/onnxruntime").join(name)
}

/// Runs the script that makes models.
pub(crate) fn models(python: &Path, args: &[&str]) {
    let status = Command::new(python).arg(script("models.py")).args(args).status();
    assert!(status.is_ok_and(|s| s.success()), "models.py {args:?} failed");
}

/// A prepared model in ONNX Runtime.
pub(crate) struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// `threads` is 0 for ONNX Runtime's default; `model` may be `-`.
    pub(crate) fn start(
        python: &Path,
        model: &Path,
        exposed: Option<&Path>,
        input: &Path,
        samples: usize,
        threads: usize,
    ) -> Self {
        let mut child = Command::new(python)
            .arg(script("worker.py"))
            .args([model, exposed.unwrap_or(Path::new("-")), input])
            .args([samples, threads].map(|n| n.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let orders = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut peer = Self { child, orders, answers };
        assert_eq!(peer.answer(), "ready", "the worker did not start");
        peer
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        assert!(!line.is_empty(), "the worker ended");
        line.trim().to_string()
    }

    fn ask(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").expect("a worker that listens");
        self.answer()
    }

    /// Seconds by the clock and of CPU time that one run takes: of the model, `bare`, or the exposed one, `all`.
    pub(crate) fn turn(&mut self, what: &str) -> (f64, f64) {
        let answer = self.ask(what);
        let mut times = answer.split(' ').map(|t| t.parse().expect("a time"));
        (times.next().expect("a time"), times.next().expect("a time"))
    }

    /// Runs until memory is there: the first runs pay for it.
    pub(crate) fn warm_up(&mut self) {
        for what in ["bare", "all"].into_iter().cycle().take(8) {
            self.turn(what);
        }
    }

    /// Largest resident size in KiB, less that of Python before it loaded ONNX Runtime.
    pub(crate) fn memory(&mut self) -> f64 {
        let answer = self.ask("memory");
        answer.split(' ').next().and_then(|n| n.parse().ok()).expect("a size")
    }

    /// The first output of the model.
    pub(crate) fn first_output(&mut self, file: &Path) -> Vec<f32> {
        self.ask(&format!("check {}", file.display()));
        let bytes = std::fs::read(file).expect("an output");
        bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The worker ends with its input; one that hangs must not outlive the comparison.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
