//! From a name that somebody wrote to a row of the table.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::row::Row;
use super::table::rows;

/// What counts of a name: letters and digits, in lower case. `ConvertBNToConv` and `convert_bn_to_conv` are one name.
pub(crate) fn normalized(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

static BY_NAME: LazyLock<HashMap<String, &'static Row>> = LazyLock::new(|| {
    let names =
        rows().flat_map(|row| row.aliases.iter().chain([&row.name]).map(move |n| (normalized(n), row)));
    names.collect()
});

/// The option of this name or alias. Case, underscores and hyphens do not count.
pub fn find(name: &str) -> Option<&'static Row> {
    BY_NAME.get(&normalized(name)).copied()
}

/// Up to three names of options like this one, the most similar first.
pub fn nearest_options(name: &str) -> Vec<&'static str> {
    let names = rows().flat_map(|row| row.aliases.iter().chain([&row.name]).map(move |n| (*n, row.name)));
    nearest(name, names)
}

/// Up to three of the second names whose first is like `name`, the most similar first.
pub(crate) fn nearest<'a>(name: &str, among: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<&'a str> {
    let wanted = normalized(name);
    let mut scored: Vec<(f64, &str)> = among
        .map(|(candidate, shown)| (similarity(&wanted, &normalized(candidate)), shown))
        .filter(|(score, _)| *score >= 0.7)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let mut names: Vec<&str> = Vec::new();
    for (_, shown) in scored {
        if !names.contains(&shown) && names.len() < 3 {
            names.push(shown);
        }
    }
    names
}

/// Edits per letter; half of a name counts, too (`exclude` for `nodes_to_exclude`).
fn similarity(a: &str, b: &str) -> f64 {
    let edits = strsim::normalized_damerau_levenshtein(a, b);
    let contains = a.len() >= 5 && (b.contains(a) || a.contains(b) && b.len() >= 5);
    if contains { edits.max(0.7 + edits / 10.0) } else { edits }
}
