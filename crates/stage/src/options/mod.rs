//! Configuration: which options exist, and where their values come from.
//!
//! A value comes from the preset, the configuration file, a flag, or `--set`; later ones win. Names are looked up in one table
//! for all stages ([`rows`]), so that one file serves all of them: a stage ignores the options of others, while an unknown name,
//! or one that is not implemented, is an error everywhere. To add an option, add a line to the table, and the field to the
//! configuration structure of the stage that reads it ([`assert_config_matches`] is the test that both agree).

mod layers;
mod lookup;
mod preset;
mod row;
mod table;
mod value;

pub use layers::{Flags, Layers, Merged};
pub use lookup::{find, nearest_options};
pub use preset::{DEFAULT_PRESET, preset};
pub use row::{ALL, Choice, Reader, Row, Stage, Status, ValueType};
pub use table::rows;

/// For the tests of a stage: its configuration structure must have exactly the fields that the table says `reader` reads, and must
/// refuse others.
///
/// # Panics
/// Where they do not agree; the message names the fields.
pub fn assert_config_matches<T>(reader: Reader)
where
    T: Default + serde::Serialize + serde::de::DeserializeOwned,
{
    let value = serde_json::to_value(T::default()).expect("the configuration serializes");
    let mut fields: Vec<String> = value.as_object().expect("a structure").keys().cloned().collect();
    fields.sort();
    let mut names: Vec<String> = rows().filter(|r| r.is_read_by(reader)).map(|r| r.name.to_owned()).collect();
    names.sort();
    assert_eq!(fields, names, "fields of the structure (left) are the options of {reader:?} (right)");
    serde_json::from_value::<T>(serde_json::json!({})).map(drop).expect("every field has a default");
}
