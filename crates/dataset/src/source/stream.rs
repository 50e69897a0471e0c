//! `.npz` archives that follow one another in a stream, each with one sample or rows of them.

use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};

use shiftwise_artifact::Fingerprint;
use shiftwise_graph::Value;

use super::Samples;
use super::rows::{Accept, Rows};
use crate::array::{Archives, Broken};
use crate::{DataError, InputSpec, Result};

/// What messages call the stream.
const NAME: &str = "the standard input";

#[derive(Debug)]
struct Stream {
    inputs: Vec<InputSpec>,
    /// With the number of the first sample of each.
    archives: Vec<(usize, Rows)>,
}

/// Reads the standard input, unless nobody writes there.
pub(super) fn open_stdin(
    limit: Option<usize>,
    inputs: &[InputSpec],
) -> Result<(Vec<String>, Box<dyn Samples>)> {
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        return Err(DataError::Terminal);
    }
    open(BufReader::with_capacity(1 << 18, stdin), limit, inputs)
}

/// Reads a stream to its end, or until there are as many samples as will be used.
pub(super) fn open(
    reader: impl BufRead,
    limit: Option<usize>,
    inputs: &[InputSpec],
) -> Result<(Vec<String>, Box<dyn Samples>)> {
    let mut stream = Archives::new(reader).map_err(DataError::read(&std::env::temp_dir()))?;
    let (mut archives, mut count) = (Vec::new(), 0);
    while limit.is_none_or(|limit| count < limit) {
        let number = archives.len() + 1;
        let arrays = match stream.next() {
            Ok(Some(arrays)) => arrays,
            Ok(None) => break,
            Err(broken) => return Err(failure(broken, number, count)),
        };
        let arrays = arrays.into_iter().map(|(name, array)| (Some(name), array)).collect();
        let rows = Rows::of(&origin(number), arrays, inputs, Accept::Whole, number > 1)?;
        let samples = rows.count();
        archives.push((count, rows));
        count += samples;
    }
    if count == 0 && limit != Some(0) {
        return Err(DataError::Empty {
            path: PathBuf::from(NAME),
            looked_for: ".npz archives, as numpy.savez(sys.stdout.buffer, x=...) writes them",
            found: "an empty stream; did the program that feeds it fail?".to_owned(),
        });
    }
    let ids = (0..count).map(|i| format!("stdin#{i}")).collect();
    Ok((ids, Box::new(Stream { inputs: inputs.to_vec(), archives })))
}

fn origin(number: usize) -> PathBuf {
    PathBuf::from(format!("archive {number} of {NAME}"))
}

fn failure(broken: Broken, number: usize, samples: usize) -> DataError {
    match broken {
        Broken::Io(cause) => DataError::Read { path: PathBuf::from(NAME), cause },
        Broken::Truncated => DataError::source(
            Path::new(NAME),
            format!(
                "it ends in the middle of archive {number}, after {samples} samples; did the program that feeds it fail?"
            ),
        ),
        Broken::Malformed(reason) => {
            DataError::source(&origin(number), format!("{reason} (after {samples} samples)"))
        }
    }
}

impl Stream {
    /// The archive of a sample, and its row there.
    fn find(&self, index: usize) -> Result<(PathBuf, &Rows, usize)> {
        let behind = self.archives.partition_point(|(first, _)| *first <= index);
        let at = behind.checked_sub(1).ok_or(DataError::Index { index, len: 0 })?;
        let (first, rows) = &self.archives[at];
        Ok((origin(at + 1), rows, index - first))
    }
}

impl Samples for Stream {
    fn load(&self, index: usize, id: &str) -> Result<Vec<(String, Value)>> {
        let (origin, rows, row) = self.find(index)?;
        rows.load(row, id, &self.inputs, &origin)
    }

    fn fingerprint(&self, index: usize) -> Result<Fingerprint> {
        let (origin, rows, row) = self.find(index)?;
        rows.fingerprint(row, &self.inputs, &origin)
    }
}
