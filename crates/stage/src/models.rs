//! Models: from an artifact or a file, and into an artifact.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use shiftwise_artifact::{Artifact, Fingerprint, Input, Kind, MANIFEST_FILE, Manifest, Writer, atomic};
use shiftwise_graph::{Model, infer_shapes, known_shapes, release_mapped_weights};

use crate::{ExternalData, Failure};

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
    let mut model = Model::load(&file)?;
    if artifact.manifest().kind == Kind::Prepared && !declares_types(&model) {
        // It was prepared without inferring shapes.
        infer_shapes(&mut model);
    }
    let fingerprint = artifact.fingerprint();
    Ok(LoadedModel { model, fingerprint, path: dir.to_owned(), file, artifact: Some(artifact) })
}

/// Whether the model says of every tensor which type it has.
fn declares_types(model: &Model) -> bool {
    let known = known_shapes(model);
    known.resolved == known.tensors
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

/// Write the model of an artifact: [`MODEL_FILE`], and [`MODEL_DATA_FILE`] where weights do not fit inside, or are to be outside.
///
/// # Errors
/// Where the model cannot be encoded or written.
pub fn save_model(writer: &Writer, model: &Model, external: &ExternalData) -> Result<(), Failure> {
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
    external: &ExternalData,
) -> Result<(), Failure> {
    let encoded = model.encode(&external.weights(name, model.exceeds_one_file()))?;
    for (data, segments) in &encoded.external {
        let path = writer.path(data)?;
        if path.exists() {
            return Err(Failure::usage(format!(
                "write {data}: the artifact has a file of this name already"
            ))
            .with_help("choose another external_data_location"));
        }
        atomic::write_with(&path, |out| segments.iter().try_for_each(|segment| write_segment(out, segment)))?;
    }
    atomic::write(&writer.path(name)?, &encoded.model)?;
    Ok(())
}

/// Weights that are written before the memory which their source takes is given back.
const WRITTEN_AT_ONCE: usize = 16 << 20;

/// Writes weights, mostly mapped ones: pages that were read for that would count until the end.
fn write_segment(out: &mut dyn Write, segment: &[u8]) -> std::io::Result<()> {
    for part in segment.chunks(WRITTEN_AT_ONCE) {
        out.write_all(part)?;
        if part.len() == WRITTEN_AT_ONCE {
            release_mapped_weights();
        }
    }
    Ok(())
}

/// The files of the model in an artifact: itself, and where its weights are.
///
/// # Errors
/// Where there is no model, or it cannot be read.
pub fn model_files(artifact: &Artifact) -> Result<BTreeSet<String>, Failure> {
    let mut files = shiftwise_graph::external_locations(&artifact.file(MODEL_FILE)?)?;
    files.insert(MODEL_FILE.to_owned());
    Ok(files)
}
