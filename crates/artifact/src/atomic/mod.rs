//! Files and directories that appear whole under their name, or not at all.
//!
//! Everything is written beside its target under a hidden name, synced, and renamed. Whoever is killed
//! leaves only `.<name>.tmp-…` behind, which the next writer of the same target removes once its owner is dead (the owner
//! holds an advisory lock, which the system releases).
//!
//! A file is replaced by one rename, which is atomic. A directory that exists takes two: the old one moves
//! aside to `.<name>.old-shiftwise`, then the new one moves in. A crash between the two leaves no directory under the
//! name; [`heal`], which every open and every write calls, then moves the old one back. A crash after both leaves an old
//! directory that the next write removes. Both happen under [`crate::Lock`], so a reader that finds
//! nothing waits for the writer rather than undo its work.

mod directory;
mod file;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

pub use directory::{AtomicDir, heal};
pub use file::{write, write_with};

pub(crate) use directory::{follow, is_empty_directory, settled};
pub(crate) use file::write_streamed;

use crate::{Error, Result};

/// Temporary files younger than this are left alone: their owner may not have locked them yet.
const YOUNG: std::time::Duration = std::time::Duration::from_mins(1);

/// The lock file within a temporary directory.
const OWNER_LOCK: &str = ".owner-lock";

/// The final component of a target.
fn name(target: &Path) -> Result<&str> {
    target.file_name().and_then(|name| name.to_str()).ok_or_else(|| Error::BadName {
        name: target.display().to_string(),
        role: "an output",
        reason: "it does not end in a name".to_owned(),
    })
}

/// The directory that a target is in.
fn parent(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// `.<name>.<suffix>` beside the target.
pub(crate) fn sibling(target: &Path, suffix: &str) -> Result<PathBuf> {
    Ok(parent(target).join(format!(".{}.{suffix}", name(target)?)))
}

fn temporary_prefix(target: &Path) -> Result<String> {
    Ok(format!(".{}.tmp-", name(target)?))
}

/// Make renames in a directory durable.
fn sync_directory(dir: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::write(dir))?;
    }
    Ok(())
}

/// Remove what dead writers of `target` left. Failing to do so harms nobody, so it is only logged.
fn remove_leftovers(target: &Path) {
    remove_leftovers_if(target, is_old);
}

/// Remove what dead writers of a file left, however young: for a caller who knows that nobody else writes it.
pub(crate) fn remove_all_leftovers(target: &Path) {
    remove_leftovers_if(target, |_| true);
}

fn remove_leftovers_if(target: &Path, old_enough: impl Fn(&Path) -> bool) {
    let Ok(prefix) = temporary_prefix(target) else { return };
    let Ok(entries) = fs::read_dir(parent(target)) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
            continue;
        }
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        let removed = if kind.is_dir() && is_dead(&path.join(OWNER_LOCK)) {
            fs::remove_dir_all(&path)
        } else if kind.is_file() && old_enough(&path) && is_dead(&path) {
            fs::remove_file(&path)
        } else {
            continue;
        };
        match removed {
            Ok(()) => tracing::info!(path = %path.display(), "removed what a killed writer left"),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot remove what a killed writer left");
            }
        }
    }
}

/// Whether nobody holds the lock of this file.
fn is_dead(lock: &Path) -> bool {
    match File::open(lock) {
        Ok(file) => match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        },
        Err(_) => false,
    }
}

fn is_old(path: &Path) -> bool {
    fs::metadata(path).and_then(|m| m.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|age| age > YOUNG))
}
