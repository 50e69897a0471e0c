//! A folder of `.npy` files, one sample a file; a folder for each input where there are several.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use shiftwise_artifact::Fingerprint;
use shiftwise_graph::Value;

use super::Samples;
use super::folder::{Found, fingerprint_of};
use crate::array::{Array, value};
use crate::{DataError, InputSpec, Result, shape};

#[derive(Debug)]
struct Files {
    inputs: Vec<InputSpec>,
    /// For each sample one file for each input.
    samples: Vec<Vec<PathBuf>>,
}

pub(super) fn open(
    dir: &Path,
    files: Vec<Found>,
    inputs: &[InputSpec],
) -> Result<(Vec<String>, Box<dyn Samples>)> {
    let known: BTreeSet<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
    let folders: BTreeSet<&str> =
        files.iter().filter_map(|f| f.id.split_once('/')).map(|(top, _)| top).collect();
    let by_input = folders.iter().any(|f| known.contains(f));
    if inputs.len() == 1 && !by_input {
        let ids = files.iter().map(|f| f.id.clone()).collect();
        let samples = files.into_iter().map(|f| vec![f.path]).collect();
        return Ok((ids, Box::new(Files { inputs: inputs.to_vec(), samples })));
    }
    let loose = files.iter().any(|f| !f.id.contains('/'));
    if loose || folders != known {
        let mut found: Vec<String> = folders.iter().map(|f| format!("{f}/")).collect();
        if loose {
            found.push("files outside of such folders".to_owned());
        }
        return Err(DataError::Inputs {
            path: dir.to_owned(),
            found,
            inputs: inputs.iter().map(|i| i.name.clone()).collect(),
        });
    }
    let there: BTreeSet<&str> = files.iter().map(|f| f.id.as_str()).collect();
    let ids: BTreeSet<&str> =
        files.iter().filter_map(|f| f.id.split_once('/')).map(|(_, rest)| rest).collect();
    let mut samples = Vec::new();
    for id in &ids {
        let mut sample = Vec::new();
        for input in inputs {
            let path = dir.join(&input.name).join(id);
            if !there.contains(format!("{}/{id}", input.name).as_str()) {
                return Err(DataError::Partner { path, input: input.name.clone(), sample: (*id).to_owned() });
            }
            sample.push(path);
        }
        samples.push(sample);
    }
    Ok((ids.into_iter().map(str::to_owned).collect(), Box::new(Files { inputs: inputs.to_vec(), samples })))
}

impl Samples for Files {
    fn load(&self, index: usize, id: &str) -> Result<Vec<(String, Value)>> {
        let mut values = Vec::new();
        for (input, path) in self.inputs.iter().zip(&self.samples[index]) {
            let file = File::open(path).map_err(DataError::read(path))?;
            let array = Array::open_file(file).map_err(|reason| DataError::decode(path, reason))?;
            let header = &array.header;
            let Some(shape) = shape::fit(&header.shape, input) else {
                return Err(DataError::Shape {
                    sample: id.to_owned(),
                    input: input.name.clone(),
                    misfit: Box::new(shape::misfit(&header.shape, input, None)),
                });
            };
            let bytes = array.read().map_err(DataError::read(path))?;
            let value = value(&bytes, header, &header.shape, input.dtype)
                .and_then(|v| v.reshaped(&shape).ok_or_else(|| "its shape does not fit".to_owned()))
                .map_err(|reason| DataError::Convert {
                    sample: id.to_owned(),
                    input: input.name.clone(),
                    reason,
                })?;
            values.push((input.name.clone(), value));
        }
        Ok(values)
    }

    fn fingerprint(&self, index: usize) -> Result<Fingerprint> {
        let mut hashes = Vec::new();
        for (input, path) in self.inputs.iter().zip(&self.samples[index]) {
            hashes.push((input.name.as_str(), fingerprint_of(path)?));
        }
        Ok(super::joint(hashes.into_iter()))
    }
}
