//! Threads that take samples, run the model and fill accumulators, with a checkpoint every few seconds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shiftwise_artifact::stats::{Accumulator, Working};
use shiftwise_dataset::{Dataset, Sample};
use shiftwise_engine::{Flow, Session};
use shiftwise_graph::Value;
use shiftwise_kernels::histogram::Front;
use shiftwise_stage::{Failure, Interrupt, Progress};

use crate::observe;

/// What a killed process may lose, unless [`CHECKPOINT_VARIABLE`] says otherwise.
const BETWEEN_CHECKPOINTS: Duration = Duration::from_secs(10);
/// The environment variable with the seconds between two checkpoints, for slow disks and for tests.
const CHECKPOINT_VARIABLE: &str = "SHIFTWISE_CHECKPOINT_SECONDS";

/// Everything that a worker needs.
pub struct Collector<'a> {
    /// The prepared model; watches every tensor of the plan that is not an input.
    pub session: &'a dyn Session,
    /// The samples.
    pub dataset: &'a Dataset,
    /// The ordinal of the first sample.
    pub first: u64,
    /// Where in the data set each sample is, from the first one on.
    pub places: &'a [usize],
    /// Whether samples that cannot be read are given up instead of ending the collection.
    pub skip_bad_samples: bool,
    /// Number of threads.
    pub threads: usize,
    /// How many samples a thread runs at a time, node by node.
    pub batch_size: usize,
    /// Whether to stop at the next sample.
    pub interrupt: &'a Interrupt,
    /// Told of every sample.
    pub progress: &'a Progress,
}

/// How a collection ended.
#[derive(Debug)]
pub enum Outcome {
    /// All samples were seen. The last of them are in these accumulators only: the finished file comes at once, so a last
    /// checkpoint would write everything twice.
    Complete(Vec<Accumulator>),
    /// A signal came; what was done is kept.
    Interrupted,
}

impl Collector<'_> {
    /// Where in the data set a sample is.
    pub fn place(&self, ordinal: u64) -> usize {
        self.places[(ordinal - self.first) as usize]
    }

    /// Collects the samples of `order`, which may be any order of those that are pending.
    ///
    /// Fails at the first sample that cannot be read (unless such are skipped) or run; what was done before is kept.
    pub fn run(&self, working: &mut Working, order: &[u64]) -> Result<Outcome, Failure> {
        // The order in which the engine shows tensors is not that of the plan.
        let watched = self.session.watched().iter().map(String::as_str);
        let index: HashMap<&str, usize> =
            working.specs().iter().enumerate().map(|(i, s)| (s.name.as_str(), i)).collect();
        let shown: Vec<Option<usize>> = watched.map(|name| index.get(name).copied()).collect();
        let index = index.into_iter().map(|(n, i)| (n.to_owned(), i)).collect();

        let mut accumulators: Vec<Accumulator> =
            (0..self.threads.max(1)).map(|_| working.accumulator()).collect();
        let between = between_checkpoints()?;
        let next = AtomicUsize::new(0);
        while next.load(Ordering::Relaxed) < order.len() && !self.interrupt.requested() {
            let round = Round {
                collector: self,
                order,
                next: &next,
                index: &index,
                shown: &shown,
                skipped: Mutex::default(),
                failure: Mutex::default(),
                until: Instant::now() + between,
            };
            std::thread::scope(|scope| {
                for accumulator in &mut accumulators {
                    scope.spawn(|| round.work(accumulator));
                }
            });
            let skipped = round.skipped.into_inner().unwrap_or_else(PoisonError::into_inner);
            if !skipped.is_empty() {
                working.skip(&skipped)?;
            }
            let failure = round.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
            // Whoever takes a sample finishes it, so after the last one was taken all are done.
            if failure.is_none() && next.load(Ordering::Relaxed) >= order.len() {
                break;
            }
            working.checkpoint(&mut accumulators.iter_mut().collect::<Vec<_>>())?;
            if let Some(failure) = failure {
                return Err(failure);
            }
        }
        let seen: u64 = accumulators.iter().map(|a| a.samples().len() as u64).sum();
        if working.progress().pending == seen {
            return Ok(Outcome::Complete(accumulators));
        }
        if seen > 0 {
            working.checkpoint(&mut accumulators.iter_mut().collect::<Vec<_>>())?;
        }
        Ok(Outcome::Interrupted)
    }
}

fn between_checkpoints() -> Result<Duration, Failure> {
    let Some(text) = std::env::var_os(CHECKPOINT_VARIABLE) else { return Ok(BETWEEN_CHECKPOINTS) };
    let seconds = text.to_str().and_then(|t| t.parse().ok()).filter(|s| (0.0..=86_400.0).contains(s));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| {
        Failure::usage(format!("read {CHECKPOINT_VARIABLE}={}", text.display()))
            .with_help("it is a number of seconds, at most 86400")
    })
}

/// The time between two checkpoints.
struct Round<'a> {
    collector: &'a Collector<'a>,
    order: &'a [u64],
    next: &'a AtomicUsize,
    index: &'a HashMap<String, usize>,
    shown: &'a [Option<usize>],
    skipped: Mutex<Vec<u64>>,
    failure: Mutex<Option<Failure>>,
    until: Instant,
}

impl Round<'_> {
    fn work(&self, accumulator: &mut Accumulator) {
        let mut front = Front::default();
        while !self.over() {
            // A table that is nearly full ends the round for this worker; one sample never fills a table.
            if accumulator.needs_flush(u64::from(u32::MAX) / 2) {
                return;
            }
            let size = self.collector.batch_size.max(1);
            let at = self.next.fetch_add(size, Ordering::Relaxed).min(self.order.len());
            let batch = &self.order[at..self.order.len().min(at.saturating_add(size))];
            if batch.is_empty() {
                return;
            }
            if let Err(failure) = self.batch(batch, accumulator, &mut front) {
                let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(failure);
                return;
            }
            self.collector.progress.inc(batch.len() as u64);
        }
    }

    fn over(&self) -> bool {
        Instant::now() >= self.until
            || self.collector.interrupt.requested()
            || self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn batch(&self, batch: &[u64], accumulator: &mut Accumulator, front: &mut Front) -> Result<(), Failure> {
        let mut samples = Vec::with_capacity(batch.len());
        let mut ordinals = Vec::with_capacity(batch.len());
        for &ordinal in batch {
            if let Some(sample) = self.load(ordinal)? {
                samples.push(sample);
                ordinals.push(ordinal);
            }
        }
        if samples.is_empty() {
            return Ok(());
        }
        accumulator.begin(&ordinals)?;
        let done = self.run(&samples, accumulator, front);
        match done {
            Ok(()) => accumulator.finish(),
            // What this batch left behind must not be counted; the samples before it are run again.
            Err(_) => accumulator.reset(),
        }
        done
    }

    /// A sample; nothing where it is left out.
    fn load(&self, ordinal: u64) -> Result<Option<Sample>, Failure> {
        match self.collector.dataset.load(self.collector.place(ordinal)) {
            Ok(sample) => Ok(Some(sample)),
            Err(error) if self.collector.skip_bad_samples && error.is_bad_sample() => {
                tracing::warn!("left out a sample: {error}");
                self.skipped.lock().unwrap_or_else(PoisonError::into_inner).push(ordinal);
                Ok(None)
            }
            Err(error) if error.is_bad_sample() => Err(Failure::from(error)
                .with_help("repair or remove it, or go on without it: --skip-bad-samples")),
            Err(error) => Err(error.into()),
        }
    }

    fn run(
        &self,
        samples: &[Sample],
        accumulator: &mut Accumulator,
        front: &mut Front,
    ) -> Result<(), Failure> {
        for (name, value) in samples.iter().flat_map(|sample| &sample.inputs) {
            if let Some(tensor) = self.index.get(name) {
                observe(accumulator, front, *tensor, value)?;
            }
        }
        let feeds: Vec<&[(String, Value)]> = samples.iter().map(|sample| &sample.inputs[..]).collect();
        let mut seen = Ok(());
        let ran = self.collector.session.run_together(&feeds, &mut |_, id, value| {
            if let Some(tensor) = self.shown.get(id.index()).copied().flatten() {
                seen = observe(accumulator, front, tensor, value);
            }
            if seen.is_ok() { Flow::Continue } else { Flow::Stop }
        });
        seen?;
        ran.map(drop).map_err(|(i, error)| {
            Failure::from(error).while_doing(format!("run the model on sample {:?}", samples[i].id))
        })
    }
}
