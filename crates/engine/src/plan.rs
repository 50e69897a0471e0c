//! A model as it is executed: numbered slots in place of names.

use shiftwise_graph::Value;

use crate::TensorId;
use crate::args::Kernel;

/// Number of a place that holds one tensor during a run.
pub(crate) type Slot = usize;

/// A prepared model.
pub(crate) struct Plan {
    pub(crate) watched: Vec<String>,
    pub(crate) slots: usize,
    /// Slots that hold constants during every run.
    pub(crate) constants: Vec<(Slot, Value)>,
    /// The slot of each input; `None` for one that nothing reads.
    pub(crate) feeds: Vec<Option<Slot>>,
    pub(crate) steps: Vec<Step>,
    /// The slot of each output.
    pub(crate) results: Vec<Slot>,
}

/// One node, or a group of nodes computed together.
pub(crate) struct Step {
    /// How messages call the node.
    pub(crate) label: String,
    /// `None` where everything was computed in advance and is only shown.
    pub(crate) kernel: Option<Kernel>,
    pub(crate) inputs: Vec<Option<Read>>,
    pub(crate) outputs: Vec<Option<Slot>>,
    /// What is shown after the step.
    pub(crate) shown: Vec<(TensorId, Slot)>,
    /// What nothing needs after the step.
    pub(crate) dead: Vec<Slot>,
}

/// How a step reads a slot.
#[derive(Clone, Copy)]
pub(crate) struct Read {
    pub(crate) slot: Slot,
    /// Whether this is the last use, so that the value may be overwritten.
    pub(crate) last: bool,
}
