//! The only way to edit a graph: a patch says what to change, one place applies it and keeps the indices.

use crate::{Attribute, Graph, GraphError, Node, NodeId, Tensor, TensorType, ValueInfo, ValueType};

/// A set of edits that is applied as a whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    remove: Vec<NodeId>,
    insert: Vec<(Option<NodeId>, Node)>,
    initializers: Vec<(String, Option<Tensor>)>,
    redirect: Vec<(String, String)>,
    inputs: Vec<(NodeId, usize, String)>,
    outputs: Vec<(NodeId, usize, String)>,
    attributes: Vec<(NodeId, String, Option<Attribute>)>,
    types: Vec<(String, Option<TensorType>)>,
    boundary: Option<(Vec<ValueInfo>, Vec<ValueInfo>)>,
}

impl Patch {
    /// An empty patch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes a node. What it made must be made by an inserted node, or be read by nobody.
    pub fn remove(&mut self, node: NodeId) -> &mut Self {
        self.remove.push(node);
        self
    }

    /// Inserts a node at the end of the order (sorting puts it right).
    pub fn insert(&mut self, node: Node) -> &mut Self {
        self.insert.push((None, node));
        self
    }

    /// Inserts a node just before another in the order.
    pub fn insert_before(&mut self, anchor: NodeId, node: Node) -> &mut Self {
        self.insert.push((Some(anchor), node));
        self
    }

    /// Puts `node` in the place of `old`.
    pub fn replace(&mut self, old: NodeId, node: Node) -> &mut Self {
        self.insert.push((Some(old), node));
        self.remove(old)
    }

    /// Adds or replaces an initializer.
    pub fn set_initializer(&mut self, name: impl Into<String>, tensor: Tensor) -> &mut Self {
        self.initializers.push((name.into(), Some(tensor)));
        self
    }

    /// Removes an initializer, which nobody may read afterwards.
    pub fn remove_initializer(&mut self, name: impl Into<String>) -> &mut Self {
        self.initializers.push((name.into(), None));
        self
    }

    /// Makes every node that reads `old` read `new` instead. Graph outputs keep their names: patches that bypass the
    /// producer of an output rename with [`Patch::set_output`].
    pub fn redirect(&mut self, old: impl Into<String>, new: impl Into<String>) -> &mut Self {
        self.redirect.push((old.into(), new.into()));
        self
    }

    /// Makes one input of one node read another tensor; an input beyond the last is appended, empty ones in between.
    pub fn set_input(&mut self, node: NodeId, input: usize, tensor: impl Into<String>) -> &mut Self {
        self.inputs.push((node, input, tensor.into()));
        self
    }

    /// Renames one output of one node.
    pub fn set_output(&mut self, node: NodeId, output: usize, tensor: impl Into<String>) -> &mut Self {
        self.outputs.push((node, output, tensor.into()));
        self
    }

    /// Sets an attribute.
    pub fn set_attribute(&mut self, node: NodeId, name: &str, value: impl Into<Attribute>) -> &mut Self {
        self.attributes.push((node, name.into(), Some(value.into())));
        self
    }

    /// Removes an attribute.
    pub fn remove_attribute(&mut self, node: NodeId, name: &str) -> &mut Self {
        self.attributes.push((node, name.into(), None));
        self
    }

    /// Records the type of an intermediate tensor.
    pub fn set_type(&mut self, tensor: impl Into<String>, ty: TensorType) -> &mut Self {
        self.types.push((tensor.into(), Some(ty)));
        self
    }

    /// Forgets the type of an intermediate tensor.
    pub fn forget_type(&mut self, tensor: impl Into<String>) -> &mut Self {
        self.types.push((tensor.into(), None));
        self
    }

    /// Replaces the declared inputs and outputs of the graph (for example with fixed dimensions).
    pub fn set_boundary(&mut self, inputs: Vec<ValueInfo>, outputs: Vec<ValueInfo>) -> &mut Self {
        self.boundary = Some((inputs, outputs));
        self
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.insert.is_empty()
            && self.initializers.is_empty()
            && self.redirect.is_empty()
            && self.inputs.is_empty()
            && self.outputs.is_empty()
            && self.attributes.is_empty()
            && self.types.is_empty()
            && self.boundary.is_none()
    }
}

impl Graph {
    /// Applies a patch on behalf of `pass`. Call [`Graph::sort`] and [`Graph::check`] when the pass is over, as
    /// [`crate::run_rule`] does.
    ///
    /// Fails without any change when the patch names a node that is not there, or makes a tensor twice.
    pub fn apply(&mut self, pass: &str, patch: Patch) -> Result<(), GraphError> {
        self.validate(&patch).map_err(|reason| GraphError::Patch { pass: pass.into(), reason })?;
        for (node, attribute, value) in patch.attributes {
            self.edit(node, |n| match value {
                Some(v) => drop(n.attributes.insert(attribute, v)),
                None => drop(n.attributes.shift_remove(&attribute)),
            });
        }
        for (node, index, tensor) in patch.inputs {
            self.edit(node, |n| {
                if n.inputs.len() <= index {
                    n.inputs.resize(index + 1, String::new());
                }
                n.inputs[index] = tensor;
            });
        }
        for (node, index, tensor) in patch.outputs {
            self.edit(node, |n| n.outputs[index] = tensor);
        }
        // Redirections concern the nodes that were there before: inserted ones say themselves what they read.
        for (old, new) in patch.redirect {
            for user in self.uses(&old).to_vec() {
                if let Some(index) = user.input {
                    self.edit(user.node, |n| n.inputs[index].clone_from(&new));
                }
            }
        }
        for (anchor, node) in patch.insert {
            let id = NodeId(self.nodes.len() as u32);
            self.nodes.push(Some(node));
            self.pending.push((anchor, id));
            // A removed producer may still hold the index entry for the same tensor: the new one takes it over.
            self.index_node(id);
        }
        for id in &patch.remove {
            self.unindex_node(*id);
            self.nodes[id.0 as usize] = None;
        }
        for (name, tensor) in patch.initializers {
            match tensor {
                Some(t) => drop(self.initializers.insert(name, t)),
                None => drop(self.initializers.shift_remove(&name)),
            }
        }
        for (name, ty) in patch.types {
            match ty {
                Some(t) => drop(self.types.insert(name, ValueType::Tensor(t))),
                None => drop(self.types.shift_remove(&name)),
            }
        }
        if let Some((inputs, outputs)) = patch.boundary {
            (self.inputs, self.outputs) = (inputs, outputs);
        }
        Ok(())
    }

    fn validate(&self, patch: &Patch) -> Result<(), String> {
        let touched = patch
            .remove
            .iter()
            .chain(patch.inputs.iter().map(|(n, ..)| n))
            .chain(patch.outputs.iter().map(|(n, ..)| n))
            .chain(patch.attributes.iter().map(|(n, ..)| n))
            .chain(patch.insert.iter().filter_map(|(a, _)| a.as_ref()));
        for id in touched {
            if self.node(*id).is_none() {
                return Err(format!("node {} is not in the graph", id.0));
            }
        }
        for (id, index, _) in &patch.outputs {
            if self.node(*id).is_some_and(|n| n.outputs.len() <= *index) {
                return Err(format!("node {} has no output {index}", id.0));
            }
        }
        for (_, node) in &patch.insert {
            for output in node.outputs.iter().filter(|o| !o.is_empty()) {
                let made = self.producers.get(output).is_some_and(|p| {
                    !patch.remove.contains(p) && !patch.outputs.iter().any(|(n, ..)| n == p)
                });
                if made || self.initializers.contains_key(output) || self.is_input(output) {
                    return Err(format!("{} makes {output:?}, which exists already", node.label()));
                }
            }
        }
        Ok(())
    }

    fn edit(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        self.unindex_node(id);
        if let Some(node) = self.nodes.get_mut(id.0 as usize).and_then(Option::as_mut) {
            change(node);
        }
        self.index_node(id);
    }
}
