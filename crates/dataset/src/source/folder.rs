//! What is in a folder.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use shiftwise_artifact::Fingerprint;
use walkdir::{DirEntry, WalkDir};

use super::onnx;
use crate::image::EXTENSIONS;
use crate::{DataError, Result};

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Relative name with `/` between folders.
    pub(super) id: String,
    pub(super) path: PathBuf,
}

/// The usable files of a folder, sorted by relative name, and a summary of the others.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) images: Vec<Found>,
    pub(super) arrays: Vec<Found>,
    /// Inputs of ONNX test data.
    pub(super) tensors: Vec<Found>,
    /// How many other files there are of each extension.
    others: BTreeMap<String, usize>,
}

impl Contents {
    /// Looks through a folder and all folders in it; whatever starts with a dot is left out.
    pub(super) fn of(dir: &Path) -> Result<Self> {
        let visible = |e: &DirEntry| e.depth() == 0 || !e.file_name().as_encoded_bytes().starts_with(b".");
        let mut contents = Self::default();
        for entry in WalkDir::new(dir).follow_links(true).into_iter().filter_entry(visible) {
            let entry = entry.map_err(|e| DataError::Read {
                path: e.path().unwrap_or(dir).to_owned(),
                cause: e.into_io_error().unwrap_or_else(|| io::Error::other("a loop of links")),
            })?;
            if !entry.file_type().is_file() {
                continue;
            }
            let relative = entry.path().strip_prefix(dir).unwrap_or(entry.path());
            let parts: Option<Vec<&str>> = relative.iter().map(|part| part.to_str()).collect();
            let id = parts.map(|parts| parts.join("/"));
            let extension = entry.path().extension().unwrap_or_default().to_string_lossy().to_lowercase();
            let kind = match extension.as_str() {
                "npy" => &mut contents.arrays,
                "pb" if id.as_deref().and_then(onnx::input_number).is_some() => &mut contents.tensors,
                image if EXTENSIONS.contains(&image) => &mut contents.images,
                _ => {
                    *contents.others.entry(extension).or_default() += 1;
                    continue;
                }
            };
            let id = id.ok_or_else(|| {
                DataError::source(dir, format!("the name of {} is not valid Unicode", relative.display()))
            })?;
            kind.push(Found { id, path: entry.into_path() });
        }
        contents.images.sort_by(|a, b| a.id.cmp(&b.id));
        contents.arrays.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(contents)
    }

    /// What there is beside usable files, for a message.
    pub(super) fn others(&self) -> String {
        if self.others.is_empty() {
            return "no file".to_owned();
        }
        let counted: Vec<String> = self
            .others
            .iter()
            .map(|(extension, count)| match extension.as_str() {
                "" => format!("{count} without extension"),
                _ => format!("{count} .{extension}"),
            })
            .collect();
        counted.join(", ")
    }

    /// Whether a file of this extension is there.
    pub(super) fn has(&self, extension: &str) -> bool {
        self.others.contains_key(extension)
    }
}

/// The hash of a file.
pub(super) fn fingerprint_of(path: &Path) -> Result<Fingerprint> {
    Fingerprint::of_file(path).map_err(|e| match e {
        shiftwise_artifact::Error::Read { path, cause } => DataError::Read { path, cause },
        other => DataError::source(path, other.to_string()),
    })
}
