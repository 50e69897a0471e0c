//! Read-only maps of files: the only unsafe code of the crate.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::{Error, Result};

/// The bytes of a file, mapped read-only, or bytes in memory that stand for one.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// A mapped file.
    Mapped(Mmap),
    /// Bytes made in memory.
    Owned(Vec<u8>),
}

impl Bytes {
    /// Map a file.
    #[allow(unsafe_code)]
    pub(crate) fn map(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::read(path))?;
        if file.metadata().map_err(Error::read(path))?.len() == 0 {
            return Ok(Self::Owned(Vec::new()));
        }
        // SAFETY: the map is sound as long as nobody changes the file underneath it. Files of artifacts are never
        // changed in place: `atomic` writes a new file and renames it, so a map keeps the old file alive and
        // unchanged. A foreign program that writes into an artifact breaks this, as it does for every mapped file.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::read(path))?;
        Ok(Self::Mapped(map))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}
