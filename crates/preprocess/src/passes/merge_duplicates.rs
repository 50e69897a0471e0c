//! What is computed twice is computed once.

use std::collections::HashMap;

use shiftwise_graph::{Attribute, Graph, Model, Node, NodeId, Outcome, Patch, Rule};

use super::name;

/// Lets readers of a node read those outputs of an earlier one that does the same: the same operator with the same inputs and
/// attributes.
///
/// ```text
/// y = f(x), z = f(x)     ⇒     z is y
/// ```
///
/// Random operators, those with subgraphs and those of other domains are left alone.
#[derive(Clone, Debug, Default)]
pub struct MergeDuplicates {
    /// What was seen, by operator, inputs, attributes and number of outputs.
    seen: HashMap<String, NodeId>,
}

impl Rule for MergeDuplicates {
    fn name(&self) -> &'static str {
        name::MERGE_DUPLICATES
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let Some(key) = key(node) else { return Outcome::NoMatch };
        let first = self.seen.get(&key).and_then(|first| Some((*first, model.graph.node(*first)?)));
        let Some((first, twin)) = first else {
            self.seen.insert(key, id);
            return Outcome::NoMatch;
        };
        match merge(&model.graph, id, node, first, twin) {
            Ok(patch) => Outcome::rewrite(patch, format!("{} does the same", twin.label())),
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

fn merge(graph: &Graph, id: NodeId, node: &Node, first: NodeId, twin: &Node) -> Result<Patch, String> {
    let is_outer = |t: &str| graph.is_output(t) || graph.uses(t).iter().any(|u| u.input.is_none());
    let mut patch = Patch::new();
    patch.remove(id);
    for (index, (ours, theirs)) in node.outputs.iter().zip(&twin.outputs).enumerate() {
        if ours.is_empty() {
            continue;
        }
        if !is_outer(ours) {
            patch.redirect(ours, theirs).forget_type(ours);
        } else if !is_outer(theirs) {
            patch.set_output(first, index, ours).redirect(theirs, ours).forget_type(theirs);
        } else {
            return Err(format!("{ours:?} and {theirs:?} of {} are both needed", twin.label()));
        }
    }
    Ok(patch)
}

/// What makes two nodes the same; `None` where nothing does.
fn key(node: &Node) -> Option<String> {
    let op = node.op_type.as_str();
    let is_random = op.starts_with("Random") || matches!(op, "Multinomial" | "Bernoulli" | "Dropout");
    if !node.domain.is_empty() || is_random || node.inputs.is_empty() {
        return None;
    }
    let mut attributes = Vec::with_capacity(node.attributes.len());
    for (name, value) in &node.attributes {
        match value {
            Attribute::Graph(_) | Attribute::Other(_) => return None,
            // Two NaN differ, two texts of them do not, so bits are compared.
            Attribute::Float(v) => attributes.push(format!("{name:?}={:x}", v.to_bits())),
            Attribute::Floats(v) => {
                let bits: Vec<u32> = v.iter().map(|v| v.to_bits()).collect();
                attributes.push(format!("{name:?}={bits:x?}"));
            }
            other => attributes.push(format!("{name:?}={other:?}")),
        }
    }
    attributes.sort_unstable();
    let present: Vec<bool> = node.outputs.iter().map(|o| !o.is_empty()).collect();
    Some(format!("{op:?} {:?} {attributes:?} {present:?}", node.inputs))
}
