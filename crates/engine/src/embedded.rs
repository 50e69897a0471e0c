//! The embedded engine.

use shiftwise_graph::Model;

use crate::session::EmbeddedSession;
use crate::{Engine, EngineError, PrepareOptions, Session, Unsupported, compile, lower};

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
        let (lowered, refused) = lower::lower(model);
        lower::explain(compile::unsupported(&lowered), refused)
    }

    fn prepare(&self, model: &Model, options: &PrepareOptions) -> Result<Box<dyn Session>, EngineError> {
        let (lowered, refused) = lower::lower(model);
        let nodes = lower::explain(compile::unsupported(&lowered), refused);
        if !nodes.is_empty() {
            return Err(EngineError::Unsupported { engine: self.name(), nodes });
        }
        let plan = compile::plan(&lowered, &lower::watch(model, &lowered, &options.watch))?;
        Ok(Box::new(EmbeddedSession::new(plan, model.graph.inputs(), model.graph.outputs())))
    }
}
