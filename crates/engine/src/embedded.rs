//! The embedded engine.

use std::borrow::Cow;
use std::collections::HashSet;

use shiftwise_graph::{GraphError, Model};
use shiftwise_kernels::fuses_multiply_add;

use crate::session::EmbeddedSession;
use crate::{Engine, EngineError, PrepareOptions, Session, Unsupported, compile, lower};

/// The engine that is always there: this workspace's kernels.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Embedded;

/// The embedded engine.
pub fn embedded() -> Embedded {
    Embedded
}

impl Engine for Embedded {
    fn name(&self) -> String {
        let name = concat!("embedded ", env!("CARGO_PKG_VERSION"));
        // What decides about the last bits of results is part of the name.
        if fuses_multiply_add() { name.into() } else { format!("{name} without fused multiply-add") }
    }

    fn unsupported(&self, model: &Model) -> Vec<Unsupported> {
        let inlined = inlined(model).unwrap_or(Cow::Borrowed(model));
        let (lowered, refused) = lower::lower(&inlined);
        lower::explain(compile::unsupported(&lowered), refused)
    }

    fn prepare(&self, model: &Model, options: &PrepareOptions) -> Result<Box<dyn Session>, EngineError> {
        let inlined = inlined(model).map_err(|e| EngineError::Graph(e.to_string()))?;
        let (lowered, refused) = lower::lower(&inlined);
        let nodes = lower::explain(compile::unsupported(&lowered), refused);
        if !nodes.is_empty() {
            return Err(EngineError::Unsupported { engine: self.name(), nodes });
        }
        let watch = lower::watch(model, &lowered, &options.watch);
        let (plan, halves) = match lower::widen(&lowered) {
            None => (compile::plan(&lowered, &watch)?, HashSet::new()),
            Some(wide) => {
                (compile::plan(&wide.model, &lower::watch(model, &wide.model, &watch))?, wide.halves)
            }
        };
        Ok(Box::new(EmbeddedSession::new(plan, model.graph.inputs(), model.graph.outputs(), &halves)))
    }
}

/// The model without functions of its own.
fn inlined(model: &Model) -> Result<Cow<'_, Model>, GraphError> {
    Ok(model.without_functions()?.map_or(Cow::Borrowed(model), Cow::Owned))
}
