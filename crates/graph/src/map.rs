//! Memory maps of model files.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use memmap2::Mmap;

/// Every map that is alive.
static MAPS: Mutex<Vec<Weak<Mmap>>> = Mutex::new(Vec::new());

/// What keeps a map alive.
struct Shared(Arc<Mmap>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Maps a file read-only.
#[allow(unsafe_code)]
pub(crate) fn map_file(path: &Path) -> std::io::Result<Bytes> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the map is private to this process and never written through. Shiftwise replaces files by renaming,
    // never in place; somebody else who truncates a mapped model while it is read ends this process with SIGBUS,
    // which loses no data.
    let map = Arc::new(unsafe { Mmap::map(&file)? });
    let mut maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    maps.retain(|m| m.strong_count() > 0);
    maps.push(Arc::downgrade(&map));
    Ok(Bytes::from_owner(Shared(map)))
}

/// Gives back the memory that mapped weights take in this process. What is read of them later is read from the file again.
///
/// To be called by who has copied weights, so that they do not take their size twice.
#[allow(unsafe_code)]
pub fn release_mapped_weights() {
    let maps: Vec<_> =
        MAPS.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
    for map in maps {
        #[cfg(unix)]
        // SAFETY: the pages are those of a file and never written, so that a page which is dropped is read again with
        // the same content: the assumption under which the file is mapped at all.
        let advised = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        #[cfg(unix)]
        if let Err(e) = advised {
            tracing::debug!("mapped weights stay in memory: {e}");
        }
        drop(map);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn released_pages_are_read_again() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        file.write_all(&content).unwrap();
        let map = map_file(file.path()).unwrap();
        assert_eq!(map, content);
        release_mapped_weights();
        assert_eq!(map, content);
    }
}
