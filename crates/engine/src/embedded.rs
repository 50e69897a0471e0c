//! The embedded engine.

use shiftwise_graph::Model;

use crate::session::EmbeddedSession;
use crate::{Engine, EngineError, PrepareOptions, Session, Unsupported, compile};

/// The engine that is always there: this workspace's kernels, `rten` for some operators.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Embedded;

/// The embedded engine.
pub fn embedded() -> Embedded {
    Embedded
}

impl Engine for Embedded {
    fn name(&self) -> String {
        concat!("embedded ", env!("CARGO_PKG_VERSION")).into()
    }

    fn unsupported(&self, model: &Model) -> Vec<Unsupported> {
        compile::unsupported(model)
    }

    fn prepare(&self, model: &Model, options: &PrepareOptions) -> Result<Box<dyn Session>, EngineError> {
        let nodes = self.unsupported(model);
        if !nodes.is_empty() {
            return Err(EngineError::Unsupported { engine: self.name(), nodes });
        }
        let plan = compile::plan(model, &options.watch)?;
        Ok(Box::new(EmbeddedSession::new(plan, model.graph.inputs(), model.graph.outputs())))
    }
}
