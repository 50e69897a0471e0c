//! Batch normalizations go into the weights before them.

use shiftwise_graph::{Model, Node, NodeId, Outcome, Rule};

use super::affine::Affine;
use super::edit::Edit;
use super::layer::{fold_after, is_layer, output_channels};
use super::name;
use super::operand::gone;

/// Folds a BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul before it. Per output channel c, with
/// s = gamma / sqrt(var + epsilon),
///
/// ```text
/// y = (x − mean)·s + beta,   x = W·u + b     ⇒     y = (s·W)·u + ((b − mean)·s + beta)
/// ```
///
/// computed in float64 and rounded once to float32. A layer without bias gets one. Weights and biases that
/// others read too are copied for this layer; the others keep theirs.
///
/// Where channels of several layers are concatenated before, each layer gets the part of the normalization that is for its
/// channels; all of them, or none.
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
        let mut edit = Edit::new(&model.graph);
        match fold(&mut edit, id, node) {
            Ok(into) => Outcome::rewrite(edit.patch, format!("folded into {into}")),
            Err(reason) => Outcome::Refused(reason),
        }
    }

    fn ensures(&self, _: &Model, node: &Node) -> Result<(), String> {
        gone(node, "BatchNormalization")
    }
}

fn fold(edit: &mut Edit, id: NodeId, node: &Node) -> Result<String, String> {
    let graph = edit.graph;
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
        return Err("its input or output is missing".into());
    };
    let Some((before, producer)) = graph.producer(x) else {
        return Err(format!("no preceding convolution: nothing computes {x:?}"));
    };
    let into = if is_layer(producer) {
        graph.sole_consumer(x).map_err(|shared| shared.to_string())?;
        fold_into(edit, before, producer, &Affine::of_batch_norm(graph, node)?)?;
        producer.label()
    } else if producer.is("Concat") {
        graph.sole_consumer(x).map_err(|shared| shared.to_string())?;
        fold_into_branches(edit, producer, &Affine::of_batch_norm(graph, node)?)?;
        format!("the branches of {}", producer.label())
    } else {
        return Err(format!("no preceding convolution: {x:?} comes from {}", producer.label()));
    };
    edit.patch.set_output(before, 0, y).remove(id).forget_type(x);
    Ok(into)
}

fn fold_into(edit: &mut Edit, id: NodeId, layer: &Node, affine: &Affine) -> Result<(), String> {
    if layer.is("MatMul") {
        let rank = layer.output(0).and_then(|x| edit.graph.tensor_type(x)).and_then(|ty| ty.rank());
        if rank != Some(2) {
            return Err(format!("{}: its result is not known to be a matrix", layer.label()));
        }
    }
    fold_after(edit, id, layer, affine).map_err(|reason| format!("{}: {reason}", layer.label()))
}

/// Gives each branch its channels.
fn fold_into_branches(edit: &mut Edit, concat: &Node, affine: &Affine) -> Result<(), String> {
    let graph = edit.graph;
    let label = concat.label();
    let rank = concat.output(0).and_then(|x| graph.tensor_type(x)).and_then(|ty| ty.rank());
    let axis = concat.int("axis").unwrap_or(1);
    if axis != 1 && rank.is_none_or(|rank| axis + rank as i64 != 1) {
        return Err(format!("{label}: it joins along axis {axis}, which is not that of channels"));
    }
    let mut first = 0;
    for branch in concat.inputs.iter().filter(|i| !i.is_empty()) {
        let producer = graph.producer(branch).filter(|(_, n)| is_layer(n));
        let Some((id, layer)) = producer else {
            return Err(format!("{label}: its input {branch:?} is not made by a convolution"));
        };
        graph.sole_consumer(branch).map_err(|shared| format!("{label}: {shared}"))?;
        let channels =
            output_channels(graph, layer).map_err(|reason| format!("{}: {reason}", layer.label()))?;
        let part = affine
            .part(first..first.saturating_add(channels))
            .ok_or_else(|| format!("{label}: its inputs have more than {} channels", affine.channels()))?;
        fold_into(edit, id, layer, &part)?;
        first += channels;
    }
    if first != affine.channels() {
        return Err(format!("{label}: its inputs have {first} channels, not {}", affine.channels()));
    }
    Ok(())
}
