//! Declared inputs or outputs, found by name in constant time.

use std::collections::HashMap;
use std::ops::Deref;

use crate::ValueInfo;

/// Inputs or outputs of a graph, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Boundary {
    values: Vec<ValueInfo>,
    places: HashMap<String, usize>,
}

impl Boundary {
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The first of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&ValueInfo> {
        self.values.get(*self.places.get(name)?)
    }

    /// Changes them all.
    pub(crate) fn for_each_mut(&mut self, change: impl FnMut(&mut ValueInfo)) {
        self.values.iter_mut().for_each(change);
        *self = Self::from(std::mem::take(&mut self.values));
    }
}

impl From<Vec<ValueInfo>> for Boundary {
    fn from(values: Vec<ValueInfo>) -> Self {
        let mut places = HashMap::with_capacity(values.len());
        for (place, value) in values.iter().enumerate() {
            places.entry(value.name.clone()).or_insert(place);
        }
        Self { values, places }
    }
}

impl Deref for Boundary {
    type Target = [ValueInfo];

    fn deref(&self) -> &[ValueInfo] {
        &self.values
    }
}

impl PartialEq for Boundary {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}
