//! Artifact directories: opening, deciding whether to write, writing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::atomic::{self, AtomicDir};
use crate::manifest::{Heading, check_name, key};
use crate::{Difference, Error, Fingerprint, Input, Kind, MANIFEST_FILE, Manifest, Output, Result, Tool};

/// An artifact that was opened and found complete.
#[derive(Debug, Clone)]
pub struct Artifact {
    dir: PathBuf,
    manifest: Box<Manifest>,
}

impl Artifact {
    /// Open an artifact of a kind: its manifest must be readable by this version, and every file must be there in its recorded
    /// size. Contents are compared by [`Artifact::verify`].
    ///
    /// # Errors
    /// [`Error::NotAnArtifact`], the errors of [`Manifest::read`], or [`Error::Damaged`] which names the file.
    pub fn open(dir: &Path, kind: Kind) -> Result<Self> {
        atomic::settled(dir, || {
            let manifest = Box::new(heading(dir)?.manifest(&dir.join(MANIFEST_FILE), kind)?);
            let artifact = Self { dir: dir.to_owned(), manifest };
            artifact.check_files()?;
            Ok(artifact)
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The path of one of its files.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the manifest does not list it.
    pub fn file(&self, name: &str) -> Result<PathBuf> {
        if !self.manifest.outputs.contains_key(name) {
            return Err(Error::damaged(&self.dir, format!("it has no {name}")));
        }
        Ok(self.dir.join(name))
    }

    /// The fingerprint of what the artifact holds: kind, names and contents of its files. This is what a stage
    /// records that has this artifact as an input; time and place do not count.
    pub fn fingerprint(&self) -> Fingerprint {
        let outputs = self.manifest.outputs.iter().map(|(name, output)| (name.as_str(), output.fingerprint));
        Fingerprint::combine(&format!("contents of {}", self.manifest.kind), outputs)
    }

    /// This artifact as an input of another one.
    pub fn as_input(&self) -> Input {
        Input { path: self.dir.display().to_string(), fingerprint: self.fingerprint() }
    }

    /// Compare the contents of every file with the manifest.
    ///
    /// # Errors
    /// [`Error::Damaged`] names the first file that differs.
    pub fn verify(&self) -> Result<()> {
        for (name, output) in &self.manifest.outputs {
            let path = self.dir.join(name);
            if Fingerprint::of_file(&path)? != output.fingerprint {
                return Err(Error::damaged(&path, "its contents are not those that were written"));
            }
        }
        Ok(())
    }

    fn check_files(&self) -> Result<()> {
        let real_dir = fs::canonicalize(&self.dir).map_err(Error::read(&self.dir))?;
        for (name, output) in &self.manifest.outputs {
            let path = self.dir.join(name);
            let real =
                fs::canonicalize(&path).map_err(|e| Error::damaged(&path, format!("it is missing ({e})")))?;
            if !real.starts_with(&real_dir) {
                return Err(Error::damaged(&path, "it is a link which leaves the artifact"));
            }
            let metadata = fs::metadata(&real).map_err(Error::read(&path))?;
            if !metadata.is_file() || metadata.len() != output.bytes {
                let found = metadata.len();
                return Err(Error::damaged(&path, format!("it has {found} bytes, not {}", output.bytes)));
            }
        }
        Ok(())
    }
}

/// What an artifact is to be made from, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// What it will be.
    pub kind: Kind,
    /// The program that makes it.
    pub tool: Tool,
    /// What it is made from, by role.
    pub inputs: BTreeMap<String, Input>,
    /// The whole resolved configuration.
    pub config: Value,
}

impl Request {
    /// What decides whether an artifact has to be made again: its kind, the major version of its format, role and fingerprint of
    /// every input, and the configuration. Paths, times and the version of the tool do not count; what depends on the version of
    /// something (an engine) has it in its configuration.
    pub fn key(&self) -> Fingerprint {
        key(self.kind, self.kind.current_version().major, &self.inputs, &self.config)
    }
}

/// Whether there is something to do.
#[derive(Debug)]
pub enum Decision {
    /// The output exists, was made from the same inputs with the same configuration, and its files are intact.
    UpToDate(Artifact),
    /// The output has to be written.
    Write,
}

/// Decide whether `request` has to be carried out at `dir`. An artifact which would be the same, but whose files are
/// damaged or missing, is written again.
///
/// # Errors
/// * [`Error::Differs`] where another artifact of the same kind is there, and not `force`; it says what differs;
/// * [`Error::Occupied`], [`Error::WrongKind`], [`Error::WriteOverNewer`] where `dir` holds something that is not replaced even with `force`.
pub fn decide(dir: &Path, request: &Request, force: bool) -> Result<Decision> {
    let Some(heading) = atomic::settled(dir, || replaceable(dir, request, force))? else {
        return Ok(Decision::Write);
    };
    if force {
        return Ok(Decision::Write);
    }
    let manifest = Box::new(heading.manifest(&dir.join(MANIFEST_FILE), request.kind)?);
    let artifact = Artifact { dir: dir.to_owned(), manifest };
    match artifact.check_files().and_then(|()| artifact.verify()) {
        Ok(()) => Ok(Decision::UpToDate(artifact)),
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "the output exists but is damaged, and is written again");
            Ok(Decision::Write)
        }
    }
}

/// Check that what is at `dir` may be replaced: nothing, an empty directory, or our own artifact of the same kind which is not newer
/// and, unless `force`, has the same key.
fn replaceable(dir: &Path, request: &Request, force: bool) -> Result<Option<Heading>> {
    let occupied = |reason: &str| Error::Occupied { path: dir.to_owned(), reason: reason.to_owned() };
    match fs::symlink_metadata(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::write(dir)(e)),
        Ok(_) => {}
    }
    if !dir.is_dir() {
        return Err(occupied("there is something that is not a directory"));
    }
    if atomic::is_empty_directory(dir) {
        return Ok(None);
    }
    let path = dir.join(MANIFEST_FILE);
    if !path.is_file() {
        return Err(occupied("there is a directory with files that are not a Shiftwise artifact"));
    }
    let heading =
        Heading::read(&path).map_err(|e| occupied(&format!("its manifest is not readable ({e})")))?;
    if heading.kind != request.kind {
        return Err(Error::WrongKind { path: dir.to_owned(), expected: request.kind, found: heading.kind });
    }
    let supported = request.kind.current_version();
    if !supported.may_replace(heading.format) {
        let (path, found, tool) = (dir.to_owned(), heading.format, heading.tool);
        return Err(Error::WriteOverNewer { path, found, supported, tool });
    }
    if force {
        return Ok(Some(heading));
    }
    let difference = if supported.reads(heading.format) {
        let old = Heading::read(&path)?.manifest(&path, request.kind)?;
        if old.key() == request.key() {
            return Ok(Some(heading));
        }
        Difference::between((&old.inputs, &old.config), (&request.inputs, &request.config))
    } else {
        Difference::one("format", heading.format, supported)
    };
    Err(Error::Differs { path: dir.to_owned(), difference })
}

fn heading(dir: &Path) -> Result<Heading> {
    let not = |reason: &str| Error::NotAnArtifact { path: dir.to_owned(), reason: reason.to_owned() };
    if !dir.exists() {
        return Err(not("there is no such directory"));
    }
    if !dir.is_dir() {
        return Err(not("it is not a directory"));
    }
    let path = dir.join(MANIFEST_FILE);
    if !path.exists() {
        return Err(not("it is not a Shiftwise artifact (it has no artifact.json)"));
    }
    Heading::read(&path)
}

/// The place beside an output for the progress of a stage that can be resumed: `.<name>.work`.
///
/// # Errors
/// [`Error::BadName`] for a path without a name.
pub fn work_dir(dir: &Path) -> Result<PathBuf> {
    atomic::sibling(&atomic::follow(dir)?, "work")
}

/// What a program measured about itself, for its manifest.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Peak resident memory, see [`crate::peak_memory_bytes`].
    pub peak_memory_bytes: Option<u64>,
    /// Wall time.
    pub wall_time: Duration,
    /// Anything else worth knowing, such as the number of samples that were skipped.
    pub notes: BTreeMap<String, Value>,
}

impl Measured {
    /// The memory of this process, and the time since `start`.
    pub fn since(start: std::time::Instant) -> Self {
        Self {
            peak_memory_bytes: crate::peak_memory_bytes(),
            wall_time: start.elapsed(),
            notes: BTreeMap::new(),
        }
    }
}

/// An artifact that is being written, under a temporary name until [`Writer::commit`].
#[derive(Debug)]
pub struct Writer {
    dir: AtomicDir,
    request: Request,
    force: bool,
}

impl Writer {
    /// Begin to write `request` at `dir`. Call [`decide`] first.
    ///
    /// # Errors
    /// [`Error::Write`] where the directory cannot be made, and the errors of [`decide`].
    pub fn new(dir: &Path, request: Request, force: bool) -> Result<Self> {
        atomic::settled(dir, || replaceable(dir, &request, force))?;
        Ok(Self { dir: AtomicDir::begin(dir)?, request, force })
    }

    /// Where to write a file of the artifact. Directories in its name are made.
    ///
    /// # Errors
    /// [`Error::BadName`] where the name leaves the directory.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        check_name(name).map_err(|reason| Error::BadName {
            name: name.to_owned(),
            role: "a file of an artifact",
            reason: reason.to_owned(),
        })?;
        let path = self.dir.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::write(parent))?;
        }
        Ok(path)
    }

    /// Write a JSON file of the artifact, for people to read.
    ///
    /// # Errors
    /// [`Error::BadName`] or [`Error::Write`].
    pub fn write_json<T: serde::Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<()> {
        write_json(&self.path(name)?, value)
    }

    /// Fingerprint everything that was written, add the manifest, and move the directory in place.
    ///
    /// # Errors
    /// [`Error::Write`], or the errors of [`decide`] where another writer was faster and wrote something else. The
    /// target is then what it was.
    pub fn commit(self, measured: Measured) -> Result<Artifact> {
        let Self { dir, request, force } = self;
        let mut outputs = BTreeMap::new();
        for name in dir.files()? {
            check_name(&name).map_err(|reason| Error::BadName {
                name: name.clone(),
                role: "a file of an artifact",
                reason: reason.to_owned(),
            })?;
            let path = dir.path().join(&name);
            let bytes = fs::metadata(&path).map_err(Error::read(&path))?.len();
            outputs.insert(name, Output { bytes, fingerprint: Fingerprint::of_file(&path)? });
        }
        let manifest = Manifest {
            kind: request.kind,
            format: request.kind.current_version(),
            tool: request.tool.clone(),
            inputs: request.inputs.clone(),
            config: request.config.clone(),
            outputs,
            peak_memory_bytes: measured.peak_memory_bytes,
            wall_time_ms: u64::try_from(measured.wall_time.as_millis()).unwrap_or(u64::MAX),
            notes: measured.notes,
        };
        write_json(&dir.path().join(MANIFEST_FILE), &manifest)?;
        let dir = dir.commit(|target| replaceable(target, &request, force).map(|_| ()))?;
        Ok(Artifact { dir, manifest: Box::new(manifest) })
    }
}

fn write_json<T: serde::Serialize + ?Sized>(path: &Path, value: &T) -> Result<()> {
    atomic::write_with(path, |out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        out.write_all(b"\n")
    })
}
