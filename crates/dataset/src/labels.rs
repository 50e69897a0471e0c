//! Classes of samples.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use serde::Deserialize;
use shiftwise_graph::{DataType, Value};

use crate::array::{Array, value};
use crate::{DataError, Result};

/// The label of every sample: from an `.npy` array with one integer for each, or a CSV file with the columns
/// `file,label`, whose files are the names of samples.
pub(crate) fn read(path: &Path, ids: &[String]) -> Result<Vec<Option<usize>>> {
    let array = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"));
    if array { from_array(path, ids.len()) } else { from_csv(path, ids) }
}

fn from_array(path: &Path, samples: usize) -> Result<Vec<Option<usize>>> {
    let fail = |reason: String| DataError::labels(path, reason);
    let array = Array::open_file(File::open(path).map_err(DataError::read(path))?).map_err(fail)?;
    let shape = &array.header.shape;
    if shape.iter().filter(|d| **d != 1).count() > 1 || shape.iter().product::<usize>() != samples {
        return Err(fail(format!("it has the shape {shape:?}, and there are {samples} samples")));
    }
    let bytes = array.read().map_err(DataError::read(path))?;
    let Value::U64(labels) = value(&bytes, &array.header, &[samples], DataType::Uint64).map_err(fail)? else {
        return Err(fail("labels must be integers".to_owned()));
    };
    labels.iter().map(|l| usize::try_from(*l).map(Some).map_err(|e| fail(e.to_string()))).collect()
}

#[derive(Deserialize)]
struct Row {
    file: String,
    label: String,
}

fn from_csv(path: &Path, ids: &[String]) -> Result<Vec<Option<usize>>> {
    let fail = |reason: String| DataError::labels(path, reason);
    let index: BTreeMap<&str, usize> = ids.iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    let mut labels = vec![None; ids.len()];
    let text = std::fs::read_to_string(path).map_err(DataError::read(path))?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.strip_prefix('\u{feff}').unwrap_or(&text).as_bytes());
    let headers = reader.headers().map_err(|e| fail(e.to_string()))?;
    if let Some(column) = ["file", "label"].iter().find(|c| !headers.iter().any(|h| h == **c)) {
        let found: Vec<&str> = headers.iter().collect();
        return Err(fail(format!(
            "it needs the columns file,label; {column} is missing, found {}",
            found.join(",")
        )));
    }
    for row in reader.deserialize() {
        let Row { file, label }: Row = row.map_err(|e| fail(e.to_string()))?;
        let name = file.strip_prefix("./").unwrap_or(&file);
        let Some(&i) = index.get(name) else {
            return Err(fail(format!("{file:?} has a label, and there is no such sample")));
        };
        let label = label
            .parse()
            .map_err(|_| fail(format!("the label {label:?} of {file:?} is not a class number (0, 1, …)")))?;
        if labels[i].replace(label).is_some() {
            return Err(fail(format!("{file:?} has two rows")));
        }
    }
    Ok(labels)
}
