//! One pass over the samples: each is decoded once, and run through every model.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use shiftwise_dataset::Dataset;
use shiftwise_graph::Value;
use shiftwise_stage::{Failure, Interrupt, Progress};

use crate::models::Runnable;
use crate::sample::{Distance, ModelRow, Row, Verdict, classes};

/// Everything that a worker needs.
pub struct Comparer<'a> {
    /// The float model, then the quantized ones.
    pub models: &'a [Runnable],
    /// Names of the outputs of the float model.
    pub outputs: &'a [String],
    /// The samples.
    pub dataset: &'a Dataset,
    /// Whether samples that cannot be read are left out instead of ending the evaluation.
    pub skip_bad_samples: bool,
    /// Where labels come from, for messages.
    pub labels: &'a str,
    /// Whether somebody named the labels, so that not being able to use them is an error.
    pub labels_wanted: bool,
    /// Number of threads.
    pub threads: usize,
    /// Whether to stop at the next sample.
    pub interrupt: &'a Interrupt,
    /// Told of every sample.
    pub progress: &'a Progress,
}

/// What became of a sample.
#[derive(Debug)]
pub enum Outcome {
    /// It was compared.
    Compared {
        /// What came of it.
        row: Row,
        /// Number of classes, where the first output of the float model is one vector of class scores.
        classes: Option<usize>,
    },
    /// It could not be read; why.
    Skipped(String),
}

impl Comparer<'_> {
    /// What became of each sample, in their order, whatever the number of threads.
    ///
    /// Fails with the first sample, in their order, that cannot be read (unless such are skipped), run or compared.
    pub fn run(&self) -> Result<Vec<Outcome>, Failure> {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || {
            let mut done = Vec::new();
            while !stop.load(Ordering::Relaxed) && !self.interrupt.requested() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= self.dataset.len() {
                    break;
                }
                let outcome = self.sample(index);
                // Samples before this one are with other workers, which finish them: the first failure is always found.
                if outcome.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
                done.push((index, outcome));
                self.progress.inc(1);
            }
            done
        };
        let mut all = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.threads.max(1)).map(|_| scope.spawn(work)).collect();
            let mut all = Vec::new();
            for worker in workers {
                match worker.join() {
                    Ok(done) => all.extend(done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            all
        });
        all.sort_by_key(|(index, _)| *index);
        let outcomes = all.into_iter().map(|(_, outcome)| outcome).collect::<Result<Vec<_>, _>>()?;
        if outcomes.len() < self.dataset.len() {
            return Err(interrupted(&format!("after {} of {} samples", outcomes.len(), self.dataset.len())));
        }
        Ok(outcomes)
    }

    fn sample(&self, index: usize) -> Result<Outcome, Failure> {
        let sample = match self.dataset.load(index) {
            Ok(sample) => sample,
            Err(error) if self.skip_bad_samples && error.is_bad_sample() => {
                tracing::warn!("left out a sample: {error}");
                return Ok(Outcome::Skipped(error.to_string()));
            }
            Err(error) if error.is_bad_sample() => {
                return Err(Failure::from(error)
                    .with_help("repair or remove it, or go on without it: --skip-bad-samples"));
            }
            Err(error) => return Err(error.into()),
        };
        let Some((float, quantized)) = self.models.split_first() else {
            return Err(Failure::bug("compare models: there is none"));
        };
        let reference = float.run(&sample.id, &sample.inputs)?;
        let label = self.usable(sample.label, &sample.id, reference.first())?;
        let verdict = |outputs: &[Value]| outputs.first().map(|o| Verdict::of(o, label)).unwrap_or_default();
        let models = quantized.iter().map(|model| {
            let outputs = model.run(&sample.id, &sample.inputs)?;
            let distances = reference.iter().zip(&outputs).zip(self.outputs).map(|((a, b), name)| {
                if effective(a) == effective(b) {
                    return Ok(Distance::between(a, b));
                }
                let (own, other) = (a.shape(), b.shape());
                let path = model.path().display();
                Err(Failure::input(format!(
                    "compare output {name:?} of {path} on sample {:?}: its shape is {other:?}, and {own:?} in the float model",
                    sample.id
                )))
            });
            let distances = distances.collect::<Result<_, _>>()?;
            Ok(ModelRow { verdict: verdict(&outputs), outputs: distances })
        });
        let models = models.collect::<Result<_, Failure>>()?;
        let float = verdict(&reference);
        let classes = reference.first().and_then(classes);
        Ok(Outcome::Compared { row: Row { id: sample.id, label, float, models }, classes })
    }

    /// The label, if the first output can be judged by it.
    fn usable(
        &self,
        label: Option<usize>,
        id: &str,
        output: Option<&Value>,
    ) -> Result<Option<usize>, Failure> {
        let Some(label) = label else { return Ok(None) };
        let fail = |reason: String| Failure::input(format!("use labels {}: {reason}", self.labels));
        match output.and_then(classes) {
            Some(classes) if label < classes => Ok(Some(label)),
            Some(classes) => Err(fail(format!(
                "the label of {id:?} is {label}, and the model has the classes 0 to {}",
                classes - 1
            ))
            .with_help("labels are indices into the first output, counted from 0")),
            None if self.labels_wanted => {
                let shape = output.map_or(&[][..], |o| o.shape());
                Err(fail(format!(
                    "the first output has the shape {shape:?}, which is no vector of class scores"
                ))
                .with_help("evaluate without --labels"))
            }
            None => Ok(None),
        }
    }
}

/// A shape without its ones.
fn effective(value: &Value) -> Vec<usize> {
    value.shape().iter().copied().filter(|d| *d != 1).collect()
}

/// There is no checkpoint: an evaluation is short, and begins anew.
pub(crate) fn interrupted(when: &str) -> Failure {
    Failure::interrupted(format!("stopped {when}; nothing was written"))
        .with_help("run the same command again; it begins anew")
}
