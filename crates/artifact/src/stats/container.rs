//! The frame of binary files: magic, version, lengths at the front, a checksum of everything at the end.

use std::io::{self, Write};
use std::path::Path;

use crate::{Error, FormatVersion, Result};

/// Bytes of a [`Header`].
pub(crate) const HEADER_BYTES: usize = 32;
/// Bytes of the checksum at the end.
pub(crate) const CHECKSUM_BYTES: usize = 32;

/// The first bytes of a file: magic (8), major (2), minor (2), zero (4), length of the record (8), number of
/// pages (8); little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) record_bytes: u64,
    pub(crate) pages: u64,
}

/// Which file it is, and in which version this program writes it.
pub(crate) struct Format {
    pub(crate) magic: [u8; 8],
    pub(crate) version: FormatVersion,
}

impl Header {
    pub(crate) fn to_bytes(self, format: &Format) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&format.magic);
        bytes[8..10].copy_from_slice(&format.version.major.to_le_bytes());
        bytes[10..12].copy_from_slice(&format.version.minor.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.record_bytes.to_le_bytes());
        bytes[24..].copy_from_slice(&self.pages.to_le_bytes());
        bytes
    }

    /// Check magic, version and checksum; returns the header and the bytes between it and the checksum.
    pub(crate) fn open<'a>(file: &'a [u8], format: &Format, path: &Path) -> Result<(Self, &'a [u8])> {
        if file.len() < HEADER_BYTES + CHECKSUM_BYTES {
            return Err(Error::malformed(path, "it is too short"));
        }
        let (content, checksum) = file.split_at(file.len() - CHECKSUM_BYTES);
        let (header, body) = content.split_at(HEADER_BYTES);
        if header[..8] != format.magic {
            return Err(Error::malformed(path, "it does not begin as such a file does"));
        }
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let found = FormatVersion { major: u16_at(8), minor: u16_at(10) };
        if !format.version.reads(found) {
            return Err(Error::Version {
                path: path.to_owned(),
                found,
                supported: format.version,
                tool: "another version of Shiftwise".to_owned(),
                advice: format.version.advice(found),
            });
        }
        if blake3::hash(content).as_bytes() != checksum {
            return Err(Error::damaged(
                path,
                "its checksum is wrong: it was changed or cut after it was written",
            ));
        }
        let u64_at = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Ok((Self { record_bytes: u64_at(16), pages: u64_at(24) }, body))
    }
}

/// Writes and hashes; [`Checked::finish`] writes the checksum.
pub(crate) struct Checked<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl<'a> Checked<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, hasher: blake3::Hasher::new() }
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        self.out.write_all(self.hasher.finalize().as_bytes())
    }
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
