//! The kinds of sources, and which one a path is.

mod arrays;
mod folder;
mod images;
mod npy;
mod random;

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use shiftwise_artifact::Fingerprint;
use shiftwise_graph::Value;

use self::folder::Contents;
use crate::{DataError, DataSpec, InputSpec, Result, Source, labels};

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
    if let Some(recipe) = &spec.recipe {
        recipe.check("of the configuration")?;
    }
    let (ids, samples, beside) = match &spec.source {
        Source::Random { seed, count } => {
            no_recipe(spec, "random samples")?;
            let (ids, samples) = random::open(*seed, *count, inputs)?;
            (ids, samples, None)
        }
        Source::Path(path) => open_path(path, spec, inputs)?,
    };
    let labels = match spec.labels.as_ref().or(beside.as_ref()) {
        Some(path) => labels::read(path, &ids)?,
        None => vec![None; ids.len()],
    };
    Ok(Opened { ids, labels, samples })
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
    match (contents.images.is_empty(), contents.arrays.is_empty()) {
        (false, true) => {
            let ids = contents.images.iter().map(|f| f.id.clone()).collect();
            let files = contents.images.into_iter().map(|f| f.path).collect();
            Ok((ids, images::open(path, files, spec.recipe.as_ref(), inputs)?, labels))
        }
        (true, false) => {
            no_recipe(spec, "arrays")?;
            let label_array = there(path.join("labels.npy")).filter(|_| contents.arrays.len() > 1);
            if label_array.is_some() {
                contents.arrays.retain(|f| f.id != "labels.npy");
            }
            let (ids, samples) = npy::open(path, contents.arrays, inputs)?;
            Ok((ids, samples, labels.or(label_array)))
        }
        (false, false) => Err(DataError::source(
            path,
            format!(
                "it holds {} images and {} .npy files; keep one kind in a folder",
                contents.images.len(),
                contents.arrays.len()
            ),
        )),
        (true, true) => {
            let hint =
                if contents.has("npz") { "; for an .npz, give the path of the file itself" } else { "" };
            Err(DataError::Empty {
                path: path.to_owned(),
                looked_for: "images (.png, .jpg, .jpeg, .bmp, .webp) or .npy files",
                found: format!("{}{hint}", contents.others()),
            })
        }
    }
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
