//! The one error type of the crate, and what it means to the caller of a program.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Difference, FormatVersion, Kind};

/// Result with [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an artifact could not be read or written. Messages are fragments that fit "failed to …".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read.
    #[error("read {}: {cause}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// The operating system refused to write; nothing was left under the final name.
    #[error("write {}: {cause}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// What the operating system said (disk full, read-only, …).
        cause: io::Error,
    },
    /// Something that is in use by another running process.
    #[error("use {}: another process is working on it", path.display())]
    Busy {
        /// The target.
        path: PathBuf,
    },
    /// An input that does not have the form it must have.
    #[error("read {}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no artifact at this place.
    #[error("open {}: {reason}", path.display())]
    NotAnArtifact {
        /// The directory.
        path: PathBuf,
        /// Why not: it is missing, a file, or has no `artifact.json`.
        reason: String,
    },
    /// The target of a write holds something that is not an artifact; it is never removed.
    #[error("write {}: {reason}; choose another output or move it away", path.display())]
    Occupied {
        /// The target.
        path: PathBuf,
        /// What is there.
        reason: String,
    },
    /// A name that cannot be a file of an artifact, or a path that cannot be an output.
    #[error("use {name:?} as {role}: {reason}")]
    BadName {
        /// The name.
        name: String,
        /// What it was to be.
        role: &'static str,
        /// Why it cannot be.
        reason: String,
    },
    /// An artifact of another kind than was asked for.
    #[error("use {}: it is a `{found}` artifact, where `{expected}` is needed", path.display())]
    WrongKind {
        /// The directory.
        path: PathBuf,
        /// The kind that was asked for.
        expected: Kind,
        /// The kind that is there.
        found: Kind,
    },
    /// An artifact whose format this program cannot read.
    #[error(
        "read {}: its format {found} was written by {tool}, and this program reads {supported}; {advice}",
        path.display()
    )]
    Version {
        /// The file or directory.
        path: PathBuf,
        /// The version it is written in.
        found: FormatVersion,
        /// The version of this program.
        supported: FormatVersion,
        /// Name and version of the program that wrote it.
        tool: String,
        /// What to do.
        advice: &'static str,
    },
    /// A newer program wrote what is to be replaced.
    #[error(
        "replace {}: {tool} wrote it in format {found}, which is newer than {supported} of this program; \
         use that program, or remove the directory by hand",
        path.display()
    )]
    WriteOverNewer {
        /// The directory.
        path: PathBuf,
        /// The version it is written in.
        found: FormatVersion,
        /// The version of this program.
        supported: FormatVersion,
        /// Name and version of the program that wrote it.
        tool: String,
    },
    /// The output exists, and was made from other inputs or with another configuration.
    #[error(
        "write {}: it exists and was made differently (--force replaces it):\n{difference}",
        path.display()
    )]
    Differs {
        /// The directory.
        path: PathBuf,
        /// What differs.
        difference: Difference,
    },
    /// An artifact whose files are not those that its manifest or checksum promises.
    #[error("use {}: {reason}", path.display())]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What does not agree.
        reason: String,
    },
    /// Artifacts, shards or progress that belong to something else.
    #[error("use {}: {reason}", path.display())]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// What it belongs to, and what was expected.
        reason: String,
    },
    /// Two shards of the same samples.
    #[error("use {}: it has samples {samples}, and so has {}; leave one of them out", path.display(), other.display())]
    Doubled {
        /// A shard.
        path: PathBuf,
        /// The shard with the same samples.
        other: PathBuf,
        /// The samples, `first..end`.
        samples: String,
    },
    /// Two shards that have some samples in common: those of one were cut differently.
    #[error(
        "use {}: its samples {samples} overlap those of {}, {others}; collect both with the same number of shards",
        path.display(),
        other.display()
    )]
    Overlapping {
        /// A shard.
        path: PathBuf,
        /// Its samples, `first..end`.
        samples: String,
        /// The other shard.
        other: PathBuf,
        /// The samples of that, `first..end`.
        others: String,
    },
    /// Samples that have not been seen yet, or shards that are missing.
    #[error("complete {}: {reason}", path.display())]
    Incomplete {
        /// What is not complete.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The caller broke the contract of this crate.
    #[error("record statistics: {0} (this is a bug)")]
    Misuse(String),
}

/// The class of an error, which decides the exit code of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitClass {
    /// A bug in Shiftwise: exit code 1.
    Bug,
    /// Wrong usage, or an output that cannot be written where it was asked for: exit code 2.
    Usage,
    /// An input is missing, malformed or unsupported: exit code 3.
    Input,
    /// Artifacts do not fit together (fingerprint, version, incomplete): exit code 5.
    Mismatch,
}

impl ExitClass {
    /// The exit code of a program that ends with such an error.
    pub fn code(self) -> u8 {
        match self {
            Self::Bug => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Mismatch => 5,
        }
    }
}

impl Error {
    /// The class of this error.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::Misuse(_) => ExitClass::Bug,
            Self::Write { .. } | Self::Busy { .. } | Self::Occupied { .. } | Self::BadName { .. } => {
                ExitClass::Usage
            }
            Self::Read { .. } | Self::Malformed { .. } | Self::NotAnArtifact { .. } => ExitClass::Input,
            Self::WrongKind { .. }
            | Self::Version { .. }
            | Self::WriteOverNewer { .. }
            | Self::Differs { .. }
            | Self::Damaged { .. }
            | Self::Foreign { .. }
            | Self::Doubled { .. }
            | Self::Overlapping { .. }
            | Self::Incomplete { .. } => ExitClass::Mismatch,
        }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |cause| Self::Read { path, cause }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |cause| Self::Write { path, cause }
    }

    pub(crate) fn malformed(path: &Path, reason: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}
