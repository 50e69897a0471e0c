//! Groups of nodes that are computed together, to the same bits as apart.
//!
//! A tensor inside a group is never made, so a group forms only over tensors that are private to their one reader and
//! not watched.

use std::collections::{BTreeMap, BTreeSet};

use shiftwise_graph::{DataType, Graph, Node, NodeId};

/// Nodes computed together, in execution order; the group stands at the place of its last node.
pub(crate) struct Group<'m> {
    pub(crate) nodes: Vec<(NodeId, &'m Node)>,
}

/// Groups the nodes of `live`, which is in execution order.
pub(crate) fn groups<'m>(
    graph: &'m Graph,
    live: &[(NodeId, &'m Node)],
    watched: &BTreeSet<&str>,
) -> Vec<Group<'m>> {
    let private = |node: &Node| {
        let output = node.output(0)?;
        if node.outputs.len() != 1 || watched.contains(output) {
            return None;
        }
        graph.sole_consumer(output).ok().filter(|(_, next)| next.input(0) == Some(output))
    };
    // The group of a node, by its last node so far.
    let mut open: BTreeMap<NodeId, Vec<(NodeId, &'m Node)>> = BTreeMap::new();
    let mut groups = Vec::new();
    for (id, node) in live {
        let mut members = open.remove(id).unwrap_or_default();
        members.push((*id, *node));
        match private(node) {
            Some((next, reader)) if joins(graph, &members, reader) => {
                open.insert(next, members);
            }
            _ => groups.push(Group { nodes: members }),
        }
    }
    groups
}

/// Whether `next` is computed together with the nodes before it.
fn joins(graph: &Graph, members: &[(NodeId, &Node)], next: &Node) -> bool {
    let (Some((_, first)), Some((_, last))) = (members.first(), members.last()) else { return false };
    if first.is("Conv") {
        // Between float16 nodes every result is rounded, and a group would not.
        let weight = first.input(1).and_then(|w| graph.constant(w)).map(shiftwise_graph::Tensor::dtype);
        if weight != Some(DataType::Float) && !is_dequantized(graph, first) {
            return false;
        }
        let normalised = last.is("BatchNormalization");
        let plain = last.is("Conv") || normalised;
        return plain && (is_limit(next) || (is_channelwise(next) && !normalised));
    }
    members.len() == 1 && is_quantize(first) && is_dequantize(next) && same_grid(graph, first, next)
}

/// Whether the weight is a constant that is dequantized to float32.
fn is_dequantized(graph: &Graph, conv: &Node) -> bool {
    let producer = conv.input(1).and_then(|w| graph.producer(w)).map(|(_, node)| node);
    producer.is_some_and(|node| {
        let scale = node.input(1).and_then(|s| graph.constant(s)).map(shiftwise_graph::Tensor::dtype);
        is_dequantize(node) && scale == Some(DataType::Float)
    })
}

/// A BatchNormalization with one factor for each channel.
fn is_channelwise(node: &Node) -> bool {
    node.is("BatchNormalization") && node.outputs.len() == 1 && node.int("spatial") != Some(0)
}

/// Relu, and Clip with limits that are not computed from the same tensor.
fn is_limit(node: &Node) -> bool {
    node.is("Relu") || node.is("Clip")
}

fn is_quantize(node: &Node) -> bool {
    node.op_type == "QuantizeLinear" && (node.domain.is_empty() || node.domain == "com.microsoft")
}

fn is_dequantize(node: &Node) -> bool {
    node.op_type == "DequantizeLinear" && (node.domain.is_empty() || node.domain == "com.microsoft")
}

/// Whether both nodes name the same scale and zero point, or constants of the same content, with one value each.
fn same_grid(graph: &Graph, quantize: &Node, dequantize: &Node) -> bool {
    let scalar = quantize.input(1).and_then(|s| graph.constant(s)).is_some_and(|t| t.len() == 1);
    let same = |i: usize| match (quantize.input(i), dequantize.input(i)) {
        (None, None) => true,
        (Some(a), Some(b)) => match (graph.constant(a), graph.constant(b)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
        _ => false,
    };
    // Without a zero point the type may come from an attribute, and the groups' kernel reads it from the tensor.
    scalar
        && quantize.input(2).is_some()
        && same(1)
        && same(2)
        && dequantize.attributes.get("output_dtype").is_none()
}
