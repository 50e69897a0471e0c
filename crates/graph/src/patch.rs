//! The only way to edit a graph: a patch says what to change, one place applies it and keeps the indices.

use std::collections::{HashMap, HashSet};

use crate::graph::{Use, forget};
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

    /// Makes every node that reads `old` read `new` instead, also inside subgraphs. Graph outputs keep their names: patches that bypass the
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
    /// Fails without any change when the patch names a node that is not there, makes a tensor twice, or redirects a name
    /// into a subgraph where the new one means something else.
    pub fn apply(&mut self, pass: &str, patch: Patch) -> Result<(), GraphError> {
        self.validate(&patch).map_err(|reason| GraphError::Patch { pass: pass.into(), reason })?;
        for (node, attribute, value) in patch.attributes {
            self.edit(node, |n| match value {
                Some(v) => drop(n.attributes.insert(attribute, v)),
                None => drop(n.attributes.shift_remove(&attribute)),
            });
        }
        for (node, index, tensor) in patch.inputs {
            self.reconnect(node, index, &tensor);
        }
        for (node, index, tensor) in patch.outputs {
            self.rename_output(node, index, tensor);
        }
        // Redirections concern the nodes that were there before: inserted ones say themselves what they read.
        for (old, new) in patch.redirect {
            for user in self.uses(&old).to_vec() {
                match user.input {
                    Some(index) => self.reconnect(user.node, index, &new),
                    None => self.edit(user.node, |n| n.rename_captured(&old, &new)),
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
                Some(t) => self.initializers.insert(name, t),
                None => self.initializers.remove(&name),
            }
        }
        for (name, ty) in patch.types {
            match ty {
                Some(t) => self.types.insert(name, ValueType::Tensor(t)),
                None => self.types.remove(&name),
            }
        }
        if let Some((inputs, outputs)) = patch.boundary {
            (self.inputs, self.outputs) = (inputs.into(), outputs.into());
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
        for (old, new) in &patch.redirect {
            for (_, node) in self.consumers(old) {
                if node.subgraphs().any(|(_, g)| g.hides(old, new)) {
                    return Err(format!(
                        "{} captures {old:?} in a subgraph which has a {new:?} of its own",
                        node.label()
                    ));
                }
            }
        }
        self.validate_names(patch)
    }

    /// Every name must have one source after the patch: a node, an initializer or an input.
    fn validate_names(&self, patch: &Patch) -> Result<(), String> {
        let removed: HashSet<NodeId> = patch.remove.iter().copied().collect();
        let renamed: HashMap<(NodeId, usize), &str> =
            patch.outputs.iter().map(|(n, i, name)| ((*n, *i), name.as_str())).collect();
        let constants: HashMap<&str, bool> =
            patch.initializers.iter().map(|(name, t)| (name.as_str(), t.is_some())).collect();
        let declared =
            patch.boundary.as_ref().map(|(inputs, _)| crate::boundary::Boundary::from(inputs.clone()));
        let inputs = declared.as_ref().unwrap_or(&self.inputs);

        let mut freed: HashSet<&str> = HashSet::new();
        for id in &patch.remove {
            freed.extend(self.node(*id).into_iter().flat_map(|n| &n.outputs).map(String::as_str));
        }
        for (id, index, _) in &patch.outputs {
            freed.extend(self.node(*id).and_then(|n| n.output(*index)));
        }
        let is_constant =
            |name: &str| constants.get(name).copied().unwrap_or_else(|| self.initializers.contains_key(name));
        let is_made = |name: &str| self.producers.contains_key(name) && !freed.contains(name);

        let mut made: HashSet<&str> = HashSet::new();
        let from_renames = patch.outputs.iter().filter_map(|(id, index, _)| {
            let name = *renamed.get(&(*id, *index))?;
            let node = self.node(*id).filter(|_| !removed.contains(id))?;
            Some((node, (*id, *index), name))
        });
        let mut seen: HashSet<(NodeId, usize)> = HashSet::new();
        let from_renames =
            from_renames.filter(|(_, place, _)| seen.insert(*place)).map(|(node, _, name)| (node, name));
        let from_inserts =
            patch.insert.iter().flat_map(|(_, node)| node.outputs.iter().map(move |o| (node, o.as_str())));
        for (node, name) in from_renames.chain(from_inserts).filter(|(_, name)| !name.is_empty()) {
            let taken = is_made(name) || is_constant(name) || inputs.contains(name) || !made.insert(name);
            if taken {
                return Err(format!("{} makes {name:?}, which exists already", node.label()));
            }
        }
        for (name, _) in patch.initializers.iter().filter(|(_, t)| t.is_some()) {
            if is_constant(name) && (is_made(name) || inputs.contains(name)) {
                return Err(format!("initializer {name:?} is set, but a tensor of this name exists already"));
            }
        }
        if patch.boundary.is_some() {
            let mut names = HashSet::new();
            for input in inputs.iter() {
                let name = input.name.as_str();
                if !names.insert(name) || is_made(name) || made.contains(name) || is_constant(name) {
                    return Err(format!(
                        "input {name:?} is declared, but a tensor of this name exists already"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Changes attributes, and with them what subgraphs capture.
    fn edit(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let Some(mut node) = self.nodes.get_mut(id.0 as usize).and_then(Option::take) else { return };
        let before = node.captures();
        change(&mut node);
        let after = node.captures();
        if before != after {
            let reader = Use { node: id, input: None };
            for name in &before {
                forget(&mut self.uses, name, reader);
            }
            for name in after {
                self.uses.entry(name).or_default().push(reader);
            }
        }
        self.nodes[id.0 as usize] = Some(node);
    }

    fn rename_output(&mut self, id: NodeId, output: usize, tensor: String) {
        let Some(node) = self.nodes.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        let before = std::mem::replace(&mut node.outputs[output], tensor.clone());
        if self.producers.get(&before) == Some(&id) && !node.outputs.contains(&before) {
            self.producers.remove(&before);
        }
        if !tensor.is_empty() {
            self.producers.insert(tensor, id);
        }
    }
}
