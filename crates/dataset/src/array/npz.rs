//! NPZ archives: zip files of NPY arrays.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use zip::{CompressionMethod, ZipArchive};

use super::Array;
use crate::{DataError, Result};

/// The arrays of an archive by name, in the order of the archive.
///
/// Stored arrays (`np.savez`) are read in place, row by row. Compressed ones (`np.savez_compressed`) cannot be entered
/// in the middle: they are unpacked once into an unnamed temporary file, which takes their full size in the temporary
/// directory of the system and vanishes with the process, so that memory stays bounded by one row.
pub(crate) fn open(path: &Path) -> Result<Vec<(String, Array)>> {
    let fail = |reason: String| DataError::source(path, reason);
    let file = File::open(path).map_err(DataError::read(path))?;
    let shared = Arc::new(file.try_clone().map_err(DataError::read(path))?);
    let size = file.metadata().map_err(DataError::read(path))?.len();
    let mut archive = ZipArchive::new(io::BufReader::new(file))
        .map_err(|e| fail(format!("it is not an NPZ archive: {e}")))?;
    let mut arrays = Vec::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(|e| fail(e.to_string()))?;
        let file_name = member.name().map_err(|e| fail(e.to_string()))?.into_owned();
        let Some(name) = file_name.strip_suffix(".npy") else { continue };
        let inside = |reason: String| DataError::source(path, format!("array {name:?}: {reason}"));
        let array = match (member.compression(), member.data_start()) {
            (CompressionMethod::Stored, Some(start)) => {
                let length = member.size();
                if start.checked_add(length).is_none_or(|end| end > size) {
                    return Err(inside("the archive is truncated".to_owned()));
                }
                Array::open(Arc::clone(&shared), start, length)
            }
            _ => unpack(&mut member).map_err(|e| e.to_string()).and_then(Array::open_file),
        };
        let array = array.map_err(inside)?;
        arrays.push((name.to_owned(), array));
    }
    Ok(arrays)
}

/// Unpacks into an unnamed temporary file, and checks the checksum on the way.
fn unpack(member: &mut impl io::Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(member, &mut file)?;
    Ok(file)
}
