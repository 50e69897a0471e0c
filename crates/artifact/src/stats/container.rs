//! The frame of binary files: what it is at the front, then pages, a record that describes them, and at the end lengths and a
//! checksum of everything. The description stands behind the pages because how wide a page is shows when it is summed: so a file is
//! written in one go, and memory holds a few tensors of it.

use std::io::{self, Write};
use std::path::Path;

use crate::{Error, FormatVersion, Result};

/// Bytes at the front: magic (8), major (2), minor (2), zero (4); little-endian.
pub(crate) const HEADER_BYTES: usize = 16;
/// Bytes at the end: length of the record (8), number of pages (8), BLAKE3 of everything before it (32).
pub(crate) const TRAILER_BYTES: usize = 16 + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 32;

/// Hashing less than this on several threads is slower than on one.
const LARGE: usize = 1 << 17;

/// Which file it is, in which version this program writes it, and how a user replaces one that cannot be read.
pub(crate) struct Format {
    pub(crate) magic: [u8; 8],
    pub(crate) version: FormatVersion,
    pub(crate) again: &'static str,
}

impl Format {
    /// The error for a file that is not what it must be.
    pub(crate) fn malformed(&self, path: &Path, reason: impl std::fmt::Display) -> Error {
        Error::malformed(path, format!("{reason}; {}", self.again))
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.magic);
        bytes[8..10].copy_from_slice(&self.version.major.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.version.minor.to_le_bytes());
        bytes
    }
}

/// The parts of a file whose checksum is right.
pub(crate) struct Frame<'a> {
    pub(crate) pages: &'a [u8],
    pub(crate) record: &'a [u8],
    pub(crate) page_count: u64,
}

impl<'a> Frame<'a> {
    /// Check magic, version, checksum and lengths.
    pub(crate) fn open(file: &'a [u8], format: &Format, path: &Path) -> Result<Self> {
        if file.len() < HEADER_BYTES + TRAILER_BYTES {
            return Err(format.malformed(path, "it is too short"));
        }
        let (content, checksum) = file.split_at(file.len() - CHECKSUM_BYTES);
        let (header, body) = content.split_at(HEADER_BYTES);
        if header[..8] != format.magic {
            return Err(format.malformed(path, "it does not begin as such a file does"));
        }
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let found = FormatVersion { major: u16_at(8), minor: u16_at(10) };
        if !format.version.reads(found) {
            let newer = found.major > format.version.major;
            return Err(Error::Version {
                path: path.to_owned(),
                found,
                supported: format.version,
                tool: format!("{} version of Shiftwise", if newer { "a newer" } else { "an older" }),
                advice: if newer { format.version.advice(found) } else { format.again },
            });
        }
        if hash(content).as_bytes() != checksum {
            return Err(Error::damaged(
                path,
                format!(
                    "its checksum is wrong: it was changed or cut after it was written; {}",
                    format.again
                ),
            ));
        }
        if header[12..] != [0; 4] {
            return Err(format.malformed(path, "its first bytes are not those of such a file"));
        }
        let (body, lengths) = body.split_at(body.len() - 16);
        let u64_at = |at: usize| lengths[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let pages = usize::try_from(u64_at(0)).ok().and_then(|record| body.len().checked_sub(record));
        let Some(pages) = pages else {
            return Err(format.malformed(path, "its lengths do not fill the file"));
        };
        let (pages, record) = body.split_at(pages);
        Ok(Self { pages, record, page_count: u64_at(8) })
    }
}

/// The hash of bytes, on several threads where that is faster.
fn hash(bytes: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    update(&mut hasher, bytes);
    hasher.finalize()
}

fn update(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    if bytes.len() < LARGE {
        hasher.update(bytes)
    } else {
        hasher.update_rayon(bytes)
    };
}

/// Writes a frame, and hashes what it writes.
pub(crate) struct FrameWriter<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
    page_count: u64,
}

impl<'a> FrameWriter<'a> {
    pub(crate) fn begin(out: &'a mut dyn Write, format: &Format) -> io::Result<Self> {
        let mut writer = Self { out, hasher: blake3::Hasher::new(), page_count: 0 };
        writer.put(&format.header())?;
        Ok(writer)
    }

    /// Write some pages, in whatever form they have.
    pub(crate) fn pages(&mut self, count: usize, bytes: &[u8]) -> io::Result<()> {
        self.page_count += count as u64;
        self.put(bytes)
    }

    pub(crate) fn finish(mut self, record: &[u8]) -> io::Result<()> {
        self.put(record)?;
        self.put(&(record.len() as u64).to_le_bytes())?;
        self.put(&self.page_count.to_le_bytes())?;
        self.out.write_all(self.hasher.finalize().as_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        update(&mut self.hasher, bytes);
        self.out.write_all(bytes)
    }
}
