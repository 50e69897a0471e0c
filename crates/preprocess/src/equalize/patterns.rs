//! Which layers follow each other.

use std::collections::{BTreeMap, HashMap};

use shiftwise_graph::{Graph, Node, NodeId, Note};

use super::layer::{Layer, Side};

/// A layer, what stands behind it, and the layer that reads that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) head: NodeId,
    pub(super) between: Vec<NodeId>,
    pub(super) tail: NodeId,
}

/// The layers of a graph that can be scaled, pairs of them in execution order of the first, and why others have none.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    pub(super) layers: BTreeMap<NodeId, Layer>,
    pub(super) pairs: Vec<Pair>,
    pub(super) declined: Vec<Note>,
}

impl Patterns {
    /// Finds them; `passes` says why channels cannot be scaled in front of a node instead of behind it.
    pub(super) fn find(graph: &Graph, passes: impl Fn(&Graph, &Node) -> Result<(), String>) -> Self {
        let mut found = Self::default();
        let mut unfit: HashMap<NodeId, String> = HashMap::new();
        for (id, node) in graph.nodes().filter(|(_, n)| is_layer(n)) {
            let pair = follow(graph, id, node, &passes).and_then(|pair| {
                // Layers without a pair are not read: their weights may be large.
                for id in [pair.head, pair.tail] {
                    found.read(graph, id, &mut unfit)?;
                }
                let Some((head, tail)) = found.layers_of(&pair) else { return Err("it is gone".into()) };
                let (made, read) = (head.channels(Side::Output), tail.channels(Side::Input));
                if made != read {
                    return Err(format!("it makes {made} channels, but {} reads {read}", tail.label));
                }
                Ok(pair)
            });
            match pair {
                Ok(pair) => found.pairs.push(pair),
                Err(what) => found.declined.push(Note { node: node.label(), what }),
            }
        }
        found
    }

    /// Reads the constants of a layer, once; fails with what makes it unfit.
    fn read(&mut self, graph: &Graph, id: NodeId, unfit: &mut HashMap<NodeId, String>) -> Result<(), String> {
        if let Some(reason) = unfit.get(&id) {
            return Err(reason.clone());
        }
        if let (false, Some(node)) = (self.layers.contains_key(&id), graph.node(id)) {
            let layer = Layer::of(graph, id, node).inspect_err(|reason| {
                unfit.insert(id, reason.clone());
            })?;
            self.layers.insert(id, layer);
        }
        Ok(())
    }

    /// The two layers of a pair.
    pub(super) fn layers_of(&self, pair: &Pair) -> Option<(&Layer, &Layer)> {
        Some((self.layers.get(&pair.head)?, self.layers.get(&pair.tail)?))
    }
}

/// Conv and Gemm have weights for each pair of channels.
pub(super) fn is_layer(node: &Node) -> bool {
    node.is("Conv") || node.is("Gemm")
}

/// The pair of a layer and the one that alone reads it, through nodes that let factors pass.
fn follow(
    graph: &Graph,
    head: NodeId,
    node: &Node,
    passes: impl Fn(&Graph, &Node) -> Result<(), String>,
) -> Result<Pair, String> {
    let mut tensor = node.output(0).ok_or("its output has no name")?;
    let mut between = Vec::new();
    loop {
        let (id, next) = graph.sole_consumer(tensor).map_err(|shared| shared.to_string())?;
        if next.input(0) != Some(tensor) {
            return Err(format!("{} reads it as another input than the first", next.label()));
        }
        if is_layer(next) {
            return Ok(Pair { head, between, tail: id });
        }
        passes(graph, next)?;
        between.push(id);
        tensor = next.output(0).ok_or_else(|| format!("the output of {} has no name", next.label()))?;
    }
}
