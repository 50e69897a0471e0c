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

    /// Adds a reader that is not among them.
    pub(crate) fn push(&mut self, reader: Use) {
        self.captures += usize::from(reader.input.is_none());
        self.list.push(reader);
        if !self.places.is_empty() {
            self.places.insert(reader, self.list.len() - 1);
        } else if self.list.len() > SHORT {
            self.places = self.list.iter().enumerate().map(|(i, u)| (*u, i)).collect();
        }
    }

    /// Takes a reader away. In a short list the others keep their order; in a long one the last takes its place.
    pub(crate) fn remove(&mut self, reader: Use) {
        if self.places.is_empty() {
            if let Some(place) = self.list.iter().position(|u| *u == reader) {
                self.list.remove(place);
                self.captures -= usize::from(reader.input.is_none());
            }
            return;
        }
        let Some(place) = self.places.remove(&reader) else { return };
        self.list.swap_remove(place);
        self.captures -= usize::from(reader.input.is_none());
        if let Some(moved) = self.list.get(place) {
            self.places.insert(*moved, place);
        }
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
                readers.push(reader(i));
                plain.push(reader(i));
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
