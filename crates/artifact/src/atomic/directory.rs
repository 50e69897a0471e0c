//! Atomic directories.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use walkdir::WalkDir;

use super::{OWNER_LOCK, name, parent, remove_leftovers, sibling, sync_directory, temporary_prefix};
use crate::{Error, Lock, Result, lock};

/// A directory that is filled under a temporary name and then moved in place.
///
/// Dropping it without [`AtomicDir::commit`] removes what was written.
#[derive(Debug)]
pub struct AtomicDir {
    target: PathBuf,
    temporary: TempDir,
    // Says that the owner of the temporary directory is alive.
    owner: File,
}

impl AtomicDir {
    /// Make the temporary directory beside `target`. Missing parents are made, the target's own symbolic link is followed, and
    /// what dead writers left is healed and removed.
    ///
    /// # Errors
    /// [`Error::Write`] where the parent cannot be written to; [`Error::BadName`] for a path without a name.
    pub fn begin(target: &Path) -> Result<Self> {
        let target = follow(target)?;
        let parent = parent(&target);
        fs::create_dir_all(parent).map_err(Error::write(parent))?;
        let _lock = Lock::acquire(&target)?;
        heal_locked(&target)?;
        remove_leftovers(&target);
        let mut builder = tempfile::Builder::new();
        let prefix = temporary_prefix(&target)?;
        builder.prefix(&prefix);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let temporary = builder.tempdir_in(parent).map_err(Error::write(&target))?;
        let owner_path = temporary.path().join(OWNER_LOCK);
        let owner = lock::open(&owner_path)?;
        owner.lock().map_err(Error::write(&owner_path))?;
        Ok(Self { target, temporary, owner })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Where it will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// All regular files written so far, relative to the directory and with `/` between components, sorted.
    ///
    /// # Errors
    /// [`Error::Write`] where something else than files and directories was put there.
    pub fn files(&self) -> Result<Vec<String>> {
        let mut files = Vec::new();
        for entry in WalkDir::new(self.path()) {
            let entry = entry.map_err(|e| Error::Write { path: self.target.clone(), cause: e.into() })?;
            if entry.file_type().is_dir() {
                continue;
            }
            let relative = entry.path().strip_prefix(self.path()).unwrap_or(entry.path());
            if relative == Path::new(OWNER_LOCK) {
                continue;
            }
            let names: Option<Vec<&str>> = relative.iter().map(|name| name.to_str()).collect();
            match names {
                Some(names) if entry.file_type().is_file() => files.push(names.join("/")),
                _ => {
                    let cause = std::io::Error::other("only regular files with UTF-8 names belong there");
                    return Err(Error::Write { path: entry.into_path(), cause });
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// Sync everything and move the directory in place. `may_replace` is asked, under the lock, about what is there by then; an
    /// empty directory is replaced without asking.
    ///
    /// # Errors
    /// What `may_replace` returned, or [`Error::Write`]; the target is then what it was.
    pub fn commit(self, may_replace: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let Self { target, temporary, owner } = self;
        sync_tree(temporary.path())?;
        let _lock = Lock::acquire(&target)?;
        heal_locked(&target)?;
        let replaces = fs::symlink_metadata(&target).is_ok();
        if replaces && !is_empty_directory(&target) {
            may_replace(&target)?;
        }
        // Leftovers are removed under the target's lock only, which is ours now.
        drop(owner);
        let aside = aside(&target)?;
        if replaces {
            fs::rename(&target, &aside).map_err(Error::write(&target))?;
        }
        if let Err(cause) = fs::rename(temporary.path(), &target) {
            if replaces {
                fs::rename(&aside, &target).map_err(Error::write(&target))?;
            }
            return Err(Error::Write { path: target, cause });
        }
        // It has moved: there is nothing left to remove under the temporary name.
        let _moved = temporary.keep();
        sync_directory(parent(&target))?;
        for (path, removed) in [
            (target.join(OWNER_LOCK), fs::remove_file(target.join(OWNER_LOCK))),
            (aside.clone(), if replaces { fs::remove_dir_all(&aside) } else { Ok(()) }),
        ] {
            if let Err(error) = removed {
                tracing::warn!(path = %path.display(), %error, "cannot remove what is no longer needed");
            }
        }
        Ok(target)
    }
}

/// Undo or finish a replacement that was interrupted (see the module). Cheap when there is nothing to do.
///
/// # Errors
/// [`Error::Write`] where the old directory cannot be moved back.
pub fn heal(target: &Path) -> Result<()> {
    let target = follow(target)?;
    // Only a target that is missing needs healing before it is read.
    if fs::symlink_metadata(&target).is_ok() || fs::symlink_metadata(aside(&target)?).is_err() {
        return Ok(());
    }
    let _lock = Lock::acquire(&target)?;
    heal_locked(&target)
}

/// Heal, and look at a target. What is looked at while a writer moves directories may seem to be missing or to be half there, so
/// a look that fails is repeated under the lock, where one can be had.
pub(crate) fn settled<T>(target: &Path, look: impl Fn() -> Result<T>) -> Result<T> {
    heal(target)?;
    look().or_else(|error| {
        let Ok(target) = follow(target) else { return Err(error) };
        let Ok(_lock) = Lock::acquire(&target) else { return Err(error) };
        heal_locked(&target)?;
        look()
    })
}

fn heal_locked(target: &Path) -> Result<()> {
    let aside = aside(target)?;
    if fs::symlink_metadata(&aside).is_err() {
        return Ok(());
    }
    if fs::symlink_metadata(target).is_ok() {
        return fs::remove_dir_all(&aside).map_err(Error::write(&aside));
    }
    tracing::info!(path = %target.display(), "a replacement was interrupted: the old directory is back");
    fs::rename(&aside, target).map_err(Error::write(target))?;
    sync_directory(parent(target))
}

fn aside(target: &Path) -> Result<PathBuf> {
    sibling(target, "old-shiftwise")
}

/// The real place of a target that exists; otherwise the target itself, which must have a name.
pub(crate) fn follow(target: &Path) -> Result<PathBuf> {
    match fs::canonicalize(target) {
        Ok(real) => name(&real).map(|_| real.clone()),
        Err(_) => name(target).map(|_| target.to_owned()),
    }
}

pub(crate) fn is_empty_directory(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn sync_tree(root: &Path) -> Result<()> {
    for entry in WalkDir::new(root).contents_first(true) {
        let entry = entry.map_err(|e| Error::Write { path: root.to_owned(), cause: e.into() })?;
        if entry.file_type().is_dir() {
            sync_directory(entry.path())?;
        } else {
            File::open(entry.path()).and_then(|file| file.sync_all()).map_err(Error::write(entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::write;

    fn entries(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn put(target: &Path, text: &[u8]) -> Result<PathBuf> {
        let dir = AtomicDir::begin(target)?;
        write(&dir.path().join("f"), text)?;
        dir.commit(|_| Ok(()))
    }

    #[test]
    fn appears_whole_and_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("a/b/out");
        put(&target, b"1").unwrap();
        assert_eq!(entries(&target), ["f"]);
        put(&target, b"2").unwrap();
        assert_eq!(fs::read(target.join("f")).unwrap(), b"2");
        assert_eq!(entries(target.parent().unwrap()), ["out"]);
    }

    #[test]
    fn refusal_and_drop_leave_the_old() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("out");
        put(&target, b"1").unwrap();
        let dir = AtomicDir::begin(&target).unwrap();
        write(&dir.path().join("f"), b"2").unwrap();
        assert!(dir.commit(|_| Err(Error::Misuse("no".to_owned()))).is_err());
        drop(AtomicDir::begin(&target).unwrap());
        assert_eq!(fs::read(target.join("f")).unwrap(), b"1");
        assert_eq!(entries(root.path()), ["out"]);
    }

    #[test]
    fn a_crash_between_the_renames_is_healed() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("out");
        put(&target, b"1").unwrap();
        // As if killed after the old one moved aside.
        fs::rename(&target, aside(&target).unwrap()).unwrap();
        heal(&target).unwrap();
        assert_eq!(fs::read(target.join("f")).unwrap(), b"1");
        // As if killed after the new one moved in.
        fs::create_dir(aside(&target).unwrap()).unwrap();
        put(&target, b"2").unwrap();
        assert_eq!(fs::read(target.join("f")).unwrap(), b"2");
        assert_eq!(entries(root.path()), ["out"]);
    }

    #[test]
    fn temporaries_of_the_dead_go_and_of_the_living_stay() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("out");
        let alive = AtomicDir::begin(&target).unwrap();
        let dead = root.path().join(".out.tmp-dead");
        fs::create_dir(&dead).unwrap();
        drop(lock::open(&dead.join(OWNER_LOCK)).unwrap());
        let users = root.path().join(".out.tmp-mine");
        fs::create_dir(&users).unwrap();
        put(&target, b"1").unwrap();
        assert!(!dead.exists() && users.exists() && alive.path().exists());
    }

    #[test]
    fn concurrent_writers_are_harmless() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("out");
        std::thread::scope(|scope| {
            for i in 0..6_u8 {
                let target = &target;
                scope.spawn(move || {
                    for _ in 0..10 {
                        put(target, &[i; 100]).unwrap();
                        heal(target).unwrap();
                    }
                });
            }
        });
        let bytes = fs::read(target.join("f")).unwrap();
        assert!(bytes.len() == 100 && bytes.iter().all(|&b| b == bytes[0]));
        assert_eq!(entries(root.path()), ["out"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_target_is_replaced_where_it_is() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("disk/out"), root.path().join("out"));
        put(&real, b"1").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        put(&link, b"2").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(real.join("f")).unwrap(), b"2");
    }
}
