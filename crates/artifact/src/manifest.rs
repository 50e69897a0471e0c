//! `artifact.json`: what an artifact is, what it was made from, and what it holds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Fingerprint, FormatVersion, Kind, Result};

/// The name of the manifest in an artifact directory.
pub const MANIFEST_FILE: &str = "artifact.json";

/// A manifest larger than this is refused unread.
const MAX_BYTES: u64 = 64 << 20;

/// The contents of `artifact.json`. Fields that a newer minor version added are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What the artifact is.
    pub kind: Kind,
    /// The version of its format.
    pub format: FormatVersion,
    /// The program that wrote it.
    pub tool: Tool,
    /// What it was made from, by role (`model`, `stats`, `data`, …).
    pub inputs: BTreeMap<String, Input>,
    /// The whole resolved configuration.
    pub config: Value,
    /// Every file beside the manifest, by its relative name with `/` between components.
    pub outputs: BTreeMap<String, Output>,
    /// Peak resident memory of the program, where the system tells it.
    pub peak_memory_bytes: Option<u64>,
    /// Wall time of the program in milliseconds.
    pub wall_time_ms: u64,
    /// Anything else worth knowing, such as the number of samples that were skipped.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, Value>,
}

/// A program and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `shiftwise-calibrate`.
    pub name: String,
    /// `0.1.0`.
    pub version: String,
}

impl std::fmt::Display for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// Something that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Where it was; for people, it does not count in [`Manifest::key`].
    pub path: String,
    /// What it was.
    pub fingerprint: Fingerprint,
}

/// Something that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its size.
    pub bytes: u64,
    /// Its contents.
    pub fingerprint: Fingerprint,
}

/// What must be known before the rest of a manifest is read.
pub(crate) struct Heading {
    pub(crate) kind: Kind,
    pub(crate) format: FormatVersion,
    pub(crate) tool: String,
    rest: Value,
}

impl Manifest {
    /// Read and check a manifest of the given kind.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Malformed`], [`Error::WrongKind`], or [`Error::Version`] for another major version, which names
    /// the program that wrote it.
    pub fn read(path: &Path, kind: Kind) -> Result<Self> {
        Heading::read(path)?.manifest(path, kind)
    }

    /// What decides whether an artifact has to be made again: see [`crate::Request::key`].
    pub fn key(&self) -> Fingerprint {
        key(self.kind, self.format.major, &self.inputs, &self.config)
    }
}

pub(crate) fn key(kind: Kind, major: u16, inputs: &BTreeMap<String, Input>, config: &Value) -> Fingerprint {
    let inputs = inputs.iter().map(|(role, input)| (role.as_str(), input.fingerprint));
    Fingerprint::combine(
        &format!("artifact {kind} {major}"),
        [("inputs", Fingerprint::combine("inputs", inputs)), ("config", Fingerprint::of_json(config))],
    )
}

impl Heading {
    /// Read kind, version and tool; these keep their form in all future versions.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut text = Vec::new();
        let file = File::open(path).map_err(Error::read(path))?;
        file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(Error::read(path))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(Error::malformed(path, format!("it is larger than {MAX_BYTES} bytes")));
        }
        let rest: Value = serde_json::from_slice(&text).map_err(|e| Error::malformed(path, e.to_string()))?;
        let field = |name: &str| {
            rest.get(name).cloned().ok_or_else(|| Error::malformed(path, format!("it has no field `{name}`")))
        };
        let malformed = |e: serde_json::Error| Error::malformed(path, e.to_string());
        let tool: Tool = serde_json::from_value(field("tool")?).map_err(malformed)?;
        let format = serde_json::from_value(field("format")?).map_err(malformed)?;
        let kind = serde_json::from_value(field("kind")?)
            .map_err(|e| Error::malformed(path, format!("{e} (it was written by {tool})")))?;
        Ok(Self { kind, format, tool: tool.to_string(), rest })
    }

    pub(crate) fn manifest(self, path: &Path, kind: Kind) -> Result<Manifest> {
        if self.kind != kind {
            return Err(Error::WrongKind { path: path.to_owned(), expected: kind, found: self.kind });
        }
        let supported = kind.current_version();
        if !supported.reads(self.format) {
            return Err(Error::Version {
                path: path.to_owned(),
                found: self.format,
                supported,
                tool: self.tool,
                advice: supported.advice(self.format),
            });
        }
        let manifest: Manifest =
            serde_json::from_value(self.rest).map_err(|e| Error::malformed(path, e.to_string()))?;
        for name in manifest.outputs.keys() {
            check_name(name).map_err(|reason| Error::malformed(path, format!("output {name:?} {reason}")))?;
        }
        Ok(manifest)
    }
}

/// Whether a name stays inside its directory on every system.
pub(crate) fn check_name(name: &str) -> std::result::Result<(), &'static str> {
    if name.is_empty() || name.contains(['\0', '\\', ':']) {
        return Err("is empty, or has a character that file names cannot have everywhere");
    }
    if name == MANIFEST_FILE {
        return Err("is the manifest itself");
    }
    let plain = Path::new(name).components().all(|c| matches!(c, Component::Normal(_)));
    if !plain || name.split('/').any(|part| part.is_empty() || part == ".") {
        return Err("leaves the directory, or is not in its simplest form");
    }
    Ok(())
}
