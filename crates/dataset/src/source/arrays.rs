//! One `.npz` or `.npy` whose first axis counts the samples.

use std::fs::File;
use std::path::{Path, PathBuf};

use shiftwise_artifact::Fingerprint;
use shiftwise_graph::Value;

use super::Samples;
use crate::array::{Array, open_npz, value};
use crate::{DataError, InputSpec, Result, shape};

#[derive(Debug)]
struct Arrays {
    path: PathBuf,
    parts: Vec<Part>,
}

/// The array for one input.
#[derive(Debug)]
struct Part {
    input: InputSpec,
    array: Array,
    /// Of one row as a sample.
    shape: Vec<usize>,
}

pub(super) fn open(path: &Path, inputs: &[InputSpec]) -> Result<(Vec<String>, Box<dyn Samples>)> {
    let npz = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"));
    let mut arrays = if npz {
        open_npz(path)?
    } else {
        let file = File::open(path).map_err(DataError::read(path))?;
        let array = Array::open_file(file).map_err(|reason| DataError::source(path, reason))?;
        vec![(String::new(), array)]
    };
    let found: Vec<String> = arrays.iter().map(|(name, _)| name.clone()).collect();
    if inputs.len() == 1 && arrays.len() == 1 {
        // `arr_0` is what numpy calls an array that nobody gave a name.
        if npz && arrays[0].0 != inputs[0].name && arrays[0].0 != "arr_0" {
            let (found, input) = (&arrays[0].0, &inputs[0].name);
            tracing::warn!(
                "{}: its only array {found:?} is taken for the only input {input:?}",
                path.display()
            );
        }
        arrays[0].0.clone_from(&inputs[0].name);
    }
    let mut parts = Vec::new();
    for input in inputs {
        let Some(at) = arrays.iter().position(|(name, _)| *name == input.name) else {
            return Err(DataError::Inputs {
                path: path.to_owned(),
                found: if npz { found } else { vec!["one array without a name".to_owned()] },
                inputs: inputs.iter().map(|i| i.name.clone()).collect(),
            });
        };
        parts.push(part(path, input, arrays.swap_remove(at).1)?);
    }
    if !arrays.is_empty() {
        let unused: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
        tracing::warn!("{}: no input is called {}; not used", path.display(), unused.join(", "));
    }
    let counts: Vec<usize> = parts.iter().map(|p| p.array.header.shape[0]).collect();
    let count = counts.first().copied().unwrap_or(0);
    if let Some(odd) = counts.iter().position(|c| *c != count) {
        return Err(DataError::source(
            path,
            format!(
                "{:?} has {count} samples, {:?} has {}",
                parts[0].input.name, parts[odd].input.name, counts[odd]
            ),
        ));
    }
    if count == 0 {
        return Err(DataError::Empty {
            path: path.to_owned(),
            looked_for: "arrays with a leading axis of samples",
            found: "an axis of length 0".to_owned(),
        });
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let ids = (0..count).map(|i| format!("{name}#{i}")).collect();
    Ok((ids, Box::new(Arrays { path: path.to_owned(), parts })))
}

fn part(path: &Path, input: &InputSpec, array: Array) -> Result<Part> {
    let header = &array.header;
    let Some((_, row)) = header.shape.split_first() else {
        return Err(DataError::source(path, "it holds a single number, without an axis of samples"));
    };
    let Some(shape) = shape::fit(row, input) else {
        let one = shape::fit(&header.shape, input).is_some();
        let advice = one.then(|| "the first axis counts the samples, add one with array[None]".to_owned());
        return Err(DataError::Rows {
            path: path.to_owned(),
            input: input.name.clone(),
            misfit: Box::new(shape::misfit(row, input, advice)),
        });
    };
    if header.fortran && row.iter().any(|d| *d > 1) && header.shape[0] > 1 {
        return Err(DataError::source(
            path,
            "the array is in Fortran order, where one sample is scattered over the whole file; save it with \
             np.ascontiguousarray",
        ));
    }
    // Whether the element types can fit at all shows without reading any.
    let mut empty = header.clone();
    empty.fortran = false;
    value(&[], &empty, &[0], input.dtype)
        .map_err(|reason| DataError::source(path, format!("input {:?}: {reason}", input.name)))?;
    Ok(Part { input: input.clone(), array, shape })
}

impl Samples for Arrays {
    fn load(&self, index: usize, id: &str) -> Result<Vec<(String, Value)>> {
        self.parts
            .iter()
            .map(|part| {
                let bytes = part.array.read_row(index).map_err(DataError::read(&self.path))?;
                let value =
                    value(&bytes, &part.array.header, &part.shape, part.input.dtype).map_err(|reason| {
                        DataError::Convert { sample: id.to_owned(), input: part.input.name.clone(), reason }
                    })?;
                Ok((part.input.name.clone(), value))
            })
            .collect()
    }

    fn fingerprint(&self, index: usize) -> Result<Fingerprint> {
        let mut hashes = Vec::new();
        for part in &self.parts {
            let bytes = part.array.read_row(index).map_err(DataError::read(&self.path))?;
            hashes.push((part.input.name.as_str(), Fingerprint::of_bytes(&bytes)));
        }
        Ok(super::joint(hashes.into_iter()))
    }
}
