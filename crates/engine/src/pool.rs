//! Buffers of one run, reused from node to node and from run to run.

use std::collections::BTreeMap;

use shiftwise_graph::Value;
use shiftwise_kernels::Scratch;

/// Smaller buffers are left to the allocator.
const SMALL: usize = 256;

/// Working memory of one run.
#[derive(Default)]
pub(crate) struct Workspace {
    /// Buffers inside kernels.
    pub(crate) kernels: Scratch,
    pool: Pool,
}

/// Free float buffers by capacity.
#[derive(Default)]
struct Pool {
    free: BTreeMap<usize, Vec<Vec<f32>>>,
    free_len: usize,
    live: usize,
    peak: usize,
}

impl Workspace {
    /// `len` floats of unspecified content.
    pub(crate) fn floats(&mut self, len: usize) -> Vec<f32> {
        let pool = &mut self.pool;
        pool.live += len;
        pool.peak = pool.peak.max(pool.live);
        // A buffer up to twice as large is better than another one.
        let fit =
            pool.free.range(len..=len.saturating_mul(2)).next().map(|(k, _)| *k).filter(|_| len >= SMALL);
        if let Some(capacity) = fit
            && let Some(stack) = pool.free.get_mut(&capacity)
            && let Some(mut buffer) = stack.pop()
        {
            if stack.is_empty() {
                pool.free.remove(&capacity);
            }
            pool.free_len -= capacity;
            buffer.resize(len, 0.0);
            return buffer;
        }
        vec![0.0; len]
    }

    /// Takes back what a value held.
    pub(crate) fn recycle(&mut self, value: Value) {
        if let Value::F32(array) = value {
            self.recycle_floats(array.into_raw_vec_and_offset().0);
        }
    }

    pub(crate) fn recycle_floats(&mut self, buffer: Vec<f32>) {
        let pool = &mut self.pool;
        pool.live = pool.live.saturating_sub(buffer.len());
        let capacity = buffer.capacity();
        // Sizes shrink from layer to layer, so that one free buffer of each comes to little more than the wavefront.
        if capacity >= SMALL && pool.free_len + capacity <= pool.peak.saturating_mul(3) {
            pool.free_len += capacity;
            pool.free.entry(capacity).or_default().push(buffer);
        }
    }

    /// The most floats that were ever in use at once.
    #[cfg(test)]
    pub(crate) fn peak(&self) -> usize {
        self.pool.peak
    }

    /// Forgets what the last run still held when it ended: its outputs went to the caller.
    pub(crate) fn end_run(&mut self) {
        self.pool.live = 0;
    }
}
