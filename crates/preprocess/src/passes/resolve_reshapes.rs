//! Targets of Reshape that are computed, though they are known.

use shiftwise_graph::{Model, Node, NodeId, Outcome, Rule};

use super::edit::Edit;
use super::name;
use super::operand::shape;
use super::reshape_target::reshape_target;

/// Gives a Reshape whose target is computed, mostly from the shape of its own input, a constant:
///
/// ```text
/// reshape(x, concat(shape(x)[0], 200))     ⇒     reshape(x, [0, 200])
/// ```
///
/// from the shape of its result as it is inferred. What computed the target becomes unused.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResolveReshapes;

impl Rule for ResolveReshapes {
    fn name(&self) -> &'static str {
        name::RESOLVE_RESHAPES
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let (Some(x), Some(target), Some(y)) = (node.input(0), node.input(1), node.output(0)) else {
            return Outcome::NoMatch;
        };
        if !node.is("Reshape") || graph.constant(target).is_some() || graph.is_input(target) {
            return Outcome::NoMatch;
        }
        let known = |t: &str| shape(graph, t).ok_or_else(|| format!("the shape of {t:?} is not known"));
        match known(x).and_then(|from| reshape_target(&from, &known(y)?)) {
            Ok(tensor) => {
                let mut edit = Edit::new(graph);
                let name = edit.constant(&format!("{y}_shape"), tensor);
                edit.patch.set_input(id, 1, name).remove_attribute(id, "allowzero");
                Outcome::rewrite(edit.patch, format!("{target:?} is known"))
            }
            Err(reason) => Outcome::Refused(reason),
        }
    }
}
