//! Means over height and width become poolings.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule};

use super::edit::Edit;
use super::name;
use super::operand::{axes, counted, gone, shape};

/// Turns a ReduceMean over exactly the spatial axes of an image (rank 4) or volume (5), in any order, into a GlobalAveragePool:
///
/// ```text
/// mean(x, axes = 2…, keepdims = 1)     ⇒     globalaveragepool(x)
/// mean(x, axes = 2…, keepdims = 0)     ⇒     flatten(globalaveragepool(x))
/// ```
///
/// A mean over the last axis of rank 3 is rather that of a normalization, and stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReduceMeanToPool;

impl Rule for ReduceMeanToPool {
    fn name(&self) -> &'static str {
        name::REDUCE_MEAN_TO_POOL
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        if !node.is("ReduceMean") {
            return Outcome::NoMatch;
        }
        match pool(&model.graph, id, node) {
            Ok(patch) => Outcome::rewrite(patch, "it is over the spatial axes"),
            Err(reason) => Outcome::Refused(reason),
        }
    }

    fn ensures(&self, _: &Model, node: &Node) -> Result<(), String> {
        gone(node, "ReduceMean")
    }
}

fn pool(graph: &Graph, id: NodeId, node: &Node) -> Result<Patch, String> {
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
        return Err("its input or output is missing".into());
    };
    let rank = shape(graph, x).map(|dims| dims.len()).ok_or("the rank of its input is not known")?;
    if !matches!(rank, 4 | 5) {
        return Err(format!("its input has rank {rank}: it is no image"));
    }
    if graph.tensor_type(x).is_none_or(|ty| !ty.dtype.is_float()) {
        return Err("its input is not float".into());
    }
    let axes = axes(graph, node)?.unwrap_or_default();
    let spatial: Vec<usize> = (2..rank).collect();
    if counted(&axes, rank) != Some(spatial) {
        return Err(format!("it is over the axes {axes:?} of {rank}, not over exactly the spatial ones"));
    }
    let mut edit = Edit::new(graph);
    if node.int("keepdims").unwrap_or(1) != 0 {
        edit.patch.replace(id, Node::new("GlobalAveragePool", &node.name, &[x], &[y]));
    } else {
        let pooled = edit.fresh(&format!("{y}_pooled"));
        edit.patch.insert_before(id, Node::new("GlobalAveragePool", &pooled, &[x], &[&pooled]));
        edit.patch.replace(id, Node::new("Flatten", &node.name, &[&pooled], &[y]).with("axis", 1));
    }
    Ok(edit.patch)
}
