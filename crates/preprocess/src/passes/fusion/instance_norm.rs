//! Decomposed instance normalizations.

use bytes::Bytes;
use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule, Tensor};

use super::normalized::{Normalized, Over, find};
use super::pattern::float32;
use crate::passes::name;

/// Puts one InstanceNormalization in the place of its parts. Over the spatial axes, for each image and channel c,
///
/// ```text
/// m = mean(x),   v = mean((x − m)²),   r = 1/sqrt(v + epsilon)
/// y = (x − m)·r·gamma[c] + beta[c] = x·(r·gamma[c]) + (beta[c] − m·(r·gamma[c]))
/// ```
///
/// in either form, with any order of operands; means by GlobalAveragePool or ReduceMean, squares by Mul or Pow, r by Div, Reciprocal
/// or Pow. Without gamma or beta these are 1 and 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct FuseInstanceNorm;

impl Rule for FuseInstanceNorm {
    fn name(&self) -> &'static str {
        name::FUSE_INSTANCE_NORM
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let Some(mut found) = find(graph, id, node) else { return Outcome::NoMatch };
        if !over_images(&found) {
            return Outcome::NoMatch;
        }
        let rank = found.over.rank;
        let channels = graph.tensor_type(found.x).and_then(|t| t.shape?.get(1)?.known());
        let Some(channels) = channels else {
            return Outcome::Refused(format!("the channels of {:?} are not known", found.x));
        };
        found.absorb(&|t| per_channel(t, rank, channels).is_some());
        match fuse(graph, &found, channels) {
            Ok(patch) => Outcome::rewrite(
                patch,
                format!("{} nodes are an instance normalization of {:?}", found.matcher.len(), found.x),
            ),
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

/// Whether a normalization is one of images: over all spatial axes, and not over the last axis of a sequence.
pub(super) fn over_images(found: &Normalized<'_>) -> bool {
    let Over { axes, rank, pooled } = &found.over;
    if *rank < 3 || !axes.iter().copied().eq(2..*rank) {
        return false;
    }
    if *pooled || *rank > 3 {
        return true;
    }
    let graph = found.matcher.graph;
    let behind = graph.sole_consumer(found.output).ok().filter(|(_, n)| n.is("Mul") || n.is("Add"));
    let candidates = behind.iter().flat_map(|(_, n)| &n.inputs).map(String::as_str);
    let mut constants = candidates.chain(found.scale).chain(found.bias).filter_map(|t| graph.constant(t));
    constants.any(|t| t.len() > 1 && t.dims().last() == Some(&1))
}

fn fuse(graph: &Graph, found: &Normalized<'_>, channels: usize) -> Result<Patch, String> {
    float32(graph, found.x)?;
    float32(graph, found.output)?;
    found.matcher.closed(found.output)?;
    let mut patch = found.matcher.removal(found.output);
    let mut inputs = vec![found.x.to_owned()];
    for (given, default, end) in [(found.scale, 1.0, "scale"), (found.bias, 0.0, "bias")] {
        let (name, tensor) = match given {
            None => (
                graph.fresh_name(&format!("{}_{end}", found.output)),
                Tensor::f32(&[channels], &vec![default; channels]),
            ),
            Some(name) => {
                let tensor = graph.constant(name).and_then(|t| per_channel(t, found.over.rank, channels));
                let tensor =
                    tensor.ok_or_else(|| format!("its {end} {name:?} is not one value for each channel"))?;
                (kept_or_fresh(graph, name, end), tensor)
            }
        };
        inputs.push(name.clone());
        patch.set_initializer(name, tensor);
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let node = Node::new("InstanceNormalization", &found.last.name, &inputs, &[found.output]);
    patch.insert(node.with("epsilon", found.epsilon));
    Ok(patch)
}

/// The name of a constant that only one node reads may stay; other readers keep what they have.
pub(super) fn kept_or_fresh(graph: &Graph, name: &str, end: &str) -> String {
    let private = graph.uses(name).len() == 1 && !graph.is_output(name) && graph.initializer(name).is_some();
    if private { name.to_owned() } else { graph.fresh_name(&format!("{name}_{end}")) }
}

/// A constant for each channel of tensors of this rank, as a list.
fn per_channel(tensor: &Tensor, rank: usize, channels: usize) -> Option<Tensor> {
    let dims = tensor.dims();
    let skipped = rank.checked_sub(dims.len())?;
    let elsewhere = dims.iter().enumerate().any(|(i, d)| i + skipped != 1 && *d != 1);
    if elsewhere || tensor.dtype() != shiftwise_graph::DataType::Float {
        return None;
    }
    match tensor.len() {
        n if n == channels => tensor.reshaped(vec![channels]),
        1 => {
            let bytes = tensor.raw()?.repeat(channels);
            Tensor::from_raw(tensor.dtype(), vec![channels], Bytes::from(bytes)).ok()
        }
        _ => None,
    }
}
