//! Topological order and the consistency check that runs after every pass.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::{Graph, GraphError, Node, NodeId};

/// No place.
const NONE: u32 = u32::MAX;

impl Graph {
    /// Sorts nodes topologically; among nodes that are ready, the one that stood first comes first, so a sorted graph
    /// keeps its order. Nodes on a cycle keep their places at the end, where [`Graph::check`] names them.
    pub fn sort(&mut self) {
        self.place_pending();
        let mut places = self.places();
        let count = self.order.len();
        let mut missing: Vec<u32> = vec![0; count];
        // Who waits for whom, as lists that are linked by their places in one vector.
        let mut first: Vec<u32> = vec![NONE; count];
        let mut links: Vec<(u32, u32)> = Vec::with_capacity(count);
        for (i, id) in self.order.iter().enumerate() {
            let Some(node) = self.node(*id) else { continue };
            each_read(node, |input| {
                let producer = self.producers.get(input).and_then(|p| places.get(p.0 as usize));
                if let Some(p) = producer.copied().filter(|p| *p != NONE) {
                    missing[i] += 1;
                    links.push((i as u32, first[p as usize]));
                    first[p as usize] = links.len() as u32 - 1;
                }
            });
        }
        let mut ready: BinaryHeap<Reverse<u32>> =
            missing.iter().enumerate().filter(|(_, m)| **m == 0).map(|(i, _)| Reverse(i as u32)).collect();
        let mut sorted = Vec::with_capacity(count);
        let mut done = vec![false; count];
        while let Some(Reverse(i)) = ready.pop() {
            sorted.push(self.order[i as usize]);
            done[i as usize] = true;
            let mut link = first[i as usize];
            while let Some((follower, next)) = links.get(link as usize) {
                missing[*follower as usize] -= 1;
                if missing[*follower as usize] == 0 {
                    ready.push(Reverse(*follower));
                }
                link = *next;
            }
        }
        sorted.extend(self.order.iter().enumerate().filter(|(i, _)| !done[*i]).map(|(_, id)| *id));
        self.order = sorted;
        for (place, id) in self.order.iter().enumerate() {
            places[id.0 as usize] = place as u32;
        }
        #[allow(clippy::iter_over_hash_type, reason = "each list is sorted for itself")]
        for readers in self.uses.values_mut() {
            readers.sort(&places);
        }
    }

    /// The place of each node in the order.
    fn places(&self) -> Vec<u32> {
        let mut places = vec![NONE; self.nodes.len()];
        for (place, id) in self.order.iter().enumerate() {
            places[id.0 as usize] = place as u32;
        }
        places
    }

    /// Gives inserted nodes their places and drops removed ones, in linear time.
    fn place_pending(&mut self) {
        let mut before: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
        let mut last = Vec::new();
        for (anchor, id) in std::mem::take(&mut self.pending) {
            match anchor {
                Some(anchor) => before.entry(anchor).or_default().push(id),
                None => last.push(id),
            }
        }
        let mut order = Vec::with_capacity(self.order.len() + before.len() + last.len());
        let mut stack: Vec<NodeId> = self.order.iter().copied().chain(last).rev().collect();
        // An inserted node may itself be the anchor of others.
        while let Some(id) = stack.pop() {
            match before.remove(&id) {
                Some(group) => {
                    stack.push(id);
                    stack.extend(group.into_iter().rev());
                }
                None if self.node(id).is_some() => order.push(id),
                None => {}
            }
        }
        self.order = order;
    }

    /// Checks every invariant of a graph: each tensor has one producer, each read tensor exists before it is read, each
    /// output exists, indices agree with the nodes. `pass` is named in the error.
    pub fn check(&self, pass: &str) -> Result<(), GraphError> {
        self.check_within(pass, None)
    }

    fn check_within(&self, pass: &str, outer: Option<&Names>) -> Result<(), GraphError> {
        let fail = |subject: String, reason: String| {
            Err(GraphError::Inconsistent { pass: pass.into(), subject, reason })
        };
        let mut inputs = HashSet::with_capacity(self.inputs.len());
        for input in self.inputs.iter() {
            if !inputs.insert(input.name.as_str()) {
                return fail(format!("input {:?}", input.name), "the name stands twice".into());
            }
            if self.initializers.contains_key(&input.name) {
                return fail(format!("initializer {:?}", input.name), "an input has the same name".into());
            }
        }
        let given = |name: &str| self.initializers.contains_key(name) || self.is_input(name);
        let outside = |name: &str| outer.is_some_and(|outer| outer.contain(name));
        let mut made = vec![false; self.nodes.len()];
        for (id, node) in self.nodes() {
            let mut broken = None;
            each_read(node, |input| {
                let producer = self.producers.get(input);
                let known = given(input) || producer.is_some_and(|p| made[p.0 as usize]) || outside(input);
                if !known && broken.is_none() {
                    broken = Some(if producer.is_some() {
                        format!("it reads {input:?} before it is made: the graph has a cycle")
                    } else {
                        format!("it reads {input:?}, which nothing makes")
                    });
                }
            });
            if let Some(reason) = broken {
                return fail(node.label(), reason);
            }
            for (i, output) in node.outputs.iter().enumerate().filter(|(_, o)| !o.is_empty()) {
                if given(output) || node.outputs[..i].contains(output) {
                    return fail(node.label(), format!("it makes {output:?}, which exists already"));
                }
                if self.producers.get(output) != Some(&id) {
                    let reason = match self.producer(output).filter(|(_, n)| n.outputs.contains(output)) {
                        Some((_, other)) => format!("it makes {output:?}, and so does {}", other.label()),
                        None => format!("the index of producers does not know {output:?}"),
                    };
                    return fail(node.label(), reason);
                }
            }
            made[id.0 as usize] = true;
        }
        for output in self.outputs.iter() {
            let producer = self.producers.get(&output.name);
            let known = given(&output.name) || producer.is_some_and(|p| made[p.0 as usize]);
            if !known && !outside(&output.name) {
                return fail(format!("output {:?}", output.name), "nothing makes it".into());
            }
        }
        let visible = Names { own: self, outer };
        for (_, node) in self.nodes() {
            for (_, subgraph) in node.subgraphs() {
                subgraph.check_within(pass, Some(&visible))?;
            }
        }
        Ok(())
    }
}

/// Names of a graph and of those around it.
struct Names<'a> {
    own: &'a Graph,
    outer: Option<&'a Names<'a>>,
}

impl Names<'_> {
    fn contain(&self, name: &str) -> bool {
        self.own.defines(name) || self.outer.is_some_and(|outer| outer.contain(name))
    }
}

/// Everything a node reads: its inputs and what its subgraphs capture.
fn each_read(node: &Node, mut see: impl FnMut(&str)) {
    node.inputs.iter().filter(|n| !n.is_empty()).for_each(|name| see(name));
    node.captures().iter().for_each(|name| see(name));
}
