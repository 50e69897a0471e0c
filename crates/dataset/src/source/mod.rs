//! The kinds of sources, and which one a path is.

mod arrays;
mod folder;
mod images;
mod npy;
mod onnx;
mod random;
mod rows;
mod stream;

use std::fmt::Debug;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use shiftwise_artifact::Fingerprint;
use shiftwise_graph::Value;

use self::folder::Contents;
use crate::{DataError, DataSpec, InputSpec, RandomSpec, Result, Source, labels};

/// Samples of one kind.
pub(crate) trait Samples: Debug + Send + Sync {
    /// The values of sample `index`, in the order of the inputs.
    fn load(&self, index: usize, id: &str) -> Result<Vec<(String, Value)>>;

    /// The hash of the raw bytes of sample `index`.
    fn fingerprint(&self, index: usize) -> Result<Fingerprint>;
}

/// A source that has been looked through.
pub(crate) struct Opened {
    pub(crate) ids: Vec<String>,
    pub(crate) labels: Vec<Option<usize>>,
    pub(crate) samples: Box<dyn Samples>,
}

/// Finds out what a source is and looks through it.
pub(crate) fn open(spec: &DataSpec, inputs: &[InputSpec]) -> Result<Opened> {
    check(spec)?;
    let (ids, samples, beside) = match &spec.source {
        Source::Random { seed, count } => {
            no_recipe(spec, "random samples")?;
            let (ids, samples) = random::open(*seed, *count, &spec.random, inputs)?;
            (ids, samples, None)
        }
        Source::Stdin => {
            no_recipe(spec, "arrays")?;
            let (ids, samples) = stream::open_stdin(spec.limit, inputs)?;
            (ids, samples, None)
        }
        Source::Path(path) => open_path(path, spec, inputs)?,
    };
    labelled(spec, ids, samples, beside.as_deref())
}

/// As [`open`], of a stream of archives.
pub(crate) fn open_stream(reader: impl BufRead, spec: &DataSpec, inputs: &[InputSpec]) -> Result<Opened> {
    check(spec)?;
    no_recipe(spec, "arrays")?;
    let (ids, samples) = stream::open(reader, spec.limit, inputs)?;
    labelled(spec, ids, samples, None)
}

fn labelled(
    spec: &DataSpec,
    ids: Vec<String>,
    samples: Box<dyn Samples>,
    beside: Option<&Path>,
) -> Result<Opened> {
    let labels = match spec.labels.as_deref().or(beside) {
        Some(path) => labels::read(path, &ids)?,
        None => vec![None; ids.len()],
    };
    Ok(Opened { ids, labels, samples })
}

/// Checks what the types do not, and refuses what nothing would obey.
fn check(spec: &DataSpec) -> Result<()> {
    if let Some(recipe) = &spec.recipe {
        recipe.check("of the configuration")?;
    }
    let RandomSpec { shapes, ranges, range } = &spec.random;
    let random = matches!(spec.source, Source::Random { .. });
    let name = |option, name: Option<&String>| (option, name.map_or("*", String::as_str).to_owned());
    let given = if !shapes.is_empty() {
        name("--random-shape", shapes.keys().next())
    } else if !ranges.is_empty() || range.is_some() {
        name("--random-range", ranges.keys().next())
    } else {
        return Ok(());
    };
    if random {
        return Ok(());
    }
    let reason = "the samples are not random; remove it, or use --data random".to_owned();
    Err(DataError::Random { option: given.0, input: given.1, reason })
}

type Found = (Vec<String>, Box<dyn Samples>, Option<PathBuf>);

/// Names, samples, and the labels that lie beside them.
fn open_path(path: &Path, spec: &DataSpec, inputs: &[InputSpec]) -> Result<Found> {
    let there = |path: PathBuf| path.is_file().then_some(path);
    let kind = std::fs::metadata(path).map_err(DataError::read(path))?;
    if !kind.is_dir() {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if !matches!(extension.as_str(), "npz" | "npy") {
            return Err(DataError::source(
                path,
                "a file of samples is .npz or .npy; give the folder for images and for one .npy per sample",
            ));
        }
        no_recipe(spec, "arrays")?;
        let (ids, samples) = arrays::open(path, inputs)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let own = there(path.with_file_name(format!("{stem}_labels.npy")));
        return Ok((ids, samples, own.or_else(|| there(path.with_file_name("labels.npy")))));
    }
    let mut contents = Contents::of(path)?;
    let labels = there(path.join("labels.csv"));
    let kinds: Vec<String> = [
        (contents.images.len(), "images"),
        (contents.arrays.len(), ".npy files"),
        (contents.tensors.len(), "files of ONNX test data"),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, kind)| format!("{n} {kind}"))
    .collect();
    if kinds.len() > 1 {
        return Err(DataError::source(
            path,
            format!("it holds {}; keep one kind in a folder", kinds.join(" and ")),
        ));
    }
    if !contents.images.is_empty() {
        let ids = contents.images.iter().map(|f| f.id.clone()).collect();
        let files = contents.images.into_iter().map(|f| f.path).collect();
        return Ok((ids, images::open(path, files, spec.recipe.as_ref(), inputs)?, labels));
    }
    if !contents.arrays.is_empty() {
        no_recipe(spec, "arrays")?;
        let label_array = there(path.join("labels.npy")).filter(|_| contents.arrays.len() > 1);
        if label_array.is_some() {
            contents.arrays.retain(|f| f.id != "labels.npy");
        }
        let (ids, samples) = npy::open(path, contents.arrays, inputs)?;
        return Ok((ids, samples, labels.or(label_array)));
    }
    if !contents.tensors.is_empty() {
        no_recipe(spec, "ONNX test data")?;
        let (ids, samples) = onnx::open(path, contents.tensors, inputs)?;
        return Ok((ids, samples, labels.or_else(|| there(path.join("labels.npy")))));
    }
    let hint = match (contents.has("npz"), contents.has("pb")) {
        (true, _) => "; for an .npz, give the path of the file itself",
        (_, true) => {
            "; for ONNX test data, give the folder that holds test_data_set_0, or that folder itself"
        }
        _ => "",
    };
    Err(DataError::Empty {
        path: path.to_owned(),
        looked_for: "images (.png, .jpg, .jpeg, .bmp, .webp), .npy files, or ONNX test data (test_data_set_*/input_*.pb)",
        found: format!("{}{hint}", contents.others()),
    })
}

/// A recipe that nothing would obey is a mistake.
fn no_recipe(spec: &DataSpec, what: &str) -> Result<()> {
    if spec.recipe.is_none() {
        return Ok(());
    }
    Err(DataError::Recipe {
        origin: "of the configuration".to_owned(),
        reason: format!("recipes are for images, and the source is {what}; remove it"),
    })
}

/// One hash for the inputs of a sample; that of the input itself where there is only one.
fn joint<'a>(parts: impl Iterator<Item = (&'a str, Fingerprint)>) -> Fingerprint {
    let parts: Vec<_> = parts.collect();
    match parts.as_slice() {
        [(_, only)] => *only,
        _ => Fingerprint::combine("sample", parts),
    }
}
