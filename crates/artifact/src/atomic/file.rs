//! Atomic files.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::{parent, remove_leftovers, sync_directory, temporary_prefix};
use crate::{Error, Result};

/// Write a whole file, or leave what was there.
///
/// # Errors
/// [`Error::Write`] names the file and the cause (disk full, read-only directory, …); the temporary file is gone.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |out| out.write_all(bytes))
}

/// Write a whole file through a buffered writer, or leave what was there.
///
/// # Errors
/// [`Error::Write`] with what `fill` returned, or with what failed before or after it; the temporary file is gone.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    write_streamed(path, |out| fill(out).map_err(Error::write(path)))
}

/// Like [`write_with`], for a `fill` that has errors of its own.
pub(crate) fn write_streamed(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let failed = || Error::write(path);
    remove_leftovers(path);
    let mut builder = tempfile::Builder::new();
    let prefix = temporary_prefix(path)?;
    builder.prefix(&prefix);
    // What a program makes has the permissions that the user's umask leaves, not those of secrets.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // The temporary file is removed when it is dropped on any of the error paths below.
    let temporary = builder.tempfile_in(parent(path)).map_err(failed())?;
    // Without locks a leftover is never taken for dead: nothing is lost but tidiness.
    if let Err(error) = temporary.as_file().try_lock() {
        tracing::debug!(path = %path.display(), %error, "cannot lock the temporary file");
    }
    let mut out = BufWriter::with_capacity(1 << 18, temporary.as_file());
    fill(&mut out)?;
    out.flush().map_err(failed())?;
    drop(out);
    temporary.as_file().sync_all().map_err(failed())?;
    temporary.persist(path).map_err(|e| failed()(e.error))?;
    sync_directory(parent(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn entries(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write(&path, b"old").unwrap();
        let error = write_with(&path, |out| {
            out.write_all(&vec![7; 1 << 20])?;
            Err(io::Error::from_raw_os_error(28))
        })
        .unwrap_err();
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()) && text.contains("No space left"), "{text}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(entries(dir.path()), ["f"]);
    }

    #[test]
    fn missing_parent_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("no/f");
        assert!(write(&path, b"").unwrap_err().to_string().contains("no/f"));
        assert!(matches!(write(Path::new("/"), b""), Err(Error::BadName { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_the_usual_ones() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("a"), b"").unwrap();
        drop(crate::lock::open(&dir.path().join("b")).unwrap());
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("a"), mode("b"));
    }

    #[test]
    fn leftovers_go_when_old_and_dead() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let old = std::time::SystemTime::now() - super::super::YOUNG * 2;
        let make = |name: &str, age| {
            let file = crate::lock::open(&dir.path().join(name)).unwrap();
            file.set_modified(age).unwrap();
            file
        };
        drop(make(".f.tmp-dead", old));
        drop(make(".f.tmp-young", std::time::SystemTime::now()));
        drop(make(".g.tmp-other", old));
        let alive = make(".f.tmp-alive", old);
        alive.lock().unwrap();
        write(&path, b"x").unwrap();
        assert_eq!(entries(dir.path()), [".f.tmp-alive", ".f.tmp-young", ".g.tmp-other", "f"]);
    }
}
