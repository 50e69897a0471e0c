//! The file that makes progress durable.
//!
//! A checkpoint holds the whole state but the pages (samples done, moments, which pages exist), and the
//! *absolute* contents of the pages that it changed. It replaces the one before it by a rename, and only then are its pages
//! written to the page file. So at any moment a crash leaves one valid checkpoint, and a page file that
//! differs from what it should be in pages of that checkpoint only. Opening writes these pages again, which does no
//! harm if they were there. Before the next rename the page file is synced, since that rename gives up the only copy.
//!
//! Layout: the frame of [`super::container`]. The record is the state. The pages are zstd frames, one for each tensor that
//! changed; in them, for each page, its tensor (u32), its number (u16), the width of its counts (u8), zero (u8), and 1024
//! counts of that width. The record is not compressed, so that nobody can claim a state that is larger than the file.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::container::{Format, Frame, FrameWriter, HEADER_BYTES};
use super::layout::{PAGE_BINS, PAGES};
use super::moments::Moments;
use super::pages::{Counts, Encoded, PAGE_BYTES, PageSet, Width, in_order, to_bytes};
use super::plan::{Plan, TensorSpec, check_specs};
use crate::map::Bytes;
use crate::{Error, FormatVersion, Result, atomic, record};

/// Version of the checkpoint file. Progress is not kept across major versions.
///
/// * 1.0: the first;
/// * 2.0: votes; counts as wide as they need; the state behind the pages.
const FORMAT: Format = Format {
    magic: *b"SWCHKPT\n",
    version: FormatVersion { major: 2, minor: 0 },
    again: "remove the directory that it is in, and collect again",
};

/// Bytes in front of the counts of a page.
const ENTRY_BYTES: usize = 8;

/// A window that holds all pages of a tensor; larger ones are not allocated.
const WINDOW_LOG: u32 = 23;

/// A network disk repays the first level; higher ones gain little.
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

/// Write a checkpoint of this state, to which it adds the pages that changed: `changed` gives those of a tensor with their new
/// contents. Returns the state that was written.
pub(crate) fn write(
    path: &Path,
    mut state: State,
    changed: impl Fn(usize) -> Result<Encoded> + Sync,
) -> Result<State> {
    let failed = || Error::write(path);
    let compress = |tensor| {
        let encoded = changed(tensor)?;
        let compressed = match encoded.table.len() {
            0 => Vec::new(),
            _ => compress(tensor, &encoded).map_err(failed())?,
        };
        Ok((encoded.table, compressed))
    };
    atomic::write_streamed(path, |out| {
        let mut frame = FrameWriter::begin(out, &FORMAT).map_err(failed())?;
        in_order(state.specs.len(), compress, |tensor, (table, compressed)| {
            state.pages[tensor].union(&table.set());
            frame.pages(table.len(), &compressed).map_err(failed())
        })?;
        let record = record::encode(&state).map_err(|e| failed()(io::Error::other(e)))?;
        frame.finish(&record).map_err(failed())
    })?;
    Ok(state)
}

/// The pages of a tensor as they stand in the file.
fn compress(tensor: usize, encoded: &Encoded) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(encoded.bytes.len() + encoded.table.len() * ENTRY_BYTES);
    for (page, counts) in encoded.table.iter(&encoded.bytes) {
        bytes.extend_from_slice(&(tensor as u32).to_le_bytes());
        bytes.extend_from_slice(&(page as u16).to_le_bytes());
        bytes.extend_from_slice(&[counts.width as u8, 0]);
        bytes.extend_from_slice(counts.bytes);
    }
    zstd::bulk::compress(&bytes, ZSTD_LEVEL)
}

/// A checkpoint whose checksum is right.
pub(crate) struct Checkpoint {
    bytes: Bytes,
    pages: Range<usize>,
    page_count: u64,
    state: State,
}

impl Checkpoint {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let bytes = Bytes::map(path)?;
        let frame = Frame::open(&bytes, &FORMAT, path)?;
        let state: State = record::decode(frame.record).map_err(|e| FORMAT.malformed(path, e))?;
        state.check().map_err(|e| FORMAT.malformed(path, e))?;
        let pages = HEADER_BYTES..HEADER_BYTES + frame.pages.len();
        Ok(Self { pages, page_count: frame.page_count, state, bytes })
    }

    pub(crate) fn into_state(self) -> State {
        self.state
    }

    /// Write its pages to the page file.
    pub(crate) fn apply(self, path: &Path, pages: &File, pages_path: &Path) -> Result<State> {
        let malformed = |reason: &dyn std::fmt::Display| FORMAT.malformed(path, reason);
        let body = &self.bytes[self.pages.clone()];
        if self.page_count == 0 {
            return if body.is_empty() {
                Ok(self.state)
            } else {
                Err(malformed(&"it has more than its pages"))
            };
        }
        let mut stream = zstd::stream::read::Decoder::with_buffer(body).map_err(|e| malformed(&e))?;
        stream.window_log_max(WINDOW_LOG).map_err(|e| malformed(&e))?;
        let mut last = None;
        let mut bytes = [0; PAGE_BYTES];
        for _ in 0..self.page_count {
            let mut entry = [0; ENTRY_BYTES];
            stream.read_exact(&mut entry).map_err(|e| malformed(&e))?;
            let [a, b, c, d, e, f, width, zero] = entry;
            let (tensor, page) =
                (u32::from_le_bytes([a, b, c, d]) as usize, usize::from(u16::from_le_bytes([e, f])));
            let known = page < PAGES && self.state.pages.get(tensor).is_some_and(|set| set.contains(page));
            let width = Width::from_code(width).filter(|_| zero == 0 && known && last < Some((tensor, page)));
            let Some(width) = width else {
                return Err(malformed(&format_args!("its page {page} of tensor {tensor} cannot be")));
            };
            last = Some((tensor, page));
            let bytes = &mut bytes[..width.page_bytes()];
            stream.read_exact(bytes).map_err(|e| malformed(&e))?;
            let mut counts = [0; PAGE_BINS];
            Counts { width, bytes }.add_to(&mut counts);
            write_at(pages, &to_bytes(&counts), offset(tensor, page)).map_err(Error::write(pages_path))?;
        }
        if stream.read(&mut bytes).map_err(|e| malformed(&e))? != 0 {
            return Err(malformed(&"it has more than its pages"));
        }
        drop(stream);
        Ok(self.state)
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
    io::Write::write_all(&mut file, bytes)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}
