//! Gathers the sampled positions of one sample after the other.

use rayon::prelude::*;

use crate::layer::{Activation, Op};
use crate::least_squares::{Positions, Sampling, Untunable};

use super::function::{Functions, OutputGrid};
use super::options::Draws;
use super::source::Source;
use super::{Problem, Refused};

/// Fewer positions than this say too little to train on.
const FEWEST: usize = 32;

/// Which positions are gathered unless something else is asked for.
pub fn sampling(seed: u64) -> Sampling {
    Sampling { positions: 8192, seed, max_bytes: 1 << 30 }
}

/// Takes a layer's input and output, sample after sample, and leaves a [`Problem`].
pub struct Collector {
    source: Source,
    functions: Functions,
    positions: Positions,
    /// One in so many samples is looked at, for the others find no room.
    every: usize,
    fit: Data,
    held_out: Data,
    last: usize,
    key: u64,
    failure: Option<Refused>,
}

/// What positions read and give.
pub(super) struct Data {
    /// Input `k` of all groups at position `p` is `x[k · stride + p]`.
    pub(super) x: Vec<f32>,
    /// As above in the float model; empty where not needed.
    pub(super) x_float: Vec<f32>,
    /// What channel `c` is to give at position `p`, after the activation, is `y[c · stride + p]`.
    pub(super) y: Vec<f32>,
    pub(super) count: usize,
    pub(super) stride: usize,
}

impl Collector {
    /// For a layer with an input and weights of these dimensions. `layer` and the sampling's seed choose the positions; `samples` is how
    /// many samples there will be. Where the bytes of the sampling do not hold all positions, there are fewer. With `float_inputs`,
    /// inputs of the float model come with every sample.
    #[allow(clippy::too_many_arguments, reason = "what a layer is, and how it is sampled")]
    pub fn new(
        op: &Op,
        activation: &Activation,
        x_dims: &[usize],
        w_dims: &[usize],
        layer: u64,
        samples: usize,
        sampling: &Sampling,
        float_inputs: bool,
    ) -> Result<Self, Refused> {
        let source = Source::new(op, x_dims, w_dims)?;
        let shape = source.shape();
        let axis_1 = match op {
            Op::MatMul | Op::LayerNormalization { .. } => x_dims.len() == 2 && w_dims.len() <= 2,
            _ => true,
        };
        let functions = Functions::new(activation, shape.channels, axis_1)?;
        let inputs = shape.all_inputs() * (1 + usize::from(float_inputs));
        let bytes = inputs.saturating_add(shape.channels).saturating_mul(size_of::<f32>());
        let room = sampling.max_bytes / bytes;
        if room < FEWEST {
            let bytes = bytes.saturating_mul(FEWEST);
            let limit = sampling.max_bytes;
            return Err(Untunable::TooWide { inputs: shape.inputs, bytes, limit }.into());
        }
        // A quarter as many are held out.
        let mut sampling = Sampling { positions: sampling.positions.min(room / 5 * 4), ..sampling.clone() };
        let mut every = 1;
        let (positions, counts) = loop {
            let samples = samples.div_ceil(every);
            let positions = Positions::new(source.positions(), samples, layer, &sampling)?;
            let counts = (0..samples)
                .map(|i| positions.of(i))
                .fold([0, 0], |n, picked| [n[0] + picked.fit.len(), n[1] + picked.held_out.len()]);
            if counts[0] + counts[1] <= room {
                break (positions, counts);
            }
            if sampling.positions > samples {
                sampling.positions = samples;
            } else {
                every *= 2;
            }
        };
        let data = |count| Data::new(shape.all_inputs(), shape.channels, count, float_inputs);
        let [fit, held_out] = counts.map(data);
        let key = sampling.seed ^ layer.rotate_left(32);
        Ok(Self { source, functions, positions, every, fit, held_out, last: 0, key, failure: None })
    }

    /// Makes the quantization of the layer's output, behind the activation, part of what is trained.
    #[must_use]
    pub fn through(mut self, output: OutputGrid) -> Self {
        self.functions.output = Some(output);
        self
    }

    /// Adds a sample: what the layer reads in the quantized model, dequantized, what it gives in the float model, before the
    /// activation and with the bias, and what it reads there.
    pub fn add(&mut self, sample: usize, x: &[f32], y: &[f32], x_float: Option<&[f32]>) {
        if self.failure.is_none()
            && sample.is_multiple_of(self.every)
            && let Err(failure) = self.try_add(sample, x, y, x_float)
        {
            self.failure = Some(failure);
        }
    }

    fn try_add(
        &mut self,
        sample: usize,
        x: &[f32],
        y: &[f32],
        x_float: Option<&[f32]>,
    ) -> Result<(), Refused> {
        let [x_len, y_len] = self.source.lens();
        let float = x_float.map(|x| ("the float input", x.len(), x_len));
        for (what, found, expected) in
            [("the input", x.len(), x_len), ("the output", y.len(), y_len)].into_iter().chain(float)
        {
            if found != expected {
                return Err(Untunable::Length { what, sample, found, expected }.into());
            }
        }
        let x_float = match (x_float, self.fit.x_float.is_empty()) {
            (Some(x), false) => Some(x),
            (_, true) => None,
            (None, false) => return Err(Refused::FloatInputs("a sample has no inputs of the float model")),
        };
        self.last = self.last.max(sample);
        let picked = self.positions.of(sample / self.every);
        let (x, x_float) = (self.source.prepare(x), x_float.map(|x| self.source.prepare(x)));
        for (data, positions) in [(&mut self.fit, &picked.fit), (&mut self.held_out, &picked.held_out)] {
            if positions.len() > data.stride - data.count {
                return Err(Refused::Unannounced(sample));
            }
            let (at, stride) = (data.count, data.stride);
            self.source.gather(&x, positions, &mut data.x, stride, at);
            if let Some(x) = &x_float {
                self.source.gather(x, positions, &mut data.x_float, stride, at);
            }
            self.source.gather_output(y, positions, &mut data.y, stride, at);
            data.count += positions.len();
            if !data.finite(at) {
                return Err(Untunable::NonFinite { first: sample, last: sample }.into());
            }
        }
        Ok(())
    }

    /// The problem of training the layer.
    pub fn finish(mut self) -> Result<Problem, Refused> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if self.fit.count == 0 || self.held_out.count == 0 {
            let (positions, samples) = (self.source.positions(), self.last + 1);
            return Err(Untunable::TooFew { positions, samples }.into());
        }
        self.fit.shuffle(self.key);
        for data in [&mut self.fit, &mut self.held_out] {
            let (count, functions) = (data.count, &self.functions);
            let rows = data.y.par_chunks_mut(data.stride).enumerate();
            rows.for_each(|(channel, row)| functions.of(channel).apply(&mut row[..count]));
        }
        Ok(Problem::new(self.source, self.functions, self.fit, self.held_out))
    }
}

impl Data {
    fn new(inputs: usize, channels: usize, count: usize, float_inputs: bool) -> Self {
        // An odd number of cache lines: columns do not fall into the same places of a cache.
        let stride = (count.div_ceil(16) | 1) * 16;
        let x_float = if float_inputs { vec![0.0; inputs * stride] } else { Vec::new() };
        Self { x: vec![0.0; inputs * stride], x_float, y: vec![0.0; channels * stride], count: 0, stride }
    }

    /// Whether all is finite from a position on.
    fn finite(&self, from: usize) -> bool {
        let all = |values: &[f32]| {
            values
                .par_chunks(self.stride)
                .with_min_len(64)
                .all(|row| row[from..self.count].iter().all(|v| v.is_finite()))
        };
        all(&self.x) && all(&self.x_float) && all(&self.y)
    }

    /// Brings the positions into a random order: what is close in an image is alike.
    fn shuffle(&mut self, key: u64) {
        let mut order: Vec<usize> = (0..self.count).collect();
        Draws(key).shuffle(&mut order);
        for values in [&mut self.x, &mut self.x_float, &mut self.y] {
            values.par_chunks_mut(self.stride).for_each_init(Vec::new, |old: &mut Vec<f32>, row| {
                old.clear();
                old.extend_from_slice(row);
                for (value, &from) in row.iter_mut().zip(&order) {
                    *value = old[from];
                }
            });
        }
    }
}
