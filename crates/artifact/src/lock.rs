//! Short advisory locks, so that two writers of the same target take turns.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::atomic::sibling;
use crate::{Error, Result};

/// An exclusive lock on a target (a file or a directory, which need not exist), held until it is dropped.
///
/// The lock is a hidden file `.<name>.lock` beside the target. It is meant for the moments in which names
/// change, not for hours of work, and the system releases it when the process dies.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    // Held for its lock; closing it releases the lock.
    _file: File,
}

impl Lock {
    /// Wait until the lock is ours.
    ///
    /// # Errors
    /// [`Error::Write`] where the lock file cannot be made, or the file system does not know locks.
    pub fn acquire(target: &Path) -> Result<Self> {
        let path = sibling(target, "lock")?;
        loop {
            let file = open(&path)?;
            file.lock().map_err(Error::write(&path))?;
            // The former owner removes the file: a lock on a removed file protects nothing.
            if still_named(&file, &path) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

/// Open a lock file, making it if it is not there.
pub(crate) fn open(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(Error::write(path))
}

/// Lock a file without waiting, making it if it is not there; `None` where another process has it.
pub(crate) fn try_own(path: &Path) -> Result<Option<File>> {
    loop {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) if still_named(&file, path) => return Ok(Some(file)),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(cause)) => return Err(Error::Write { path: path.to_owned(), cause }),
        }
    }
}

#[cfg(unix)]
fn still_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn still_named(_: &File, _: &Path) -> bool {
    true
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is still locked, so that nobody's lock is removed but ours. Where files cannot be told
        // apart by identity the lock file stays.
        if cfg!(unix)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "lock file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn only_one_holds_it_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = Lock::acquire(&target).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
