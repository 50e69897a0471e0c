//! Presets: named values for all options.

use toml::Table;

use crate::Failure;

/// The preset where none is named.
pub const DEFAULT_PRESET: &str = "xint8";

/// Presets of this version, by canonical name. Which names exist beside them is in the table of options.
const PRESETS: &[(&str, &str)] = &[("xint8", include_str!("../../presets/xint8.toml"))];

/// The values of a preset, by canonical name.
///
/// # Errors
/// [`Failure::bug`]: names were checked when they were read.
pub fn preset(name: &str) -> Result<Table, Failure> {
    let failed = |reason: String| Failure::bug(format!("read preset {name:?}")).because(reason);
    let (_, text) =
        PRESETS.iter().find(|(n, _)| *n == name).ok_or_else(|| failed("it has no file".into()))?;
    text.parse().map_err(|e: toml::de::Error| failed(e.to_string()))
}
