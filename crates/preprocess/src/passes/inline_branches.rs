//! Branches that are always taken become part of the graph.

use std::collections::{HashMap, HashSet};

use shiftwise_graph::{Attribute, Graph, Model, Node, NodeId, Outcome, Rule};

use super::edit::Edit;
use super::name;

/// Replaces an If whose condition is constant by the branch that it takes:
///
/// ```text
/// y = if true { f(x) } else { g(x) }     ⇒     y = f(x)
/// ```
///
/// Tensors of the branch keep their names where nothing else has them, in the graph or in any body. A name that a body within the
/// branch reads cannot be changed: where it would have to be, the If stays. Bodies that stay are not touched.
#[derive(Clone, Debug, Default)]
pub struct InlineBranches {
    /// How often each name is given in bodies; of no use before the first If.
    given: Option<HashMap<String, usize>>,
}

impl Rule for InlineBranches {
    fn name(&self) -> &'static str {
        name::INLINE_BRANCHES
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let condition =
            node.input(0).and_then(|c| graph.constant(c)).and_then(shiftwise_graph::Tensor::scalar_i64);
        let (Some(condition), true) = (condition, node.is("If")) else { return Outcome::NoMatch };
        let given = self.given.get_or_insert_with(|| names_in_bodies(graph));
        let taken = if condition != 0 { "then_branch" } else { "else_branch" };
        let Some(Attribute::Graph(branch)) = node.attributes.get(taken) else {
            return Outcome::Refused(format!("its {taken} is missing"));
        };
        let mut edit = Edit::new(graph);
        match inline(&mut edit, given, id, node, branch) {
            Ok(()) => Outcome::rewrite(edit.patch, format!("its {taken} is always taken")),
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

fn inline(
    edit: &mut Edit,
    given: &HashMap<String, usize>,
    id: NodeId,
    node: &Node,
    branch: &Graph,
) -> Result<(), String> {
    if !branch.inputs().is_empty() || branch.outputs().len() != node.outputs.len() {
        return Err("its branch does not have its outputs".into());
    }
    let within: HashSet<String> =
        branch.nodes().flat_map(|(_, n)| n.subgraphs()).flat_map(|(_, body)| body.captures()).collect();
    let own = branch.initializers().map(|(name, _)| name);
    let own = own.chain(branch.nodes().flat_map(|(_, n)| n.outputs.iter().map(String::as_str)));
    let mut names: HashMap<&str, String> = HashMap::new();
    for name in own.filter(|name| !name.is_empty()) {
        let is_free = |name: &str, times: usize| given.get(name).copied().unwrap_or(0) <= times;
        let mut fresh = edit.fresh(name);
        while !is_free(&fresh, usize::from(fresh == name)) {
            fresh = edit.fresh(&format!("{name}_1"));
        }
        if fresh != name && within.contains(name) {
            return Err(format!("{name:?} of its branch is read by a body in it, and exists elsewhere, too"));
        }
        names.insert(name, fresh);
    }
    let renamed = |name: &String| names.get(name.as_str()).unwrap_or(name).clone();
    for (name, tensor) in branch.initializers() {
        edit.patch.set_initializer(renamed(&name.to_owned()), tensor.clone());
    }
    for (_, inner) in branch.nodes() {
        let inputs = inner.inputs.iter().map(renamed).collect();
        let outputs = inner.outputs.iter().map(renamed).collect();
        edit.patch.insert_before(id, Node { inputs, outputs, ..inner.clone() });
    }
    for (inner, outer) in branch.outputs().iter().zip(&node.outputs).filter(|(_, outer)| !outer.is_empty()) {
        let from = renamed(&inner.name);
        edit.patch.insert_before(id, Node::new("Identity", outer, &[&from], &[outer]));
    }
    edit.patch.remove(id);
    Ok(())
}

/// The names that bodies of the graph give to tensors, with how often.
fn names_in_bodies(graph: &Graph) -> HashMap<String, usize> {
    let mut given = HashMap::new();
    let mut bodies: Vec<&Graph> =
        graph.nodes().flat_map(|(_, n)| n.subgraphs()).map(|(_, body)| body).collect();
    while let Some(body) = bodies.pop() {
        let made = body.nodes().flat_map(|(_, n)| n.outputs.iter().map(String::as_str));
        let declared = body.inputs().iter().map(|v| v.name.as_str());
        for name in made.chain(declared).chain(body.initializers().map(|(name, _)| name)) {
            *given.entry(name.to_owned()).or_default() += 1;
        }
        bodies.extend(body.nodes().flat_map(|(_, n)| n.subgraphs()).map(|(_, body)| body));
    }
    given
}
