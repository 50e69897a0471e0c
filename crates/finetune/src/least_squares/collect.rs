//! Gathers the sampled positions of one sample after the other into the moments.

use crate::layer::Op;

use super::moments::{CHUNK, Moments, NonFinite, STRIDE};
use super::{Geometry, Patches, Positions, Problem, Sampling, Untunable};

/// Takes a layer's input and output, sample after sample, and leaves a [`Problem`].
///
/// What it leaves depends on the order of the samples in the last bits, and not on the number of threads. What cannot
/// be tuned says so at the end; until then, the samples that follow the failure are ignored.
pub struct Collector {
    look: Look,
    fit: Rows,
    held_out: Rows,
    failure: Option<Untunable>,
}

/// Moments, and the positions that are still to be added to them.
pub(super) struct Rows {
    pub(super) moments: Moments,
    x: Vec<f32>,
    y: Vec<f32>,
    filled: usize,
    /// The first and the last sample in the rows.
    samples: (usize, usize),
}

/// Which positions of a layer's samples are looked at, and its float weights as rows.
pub struct Look {
    pub(super) patches: Patches,
    pub(super) positions: Positions,
    pub(super) weights: Vec<f32>,
    pub(super) minus_weights: Vec<f32>,
}

impl Look {
    /// For a layer with an input and weights of these dimensions, the weights as the operator has them. `layer` and
    /// the sampling's seed choose the positions; `samples` is how many samples there will be.
    ///
    /// # Errors
    /// Weights that do not fit, and too few positions.
    pub fn new(
        op: &Op,
        x_dims: &[usize],
        w_dims: &[usize],
        weights: &[f32],
        layer: u64,
        samples: usize,
        sampling: &Sampling,
    ) -> Result<Self, Untunable> {
        let patches = Patches::new(op, x_dims, w_dims)?;
        let geometry = *patches.geometry();
        if weights.len() != geometry.weight_len() {
            return Err(Untunable::Shape {
                x: x_dims.to_vec(),
                w: w_dims.to_vec(),
                why: "the weights have another number of elements",
            });
        }
        let positions = Positions::new(patches.positions(), samples, layer, sampling)?;
        let weights = geometry.to_rows(weights);
        let minus_weights = weights.iter().map(|w| -w).collect();
        Ok(Self { patches, positions, weights, minus_weights })
    }
}

impl Collector {
    /// For what is looked at, with moments of at most so many bytes.
    ///
    /// # Errors
    /// A layer with too many inputs for that.
    pub fn new(look: Look, max_bytes: usize) -> Result<Self, Untunable> {
        let geometry = *look.patches.geometry();
        // Moments of what is fitted to and of what is held out, and later a copy of the former.
        let bytes = Moments::bytes(&geometry).and_then(|n| n.checked_mul(3)).unwrap_or(usize::MAX);
        if bytes > max_bytes {
            return Err(Untunable::TooWide { inputs: geometry.inputs, bytes, limit: max_bytes });
        }
        let [fit, held_out] = [(); 2].map(|()| Rows::new(geometry, Moments::new(geometry)));
        Ok(Self { look, fit, held_out, failure: None })
    }

    /// Groups, outputs and inputs of the layer.
    pub fn geometry(&self) -> &Geometry {
        self.look.patches.geometry()
    }

    /// Adds a sample: what the layer reads in the quantized model, dequantized, and what it gives in the float model,
    /// before an activation and with the bias.
    pub fn add(&mut self, sample: usize, x: &[f32], y: &[f32]) {
        if self.failure.is_none()
            && let Err(failure) = self.try_add(sample, x, y)
        {
            self.failure = Some(failure);
        }
    }

    fn try_add(&mut self, sample: usize, x: &[f32], y: &[f32]) -> Result<(), Untunable> {
        self.look.patches.check(sample, x, y)?;
        let picked = self.look.positions.of(sample);
        for (rows, positions) in [(&mut self.fit, &picked.fit), (&mut self.held_out, &picked.held_out)] {
            rows.add(&self.look.patches, sample, x, y, positions, &self.look.minus_weights)?;
        }
        Ok(())
    }

    /// The problem of choosing the layer's integers.
    pub fn finish(mut self) -> Result<Problem, Untunable> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        self.fit.flush(&self.look.minus_weights)?;
        self.held_out.flush(&self.look.minus_weights)?;
        let counts = [self.fit.moments.count(), self.held_out.moments.count()];
        if counts.contains(&0) {
            return Err(Untunable::TooFew {
                positions: self.look.patches.positions(),
                samples: self.fit.samples.1.max(self.held_out.samples.1) + 1,
            });
        }
        let (fit, held_out) = (self.fit.moments.finish(), self.held_out.moments.finish());
        let (Some(fit), Some(held_out)) = (fit, held_out) else { return Err(Untunable::Overflow) };
        Ok(Problem::new(*self.look.patches.geometry(), self.look.weights, counts, fit, held_out))
    }
}

impl Rows {
    pub(super) fn new(geometry: Geometry, moments: Moments) -> Self {
        Self {
            moments,
            x: vec![0.0; geometry.groups * geometry.inputs * STRIDE],
            y: vec![0.0; geometry.channels() * STRIDE],
            filled: 0,
            samples: (0, 0),
        }
    }

    pub(super) fn add(
        &mut self,
        patches: &Patches,
        sample: usize,
        x: &[f32],
        y: &[f32],
        mut positions: &[usize],
        minus_weights: &[f32],
    ) -> Result<(), Untunable> {
        while !positions.is_empty() {
            let (now, later) = positions.split_at(positions.len().min(CHUNK - self.filled));
            if self.filled == 0 {
                self.samples.0 = sample;
            }
            self.samples.1 = sample;
            patches.gather(x, now, &mut self.x, STRIDE, self.filled);
            patches.gather_output(y, now, &mut self.y, STRIDE, self.filled);
            self.filled += now.len();
            positions = later;
            if self.filled == CHUNK {
                self.flush(minus_weights)?;
            }
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, minus_weights: &[f32]) -> Result<(), Untunable> {
        let n = std::mem::take(&mut self.filled);
        let (first, last) = self.samples;
        let added = self.moments.add(&mut self.x, &mut self.y, n, minus_weights);
        added.map_err(|NonFinite| Untunable::NonFinite { first, last })
    }
}
