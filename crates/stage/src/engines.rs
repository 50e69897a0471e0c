//! From arguments and configuration to an engine.

use serde::{Deserialize, Serialize};
use shiftwise_engine::{Engine, embedded};

use crate::options::{Flags, Reader};
use crate::{Context, EngineArgs, Failure};

/// What runs the model: [`EngineArgs`] over the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// `auto` or `embedded`; `auto` without a value.
    pub engine: Option<String>,
}

impl EngineArgs {
    /// The engine that these arguments and the configuration file name. Put [`Engine::name`] into the configuration of what
    /// depends on it.
    ///
    /// # Errors
    /// An engine that does not exist in this version.
    pub fn open(&self, context: &Context) -> Result<Box<dyn Engine>, Failure> {
        let flags = Flags::new().set("engine", self.engine.clone());
        let config: EngineConfig = context.merged(&flags)?.read(Reader::Engine)?;
        match config.engine.as_deref() {
            None | Some("auto" | "embedded") => Ok(Box::new(embedded())),
            Some(other) => Err(Failure::bug(format!("open engine {other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_matches_the_table() {
        crate::options::assert_config_matches::<EngineConfig>(Reader::Engine);
    }
}
