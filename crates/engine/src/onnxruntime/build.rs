//! From a model to a session of ONNX Runtime.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ort::ep::{self, ExecutionProvider};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use shiftwise_graph::{Encoded, Model, Weights};
use tempfile::TempDir;

use super::custom;
use super::error::OrtError;
use super::library::Library;
use super::message::refused_nodes;
use super::provider::Provider;
use crate::EngineError;

/// How sessions are made.
pub(super) struct Recipe {
    pub library: Arc<Library>,
    pub providers: Vec<Provider>,
    /// Whether ONNX Runtime may change the graph.
    pub optimize: bool,
    /// Whether memory of one run is kept for the next one. Without it peaks are lower.
    pub arena: bool,
    /// Threads within a node.
    pub threads: usize,
    /// Where weights go that do not fit into a message.
    pub weights: Weights,
    /// Name of the engine, for messages.
    pub engine: String,
}

/// A session, with the files that it may still read.
pub(super) struct Built {
    pub session: Session,
    _files: Option<TempDir>,
}

/// The file of weights that do not fit into a model in memory.
pub(super) const WEIGHTS_FILE: &str = "weights.bin";

impl Recipe {
    fn fail(&self, reason: impl std::fmt::Display) -> EngineError {
        OrtError::Load { engine: self.engine.clone(), reason: reason.to_string() }.into()
    }

    /// Makes a session. Models go there in memory, or through a temporary folder where that is not possible.
    pub(super) fn build(&self, model: &Model) -> Result<Built, EngineError> {
        let mut builder = self.builder()?;
        if custom::stands_in(&model.graph) {
            let operators = custom::custom_operators().map_err(|e| self.fail(e))?;
            builder = builder.with_operators(operators).map_err(|e| self.fail(e))?;
        }
        let encoded = model.encode(&self.weights).map_err(|e| EngineError::Graph(e.to_string()))?;
        let refused = |e: ort::Error| {
            let message = e.to_string();
            match refused_nodes(&message, model) {
                nodes if nodes.is_empty() => self.fail(message),
                nodes => EngineError::Unsupported { engine: self.engine.clone(), nodes },
            }
        };
        if encoded.external.is_empty() {
            let session = builder.commit_from_memory(&encoded.model).map_err(refused)?;
            return Ok(Built { session, _files: None });
        }
        let written = tempfile::Builder::new().prefix("shiftwise-").tempdir().and_then(|folder| {
            write(folder.path(), &encoded)?;
            Ok(folder)
        });
        let folder =
            written.map_err(|e| self.fail(format!("write its weights into a temporary folder: {e}")))?;
        let session = builder.commit_from_file(folder.path().join(MODEL_FILE)).map_err(refused)?;
        Ok(Built { session, _files: Some(folder) })
    }

    fn builder(&self) -> Result<SessionBuilder, EngineError> {
        let level = if self.optimize { GraphOptimizationLevel::All } else { GraphOptimizationLevel::Disable };
        let builder = Session::builder(&self.library.environment).map_err(|e| self.fail(e))?;
        let builder = builder.with_optimization_level(level).map_err(|e| self.fail(e))?;
        let builder = builder.with_intra_threads(self.threads.max(1)).map_err(|e| self.fail(e))?;
        let mut builder = builder.with_memory_pattern(self.arena).map_err(|e| self.fail(e))?;
        let fallback = self.providers.iter().any(Provider::is_cpu);
        if !fallback {
            builder = builder.with_disable_cpu_fallback().map_err(|e| self.fail(e))?;
        }
        for provider in &self.providers {
            provider.register(&mut builder, &self.library.providers)?;
        }
        ep::CPU::default()
            .with_arena_allocator(self.arena)
            .register(&mut builder)
            .map_err(|e| self.fail(e))?;
        Ok(builder)
    }
}

const MODEL_FILE: &str = "model.onnx";

/// Writes a model and its weights into an empty folder that nobody else knows.
#[allow(clippy::disallowed_methods, reason = "temporary files, which are read by this process only")]
fn write(folder: &Path, encoded: &Encoded) -> std::io::Result<()> {
    std::fs::write(folder.join(MODEL_FILE), &encoded.model)?;
    for (name, segments) in &encoded.external {
        let mut file = std::io::BufWriter::new(std::fs::File::create(folder.join(name))?);
        for segment in segments {
            file.write_all(segment)?;
        }
        file.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnxruntime::{library, python};
    use shiftwise_graph::{Builder, Tensor};

    /// The library of the Python that tests use.
    fn installed() -> Option<Arc<Library>> {
        let python = std::env::var_os("SHIFTWISE_PYTHON").unwrap_or_else(|| "python3".into());
        let folders = python::package_folders(Path::new(&python)).ok()?;
        library::open(Some(folders.first()?)).ok()
    }

    #[test]
    fn weights_beside_the_model_are_the_same_weights() {
        let Some(library) = installed() else { return };
        let recipe = |weights| Recipe {
            library: library.clone(),
            providers: vec![Provider::cpu()],
            optimize: false,
            arena: false,
            threads: 1,
            weights,
            engine: "onnxruntime".into(),
        };
        let w: Vec<f32> = (0..4096).map(|i| i as f32).collect();
        let model = Builder::new()
            .input("x", &[1, 64])
            .constant("w", Tensor::f32(&[64, 64], &w))
            .node("MatMul", &["x", "w"], &["y"])
            .build(&[("y", &[1, 64])], 13);
        let outside = Weights::External { location: WEIGHTS_FILE.into(), threshold: 0 };
        let results = [Weights::Inline, outside].map(|weights| {
            let mut built = recipe(weights).build(&model).unwrap();
            let x = ort::value::TensorRef::from_array_view(([1usize, 64], &w[..64])).unwrap();
            let outputs = built.session.run(ort::inputs![x]).unwrap();
            outputs[0].try_extract_tensor::<f32>().unwrap().1.to_vec()
        });
        assert_eq!(results[0], results[1]);
        assert!(results[0].iter().any(|v| *v != 0.0));
    }
}
