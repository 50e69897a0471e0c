//! A patch in the making, which knows the names that it has given already.

use std::collections::HashSet;

use shiftwise_graph::{Graph, NodeId, Patch, Tensor};

/// A patch of `graph`. [`Graph::fresh_name`] alone would give one name to two constants of one patch.
pub(super) struct Edit<'a> {
    pub(super) graph: &'a Graph,
    pub(super) patch: Patch,
    given: HashSet<String>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        Self { graph, patch: Patch::new(), given: HashSet::new() }
    }

    /// `wanted`, or a name like it that nobody has.
    pub(super) fn fresh(&mut self, wanted: &str) -> String {
        let mut name = self.graph.fresh_name(wanted);
        let mut count = 0u64;
        while !self.given.insert(name.clone()) {
            count += 1;
            name = self.graph.fresh_name(&format!("{wanted}_{count}"));
        }
        name
    }

    /// A new constant; returns its name.
    pub(super) fn constant(&mut self, wanted: &str, tensor: Tensor) -> String {
        let name = self.fresh(wanted);
        self.patch.set_initializer(name.as_str(), tensor);
        name
    }

    /// Gives one input of a node a new constant: in the place of `old`, or under a name of its own where others read `old` too.
    pub(super) fn put(&mut self, node: NodeId, input: usize, old: &str, tensor: Tensor) {
        if self.graph.uses(old).len() == 1 && !self.graph.is_output(old) {
            self.patch.set_initializer(old, tensor);
        } else {
            let name = self.constant(&format!("{old}_folded"), tensor);
            self.patch.set_input(node, input, name);
        }
    }
}
