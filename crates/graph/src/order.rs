//! Topological order and the consistency check that runs after every pass.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::{Graph, GraphError, Node, NodeId};

impl Graph {
    /// Sorts nodes topologically; among nodes that are ready, the one that stood first comes first, so a sorted graph
    /// keeps its order. Nodes on a cycle keep their places at the end, where [`Graph::check`] names them.
    pub fn sort(&mut self) {
        self.place_pending();
        let place: HashMap<NodeId, usize> = self.order.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let mut missing: Vec<usize> = vec![0; self.order.len()];
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); self.order.len()];
        for (i, id) in self.order.iter().enumerate() {
            let Some(node) = self.node(*id) else { continue };
            for input in reads(node) {
                if let Some(p) = self.producers.get(&input).and_then(|p| place.get(p)) {
                    missing[i] += 1;
                    followers[*p].push(i);
                }
            }
        }
        let mut ready: BinaryHeap<Reverse<usize>> =
            missing.iter().enumerate().filter(|(_, m)| **m == 0).map(|(i, _)| Reverse(i)).collect();
        let mut sorted = Vec::with_capacity(self.order.len());
        let mut done = vec![false; self.order.len()];
        while let Some(Reverse(i)) = ready.pop() {
            sorted.push(self.order[i]);
            done[i] = true;
            for follower in &followers[i] {
                missing[*follower] -= 1;
                if missing[*follower] == 0 {
                    ready.push(Reverse(*follower));
                }
            }
        }
        sorted.extend(self.order.iter().enumerate().filter(|(i, _)| !done[*i]).map(|(_, id)| *id));
        self.order = sorted;
        // Uses are listed in the order of execution.
        self.reindex();
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
        let mut known: HashSet<&str> = HashSet::new();
        for input in self.inputs.iter() {
            if !known.insert(&input.name) {
                return fail(format!("input {:?}", input.name), "the name stands twice".into());
            }
        }
        for (name, _) in self.initializers() {
            if !known.insert(name) {
                return fail(format!("initializer {name:?}"), "an input has the same name".into());
            }
        }
        for (id, node) in self.nodes() {
            for input in reads(node) {
                if !known.contains(input.as_str()) && !outer.is_some_and(|o| o.contain(&input)) {
                    let reason = if self.producers.contains_key(&input) {
                        format!("it reads {input:?} before it is made: the graph has a cycle")
                    } else {
                        format!("it reads {input:?}, which nothing makes")
                    };
                    return fail(node.label(), reason);
                }
            }
            for output in node.outputs.iter().filter(|o| !o.is_empty()) {
                if !known.insert(output) {
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
        }
        for output in self.outputs.iter() {
            if !known.contains(output.name.as_str()) && !outer.is_some_and(|o| o.contain(&output.name)) {
                return fail(format!("output {:?}", output.name), "nothing makes it".into());
            }
        }
        if self.nodes().any(|(_, n)| n.subgraphs().next().is_some()) {
            let visible = Names { own: known, outer };
            for (_, node) in self.nodes() {
                for (_, subgraph) in node.subgraphs() {
                    subgraph.check_within(pass, Some(&visible))?;
                }
            }
        }
        Ok(())
    }
}

/// Names of a graph and of those around it.
struct Names<'a> {
    own: HashSet<&'a str>,
    outer: Option<&'a Names<'a>>,
}

impl Names<'_> {
    fn contain(&self, name: &str) -> bool {
        self.own.contains(name) || self.outer.is_some_and(|outer| outer.contain(name))
    }
}

/// Everything a node reads: its inputs and what its subgraphs capture.
fn reads(node: &Node) -> Vec<String> {
    node.inputs.iter().filter(|n| !n.is_empty()).cloned().chain(node.captures()).collect()
}
