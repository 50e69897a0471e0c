//! An array inside a file, read piece by piece.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::header::{self, Header};

/// An array at some place in a file. Nothing of it is in memory but its header.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    file: Arc<File>,
    /// Of the first element.
    offset: u64,
    pub(crate) header: Header,
    /// Length of all elements in bytes, which the file is known to have.
    bytes: usize,
}

impl Array {
    /// Reads the header of the array which starts at `start` and has `length` bytes at most.
    pub(crate) fn open(file: Arc<File>, start: u64, length: u64) -> Result<Self, String> {
        let say = |e: io::Error| e.to_string();
        let mut prefix = vec![0; header::PREFIX.min(usize::try_from(length).unwrap_or(usize::MAX))];
        read_at(&file, &mut prefix, start).map_err(say)?;
        let (from, to) = header::extent(&prefix)?;
        if to as u64 > length {
            return Err("the file is truncated".to_owned());
        }
        let mut text = vec![0; to - from];
        read_at(&file, &mut text, start + from as u64).map_err(say)?;
        let header = header::parse(&text)?;
        let bytes = header.bytes()?;
        let there = length - to as u64;
        if (bytes as u64) > there {
            return Err(format!(
                "the file is truncated: {bytes} bytes of data are announced, {there} are there"
            ));
        }
        Ok(Self { file, offset: start + to as u64, header, bytes })
    }

    /// The array whose first element is, or will be, at `offset`.
    pub(super) fn at(file: Arc<File>, offset: u64, header: Header) -> Result<Self, String> {
        let bytes = header.bytes()?;
        Ok(Self { file, offset, header, bytes })
    }

    /// Opens an array which is a whole file.
    pub(crate) fn open_file(file: File) -> Result<Self, String> {
        let length = file.metadata().map_err(|e| e.to_string())?.len();
        Self::open(Arc::new(file), 0, length)
    }

    /// The bytes of all elements.
    pub(crate) fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes];
        read_at(&self.file, &mut bytes, self.offset)?;
        Ok(bytes)
    }

    /// The bytes of one index of the first axis, for arrays that are not in Fortran order.
    pub(crate) fn read_row(&self, index: usize) -> io::Result<Vec<u8>> {
        let rows = self.header.shape.first().copied().unwrap_or(0);
        if index >= rows {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("row {index} of {rows}")));
        }
        let row = self.bytes / rows;
        let mut bytes = vec![0; row];
        read_at(&self.file, &mut bytes, self.offset + (row * index) as u64)?;
        Ok(bytes)
    }
}

/// Fills `buffer` from a place in a file, without a shared position, so that threads do not disturb each other.
#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills `buffer` from a place in a file; every call carries its own position.
#[cfg(windows)]
fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                buffer = &mut buffer[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}
