//! One `.npz` or `.npy` whose first axis counts the samples.

use std::fs::File;
use std::path::{Path, PathBuf};

use shiftwise_artifact::Fingerprint;
use shiftwise_graph::Value;

use super::Samples;
use super::rows::{Accept, Rows};
use crate::array::{Array, open_npz};
use crate::{DataError, InputSpec, Result};

#[derive(Debug)]
struct Arrays {
    path: PathBuf,
    inputs: Vec<InputSpec>,
    rows: Rows,
}

pub(super) fn open(path: &Path, inputs: &[InputSpec]) -> Result<(Vec<String>, Box<dyn Samples>)> {
    let npz = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"));
    let arrays = if npz {
        open_npz(path)?.into_iter().map(|(name, array)| (Some(name), array)).collect()
    } else {
        let file = File::open(path).map_err(DataError::read(path))?;
        let array = Array::open_file(file).map_err(|reason| DataError::source(path, reason))?;
        vec![(None, array)]
    };
    let rows = Rows::of(path, arrays, inputs, Accept::Rows, false)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let ids = (0..rows.count()).map(|i| format!("{name}#{i}")).collect();
    Ok((ids, Box::new(Arrays { path: path.to_owned(), inputs: inputs.to_vec(), rows })))
}

impl Samples for Arrays {
    fn load(&self, index: usize, id: &str) -> Result<Vec<(String, Value)>> {
        self.rows.load(index, id, &self.inputs, &self.path)
    }

    fn fingerprint(&self, index: usize) -> Result<Fingerprint> {
        self.rows.fingerprint(index, &self.inputs, &self.path)
    }
}
