//! Who reads a tensor: added to and taken from in constant time, however many there are.

use std::collections::HashMap;

use crate::graph::{NodeId, Use};

/// Lists up to this length are searched; longer ones have an index.
const SHORT: usize = 32;

/// The readers of one tensor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readers {
    list: Vec<Use>,
    /// Where each stands in the list; empty while the list is short.
    places: HashMap<Use, usize>,
    /// How many of them are captures by subgraphs.
    captures: usize,
}

impl Readers {
    pub(crate) fn list(&self) -> &[Use] {
        &self.list
    }

    /// Whether a subgraph captures the tensor.
    pub(crate) fn captured(&self) -> bool {
        self.captures > 0
    }

    /// Adds a reader. Captures may stand there already: each subgraph of a node is one.
    pub(crate) fn push(&mut self, reader: Use) {
        self.captures += usize::from(reader.input.is_none());
        self.list.push(reader);
        if self.places.is_empty() {
            self.index();
        } else {
            self.places.insert(reader, self.list.len() - 1);
        }
    }

    fn index(&mut self) {
        self.places.clear();
        if self.list.len() > SHORT {
            self.places.extend(self.list.iter().enumerate().map(|(i, u)| (*u, i)));
        }
    }

    /// Takes a reader away, with all captures of its node if it is one. In a short list the others keep their order; in a long one
    /// the last takes its place.
    pub(crate) fn remove(&mut self, reader: Use) {
        if self.places.is_empty() || reader.input.is_none() {
            self.list.retain(|u| *u != reader);
            self.captures = self.list.iter().filter(|u| u.input.is_none()).count();
            self.index();
            return;
        }
        let Some(place) = self.places.remove(&reader) else { return };
        self.list.swap_remove(place);
        if let Some(moved) = self.list.get(place) {
            // Captures are never looked up.
            self.places.insert(*moved, place);
        }
    }

    /// Puts them in the order of their nodes, whose places these are.
    pub(crate) fn sort(&mut self, places: &[u32]) {
        let key = |u: &Use| (places.get(u.node.0 as usize).copied(), u.input.is_none(), u.input);
        if self.list.is_sorted_by_key(key) {
            return;
        }
        self.list.sort_unstable_by_key(key);
        self.index();
    }

    /// The nodes among them, each once.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let mut seen = std::collections::HashSet::new();
        let long = self.list.len() > SHORT;
        self.list.iter().enumerate().filter_map(move |(i, u)| {
            let again = if long {
                !seen.insert(u.node)
            } else {
                self.list[..i].iter().any(|earlier| earlier.node == u.node)
            };
            (!again).then_some(u.node)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a plain list, for few and for many readers.
    #[test]
    fn many_readers_are_kept_as_few_are() {
        for count in [5u32, 200] {
            let reader = |i: u32| Use { node: NodeId(i / 2), input: (i % 10 != 9).then_some(i as usize % 2) };
            let mut readers = Readers::default();
            let mut plain = Vec::new();
            for i in 0..count {
                for _ in 0..=usize::from(reader(i).input.is_none()) {
                    readers.push(reader(i));
                    plain.push(reader(i));
                }
            }
            for i in (0..count).filter(|i| i % 3 == 0) {
                readers.remove(reader(i));
                readers.remove(reader(i));
                plain.retain(|u| *u != reader(i));
            }
            let sorted = |list: &[Use]| {
                let mut list: Vec<_> = list.iter().map(|u| (u.node, u.input)).collect();
                list.sort();
                list
            };
            assert_eq!(sorted(readers.list()), sorted(&plain));
            assert_eq!(readers.captured(), plain.iter().any(|u| u.input.is_none()));
            let mut nodes: Vec<_> = plain.iter().map(|u| u.node).collect();
            nodes.dedup();
            let mut found: Vec<_> = readers.nodes().collect();
            found.sort();
            assert_eq!(found, nodes);
            for u in plain {
                readers.remove(u);
            }
            assert!(readers.list().is_empty() && !readers.captured());
        }
    }
}
