//! Why samples cannot be had.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use shiftwise_artifact::ExitClass;

/// Result with [`DataError`].
pub type Result<T, E = DataError> = std::result::Result<T, E>;

/// Why a source of samples, or one sample of it, cannot be used. Messages are fragments that fit "failed to …".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused to read a source.
    #[error("read {}: {cause}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A source that holds nothing to use.
    #[error("find samples in {}: looked for {looked_for}, found {found}", path.display())]
    Empty {
        /// The source.
        path: PathBuf,
        /// What would have been used.
        looked_for: &'static str,
        /// What is there.
        found: String,
    },
    /// A source that cannot be what it is used as.
    #[error("use {} as samples: {reason}", path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Names in the data that are not the model's, or names of the model that are not in the data.
    #[error(
        "match {} to the model: it has {}, the model's inputs are {}",
        path.display(), listed(found), listed(inputs)
    )]
    Inputs {
        /// The source.
        path: PathBuf,
        /// The names that it has.
        found: Vec<String>,
        /// The names of the model's inputs.
        inputs: Vec<String>,
    },
    /// A sample of several inputs with a part missing.
    #[error("find {} (input {input:?} of sample {sample:?}): every input needs a file of the same name", path.display())]
    Partner {
        /// The file that should be there.
        path: PathBuf,
        /// The input that has no file.
        input: String,
        /// The sample.
        sample: String,
    },
    /// An image recipe that cannot be used.
    #[error("use recipe {origin}: {reason}")]
    Recipe {
        /// The file, or what stands for it.
        origin: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Labels that do not fit the samples.
    #[error("use labels {}: {reason}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An input of the model for which there can be no samples from this source.
    #[error("make samples for input {input:?}: {reason}")]
    Unsupported {
        /// The input.
        input: String,
        /// Why, and what to do.
        reason: String,
    },
    /// An option about random samples that does not fit the model.
    #[error("apply {option} to input {input:?}: {reason}")]
    Random {
        /// The option, as on the command line.
        option: &'static str,
        /// The input.
        input: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Samples are asked for from a standard input on which nobody sends any.
    #[error(
        "read samples from the standard input: it is a terminal; pipe .npz archives into it, as numpy.savez(sys.stdout.buffer, x=...) writes them: python feed.py | shiftwise-... --data -"
    )]
    Terminal,
    /// Samples all of which will have another shape than the input: rows of an array, or what a recipe makes.
    #[error("use {} for input {input:?}: {misfit}", path.display())]
    Rows {
        /// The source.
        path: PathBuf,
        /// The input.
        input: String,
        /// The two shapes.
        misfit: Box<Misfit>,
    },
    /// One sample that is corrupt, truncated or not what its name says.
    #[error("decode {}: {reason}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// One sample whose values do not fit the type of the input.
    #[error("convert sample {sample:?} for input {input:?}: {reason}")]
    Convert {
        /// The sample.
        sample: String,
        /// The input.
        input: String,
        /// Which value does not fit.
        reason: String,
    },
    /// One sample that does not have the shape of the input.
    #[error("use sample {sample:?} for input {input:?}: {misfit}")]
    Shape {
        /// The sample.
        sample: String,
        /// The input.
        input: String,
        /// The two shapes.
        misfit: Box<Misfit>,
    },
    /// A sample was asked for that does not exist.
    #[error("load sample {index} of {len} (this is a bug)")]
    Index {
        /// The index.
        index: usize,
        /// The number of samples.
        len: usize,
    },
}

/// Two shapes that do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The shape of the input; `?` for dynamic dimensions.
    pub wanted: String,
    /// The shape of one sample.
    pub found: String,
    /// What to do, if anything can be said.
    pub advice: Option<String>,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the model takes {}, a sample is {}", self.wanted, self.found)?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

impl DataError {
    /// Whether this is about one sample, and the other samples may still be good.
    ///
    /// Where every sample fails, the configuration is wrong rather than the samples: a caller that skips bad samples
    /// must still fail when none is left.
    pub fn is_bad_sample(&self) -> bool {
        matches!(self, Self::Decode { .. } | Self::Convert { .. } | Self::Shape { .. })
    }

    /// What this error means for the exit code of a program.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::Recipe { .. } | Self::Random { .. } | Self::Terminal => ExitClass::Usage,
            Self::Index { .. } => ExitClass::Bug,
            _ => ExitClass::Input,
        }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |cause| Self::Read { path, cause }
    }

    pub(crate) fn decode(path: &Path, reason: impl Into<String>) -> Self {
        Self::Decode { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn source(path: &Path, reason: impl Into<String>) -> Self {
        Self::Source { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn labels(path: &Path, reason: impl Into<String>) -> Self {
        Self::Labels { path: path.to_owned(), reason: reason.into() }
    }
}

/// Names in a message: the first few, and how many more.
pub(crate) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text: Vec<String> = names.iter().take(SHOWN).map(|n| format!("{n:?}")).collect();
    match names.len() {
        0 => return "nothing".to_owned(),
        n if n > SHOWN => text.push(format!("and {} more", n - SHOWN)),
        _ => {}
    }
    text.join(", ")
}
