//! Operators that `rten` computes, a node at a time.

use shiftwise_graph::Node;

use crate::args::{Kernel, Outcome};

/// The kernel of a node of the allow-list.
pub(crate) fn compile(node: &Node) -> Outcome<Kernel> {
    Err(format!("operator {} is not supported", node.op_type))
}
