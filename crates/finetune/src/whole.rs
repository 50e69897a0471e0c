//! How far the outputs of the quantized model are from those of the float model, over all samples.

use rayon::prelude::*;
use shiftwise_engine::{Engine, Flow, PrepareOptions};
use shiftwise_graph::Model;
use shiftwise_stage::report::count;
use shiftwise_stage::{ExitStatus, Failure};

use crate::frontier::{FrontierError, Load, Which};
use crate::gather::SampleName;

/// The outputs of the float model, to hold those of quantized models against.
pub(crate) struct Whole<'a> {
    engine: &'a dyn Engine,
    load: &'a Load<'a>,
    name: &'a SampleName<'a>,
    stops: &'a (dyn Fn() -> bool + Sync),
    /// Which output is looked at; all of them where none is named.
    output: Option<usize>,
    /// Of each sample, one output after the other.
    wanted: Vec<Vec<f32>>,
}

impl<'a> Whole<'a> {
    /// Runs the float model on all samples.
    ///
    /// Fails for an output that there is not, and for samples that cannot be run.
    pub(crate) fn new(
        engine: &'a dyn Engine,
        float: &Model,
        samples: usize,
        load: &'a Load<'a>,
        name: &'a SampleName<'a>,
        stops: &'a (dyn Fn() -> bool + Sync),
        output: Option<u64>,
    ) -> Result<Self, Failure> {
        let outputs = float.graph.outputs().len();
        let output = output.map(|index| usize::try_from(index).unwrap_or(usize::MAX));
        if let Some(index) = output.filter(|index| *index >= outputs) {
            return Err(Failure::usage(format!(
                "look at output_index = {index}: the model has {}",
                count(outputs as u64, "output")
            ))
            .with_help("the first output is 0; without the option, all count"));
        }
        let mut this = Self { engine, load, name, stops, output, wanted: Vec::new() };
        this.wanted = this.run(Which::Float, float, samples, |_, values| values)?;
        Ok(this)
    }

    /// The mean Euclidean distance of a quantized model's outputs. NaN counts as infinitely far.
    ///
    /// Fails for samples that cannot be run.
    pub(crate) fn distance(&self, quantized: &Model) -> Result<f64, Failure> {
        let distances = self.run(Which::Quantized, quantized, self.wanted.len(), |sample, values| {
            let wanted = &self.wanted[sample];
            if wanted.len() != values.len() {
                return f64::INFINITY;
            }
            let squares = wanted.iter().zip(&values).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
            squares.sum::<f64>().sqrt()
        })?;
        let mean = distances.iter().sum::<f64>() / distances.len().max(1) as f64;
        Ok(if mean.is_nan() { f64::INFINITY } else { mean })
    }

    fn run<T: Send>(
        &self,
        which: Which,
        model: &Model,
        samples: usize,
        with: impl Fn(usize, Vec<f32>) -> T + Sync,
    ) -> Result<Vec<T>, Failure> {
        let run = || -> Result<Vec<T>, FrontierError> {
            let options = PrepareOptions::default().with_threads(1);
            let prepared = self.engine.prepare(model, &options);
            let session = prepared.map_err(|cause| FrontierError::Prepare { model: which, cause })?;
            let one = |sample: usize| {
                if (self.stops)() {
                    return Err(FrontierError::Interrupted);
                }
                let feeds = (self.load)(sample).map_err(|cause| FrontierError::Load { sample, cause })?;
                let outputs = session.run(&feeds, &mut |_, _| Flow::Continue);
                let outputs = outputs.map_err(|cause| FrontierError::Run { model: which, sample, cause })?;
                let picked = outputs.iter().enumerate().filter(|(i, _)| self.output.is_none_or(|o| o == *i));
                let floats = picked.flat_map(|(_, value)| value.as_f32().unwrap_or_default());
                Ok(with(sample, floats.copied().collect()))
            };
            (0..samples).into_par_iter().map(one).collect()
        };
        run().map_err(|e| failure(&e, self.name))
    }
}

/// An error of a run, with the name of the sample that it is about, and what to do.
pub(crate) fn failure(error: &FrontierError, name: &SampleName<'_>) -> Failure {
    let failure = match error {
        FrontierError::Interrupted => Failure::interrupted("stopped; the layers that are done are kept")
            .with_help("run the same command again to go on"),
        FrontierError::Load { .. } => Failure::from_error(ExitStatus::Input, error)
            .with_help("repair or remove it, or go on without it: --skip-bad-samples"),
        other => Failure::from_error(ExitStatus::Input, other),
    };
    match error.sample() {
        Some(sample) => failure.because(format!("the sample is {}", name(sample))),
        None => failure,
    }
}
