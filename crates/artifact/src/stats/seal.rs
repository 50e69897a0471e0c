//! Writing the finished file.

use std::io::{self, Write};
use std::path::Path;

use super::accumulator::Accumulator;
use super::container::FrameWriter;
use super::pages::{Encoded, Page, PageSet, PageSource, PageTable, Sum, in_order};
use super::sealed::{FORMAT, Head, TensorHead, check_pages};
use super::working::{Working, check_all_counted};
use crate::{Error, Result, atomic, record};

/// Write the finished file. Its bytes depend on plan, tensors and samples alone.
///
/// # Errors
/// [`Error::Incomplete`] where samples are to go; [`Error::Damaged`] where the page file has lost counts; [`Error::Write`].
pub fn seal(working: &Working, path: &Path) -> Result<()> {
    seal_with(working, &[], path)
}

/// Write the finished file of what is durable and of what workers hold in memory: the same bytes as [`seal`] after a last
/// [`Working::checkpoint`], without writing everything twice.
///
/// # Errors
/// Those of [`seal`], and [`Error::Misuse`] as in [`Working::checkpoint`].
pub fn seal_with(working: &Working, accumulators: &[Accumulator], path: &Path) -> Result<()> {
    working.check_usable()?;
    let sources: Vec<&Accumulator> = accumulators.iter().collect();
    let state = working.next_state(&sources)?;
    let mut pending = state.pending();
    if let Some(first) = pending.next() {
        let reason =
            format!("{} samples have not been seen, the first is sample {first}", pending.count() + 1);
        return Err(Error::Incomplete { path: working.dir().to_owned(), reason });
    }
    drop(pending);
    let tensors = state.specs.into_iter().zip(state.tensors);
    let tensors = tensors.map(|(spec, moments)| TensorHead { spec, moments, pages: PageTable::default() });
    let head = Head { plan: state.plan, skipped: state.skipped, tensors: tensors.collect() };
    let count = head.tensors.len();
    let source = Joined(working, Sum(&sources));
    let written = atomic::write_streamed(path, |out| emit(head, &source, out, path));
    if matches!(written, Err(Error::Damaged { .. })) {
        // Whether it is the page file that has lost counts, or a caller that has not counted.
        check_all_counted(count, &sources)?;
    }
    written
}

/// Pages of the page file and of accumulators together.
struct Joined<'a>(&'a Working, Sum<'a, &'a Accumulator>);

impl PageSource for Joined<'_> {
    fn pages(&self, tensor: usize) -> PageSet {
        let mut pages = self.0.pages(tensor);
        pages.union(&self.1.pages(tensor));
        pages
    }

    fn add_page(&self, tensor: usize, page: usize, counts: &mut Page) -> Result<()> {
        self.0.add_page(tensor, page, counts)?;
        self.1.add_page(tensor, page, counts)
    }
}

/// Write pages and head, in which the tables of pages are filled in. What could not be opened is not written.
pub(crate) fn emit(mut head: Head, source: &impl PageSource, out: &mut dyn Write, path: &Path) -> Result<()> {
    let failed = || Error::write(path);
    let mut frame = FrameWriter::begin(out, &FORMAT).map_err(failed())?;
    let mut tables = Vec::with_capacity(head.tensors.len());
    let encode = |tensor: usize| {
        let encoded =
            Encoded::of(source.pages(tensor).iter(), |page, counts| source.add_page(tensor, page, counts))?;
        let head = &head.tensors[tensor];
        check_pages(head, &encoded.table, &encoded.bytes).map_err(|e| Error::damaged(path, e))?;
        Ok(encoded)
    };
    in_order(head.tensors.len(), encode, |_, encoded| {
        frame.pages(encoded.table.len(), &encoded.bytes).map_err(failed())?;
        tables.push(encoded.table);
        Ok(())
    })?;
    for (tensor, table) in head.tensors.iter_mut().zip(tables) {
        tensor.pages = table;
    }
    let record = record::encode(&head).map_err(|e| failed()(io::Error::other(e)))?;
    frame.finish(&record).map_err(failed())
}
