//! Blocks of a file, which of them are free, and reading and writing at offsets.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

/// Bytes of one block.
pub(super) const BLOCK: u64 = 4096;

/// Blocks that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    first: u64,
    count: u64,
}

/// Which blocks are free.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Free runs below `end`, by their first block; no two touch.
    free: BTreeMap<u64, u64>,
    /// Blocks of the file.
    end: u64,
}

impl Blocks {
    /// Takes blocks: of the smallest free run that is long enough, or whatever is free from the front on, and then new ones.
    pub(super) fn take(&mut self, mut wanted: u64) -> Vec<Run> {
        let mut runs = Vec::new();
        let fitting = self.free.iter().filter(|(_, count)| **count >= wanted);
        let mut next = fitting.min_by_key(|(_, count)| **count).map(|(first, _)| *first);
        while wanted > 0 {
            let Some(first) = next.take().or_else(|| self.free.keys().next().copied()) else { break };
            let count = self.free.remove(&first).unwrap_or(0);
            let taken = count.min(wanted);
            runs.push(Run { first, count: taken });
            if taken < count {
                self.free.insert(first + taken, count - taken);
            }
            wanted -= taken;
        }
        if wanted > 0 {
            runs.push(Run { first: self.end, count: wanted });
            self.end += wanted;
        }
        runs
    }

    /// Gives blocks free, and says how many.
    pub(super) fn give(&mut self, run: Run) -> u64 {
        let Run { mut first, mut count } = run;
        if let Some(after) = self.free.remove(&(first + count)) {
            count += after;
        }
        if let Some((before, length)) = self.free.range(..first).next_back().map(|(f, c)| (*f, *c))
            && before + length == first
        {
            (first, count) = (before, length + count);
        }
        self.free.insert(first, count);
        run.count
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.end * BLOCK
    }

    /// Bytes of the file without the free blocks at its end.
    pub(super) fn used_length(&self) -> u64 {
        let last = self.free.last_key_value().filter(|(first, count)| *first + *count == self.end);
        last.map_or(self.end, |(first, _)| *first) * BLOCK
    }

    /// Notes that the file was cut to [`Blocks::used_length`].
    pub(super) fn cut(&mut self) {
        let end = self.used_length() / BLOCK;
        if end < self.end {
            self.free.remove(&end);
            self.end = end;
        }
    }
}

/// Writes bytes into blocks that have room for them.
pub(super) fn write(file: &File, runs: &[Run], mut rest: &[u8]) -> io::Result<()> {
    for run in runs {
        let (now, later) = rest.split_at(rest.len().min((run.count * BLOCK) as usize));
        write_at(file, now, run.first * BLOCK)?;
        rest = later;
    }
    Ok(())
}

/// Reads what [`write`] wrote.
pub(super) fn read(file: &File, runs: &[Run], mut rest: &mut [u8]) -> io::Result<()> {
    for run in runs {
        let (now, later) = rest.split_at_mut(rest.len().min((run.count * BLOCK) as usize));
        read_at(file, now, run.first * BLOCK)?;
        rest = later;
    }
    Ok(())
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        offset += read as u64;
    }
    Ok(())
}
