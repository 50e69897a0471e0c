//! What a layer's output loses by its inputs alone.

use crate::layer::Op;

use super::collect::{Look, Rows};
use super::moments::Moments;
use super::{Sampling, Untunable};

/// Sums how far `Wx`, with the float weights and the best bias, is from the float model's output.
pub struct Residual {
    look: Look,
    rows: Rows,
}

impl Residual {
    /// As a [`Collector`](super::Collector) of the same layer is made; it looks at the same positions.
    ///
    /// # Errors
    /// As there.
    pub fn new(
        op: &Op,
        x_dims: &[usize],
        w_dims: &[usize],
        weights: &[f32],
        layer: u64,
        samples: usize,
        sampling: &Sampling,
    ) -> Result<Self, Untunable> {
        let look = Look::new(op, x_dims, w_dims, weights, (layer, samples), sampling)?;
        let geometry = *look.patches.geometry();
        Ok(Self { look, rows: Rows::new(geometry, Moments::of_outputs(geometry)) })
    }

    /// Adds a sample: an input and the float model's output.
    ///
    /// # Errors
    /// Lengths that do not fit, infinity and NaN.
    pub fn add(&mut self, sample: usize, x: &[f32], y: &[f32]) -> Result<(), Untunable> {
        self.look.patches.check(sample, x, y)?;
        let picked = self.look.positions.of(sample);
        for positions in [&picked.fit, &picked.held_out] {
            self.rows.add(&self.look.patches, sample, x, y, positions, &self.look.minus_weights)?;
        }
        Ok(())
    }

    /// The mean squared error of a position's output, summed over the output channels.
    ///
    /// # Errors
    /// Infinity and NaN.
    pub fn finish(mut self) -> Result<f64, Untunable> {
        self.rows.flush(&self.look.minus_weights)?;
        Ok(self.rows.moments.variance())
    }
}
