//! Buffers of one run, reused from node to node and from run to run.

use shiftwise_graph::Value;
use shiftwise_kernels::Scratch;

use crate::scalar::Scalar;

/// Elements that a buffer may hold beyond what is asked for, beside as many again as are asked for.
const SLACK: usize = 256;

/// Working memory of one run.
#[derive(Default)]
pub(crate) struct Workspace {
    /// Buffers inside kernels.
    pub(crate) kernels: Scratch,
    pools: Pools,
}

/// Free buffers of one element type.
pub(crate) struct Pool<T> {
    /// By capacity, smallest first.
    free: Vec<Vec<T>>,
    free_len: usize,
    live: usize,
    peak: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { free: Vec::new(), free_len: 0, live: 0, peak: 0 }
    }
}

impl<T: Copy + Default> Pool<T> {
    fn take(&mut self, len: usize) -> Vec<T> {
        self.live += len;
        self.peak = self.peak.max(self.live);
        let most = len.saturating_mul(2).saturating_add(SLACK);
        let first = self.free.partition_point(|b| b.capacity() < len);
        let fits = || self.free.iter().enumerate().skip(first).take_while(|(_, b)| b.capacity() <= most);
        // One that is filled already is not filled again.
        let found = fits().find(|(_, b)| b.len() >= len).or_else(|| fits().next()).map(|(i, _)| i);
        match found {
            Some(i) => {
                let mut buffer = self.free.remove(i);
                self.free_len -= buffer.capacity();
                buffer.resize(len, T::default());
                buffer
            }
            None => vec![T::default(); len],
        }
    }

    pub(crate) fn give(&mut self, buffer: Vec<T>) {
        self.live = self.live.saturating_sub(buffer.len());
        let capacity = buffer.capacity();
        // Sizes shrink from layer to layer, so that one free buffer of each comes to little more than the wavefront.
        if capacity > 0 && self.free_len + capacity <= self.peak.saturating_mul(3).saturating_add(SLACK) {
            self.free_len += capacity;
            let at = self.free.partition_point(|b| b.capacity() < capacity);
            self.free.insert(at, buffer);
        }
    }
}

macro_rules! pools {
    ($($variant:ident $field:ident $ty:ty),*) => {
        #[derive(Default)]
        struct Pools {
            $($field: Pool<$ty>,)*
        }

        $(impl Pooled for $ty {
            fn pool(ws: &mut Workspace) -> &mut Pool<Self> {
                &mut ws.pools.$field
            }
        })*

        impl Workspace {
            /// Takes back what a value held.
            pub(crate) fn recycle(&mut self, value: Value) {
                match value {
                    $(Value::$variant(a) => self.pools.$field.give(a.into_raw_vec_and_offset().0),)*
                }
            }

            /// Forgets what the last run still held when it ended: its outputs went to the caller.
            pub(crate) fn end_run(&mut self) {
                $(self.pools.$field.live = 0;)*
            }
        }
    };
}

/// An element type that has a pool.
pub(crate) trait Pooled: Sized {
    fn pool(ws: &mut Workspace) -> &mut Pool<Self>;
}

pools!(F32 f32 f32, F64 f64 f64, F16 f16 half::f16, Bf16 bf16 half::bf16, I64 i64 i64, I32 i32 i32, I16 i16 i16,
    I8 i8 i8, U64 u64 u64, U32 u32 u32, U16 u16 u16, U8 u8 u8, Bool bool bool);

impl Workspace {
    /// `len` elements of unspecified content.
    pub(crate) fn buffer<T: Scalar>(&mut self, len: usize) -> Vec<T> {
        T::pool(self).take(len)
    }

    /// `len` floats of unspecified content.
    pub(crate) fn floats(&mut self, len: usize) -> Vec<f32> {
        self.buffer(len)
    }

    /// Takes back a buffer that did not become a value.
    pub(crate) fn recycle_floats(&mut self, buffer: Vec<f32>) {
        self.pools.f32.give(buffer);
    }

    /// The most floats that were ever in use at once.
    #[cfg(test)]
    pub(crate) fn peak(&self) -> usize {
        self.pools.f32.peak
    }
}
