//! Values that wait: in memory up to a limit, beyond it in one unnamed file.
//!
//! The file is written and read at offsets, not mapped: what the system caches of it is not this process's memory, and a full disk is
//! an error rather than a signal. A value takes whole blocks, wherever some are free, so the file never grows beyond
//! what waits in it at once.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shiftwise_graph::{DataType, Tensor, Value};

use super::blocks::{BLOCK, Blocks, Run, read, write};

/// A place for values of any number and type. Clones are the same place.
#[derive(Clone, Debug)]
pub struct Scratch {
    shared: Arc<Shared>,
}

/// A value that waits in a [`Scratch`], and gives its place free when it is dropped.
#[derive(Debug)]
pub struct Stored {
    shared: Arc<Shared>,
    dtype: DataType,
    shape: Vec<usize>,
    bytes: u64,
    place: Place,
}

/// What a [`Scratch`] holds, and held at most, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In memory, now.
    pub memory: u64,
    /// In memory, at most so far.
    pub memory_peak: u64,
    /// In blocks of the file that are in use, now.
    pub file: u64,
    /// The longest that the file was so far.
    pub file_peak: u64,
}

/// The scratch file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{action} the scratch file in {}: {cause}", folder.display())]
pub struct ScratchError {
    action: &'static str,
    folder: PathBuf,
    /// What the operating system said.
    #[source]
    pub cause: io::Error,
}

#[derive(Debug)]
enum Place {
    Memory(Value),
    /// Runs of blocks, in the order of the value's bytes.
    File(Vec<Run>),
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    max_memory: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<Arc<File>>,
    blocks: Blocks,
    usage: Usage,
}

impl Scratch {
    /// A place that keeps up to `max_memory` bytes in memory; its file is made in `folder` when it is first needed.
    pub fn new(folder: &Path, max_memory: u64) -> Self {
        let state = Mutex::default();
        Self { shared: Arc::new(Shared { folder: folder.into(), max_memory, state }) }
    }

    /// Puts a value away.
    ///
    /// # Errors
    /// The file cannot be made or written, mostly because the disk is full.
    pub fn store(&self, value: Value) -> Result<Stored, ScratchError> {
        let shared = &self.shared;
        let (dtype, shape) = (value.dtype(), value.shape().to_vec());
        let bytes = dtype.bytes_for(value.len()).unwrap_or(usize::MAX) as u64;
        let stored = |place| Stored { shared: Arc::clone(shared), dtype, shape, bytes, place };
        let mut state = shared.state();
        if state.usage.memory.saturating_add(bytes) <= shared.max_memory {
            state.usage.memory += bytes;
            state.usage.memory_peak = state.usage.memory_peak.max(state.usage.memory);
            return Ok(stored(Place::Memory(value)));
        }
        let file = state.file(&shared.folder).map_err(|cause| shared.error("make", cause))?;
        let wanted = bytes.div_ceil(BLOCK);
        let runs = state.blocks.take(wanted);
        state.usage.file += wanted * BLOCK;
        state.usage.file_peak = state.usage.file_peak.max(state.blocks.length());
        drop(state);
        // From here on dropping `stored` frees the blocks, also where writing fails.
        let stored = stored(Place::File(runs));
        write(&file, stored.runs(), &bytes_of(&value)).map_err(|cause| shared.error("write", cause))?;
        Ok(stored)
    }

    /// What is held.
    pub fn usage(&self) -> Usage {
        self.shared.state().usage
    }

    /// Gives blocks at the end of the file, which nothing uses, back to the disk, once they are more than half of it: what is cut off is
    /// mostly written again soon.
    ///
    /// # Errors
    /// The file cannot be cut.
    pub fn trim(&self) -> Result<(), ScratchError> {
        let mut state = self.shared.state();
        let length = state.blocks.used_length();
        if length < state.blocks.length() / 2 {
            if let Some(file) = &state.file {
                file.set_len(length).map_err(|cause| self.shared.error("cut", cause))?;
            }
            state.blocks.cut();
        }
        Ok(())
    }
}

impl Stored {
    /// Element type.
    pub fn dtype(&self) -> DataType {
        self.dtype
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The value.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load(&self) -> Result<Value, ScratchError> {
        let runs = match &self.place {
            Place::Memory(value) => return Ok(value.clone()),
            Place::File(runs) => runs,
        };
        let fail = |cause| self.shared.error("read", cause);
        let file = self.shared.state().file(&self.shared.folder).map_err(fail)?;
        if self.dtype == DataType::Float && cfg!(target_endian = "little") {
            let mut content = vec![0.0f32; self.bytes as usize / size_of::<f32>()];
            read(&file, runs, bytemuck::cast_slice_mut(&mut content)).map_err(fail)?;
            return Ok(Value::f32(&self.shape, content));
        }
        let mut content = vec![0; self.bytes as usize];
        read(&file, runs, &mut content).map_err(fail)?;
        let tensor = Tensor::from_raw(self.dtype, self.shape.clone(), content.into());
        tensor.and_then(|t| Value::from_tensor(&t)).map_err(|error| fail(io::Error::other(error)))
    }

    fn runs(&self) -> &[Run] {
        match &self.place {
            Place::Memory(_) => &[],
            Place::File(runs) => runs,
        }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        match &self.place {
            Place::Memory(_) => state.usage.memory -= self.bytes,
            Place::File(runs) => {
                for run in runs {
                    state.usage.file -= state.blocks.give(*run) * BLOCK;
                }
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No change of the state can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, action: &'static str, cause: io::Error) -> ScratchError {
        ScratchError { action, folder: self.folder.clone(), cause }
    }
}

impl State {
    fn file(&mut self, folder: &Path) -> io::Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(tempfile::tempfile_in(folder)?);
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }
}

/// Little-endian bytes, without a copy for the types of which there is much.
fn bytes_of(value: &Value) -> Cow<'_, [u8]> {
    let as_it_is = match value {
        Value::F32(a) if cfg!(target_endian = "little") => a.as_slice().map(bytemuck::cast_slice),
        Value::I8(a) => a.as_slice().map(bytemuck::cast_slice),
        Value::U8(a) => a.as_slice(),
        _ => None,
    };
    as_it_is.map_or_else(|| Cow::Owned(value.to_bytes()), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(dtype: DataType, dims: &[usize], bytes: Vec<u8>) -> Value {
        Value::from_tensor(&Tensor::from_raw(dtype, dims.to_vec(), bytes.into()).unwrap()).unwrap()
    }

    #[test]
    fn every_type_comes_back() {
        let values = [
            Value::f32(&[2, 3], vec![0.5, -0.0, f32::NAN, f32::INFINITY, 1e-40, 3.0]),
            Value::i64(&[], vec![-7]),
            of(DataType::Uint8, &[5000], vec![200; 5000]),
            of(DataType::Int8, &[3, 0], Vec::new()),
            of(DataType::Bool, &[2], vec![0, 1]),
            of(DataType::Float16, &[2], vec![0, 0x3e, 1, 0]),
        ];
        for limit in [0, u64::MAX] {
            let folder = tempfile::tempdir().unwrap();
            let scratch = Scratch::new(folder.path(), limit);
            let stored: Vec<Stored> = values.iter().map(|v| scratch.store(v.clone()).unwrap()).collect();
            for (value, stored) in values.iter().zip(&stored) {
                let loaded = stored.load().unwrap();
                assert_eq!((loaded.dtype(), loaded.shape()), (value.dtype(), value.shape()));
                assert_eq!(loaded.to_bytes(), value.to_bytes());
            }
            assert_eq!(scratch.usage().file_peak > 0, limit == 0);
            drop(stored);
            let usage = scratch.usage();
            assert_eq!((usage.memory, usage.file), (0, 0));
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let error =
            Scratch::new(Path::new("/nowhere/at/all"), 0).store(Value::i64(&[1], vec![1])).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }

    proptest! {
        #[test]
        fn the_file_is_no_longer_than_what_waits_at_once(
            sizes in proptest::collection::vec(1usize..40_000, 1..60),
            victims in proptest::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let scratch = Scratch::new(folder.path(), 0);
            let mut held: Vec<(Stored, Value)> = Vec::new();
            let mut most = 0;
            for (i, (size, victim)) in sizes.iter().zip(&victims).enumerate() {
                if i % 3 == 2 && !held.is_empty() {
                    drop(held.swap_remove(victim.index(held.len())));
                }
                if i % 10 == 9 {
                    scratch.trim().unwrap();
                }
                let value = of(DataType::Uint8, &[*size], (0..*size).map(|at| (at * (i + 1)) as u8).collect());
                held.push((scratch.store(value.clone()).unwrap(), value));
                most = most.max(scratch.usage().file);
            }
            for (stored, value) in &held {
                prop_assert_eq!(&stored.load().unwrap(), value);
            }
            prop_assert!(scratch.usage().file_peak <= most);
        }
    }
}
