//! The file that makes progress durable.
//!
//! A checkpoint holds the whole state but the pages (samples done, moments, which pages exist), and the
//! *absolute* contents of the pages that it changed. It replaces the one before it by a rename, and only then are its pages
//! written to the page file. So at any moment a crash leaves one valid checkpoint, and a page file that
//! differs from what it should be in pages of that checkpoint only. Opening writes these pages again, which does no
//! harm if they were there. Before the next rename the page file is synced, since that rename gives up the only copy.
//!
//! Layout: [`Header`], a zstd stream (state; then for each page its tensor and its number as u32, and 1024 u64), checksum.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::container::{Checked, Format, HEADER_BYTES, Header};
use super::layout::{PAGE_BINS, PAGES};
use super::moments::Moments;
use super::pages::{PAGE_BYTES, Page, PageSet, to_bytes};
use super::plan::{Plan, TensorSpec, check_specs};
use crate::map::Bytes;
use crate::{Error, FormatVersion, Result, atomic, record};

/// Version of the checkpoint file. Progress is not kept across major versions.
///
/// * 1.0: the first;
/// * 2.0: votes.
const FORMAT: Format = Format { magic: *b"SWCHKPT\n", version: FormatVersion { major: 2, minor: 0 } };

/// For 65 tensors with 50 pages each, level 1 takes 60 ms more than none on a fast local disk, and writes an
/// eighteenth: 1.9 MB for 33 MB, which a network disk repays. Higher levels gain little.
const ZSTD_LEVEL: i32 = 1;

/// A slot of the page file: all pages of a tensor.
const SLOT_BYTES: u64 = (PAGES * PAGE_BYTES) as u64;

/// Everything about the progress but the pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) plan: Plan,
    pub(crate) specs: Vec<TensorSpec>,
    pub(crate) tensors: Vec<Moments>,
    /// Pages that exist in the page file, by tensor.
    pub(crate) pages: Vec<PageSet>,
    /// Samples that are done or skipped: a bit for each sample of the shard.
    pub(crate) done: Vec<u64>,
    /// Samples without statistics, in ascending order.
    pub(crate) skipped: Vec<u64>,
}

impl State {
    pub(crate) fn new(plan: Plan, specs: Vec<TensorSpec>) -> Self {
        let samples = (plan.range.end - plan.range.start) as usize;
        Self {
            tensors: specs.iter().map(|spec| Moments::new(spec.channels)).collect(),
            pages: vec![PageSet::default(); specs.len()],
            done: vec![0; samples.div_ceil(64)],
            skipped: Vec::new(),
            plan,
            specs,
        }
    }

    pub(crate) fn is_done(&self, position: usize) -> bool {
        self.done[position / 64] >> (position % 64) & 1 == 1
    }

    pub(crate) fn set_done(&mut self, position: usize) {
        self.done[position / 64] |= 1 << (position % 64);
    }

    /// Ordinals that are neither done nor skipped.
    pub(crate) fn pending(&self) -> impl Iterator<Item = u64> {
        let start = self.plan.range.start;
        self.plan.range.clone().filter(move |ordinal| !self.is_done((ordinal - start) as usize))
    }

    fn check(&self) -> Result<(), String> {
        self.plan.check()?;
        check_specs(&self.specs)?;
        let samples = (self.plan.range.end - self.plan.range.start) as usize;
        let n = self.specs.len();
        if self.done.len() != samples.div_ceil(64) || self.tensors.len() != n || self.pages.len() != n {
            return Err("its parts do not fit together".to_owned());
        }
        self.tensors.iter().zip(&self.specs).try_for_each(|(moments, spec)| moments.check(spec))
    }
}

/// Where a page stands in the page file.
pub(crate) fn offset(tensor: usize, page: usize) -> u64 {
    tensor as u64 * SLOT_BYTES + (page * PAGE_BYTES) as u64
}

/// Write a checkpoint. `contents` gives the new contents of each page in `changed`, which is in ascending order.
pub(crate) fn write(
    path: &Path,
    state: &State,
    changed: &[(usize, usize)],
    mut contents: impl FnMut(usize, usize) -> Result<Page>,
) -> Result<()> {
    let failed = || Error::write(path);
    let record = record::encode(state).map_err(|e| failed()(io::Error::other(e)))?;
    let header = Header { record_bytes: record.len() as u64, pages: changed.len() as u64 };
    atomic::write_streamed(path, |out| {
        let mut checked = Checked::new(out);
        checked.write_all(&header.to_bytes(&FORMAT)).map_err(failed())?;
        let mut stream = zstd::stream::write::Encoder::new(&mut checked, ZSTD_LEVEL).map_err(failed())?;
        stream.write_all(&record).map_err(failed())?;
        for &(tensor, page) in changed {
            let counts = contents(tensor, page)?;
            let mut write = || {
                stream.write_all(&(tensor as u32).to_le_bytes())?;
                stream.write_all(&(page as u32).to_le_bytes())?;
                stream.write_all(&to_bytes(&counts))
            };
            write().map_err(failed())?;
        }
        stream.finish().map_err(failed())?;
        checked.finish().map_err(failed())
    })
}

/// A checkpoint whose checksum is right.
pub(crate) struct Checkpoint {
    bytes: Bytes,
    header: Header,
}

impl Checkpoint {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let bytes = Bytes::map(path)?;
        let (header, _) = Header::open(&bytes, &FORMAT, path)?;
        Ok(Self { bytes, header })
    }

    /// Read the state, and leave the stream at the first page.
    fn stream(&self, path: &Path) -> Result<(State, impl Read)> {
        let body = &self.bytes[HEADER_BYTES..self.bytes.len() - super::container::CHECKSUM_BYTES];
        let malformed = |e: String| Error::malformed(path, e);
        let mut stream =
            zstd::stream::read::Decoder::with_buffer(body).map_err(|e| malformed(e.to_string()))?;
        let mut record = Vec::new();
        let length = self.header.record_bytes;
        if length > record::LIMIT as u64 {
            return Err(malformed("its state is too large".to_owned()));
        }
        (&mut stream).take(length).read_to_end(&mut record).map_err(|e| malformed(e.to_string()))?;
        let state: State = record::decode(&record).map_err(malformed)?;
        state.check().map_err(malformed)?;
        Ok((state, stream))
    }

    pub(crate) fn state(&self, path: &Path) -> Result<State> {
        self.stream(path).map(|(state, _)| state)
    }

    /// Write its pages to the page file.
    pub(crate) fn apply(&self, path: &Path, pages: &File, pages_path: &Path) -> Result<State> {
        let (state, mut stream) = self.stream(path)?;
        let mut entry = vec![0; 8 + PAGE_BYTES];
        for _ in 0..self.header.pages {
            stream.read_exact(&mut entry).map_err(|e| Error::malformed(path, e.to_string()))?;
            let u32_at = |at: usize| entry[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            let (tensor, page) = (u32_at(0) as usize, u32_at(4) as usize);
            if page >= PAGES || !state.pages.get(tensor).is_some_and(|set| set.contains(page)) {
                return Err(Error::malformed(path, format!("it has page {page} of tensor {tensor}")));
            }
            write_at(pages, &entry[8..], offset(tensor, page)).map_err(Error::write(pages_path))?;
        }
        Ok(state)
    }
}

/// Read a page from the page file.
pub(crate) fn read_page(file: &File, tensor: usize, page: usize) -> io::Result<[u8; PAGE_BYTES]> {
    let mut bytes = [0; PAGE_BINS * 8];
    read_at(file, &mut bytes, offset(tensor, page))?;
    Ok(bytes)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}
