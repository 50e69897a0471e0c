//! Models: from an artifact or a file, and into an artifact.

use std::path::{Path, PathBuf};

use shiftwise_artifact::{Artifact, Fingerprint, Input, Kind, MANIFEST_FILE, Manifest, Writer, atomic};
use shiftwise_graph::{Model, Weights, infer_shapes};

use crate::Failure;

/// The model's file in artifacts.
pub const MODEL_FILE: &str = "model.onnx";
/// The file of the model's external data in artifacts.
pub const MODEL_DATA_FILE: &str = "model.onnx.data";

/// A model that was read.
#[derive(Debug)]
pub struct LoadedModel {
    /// The model.
    pub model: Model,
    /// Identifies everything that was read: the artifact, or the file with its external data.
    pub fingerprint: Fingerprint,
    /// What the user named: a directory or a file.
    pub path: PathBuf,
    /// The .onnx file.
    pub file: PathBuf,
    /// The artifact, if it was one.
    pub artifact: Option<Artifact>,
}

impl LoadedModel {
    /// The model as an input of an artifact.
    pub fn as_input(&self) -> Input {
        Input { path: self.path.display().to_string(), fingerprint: self.fingerprint }
    }

    /// A short name for outputs: that of the file, or of the artifact.
    pub fn name(&self) -> String {
        self.path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned())
    }
}

/// Read a model: an artifact directory of one of `kinds`, or an .onnx file. The contents of an artifact are compared with its
/// manifest. A file in place of a prepared model has its shapes inferred.
///
/// # Errors
/// Where there is nothing, or something else; where the model cannot be read; where an artifact is damaged or of another kind.
pub fn load_model(path: &Path, kinds: &[Kind]) -> Result<LoadedModel, Failure> {
    if !kinds.is_empty() {
        // A directory that a writer is just replacing, or died replacing, is not missing.
        atomic::heal(path)?;
    }
    let metadata = std::fs::metadata(path).map_err(|e| {
        let failure = Failure::read(path, &e);
        if e.kind() == std::io::ErrorKind::NotFound {
            failure.with_help("give an .onnx file, or the output directory of an earlier stage")
        } else {
            failure
        }
    })?;
    if metadata.is_dir() {
        return load_artifact(path, kinds);
    }
    let mut loaded = load_file(path)?;
    if kinds.contains(&Kind::Prepared) {
        // Which tensors are quantized depends on their types, which files of exporters need not have.
        infer_shapes(&mut loaded.model);
    }
    Ok(loaded)
}

fn load_artifact(dir: &Path, kinds: &[Kind]) -> Result<LoadedModel, Failure> {
    let kind = kinds.iter().copied().find(|kind| is_kind(dir, *kind));
    let Some(kind) = kind.or_else(|| kinds.first().copied()) else {
        return Err(Failure::usage(format!("read {}: it is a directory", dir.display()))
            .with_help("give an .onnx file"));
    };
    let artifact = Artifact::open(dir, kind)?;
    artifact.verify()?;
    let file = artifact.file(MODEL_FILE)?;
    let model = Model::load(&file)?;
    let fingerprint = artifact.fingerprint();
    Ok(LoadedModel { model, fingerprint, path: dir.to_owned(), file, artifact: Some(artifact) })
}

/// Whether the manifest is of this kind; other errors are those of opening it.
fn is_kind(dir: &Path, kind: Kind) -> bool {
    !matches!(
        Manifest::read(&dir.join(MANIFEST_FILE), kind),
        Err(shiftwise_artifact::Error::WrongKind { .. })
    )
}

fn load_file(path: &Path) -> Result<LoadedModel, Failure> {
    let model = Model::load(path)?;
    let mut fingerprint = Fingerprint::of_file(path)?;
    let external = shiftwise_graph::external_locations(path)?;
    if !external.is_empty() {
        let beside = path.parent().unwrap_or(Path::new(""));
        let mut parts = vec![("model".to_owned(), fingerprint)];
        for location in external {
            let data = Fingerprint::of_file(&beside.join(&location))?;
            parts.push((location, data));
        }
        fingerprint =
            Fingerprint::combine("model with external data", parts.iter().map(|(n, f)| (n.as_str(), *f)));
    }
    Ok(LoadedModel { model, fingerprint, path: path.to_owned(), file: path.to_owned(), artifact: None })
}

/// Where weights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExternalData {
    /// Whether they go to a file beside the model even where they would fit inside.
    pub always: bool,
    /// The smallest tensor in bytes that goes there.
    pub threshold: u64,
}

impl Default for ExternalData {
    fn default() -> Self {
        Self { always: false, threshold: 1024 }
    }
}

/// Write the model of an artifact: [`MODEL_FILE`], and [`MODEL_DATA_FILE`] where weights do not fit inside, or are to be outside.
///
/// # Errors
/// Where the model cannot be encoded or written.
pub fn save_model(writer: &Writer, model: &Model, external: ExternalData) -> Result<(), Failure> {
    save_model_as(writer, MODEL_FILE, model, external)
}

/// Write a model into an artifact as `name`, and `name.data` where weights do not fit inside, or are to be outside.
///
/// # Errors
/// Where the model cannot be encoded or written.
pub fn save_model_as(
    writer: &Writer,
    name: &str,
    model: &Model,
    external: ExternalData,
) -> Result<(), Failure> {
    let location = format!("{name}.data");
    let weights = if external.always {
        Weights::External { location, threshold: usize::try_from(external.threshold).unwrap_or(usize::MAX) }
    } else {
        Weights::Auto { location }
    };
    let encoded = model.encode(&weights)?;
    if let Some((data, segments)) = &encoded.external {
        atomic::write_with(&writer.path(data)?, |out| {
            segments.iter().try_for_each(|segment| out.write_all(segment))
        })?;
    }
    atomic::write(&writer.path(name)?, &encoded.model)?;
    Ok(())
}
