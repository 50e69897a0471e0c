//! Batch normalizations go into the weights before them.

mod affine;
mod layer;

use affine::Affine;
use layer::Layer;
use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule, Tensor};

use super::name;

/// Folds a BatchNormalization into the Conv, ConvTranspose or Gemm before it. Per output channel c, with
/// s = gamma / sqrt(var + epsilon),
///
/// ```text
/// y = (x − mean)·s + beta,   x = W·u + b     ⇒     y = (s·W)·u + ((b − mean)·s + beta)
/// ```
///
/// computed in float64 and rounded once to float32. A layer without bias gets one. Weights and biases that
/// others read too are copied for this layer; the others keep theirs.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoldBatchNorm;

impl Rule for FoldBatchNorm {
    fn name(&self) -> &'static str {
        name::FOLD_BATCH_NORM
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        if !node.is("BatchNormalization") {
            return Outcome::NoMatch;
        }
        match fold(&model.graph, id, node) {
            Ok((patch, into)) => Outcome::rewrite(patch, format!("folded into {into}")),
            Err(reason) => Outcome::Refused(reason),
        }
    }

    fn ensures(&self, _: &Model, node: &Node) -> Result<(), String> {
        if node.is("BatchNormalization") { Err("it is still there, without a reason".into()) } else { Ok(()) }
    }
}

fn fold(graph: &Graph, id: NodeId, node: &Node) -> Result<(Patch, String), String> {
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
        return Err("its input or output is missing".into());
    };
    let (before, layer) = match graph.producer(x) {
        Some((before, layer)) if ["Conv", "ConvTranspose", "Gemm"].iter().any(|op| layer.is(op)) => {
            (before, layer)
        }
        Some((_, other)) => {
            return Err(format!("no preceding convolution: {x:?} comes from {}", other.label()));
        }
        None => return Err(format!("no preceding convolution: nothing computes {x:?}")),
    };
    if node.int("training_mode").unwrap_or(0) != 0 {
        return Err("its training_mode is on".into());
    }
    let read = |o: &&String| !o.is_empty() && (!graph.uses(o).is_empty() || graph.is_output(o));
    if let Some(output) = node.outputs.iter().skip(1).find(read) {
        return Err(format!("its further output {output:?} is used"));
    }
    graph.sole_consumer(x).map_err(|shared| shared.to_string())?;

    let affine = Affine::of(graph, node)?;
    let layer_label = layer.label();
    let folded = Layer::of(graph, layer, affine.scale.len())
        .and_then(|parts| parts.fold(&affine))
        .map_err(|reason| format!("{layer_label}: {reason}"))?;

    let weight = layer.input(1).unwrap_or_default();
    if layer.input(2) == Some(weight) {
        return Err(format!("{layer_label}: its weight and its bias are one constant"));
    }
    let mut patch = Patch::new();
    put(graph, &mut patch, before, 1, weight, folded.weight);
    if let Some(bias) = layer.input(2) {
        put(graph, &mut patch, before, 2, bias, folded.bias);
    } else {
        let bias = graph.fresh_name(&bias_name(weight));
        patch.set_input(before, 2, bias.as_str()).set_initializer(bias, folded.bias);
    }
    if layer.is("Gemm") {
        // It is in the bias now; the attribute's default is 1.
        patch.remove_attribute(before, "beta");
    }
    patch.set_output(before, 0, y).remove(id).forget_type(x);
    Ok((patch, layer_label))
}

/// Gives one input of a layer its new constant: in the place of the old one, or under a name of its own where others read the
/// old one too.
fn put(graph: &Graph, patch: &mut Patch, layer: NodeId, input: usize, old: &str, tensor: Tensor) {
    if graph.uses(old).len() == 1 && !graph.is_output(old) {
        patch.set_initializer(old, tensor);
    } else {
        let name = graph.fresh_name(&format!("{old}_folded"));
        patch.set_input(layer, input, name.as_str()).set_initializer(name, tensor);
    }
}

/// `conv1.weight` has the bias `conv1.bias`.
fn bias_name(weight: &str) -> String {
    let stem = ["weight", "kernel"].iter().find_map(|end| weight.strip_suffix(end));
    stem.map_or_else(|| format!("{weight}_bias"), |stem| format!("{stem}bias"))
}
