//! Arrays whose first axis counts the samples, one array for each input.

use std::path::Path;

use shiftwise_artifact::Fingerprint;
use shiftwise_graph::Value;

use crate::array::{Array, value};
use crate::{DataError, InputSpec, Result, shape};

/// What arrays may be besides rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accept {
    /// Nothing else.
    Rows,
    /// One sample, where arrays fit the inputs only without an axis of samples.
    Whole,
}

/// Samples side by side in arrays, in the order of the inputs.
#[derive(Debug)]
pub(super) struct Rows {
    parts: Vec<Part>,
    count: usize,
}

/// The array for one input.
#[derive(Debug)]
struct Part {
    array: Array,
    /// Of a sample in the array.
    found: Vec<usize>,
    /// Of a sample in the model.
    shape: Vec<usize>,
    /// Whether the array is a sample rather than rows of them.
    whole: bool,
}

impl Rows {
    /// Matches arrays with inputs: by name, where there is more than one of either. `origin` stands for the arrays in messages,
    /// `quiet` keeps what is only odd to itself.
    pub(super) fn of(
        origin: &Path,
        mut arrays: Vec<(Option<String>, Array)>,
        inputs: &[InputSpec],
        accept: Accept,
        quiet: bool,
    ) -> Result<Self> {
        let found: Vec<String> = arrays
            .iter()
            .map(|(name, _)| name.clone().unwrap_or_else(|| "one array without a name".to_owned()))
            .collect();
        if let ([input], [(name, _)]) = (inputs, arrays.as_mut_slice()) {
            // `arr_0` is what numpy calls an array that nobody gave a name.
            if let Some(name) = name.as_ref().filter(|n| **n != input.name && *n != "arr_0" && !quiet) {
                tracing::warn!(
                    "{}: its only array {name:?} is taken for the only input {:?}",
                    origin.display(),
                    input.name
                );
            }
            *name = Some(input.name.clone());
        }
        let mut matched = Vec::new();
        for input in inputs {
            let Some(at) = arrays.iter().position(|(name, _)| name.as_ref() == Some(&input.name)) else {
                return Err(DataError::Inputs {
                    path: origin.to_owned(),
                    found,
                    inputs: inputs.iter().map(|i| i.name.clone()).collect(),
                });
            };
            matched.push((input, arrays.swap_remove(at).1));
        }
        if !arrays.is_empty() && !quiet {
            let unused: Vec<&str> = arrays.iter().filter_map(|(name, _)| name.as_deref()).collect();
            tracing::warn!("{}: no input is called {}; not used", origin.display(), unused.join(", "));
        }
        for (input, array) in &matched {
            // Whether the element types can fit at all shows without reading any.
            let mut empty = array.header.clone();
            empty.fortran = false;
            value(&[], &empty, &[0], input.dtype)
                .map_err(|reason| DataError::source(origin, format!("input {:?}: {reason}", input.name)))?;
        }
        match Self::side_by_side(origin, &matched) {
            Err(_) if accept == Accept::Whole && matched.iter().all(|(i, a)| fits_whole(i, a)) => {
                let parts = matched.into_iter().filter_map(|(input, array)| {
                    let found = array.header.shape.clone();
                    Some(Part { shape: shape::fit(&found, input)?, found, array, whole: true })
                });
                Ok(Self { parts: parts.collect(), count: 1 })
            }
            rows => rows,
        }
    }

    fn side_by_side(origin: &Path, matched: &[(&InputSpec, Array)]) -> Result<Self> {
        let parts: Vec<Part> =
            matched.iter().map(|(input, array)| part(origin, input, array)).collect::<Result<_>>()?;
        let counts: Vec<usize> = parts.iter().map(|p| p.array.header.shape[0]).collect();
        let count = counts.first().copied().unwrap_or(0);
        if let Some(odd) = counts.iter().position(|c| *c != count) {
            let name = |i: usize| &matched[i].0.name;
            return Err(DataError::source(
                origin,
                format!("{:?} has {count} samples, {:?} has {}", name(0), name(odd), counts[odd]),
            ));
        }
        if count == 0 {
            return Err(DataError::Empty {
                path: origin.to_owned(),
                looked_for: "arrays with a leading axis of samples",
                found: "an axis of length 0".to_owned(),
            });
        }
        Ok(Self { parts, count })
    }

    /// How many samples there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The values of a row.
    pub(super) fn load(
        &self,
        row: usize,
        id: &str,
        inputs: &[InputSpec],
        origin: &Path,
    ) -> Result<Vec<(String, Value)>> {
        let parts = inputs.iter().zip(&self.parts).map(|(input, part)| {
            let bytes = part.bytes(row).map_err(DataError::read(origin))?;
            let value = value(&bytes, &part.array.header, &part.found, input.dtype)
                .and_then(|v| v.reshaped(&part.shape).ok_or_else(|| "its shape does not fit".to_owned()))
                .map(|v| shape::arranged(v, input))
                .map_err(|reason| DataError::Convert {
                    sample: id.to_owned(),
                    input: input.name.clone(),
                    reason,
                })?;
            Ok((input.name.clone(), value))
        });
        parts.collect()
    }

    /// The hash of a row.
    pub(super) fn fingerprint(&self, row: usize, inputs: &[InputSpec], origin: &Path) -> Result<Fingerprint> {
        let mut hashes = Vec::new();
        for (input, part) in inputs.iter().zip(&self.parts) {
            let bytes = part.bytes(row).map_err(DataError::read(origin))?;
            hashes.push((input.name.as_str(), Fingerprint::of_bytes(&bytes)));
        }
        Ok(super::joint(hashes.into_iter()))
    }
}

impl Part {
    fn bytes(&self, row: usize) -> std::io::Result<Vec<u8>> {
        if self.whole { self.array.read() } else { self.array.read_row(row) }
    }
}

fn fits_whole(input: &InputSpec, array: &Array) -> bool {
    shape::fit(&array.header.shape, input).is_some()
}

fn part(origin: &Path, input: &InputSpec, array: &Array) -> Result<Part> {
    let header = &array.header;
    let Some((count, row)) = header.shape.split_first() else {
        return Err(DataError::source(origin, "it holds a single number, without an axis of samples"));
    };
    let Some(shape) = shape::fit(row, input) else {
        let advice = fits_whole(input, array)
            .then(|| "the first axis counts the samples, add one with array[None]".to_owned());
        return Err(DataError::Rows {
            path: origin.to_owned(),
            input: input.name.clone(),
            misfit: Box::new(shape::misfit(row, input, advice)),
        });
    };
    if header.fortran && row.iter().any(|d| *d > 1) && *count > 1 {
        return Err(DataError::source(
            origin,
            "the array is in Fortran order, where one sample is scattered over the whole file; save it with \
             np.ascontiguousarray",
        ));
    }
    Ok(Part { array: array.clone(), found: row.to_vec(), shape, whole: false })
}
