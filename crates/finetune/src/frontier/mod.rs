//! Runs the float and the quantized model over all samples, from layer to layer.
//!
//! What a layer reads in the quantized model depends on the integers of all layers before it, which are tuned while the walk goes on.
//! Both models therefore stop in front of each layer: what later nodes need waits, for every sample, in memory or in a file
//! (`scratch`), and each node runs once in the whole walk (`schedule`). What runs between two stops is a model of its own
//! (`segment`), prepared when it is needed. Nothing here may change what a layer reads: with the embedded engine every value has
//! the bits that a run of the whole model gives. There are two exceptions. Float16 models are rounded only where a value leaves the graph, and
//! here it leaves at every stop. ONNX Runtime chooses the order of sums for a graph as a whole, so that it may be another one for a part.

mod behind;
mod blocks;
mod discover;
mod error;
mod float_input;
mod found;
mod op;
mod schedule;
mod scratch;
mod segment;
mod side;
mod spatial;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use rayon::prelude::*;
use shiftwise_engine::Engine;
use shiftwise_graph::{Model, Tensor, Value};

pub use discover::{Skipped, find_layers};
pub use error::{BoxError, FrontierError, Which};
pub use found::{Bias, Layer, QuantizedConstant, Reading};
pub use op::LayerOp;
pub use scratch::{Scratch, ScratchError, Stored, Usage};

pub(crate) use float_input::{FloatInput, on_grid};
use side::{Side, Step};

/// How a walk uses memory and disk.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of the scratch file; the file has no name and goes when the walk ends.
    pub folder: PathBuf,
    /// Bytes of waiting values that are kept in memory; what is more goes to the scratch file.
    pub max_memory: u64,
    /// Samples that are handed over at once, at least one. All of their values are in memory together.
    pub chunk: usize,
    /// Layers read what the float model gives, quantized and dequantized as the quantized model does it, and not what the layers before them
    /// give. The quantized model then does not run, and no layer depends on the constants of another.
    pub float_inputs: bool,
}

impl Options {
    /// 256 MiB in memory, 16 samples at once.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), max_memory: 256 << 20, chunk: 16, float_inputs: false }
    }
}

/// What a layer is tuned on, for one sample. Values may be NaN or infinite where the models make them so.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The sample.
    pub sample: usize,
    /// The layer's input in the quantized model: before it is quantized where the layer has a [`Layer::reading`], else dequantized; with
    /// [`Options::float_inputs`] that of the float model on the same grid.
    pub x: Value,
    /// The float model's output of the layer, before its activation.
    pub y: Value,
    /// The layer's input in the float model, where it was asked for.
    pub x_float: Option<Value>,
}

/// Reads a sample: values by the names of the models' inputs.
pub type Load<'a> = dyn Fn(usize) -> Result<Vec<(String, Value)>, BoxError> + Sync + 'a;

/// Where what a layer reads comes from.
enum Reads {
    /// From a run of the quantized model.
    Quantized(Step),
    /// From the float model.
    Float(FloatInput),
}

impl Reads {
    fn step(&self) -> Option<&Step> {
        match self {
            Self::Quantized(step) => Some(step),
            Self::Float(_) => None,
        }
    }
}

/// A walk over the layers of a quantized model and its float model.
pub struct Frontier<'a> {
    engine: &'a dyn Engine,
    float: Side,
    quantized: Side,
    layers: Vec<Layer>,
    samples: usize,
    load: &'a Load<'a>,
    stops: &'a (dyn Fn() -> bool + Sync),
    options: Options,
    /// With [`Options::float_inputs`], the Q/DQ of each layer's input.
    float_inputs: Vec<FloatInput>,
    scratch: Scratch,
    /// The first layer that can still be visited.
    next: usize,
    /// How often each node ran: of the float, and of the quantized model.
    runs: [Vec<u32>; 2],
}

impl<'a> Frontier<'a> {
    /// A walk over `layers`, which [`find_layers`] found in these models, or some of them in the same order. `load` reads the samples, of which
    /// there are `samples`; each is read once. `stops` is asked before each sample.
    ///
    /// # Errors
    /// Layers that are not of these models, or out of order.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        engine: &'a dyn Engine,
        float: &Model,
        quantized: Model,
        layers: Vec<Layer>,
        samples: usize,
        load: &'a Load<'a>,
        stops: &'a (dyn Fn() -> bool + Sync),
        options: Options,
    ) -> Result<Self, FrontierError> {
        let shown: Vec<Vec<&str>> =
            layers.iter().map(|l| vec![l.float_output.as_str(), l.float_input.as_str()]).collect();
        let float = Side::new(Which::Float, float.clone(), &shown);
        let mut float_inputs = Vec::new();
        let mut shown: Vec<Vec<&str>> = layers.iter().map(|l| vec![l.shown()]).collect();
        if options.float_inputs {
            shown.iter_mut().for_each(Vec::clear);
            for layer in &layers {
                let input = FloatInput::of(&quantized.graph, layer);
                float_inputs.push(input.map_err(|reason| FrontierError::layer(layer, reason))?);
            }
        }
        let quantized = Side::new(Which::Quantized, quantized, &shown);
        let mut last = None;
        for layer in &layers {
            let fail = |reason: &str| Err(FrontierError::layer(layer, reason));
            let place = quantized.schedule.maker(&layer.output);
            if place.is_none() || float.schedule.maker(&layer.float_output).is_none() {
                return fail("it is not a node of these models");
            }
            if place <= last {
                return fail(
                    "it stands behind a layer that runs after it; give layers in the order of the model",
                );
            }
            last = place;
        }
        let scratch = Scratch::new(&options.folder, options.max_memory);
        let runs = [&float, &quantized].map(|side| vec![0; side.model.graph.node_count()]);
        Ok(Self {
            engine,
            float,
            quantized,
            layers,
            samples,
            load,
            stops,
            options,
            float_inputs,
            scratch,
            next: 0,
            runs,
        })
    }

    /// The layers.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The quantized model as it is now.
    pub fn model(&self) -> &Model {
        &self.quantized.model
    }

    /// Where values wait; callers may let values of their own wait there, too.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// How often each node of the float and of the quantized model ran over all samples, in the order of the nodes. At most once; not at all
    /// for nodes that no layer depends on. Nodes that depend on constants alone and DequantizeLinear of activations are
    /// computed wherever they are read, and not counted.
    pub fn runs(&self) -> &[Vec<u32>; 2] {
        &self.runs
    }

    /// Runs both models on all samples up to a layer, which has not been passed, and hands over what it is to be tuned on: `visit` gets the samples in
    /// ascending order, [`Options::chunk`] at once. Layers in between are passed with the constants that they have.
    ///
    /// Afterwards the walk stands in front of the layer in the quantized model and behind it in the float model. A call that
    /// fails leaves everything as it was before.
    ///
    /// # Errors
    /// Samples that cannot be read or run, a full disk, [`FrontierError::Interrupted`], and whatever `visit` says.
    pub fn layer<E: From<FrontierError>>(
        &mut self,
        layer: usize,
        want_x_float: bool,
        mut visit: impl FnMut(Vec<Pair>) -> Result<(), E>,
    ) -> Result<(), E> {
        let at =
            self.layers.get(layer).filter(|_| layer >= self.next).ok_or(FrontierError::Passed { layer })?;
        let shown = [at.float_output.as_str(), at.float_input.as_str()];
        let alone = self.float_inputs.get(layer);
        let shown = if want_x_float || alone.is_some() { &shown[..] } else { &shown[..1] };
        let float = self.float.prepare(layer, shown, self.engine)?;
        let reads = match alone {
            None => Reads::Quantized(self.quantized.prepare(layer, &[at.shown()], self.engine)?),
            Some(input) => Reads::Float(input.clone()),
        };
        let (mut waits_float, mut waits_quantized) = (Vec::new(), Vec::new());
        for first in (0..self.samples).step_by(self.options.chunk.max(1)) {
            let chunk = first..(first + self.options.chunk.max(1)).min(self.samples);
            let made: Vec<_> =
                chunk.into_par_iter().map(|sample| self.sample(layer, sample, &float, &reads)).collect();
            let mut pairs = Vec::with_capacity(made.len());
            for made in made {
                let (mut pair, stored_float, stored_quantized) = made?;
                pair.x_float = pair.x_float.filter(|_| want_x_float);
                pairs.push(pair);
                waits_float.push(stored_float);
                waits_quantized.push(stored_quantized);
            }
            visit(pairs)?;
        }
        for (runs, step) in self.runs.iter_mut().zip([Some(&float), reads.step()]) {
            step.iter().flat_map(|step| step.nodes()).for_each(|place| runs[*place] += 1);
        }
        self.float.commit(float, waits_float);
        if let Reads::Quantized(quantized) = reads {
            self.quantized.commit(quantized, waits_quantized);
        }
        self.next = layer + 1;
        self.scratch.trim().map_err(FrontierError::from)?;
        Ok(())
    }

    #[allow(clippy::type_complexity)]
    fn sample(
        &self,
        layer: usize,
        sample: usize,
        float: &Step,
        reads: &Reads,
    ) -> Result<(Pair, Vec<Stored>, Vec<Stored>), FrontierError> {
        if (self.stops)() {
            return Err(FrontierError::Interrupted);
        }
        let values = if self.float.starts() || (reads.step().is_some() && self.quantized.starts()) {
            (self.load)(sample).map_err(|cause| FrontierError::Load { sample, cause })?
        } else {
            Vec::new()
        };
        let (x, stored_quantized) = match reads.step() {
            Some(step) => self.quantized.run(step, sample, &values, &self.scratch)?.split(),
            None => (Vec::new(), Vec::new()),
        };
        let (shown, stored_float) = self.float.run(float, sample, &values, &self.scratch)?.split();
        let (mut x, mut shown) = (x.into_iter(), shown.into_iter());
        let passed = || FrontierError::Passed { layer };
        let y = shown.next().ok_or_else(passed)?;
        let x_float = shown.next();
        let x = match reads {
            Reads::Quantized(_) => x.next(),
            Reads::Float(input) => {
                let x = x_float.clone().map(|x| input.apply(x)).transpose();
                x.map_err(|reason| FrontierError::layer(&self.layers[layer], reason))?
            }
        };
        Ok((Pair { sample, x: x.ok_or_else(passed)?, y, x_float }, stored_float, stored_quantized))
    }

    /// Gives a layer other constants, by their names in the quantized model, before anything runs past it.
    ///
    /// # Errors
    /// A layer that has run already; a name that is no constant of this layer alone, or a tensor of another type or shape. Then nothing
    /// is changed.
    pub fn tune(&mut self, layer: usize, constants: &[(String, Tensor)]) -> Result<(), FrontierError> {
        let at = self.layers.get(layer).ok_or(FrontierError::Passed { layer })?;
        if self
            .quantized
            .schedule
            .maker(&at.output)
            .is_none_or(|place| self.quantized.schedule.has_run(place))
        {
            return Err(FrontierError::Passed { layer });
        }
        let passed = |reading: &Reading| {
            let quantizer = self.quantized.schedule.maker(&reading.integers);
            quantizer.is_some_and(|place| self.quantized.schedule.has_run(place))
                && constants.iter().any(|(name, _)| *name == reading.scale)
        };
        if at.reading.as_ref().is_some_and(passed) {
            return Err(FrontierError::Passed { layer });
        }
        at.give(&mut self.quantized.model, constants)
    }

    /// The quantized model with all constants that were given.
    pub fn finish(self) -> Model {
        self.quantized.model
    }
}
