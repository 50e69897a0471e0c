//! What differs between the artifact that exists and the one that was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::Input;

/// One difference; `None` where a side does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What differs: `input model`, or `config calibration.method`.
    pub what: String,
    /// In the artifact that exists.
    pub old: Option<String>,
    /// In the artifact that was asked for.
    pub new: Option<String>,
}

/// All differences, in the order of their names: inputs, then configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// The differences.
    pub changes: Vec<Change>,
}

impl Difference {
    /// Compare inputs by fingerprint, and configurations key by key.
    pub fn between(
        (old_inputs, old_config): (&BTreeMap<String, Input>, &Value),
        (new_inputs, new_config): (&BTreeMap<String, Input>, &Value),
    ) -> Self {
        let mut changes = Vec::new();
        let show = |input: &Input| format!("{} ({})", input.path, input.fingerprint.short());
        for role in old_inputs.keys().chain(new_inputs.keys()).collect::<BTreeSet<_>>() {
            let (old, new) = (old_inputs.get(role), new_inputs.get(role));
            if old.map(|i| i.fingerprint) != new.map(|i| i.fingerprint) {
                changes.push(Change {
                    what: format!("input {role}"),
                    old: old.map(show),
                    new: new.map(show),
                });
            }
        }
        let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
        flatten(old_config, "config", &mut old);
        flatten(new_config, "config", &mut new);
        for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let (old, new) = (old.get(key), new.get(key));
            if old != new {
                changes.push(Change { what: key.clone(), old: old.cloned(), new: new.cloned() });
            }
        }
        Self { changes }
    }

    pub(crate) fn one(what: &str, old: impl fmt::Display, new: impl fmt::Display) -> Self {
        let change = Change { what: what.to_owned(), old: Some(old.to_string()), new: Some(new.to_string()) };
        Self { changes: vec![change] }
    }
}

/// Leaves by dotted path. Empty objects are leaves; arrays too, since their items have no names.
fn flatten(value: &Value, at: &str, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, item) in map {
                let at = if at == "config" { format!("config {key}") } else { format!("{at}.{key}") };
                flatten(item, &at, out);
            }
        }
        leaf => {
            out.insert(at.to_owned(), leaf.to_string());
        }
    }
}

/// Long values (lists of nodes) are cut in messages; the manifest has them whole.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 120;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, change) in self.changes.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            let side = |value: &Option<String>| value.as_deref().map_or_else(|| "(none)".to_owned(), shorten);
            write!(f, "  {}: {} → {}", change.what, side(&change.old), side(&change.new))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fingerprint;
    use serde_json::json;

    #[test]
    fn names_every_change_and_nothing_else() {
        let input = |bytes: &[u8]| Input { path: "m".to_owned(), fingerprint: Fingerprint::of_bytes(bytes) };
        let old = BTreeMap::from([("model".to_owned(), input(b"1")), ("stats".to_owned(), input(b"2"))]);
        let new = BTreeMap::from([("model".to_owned(), input(b"3")), ("stats".to_owned(), input(b"2"))]);
        let (c1, c2) = (json!({"a": {"b": 1, "c": 2}, "d": []}), json!({"a": {"b": 1, "c": 3}, "e": "x"}));
        let text = Difference::between((&old, &c1), (&new, &c2)).to_string();
        let whats: Vec<_> = text.lines().map(|l| l.trim().split(": ").next().unwrap().to_owned()).collect();
        assert_eq!(whats, ["input model", "config a.c", "config d", "config e"]);
        assert!(text.contains("config a.c: 2 → 3") && text.contains("config d: [] → (none)"), "{text}");
        assert!(Difference::between((&old, &c1), (&old, &c1)).changes.is_empty());
    }
}
