//! Statistics that are being collected.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::accumulator::Accumulator;
use super::checkpoint::{self, Checkpoint, State, read_page};
use super::pages::{Counts, Encoded, PAGE_BYTES, Page, PageSet, PageSource, Sum, Width};
use super::plan::{Plan, TensorSpec, check_specs};
use crate::{Error, Fingerprint, Result, atomic, lock};

const CHECKPOINT_FILE: &str = "checkpoint.bin";
const PAGES_FILE: &str = "pages.bin";
const LOCK_FILE: &str = "owner.lock";

/// A directory in which statistics are collected, and which a killed process may reopen to go on.
///
/// `checkpoint.bin` says which samples are done; `pages.bin` has a fixed slot of 512 pages of 8 KiB for each tensor, and is
/// sparse: a page that no value touched takes no disk. How the two stay consistent is told in the
/// `checkpoint` module. The page file is read and written at offsets rather than mapped, because on a full disk a store into a hole of a mapped
/// file kills the process, while a write returns an error.
///
/// One process at a time owns the directory.
#[derive(Debug)]
pub struct Working {
    dir: PathBuf,
    state: State,
    specs: Arc<[TensorSpec]>,
    pages: File,
    /// Set while the page file may be behind the checkpoint: then only reopening helps.
    behind: bool,
    // Held for its lock.
    _owner: File,
}

/// How far a collection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is collected.
    pub plan: Plan,
    /// Samples with statistics.
    pub done: u64,
    /// Samples that were given up, in ascending order.
    pub skipped: Vec<u64>,
    /// Samples to go.
    pub pending: u64,
}

impl Working {
    /// Go on where the directory is, or begin.
    ///
    /// # Errors
    /// * [`Error::Foreign`] where it holds the progress of another plan: finish that, or [`Working::discard`] it;
    /// * [`Error::Busy`] where another process owns it;
    /// * [`Error::Write`], [`Error::Damaged`], [`Error::Malformed`], [`Error::Version`].
    pub fn open_or_create(dir: &Path, plan: &Plan, specs: &[TensorSpec]) -> Result<Self> {
        plan.check().and_then(|()| check_specs(specs)).map_err(Error::Misuse)?;
        fs::create_dir_all(dir).map_err(Error::write(dir))?;
        let owner = own(dir)?;
        let path = dir.join(CHECKPOINT_FILE);
        if !path.exists() {
            checkpoint::write(&path, State::new(plan.clone(), specs.to_vec()), |_| Ok(Encoded::default()))?;
        }
        let working = Self::load(dir, owner)?;
        if working.state.plan != *plan || working.state.specs != specs {
            let found = &working.state.plan;
            let reason = format!(
                "it holds the progress of another plan (samples {:?} of {}, plan {}, not samples {:?} of {}, plan {}); \
                 --force discards it",
                found.range,
                found.samples,
                found.fingerprint.short(),
                plan.range,
                plan.samples,
                plan.fingerprint.short(),
            );
            return Err(Error::Foreign { path: dir.to_owned(), reason });
        }
        Ok(working)
    }

    fn load(dir: &Path, owner: File) -> Result<Self> {
        let (path, pages_path) = (dir.join(CHECKPOINT_FILE), dir.join(PAGES_FILE));
        let pages = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&pages_path)
            .map_err(Error::write(&pages_path))?;
        let state = Checkpoint::open(&path)?.apply(&path, &pages, &pages_path)?;
        // A page file that was lost is noticed now, not after hours.
        let pages_end = state
            .pages
            .iter()
            .enumerate()
            .filter_map(|(i, set)| Some((i, set.iter().next_back()?)))
            .next_back();
        let needed =
            pages_end.map_or(0, |(tensor, page)| checkpoint::offset(tensor, page) + PAGE_BYTES as u64);
        if pages.metadata().map_err(Error::read(&pages_path))?.len() < needed {
            return Err(Error::damaged(
                &pages_path,
                "it has lost pages that the checkpoint needs; remove the directory that it is in, and collect again",
            ));
        }
        let specs = state.specs.clone().into();
        Ok(Self { dir: dir.to_owned(), state, specs, pages, behind: false, _owner: owner })
    }

    /// Read how far a collection is, also while another process is working on it; `None` where none has begun.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Damaged`], [`Error::Malformed`], [`Error::Version`].
    pub fn progress_at(dir: &Path) -> Result<Option<Progress>> {
        let path = dir.join(CHECKPOINT_FILE);
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(progress(&Checkpoint::open(&path)?.into_state())))
    }

    /// Remove the progress in a directory, whatever plan it belongs to. Files that are not ours stay, and with them the directory.
    ///
    /// # Errors
    /// [`Error::Busy`] where another process owns it, or [`Error::Write`].
    pub fn discard(dir: &Path) -> Result<()> {
        if !dir.exists() {
            return Ok(());
        }
        let owner = own(dir)?;
        // The checkpoint first: without it, the rest means nothing.
        for name in [CHECKPOINT_FILE, PAGES_FILE, LOCK_FILE] {
            match fs::remove_file(dir.join(name)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::write(&dir.join(name))(e));
                }
                _ => {}
            }
        }
        drop(owner);
        match fs::remove_dir(dir) {
            Err(e) if e.kind() != std::io::ErrorKind::DirectoryNotEmpty => Err(Error::write(dir)(e)),
            _ => Ok(()),
        }
    }

    /// Remove the directory, when its statistics are sealed and in place.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn remove(self) -> Result<()> {
        let dir = self.dir.clone();
        drop(self);
        Self::discard(&dir)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is collected.
    pub fn plan(&self) -> &Plan {
        &self.state.plan
    }

    /// The fingerprint of the plan.
    pub fn fingerprint(&self) -> Fingerprint {
        self.state.plan.fingerprint
    }

    /// The tensors.
    pub fn specs(&self) -> &Arc<[TensorSpec]> {
        &self.specs
    }

    /// Ordinals of the samples to go, ascending.
    pub fn pending(&self) -> Vec<u64> {
        self.state.pending().collect()
    }

    /// How far the collection is.
    pub fn progress(&self) -> Progress {
        progress(&self.state)
    }

    /// An empty accumulator for a worker.
    pub fn accumulator(&self) -> Accumulator {
        Accumulator::unchecked(Arc::clone(&self.specs))
    }

    /// Take over what workers have accumulated, durably, and empty the accumulators. When this returns, neither a killed
    /// process nor a power failure loses these samples.
    ///
    /// # Errors
    /// * [`Error::Write`]: the accumulators keep what they have, and the checkpoint before stays. If the disk was full only after the
    ///   rename, the samples count as done once the directory is opened again, and this value refuses further use;
    /// * [`Error::Misuse`] for a sample that is done already or not of this plan, an unfinished batch, other tensors, or a
    ///   histogram whose counts are not as many as the tensor has elements.
    pub fn checkpoint(&mut self, accumulators: &mut [&mut Accumulator]) -> Result<()> {
        self.check_usable()?;
        let sources: Vec<&Accumulator> = accumulators.iter().map(|a| &**a).collect();
        let next = self.next_state(&sources)?;
        // The rename below gives up the only other copy of the pages that the last checkpoint changed.
        self.pages.sync_data().map_err(Error::write(&self.dir.join(PAGES_FILE)))?;
        checkpoint::write(&self.dir.join(CHECKPOINT_FILE), next, |tensor| self.changed(tensor, &sources))?;
        self.behind = true;
        let path = self.dir.join(CHECKPOINT_FILE);
        self.state = Checkpoint::open(&path)?.apply(&path, &self.pages, &self.dir.join(PAGES_FILE))?;
        self.behind = false;
        for accumulator in accumulators {
            accumulator.reset();
        }
        Ok(())
    }

    /// Give up samples, such as files that cannot be decoded; they count as done without statistics, and are listed in the finished file.
    ///
    /// # Errors
    /// Those of [`checkpoint`](Self::checkpoint).
    pub fn skip(&mut self, samples: &[u64]) -> Result<()> {
        self.check_usable()?;
        let mut next = self.state.clone();
        mark(&mut next, samples)?;
        next.skipped.extend_from_slice(samples);
        next.skipped.sort_unstable();
        self.pages.sync_data().map_err(Error::write(&self.dir.join(PAGES_FILE)))?;
        let path = self.dir.join(CHECKPOINT_FILE);
        self.state = checkpoint::write(&path, next, |_| Ok(Encoded::default()))?;
        Ok(())
    }

    /// The state after the accumulated samples, but for the pages that they add.
    pub(super) fn next_state(&self, sources: &[&Accumulator]) -> Result<State> {
        let mut next = self.state.clone();
        for source in sources {
            if source.is_open() {
                return Err(Error::Misuse("a checkpoint within a batch".to_owned()));
            }
            if *source.specs() != self.specs {
                return Err(Error::Misuse("an accumulator of other tensors".to_owned()));
            }
            mark(&mut next, source.samples())?;
        }
        for (tensor, spec) in self.specs.iter().enumerate() {
            for source in sources {
                let moments = source.moments(tensor);
                next.tensors[tensor].merge(moments).ok_or_else(|| overflow(&spec.name))?;
            }
        }
        Ok(next)
    }

    /// The pages of a tensor that the accumulated samples change, with their new contents.
    fn changed(&self, tensor: usize, sources: &[&Accumulator]) -> Result<Encoded> {
        let sum = Sum(sources);
        let mut counted = 0;
        let encoded = Encoded::of(sum.pages(tensor).iter(), |page, counts| {
            sum.add_page(tensor, page, counts)?;
            let added: u64 = counts.iter().sum();
            counted += added;
            if added > 0 { self.add_page(tensor, page, counts) } else { Ok(()) }
        })?;
        check_counted(tensor, counted, sources)?;
        Ok(encoded)
    }

    pub(crate) fn check_usable(&self) -> Result<()> {
        if self.behind {
            let reason =
                "the last checkpoint could not be carried out to its end; run again to go on".to_owned();
            return Err(Error::Incomplete { path: self.dir.clone(), reason });
        }
        Ok(())
    }
}

/// Mark samples as done.
pub(crate) fn mark(state: &mut State, samples: &[u64]) -> Result<()> {
    for &ordinal in samples {
        let position = state.plan.position(ordinal)?;
        if state.is_done(position) {
            return Err(Error::Misuse(format!("sample {ordinal} is done already")));
        }
        state.set_done(position);
    }
    Ok(())
}

/// Check that as many values of a tensor were counted as it has elements.
fn check_counted(tensor: usize, counted: u64, sources: &[&Accumulator]) -> Result<()> {
    let elements: u64 = sources.iter().map(|source| source.moments(tensor).elements).sum();
    if counted == elements {
        return Ok(());
    }
    let name = sources.first().map_or("", |source| source.specs()[tensor].name.as_str());
    Err(Error::Misuse(format!("tensor {name}: {counted} values were counted, of {elements}")))
}

/// Check this for all tensors.
pub(super) fn check_all_counted(tensors: usize, sources: &[&Accumulator]) -> Result<()> {
    let sum = Sum(sources);
    (0..tensors).try_for_each(|tensor| {
        let mut counted = 0;
        Encoded::of(sum.pages(tensor).iter(), |page, counts| {
            sum.add_page(tensor, page, counts)?;
            counted += counts.iter().sum::<u64>();
            Ok(())
        })?;
        check_counted(tensor, counted, sources)
    })
}

pub(crate) fn overflow(tensor: &str) -> Error {
    Error::Misuse(format!("tensor {tensor}: a count overflows"))
}

fn progress(state: &State) -> Progress {
    let pending = state.pending().count() as u64;
    let total = state.plan.range.end - state.plan.range.start;
    Progress {
        plan: state.plan.clone(),
        done: total - pending - state.skipped.len() as u64,
        skipped: state.skipped.clone(),
        pending,
    }
}

/// Become the owner of a working directory.
fn own(dir: &Path) -> Result<File> {
    let owner = lock::try_own(&dir.join(LOCK_FILE))?.ok_or_else(|| Error::Busy { path: dir.to_owned() })?;
    atomic::remove_all_leftovers(&dir.join(CHECKPOINT_FILE));
    Ok(owner)
}

impl PageSource for Working {
    fn pages(&self, tensor: usize) -> PageSet {
        self.state.pages[tensor]
    }

    fn add_page(&self, tensor: usize, page: usize, into: &mut Page) -> Result<()> {
        if self.state.pages[tensor].contains(page) {
            let path = self.dir.join(PAGES_FILE);
            let bytes = read_page(&self.pages, tensor, page).map_err(Error::read(&path))?;
            Counts { width: Width::U64, bytes: &bytes }.add_to(into);
        }
        Ok(())
    }
}
