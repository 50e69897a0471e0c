//! A map by name that keeps its order and forgets entries in constant time.

use indexmap::IndexMap;

/// Gaps that are not worth closing.
const FEW: usize = 64;

/// Entries in the order in which they came. What is removed leaves a gap; gaps are closed when they are the greater part.
#[derive(Clone, Debug)]
pub(crate) struct Ordered<V> {
    entries: IndexMap<String, Option<V>>,
    gaps: usize,
}

impl<V> Ordered<V> {
    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        self.entries.get(name)?.as_ref()
    }

    pub(crate) fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds or replaces an entry.
    pub(crate) fn insert(&mut self, name: String, value: V) {
        if let Some(None) = self.entries.insert(name, Some(value)) {
            self.gaps -= 1;
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let removed = self.entries.get_mut(name).and_then(Option::take);
        self.gaps += usize::from(removed.is_some());
        if self.gaps > FEW && self.gaps > self.entries.len() / 2 {
            self.entries.retain(|_, value| value.is_some());
            self.gaps = 0;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.gaps = 0;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.entries.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_ref()?)))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    fn len(&self) -> usize {
        self.entries.len() - self.gaps
    }
}

impl<V> Default for Ordered<V> {
    fn default() -> Self {
        Self { entries: IndexMap::new(), gaps: 0 }
    }
}

impl<V: PartialEq> PartialEq for Ordered<V> {
    /// Equality of entries, in whichever order.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

impl<V> FromIterator<(String, V)> for Ordered<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().map(|(name, value)| (name, Some(value))).collect(), gaps: 0 }
    }
}

impl<V> IntoIterator for Ordered<V> {
    type Item = (String, V);
    type IntoIter = std::iter::FilterMap<
        indexmap::map::IntoIter<String, Option<V>>,
        fn((String, Option<V>)) -> Option<(String, V)>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_entries_leave_the_others_in_order() {
        let mut map: Ordered<usize> = (0..1000).map(|i| (i.to_string(), i)).collect();
        for i in (0..1000).filter(|i| i % 3 != 0) {
            map.remove(&i.to_string());
        }
        map.remove("1");
        assert!(map.entries.len() < 1000, "gaps are closed");
        assert!(map.values().copied().eq((0..1000).filter(|i| i % 3 == 0)));
        assert!(!map.contains_key("1") && map.get("3") == Some(&3));
        let same: Ordered<usize> = map.clone().into_iter().collect();
        assert_eq!(map, same);
        map.insert("1".into(), 1);
        assert_ne!(map, same);
        map.remove("3");
        assert_eq!(map.len(), 334);
        map.insert("3".into(), 3);
        assert_eq!((map.len(), map.get("3")), (335, Some(&3)));
        map.clear();
        assert_eq!(map, Ordered::default());
    }
}
