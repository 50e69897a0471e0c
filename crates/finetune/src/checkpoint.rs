//! What was done for each layer, durably: a killed run goes on with the next layer.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shiftwise_artifact::{Error, Fingerprint, atomic};
use shiftwise_graph::{Builder, Model, Tensor, Weights};
use shiftwise_quant::QParams;
use shiftwise_stage::Failure;

use crate::tuned::LayerReport;

const JOB_FILE: &str = "job.json";

/// What is known of a layer that is done.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// Constants of the model that were replaced.
    pub(crate) constants: Vec<(String, Tensor)>,
    /// The rest.
    pub(crate) record: Record,
}

/// What is written of a layer beside its constants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The line of the report.
    pub(crate) report: LayerReport,
    /// New parameters of constants that are stored as integers, by the name of the integers.
    pub(crate) params: Vec<(String, QParams)>,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// A folder with what was done of one job.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    dir: PathBuf,
}

impl Checkpoint {
    /// Opens the folder. What it holds of another job is removed.
    ///
    /// Fails where it cannot be written.
    pub(crate) fn open(dir: &Path, job: Fingerprint) -> Result<Self, Failure> {
        let this = Self { dir: dir.to_owned() };
        let marker = dir.join(JOB_FILE);
        let ours = fs::read(&marker).ok().and_then(|text| serde_json::from_slice::<Fingerprint>(&text).ok());
        if ours != Some(job) {
            this.discard()?;
            fs::create_dir_all(dir).map_err(|e| Failure::write(dir, &e))?;
            atomic::write(&marker, job_text(job)?.as_bytes())?;
        }
        Ok(this)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.dir
    }

    /// The layers that are done, from the first one on. One that cannot be read is done again, with all behind it.
    pub(crate) fn done(&self, layers: usize) -> Vec<Done> {
        (0..layers).map_while(|layer| self.read(layer)).collect()
    }

    fn read(&self, layer: usize) -> Option<Done> {
        let (constants, record) = self.files(layer);
        // The record comes last: where it is, the constants are.
        let text = fs::read(record).ok()?;
        let again = |why: String| tracing::warn!("layer {} is tuned again: its checkpoint {why}", layer + 1);
        let record: Record = serde_json::from_slice(&text).map_err(|e| again(e.to_string())).ok()?;
        let model = Model::load(&constants).map_err(|e| again(e.to_string())).ok()?;
        let constants = model.graph.initializers().map(|(name, t)| (name.to_owned(), t.clone())).collect();
        Some(Done { constants, record })
    }

    /// Keeps a layer.
    ///
    /// Fails where it cannot be written.
    pub(crate) fn keep(&self, layer: usize, done: &Done) -> Result<(), Failure> {
        let (constants, record) = self.files(layer);
        // Another run of the same job, which writes the same, may have finished and cleared up.
        fs::create_dir_all(&self.dir).map_err(|e| Failure::write(&self.dir, &e))?;
        let mut builder = Builder::new();
        for (name, tensor) in &done.constants {
            builder = builder.constant(name, tensor.clone());
        }
        let location = format!("layer-{layer:05}.data");
        let encoded = builder.build(&[], 13).encode(&Weights::Auto { location })?;
        atomic::write(&constants, &encoded.model)?;
        let text = serde_json::to_vec(&done.record)
            .map_err(|e| Failure::bug("write a checkpoint").because(e.to_string()))?;
        Ok(atomic::write(&record, &text)?)
    }

    fn files(&self, layer: usize) -> (PathBuf, PathBuf) {
        let path = |extension: &str| self.dir.join(format!("layer-{layer:05}.{extension}"));
        (path("onnx"), path("json"))
    }

    /// Removes the folder with all that is ours in it.
    ///
    /// Fails where it cannot be removed.
    pub(crate) fn discard(&self) -> Result<(), Failure> {
        if !self.dir.exists() {
            return Ok(());
        }
        let failed = |e: std::io::Error| Failure::write(&self.dir, &e);
        // The marker first: without it, the rest means nothing.
        let mut names = vec![self.dir.join(JOB_FILE)];
        names.extend(fs::read_dir(&self.dir).map_err(failed)?.flatten().map(|e| e.path()));
        for path in names {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name == JOB_FILE || name.starts_with("layer-") || name.starts_with('.') {
                match fs::remove_file(&path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::Write { path, cause: e }.into());
                    }
                    _ => {}
                }
            }
        }
        match fs::remove_dir(&self.dir) {
            Err(e) if e.kind() != std::io::ErrorKind::DirectoryNotEmpty => Err(failed(e)),
            _ => Ok(()),
        }
    }
}

fn job_text(job: Fingerprint) -> Result<String, Failure> {
    serde_json::to_string(&job).map_err(|e| Failure::bug("write a checkpoint").because(e.to_string()))
}
