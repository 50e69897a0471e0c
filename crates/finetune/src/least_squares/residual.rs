//! What a layer's output loses by its inputs alone.

use super::Untunable;
use super::collect::{Look, Rows};
use super::moments::Moments;

/// Sums how far `Wx`, with the float weights and the best bias, is from the float model's output.
pub struct Residual {
    look: Look,
    rows: Rows,
}

impl Residual {
    /// For what is looked at.
    pub fn new(look: Look) -> Self {
        let geometry = *look.patches.geometry();
        Self { look, rows: Rows::new(geometry, Moments::of_outputs(geometry)) }
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
