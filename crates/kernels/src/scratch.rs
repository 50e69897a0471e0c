//! Buffers that kernels reuse between calls.

/// Working memory of one thread. It grows to what the largest call needed and is never read before it is written.
#[derive(Debug, Default)]
pub struct Scratch {
    columns: Vec<f32>,
    plane: Vec<f32>,
}

impl Scratch {
    /// Empty working memory; buffers are allocated when first needed.
    pub fn new() -> Self {
        Self::default()
    }

    /// At least `len` floats of unspecified content for unfolded images.
    pub(crate) fn columns(&mut self, len: usize) -> &mut [f32] {
        grown(&mut self.columns, len)
    }

    /// A buffer for unfolded images and one for padded planes or products, both of unspecified content.
    pub(crate) fn both(&mut self, columns: usize, plane: usize) -> (&mut [f32], &mut [f32]) {
        (grown(&mut self.columns, columns), grown(&mut self.plane, plane))
    }
}

fn grown(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
