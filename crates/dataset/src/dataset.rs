//! Samples by index.

use std::io::BufRead;

use shiftwise_artifact::Fingerprint;
use shiftwise_graph::Value;

use crate::{DataError, DataSpec, InputSpec, Result, source};

/// One sample, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Stable name: the file below the source with `/` between folders, or `name#index`.
    pub id: String,
    /// Values by name, in the order of the model's inputs; a batch of one.
    pub inputs: Vec<(String, Value)>,
    /// The class, if one is known.
    pub label: Option<usize>,
}

/// Samples in a fixed order: sorted by relative file name (byte by byte), or by row, or as a stream brings them.
///
/// Holds names, offsets and labels, never decoded samples; sharing it between threads is free.
///
/// * A folder of images: one input, turned into numbers by a [`Recipe`](crate::Recipe).
/// * A folder of `.npy` files, one sample a file; for several inputs a folder for each, with the same file names.
/// * One `.npz` or `.npy`, whose first axis counts the samples; read row by row. Compressed `.npz` arrays are unpacked
///   once into the temporary directory of the system.
/// * ONNX test data, a sample for each `test_data_set_*`, in the order of their numbers.
/// * `.npz` archives that follow one another on the standard input. They are copied to the temporary directory, too, so that
///   a sample can be read as often as from a file.
/// * Random values, for trying things out.
#[derive(Debug)]
pub struct Dataset {
    ids: Vec<String>,
    labels: Vec<Option<usize>>,
    samples: Box<dyn source::Samples>,
}

impl Dataset {
    /// Looks through a source, without decoding samples.
    ///
    /// # Errors
    /// Whatever makes all samples unusable: no file of a known kind, other names than the model's inputs, arrays or
    /// recipes whose shape does not fit, labels that do not fit.
    pub fn open(spec: &DataSpec, inputs: &[InputSpec]) -> Result<Self> {
        Ok(Self::limited(source::open(spec, inputs)?, spec.limit))
    }

    /// Reads a stream of `.npz` archives, as [`Source::Stdin`](crate::Source::Stdin) reads the standard input, and everything
    /// but the source from `spec`.
    ///
    /// Each archive holds rows of samples as an `.npz` file does, or one sample, where its arrays fit the inputs only as they
    /// are. Reading stops at the limit.
    ///
    /// # Errors
    /// As [`Self::open`]; a stream that ends inside of an archive, or is not one of archives.
    pub fn from_stream(reader: impl BufRead, spec: &DataSpec, inputs: &[InputSpec]) -> Result<Self> {
        Ok(Self::limited(source::open_stream(reader, spec, inputs)?, spec.limit))
    }

    fn limited(opened: source::Opened, limit: Option<usize>) -> Self {
        let source::Opened { mut ids, mut labels, samples } = opened;
        if let Some(limit) = limit {
            ids.truncate(limit);
            labels.truncate(limit);
        }
        let unlabelled = labels.iter().filter(|l| l.is_none()).count();
        if unlabelled > 0 && unlabelled < labels.len() {
            tracing::warn!("{unlabelled} of {} samples have no label", labels.len());
        }
        Self { ids, labels, samples }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no sample, which only a limit of 0 makes possible.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The stable name of a sample. Panics when `i` is not below [`Self::len`].
    pub fn id(&self, i: usize) -> &str {
        &self.ids[i]
    }

    /// The class of a sample; `None` where it is not known, or there is no such sample.
    pub fn label(&self, i: usize) -> Option<usize> {
        self.labels.get(i).copied().flatten()
    }

    /// Whether any sample has a label.
    pub fn has_labels(&self) -> bool {
        self.labels.iter().any(Option::is_some)
    }

    /// The hash of the raw bytes of a sample: of the file, or of the row as the array stores it; combined by input
    /// name where there are several inputs.
    pub fn fingerprint(&self, i: usize) -> Result<Fingerprint> {
        self.check(i)?;
        self.samples.fingerprint(i)
    }

    /// Reads and decodes one sample on the calling thread.
    ///
    /// # Errors
    /// See [`DataError::is_bad_sample`].
    pub fn load(&self, i: usize) -> Result<Sample> {
        self.check(i)?;
        let inputs = self.samples.load(i, &self.ids[i])?;
        Ok(Sample { id: self.ids[i].clone(), inputs, label: self.label(i) })
    }

    fn check(&self, index: usize) -> Result<()> {
        if index < self.len() { Ok(()) } else { Err(DataError::Index { index, len: self.len() }) }
    }
}
