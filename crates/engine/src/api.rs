//! What callers see of any engine.

use std::collections::BTreeSet;

use shiftwise_graph::{Model, Value, ValueInfo};

use crate::{EngineError, Unsupported};

/// Something that can run models.
pub trait Engine: Send + Sync {
    /// Name and version, as they go into fingerprints: `embedded 0.1.0`.
    fn name(&self) -> String;

    /// Every node that this engine cannot compute, in execution order. Empty when [`Engine::prepare`] will accept the
    /// operators of the model.
    fn unsupported(&self, model: &Model) -> Vec<Unsupported>;

    /// Makes a model ready to run.
    ///
    /// Fails when nodes are not supported (with the whole list) or a watched name cannot be watched.
    fn prepare(&self, model: &Model, options: &PrepareOptions) -> Result<Box<dyn Session>, EngineError>;
}

/// How a model is going to be run.
///
/// Q/DQ nodes are computed exactly as they are defined, in float between them, unless an engine was opened with another
/// fidelity.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PrepareOptions {
    /// Which tensors are shown during a run.
    pub watch: Watch,
    /// Threads that compute within one run; 0 is 1, as callers spread samples over threads. The embedded engine always takes 1.
    pub threads: usize,
    /// About how many bytes the watched tensors that are alive at once in one run may have; none is no limit. One node's outputs
    /// may have more. Engines that show a tensor as soon as it is made, and drop it after its last use, as the embedded engine
    /// does, hold less than any limit allows them to.
    pub max_live_bytes: Option<u64>,
}

impl PrepareOptions {
    /// Options that watch these tensors.
    pub fn watching(watch: Watch) -> Self {
        Self { watch, ..Self::default() }
    }

    /// These options with a limit for watched tensors.
    #[must_use]
    pub fn with_max_live_bytes(self, bytes: Option<u64>) -> Self {
        Self { max_live_bytes: bytes, ..self }
    }

    /// These options with this many threads in one run.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }
}

/// Which intermediate tensors are shown during a run. Graph inputs and constants are never shown: callers have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// None: the fastest run.
    #[default]
    None,
    /// Every output of every node of the graph itself, but for those of Constant nodes. Tensors inside bodies of nodes are not
    /// shown, nor are sequences and optional values that are not there.
    All,
    /// These. A name that no node makes is an error.
    Named(BTreeSet<String>),
}

/// Index of a watched tensor in [`Session::watched`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub usize);

impl TensorId {
    /// The index.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Whether a run goes on after a tensor was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// End the run here; its result is empty.
    Stop,
}

/// A prepared model.
pub trait Session: Send + Sync {
    /// What must be fed.
    fn inputs(&self) -> &[ValueInfo];

    /// What a run gives, in this order.
    fn outputs(&self) -> &[ValueInfo];

    /// Names of the watched tensors in the order in which they are shown; a [`TensorId`] indexes this list.
    fn watched(&self) -> &[String];

    /// Runs the model once on one value for each input, named as in [`Session::inputs`].
    ///
    /// `visit` sees every watched tensor exactly once, as soon as it is made. Results are the graph outputs, or empty
    /// after [`Flow::Stop`]. Runs may go on concurrently; the bits of the results do not depend on it.
    ///
    /// Fails when a feed is missing, unknown, of the wrong type or shape, or a node cannot compute on what it gets.
    fn run(
        &self,
        feeds: &[(String, Value)],
        visit: &mut dyn FnMut(TensorId, &Value) -> Flow,
    ) -> Result<Vec<Value>, EngineError>;

    /// Runs the model on several feeds, with the bits that [`Session::run`] gives for each of them alone. An engine may compute
    /// them node by node, so that the weights of a node are read once for all; then the watched tensors of all feeds come mixed. It
    /// holds the live tensors of all of them.
    ///
    /// `visit` sees every watched tensor of every feed once, with the position of the feed. Results are as many as the feeds, or none after
    /// [`Flow::Stop`].
    ///
    /// Fails as [`Session::run`] does, with the position of the feed that failed.
    fn run_together(
        &self,
        feeds: &[&[(String, Value)]],
        visit: &mut dyn FnMut(usize, TensorId, &Value) -> Flow,
    ) -> Result<Vec<Vec<Value>>, (usize, EngineError)> {
        let mut results = Vec::with_capacity(feeds.len());
        for (i, feeds) in feeds.iter().enumerate() {
            let mut stopped = false;
            let made = self.run(feeds, &mut |id, value| {
                let flow = visit(i, id, value);
                stopped |= flow == Flow::Stop;
                flow
            });
            results.push(made.map_err(|error| (i, error))?);
            if stopped {
                return Ok(Vec::new());
            }
        }
        Ok(results)
    }
}
