//! The gradient of a convolution with respect to its weight.

use super::{Conv2d, im2col};
use crate::Scratch;
use crate::matmul::{MatRef, matmul};

impl Conv2d {
    /// `dw += Σ_n dY_n · im2col(X_n)ᵀ`: `x` is `[batch, c_in, h, w]`, `dy` is `[batch, c_out, oh, ow]`, `dw` is
    /// `[c_out, c_in / groups, kh, kw]` and is added to, so that callers can sum over batches.
    ///
    /// Panics when a length contradicts the geometry.
    pub fn weight_grad(&self, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut Scratch) {
        self.check();
        assert_eq!(x.len(), self.input_len(), "input of {self:?}");
        assert_eq!(dy.len(), self.output_len(), "output gradient of {self:?}");
        assert_eq!(dw.len(), self.weight_len(), "weight gradient of {self:?}");
        if dw.is_empty() || dy.is_empty() || x.is_empty() {
            return;
        }
        let [oh, ow] = self.output_hw();
        let (pixels, depth) = (oh * ow, self.depth());
        let (in_group, out_group) = (self.c_in / self.groups, self.c_out / self.groups);
        let tile = self.tile(pixels);
        for (i, (image, dy)) in
            x.chunks_exact(in_group * self.h * self.w).zip(dy.chunks_exact(out_group * pixels)).enumerate()
        {
            let dw = &mut dw[i % self.groups * out_group * depth..][..out_group * depth];
            if self.is_pointwise() {
                let (dy, x) = (MatRef::row_major(dy, pixels), MatRef::transposed(image, pixels));
                matmul(out_group, pixels, depth, dy, x, dw, 1.0, 1.0);
                continue;
            }
            let mut first = 0;
            while first < pixels {
                let columns = tile.min(pixels - first);
                let unfolded = scratch.columns(depth * columns);
                im2col(self, image, first, columns, unfolded);
                let unfolded = MatRef::transposed(unfolded, columns);
                let dy = MatRef::row_major(&dy[first..], pixels);
                matmul(out_group, columns, depth, dy, unfolded, dw, 1.0, 1.0);
                first += columns;
            }
        }
    }
}
