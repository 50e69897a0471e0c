//! A folder of `.npy` files, one sample a file; a folder for each input where there are several.

use std::collections::{BTreeMap, BTreeSet};
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
    // Names of inputs may have slashes; then their folders are nested.
    let folder = |input: &InputSpec| format!("{}/", input.name.trim_matches('/'));
    let of = |file: &Found| inputs.iter().position(|input| file.id.starts_with(&folder(input)));
    let by_input = files.iter().any(|f| of(f).is_some());
    if inputs.len() == 1 && !by_input {
        let ids = files.iter().map(|f| f.id.clone()).collect();
        let samples = files.into_iter().map(|f| vec![f.path]).collect();
        return Ok((ids, Box::new(Files { inputs: inputs.to_vec(), samples })));
    }
    let mut parts: Vec<BTreeMap<String, PathBuf>> = vec![BTreeMap::new(); inputs.len()];
    let mut strange = BTreeSet::new();
    for file in files {
        if let Some(input) = of(&file) {
            let rest = file.id[folder(&inputs[input]).len()..].to_owned();
            parts[input].insert(rest, file.path);
        } else {
            let top = file.id.split_once('/').map(|(top, _)| format!("{top}/"));
            strange.insert(top.unwrap_or_else(|| "files outside of such folders".to_owned()));
        }
    }
    if !strange.is_empty() || parts.iter().any(BTreeMap::is_empty) {
        let there = inputs.iter().zip(&parts).filter(|(_, part)| !part.is_empty());
        let mut found: Vec<String> = there.map(|(input, _)| folder(input)).collect();
        found.extend(strange);
        return Err(DataError::Inputs {
            path: dir.to_owned(),
            found,
            inputs: inputs.iter().map(|i| i.name.clone()).collect(),
        });
    }
    let ids: BTreeSet<String> = parts.iter().flat_map(|part| part.keys().cloned()).collect();
    let mut samples = Vec::new();
    for id in &ids {
        let mut sample = Vec::new();
        for (input, part) in inputs.iter().zip(&mut parts) {
            let Some(path) = part.remove(id) else {
                let path = dir.join(folder(input)).join(id);
                return Err(DataError::Partner { path, input: input.name.clone(), sample: id.clone() });
            };
            sample.push(path);
        }
        samples.push(sample);
    }
    Ok((ids.into_iter().collect(), Box::new(Files { inputs: inputs.to_vec(), samples })))
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
                .map(|v| shape::arranged(v, input))
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
