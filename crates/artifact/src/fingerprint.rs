//! What identifies bytes, files, directories and configurations.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use walkdir::WalkDir;

use crate::{Error, Result};

/// A BLAKE3 hash of 32 bytes; 64 hexadecimal digits in JSON and in messages.
///
/// Bytes and files hash to their plain BLAKE3 hash, the same as `b3sum` prints. Everything composed
/// (directories, configurations, combinations) is hashed in a domain of its own, with every part preceded by its length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of bytes in memory.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }

    /// Of the contents of a file, which is streamed.
    ///
    /// # Errors
    /// [`Error::Read`] names the file.
    pub fn of_file(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::read(path))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file).map_err(Error::read(path))?;
        Ok(Self(hasher.finalize().into()))
    }

    /// Of all files below a directory: relative names in sorted order, each with its contents. Symbolic links are
    /// followed; empty directories, times and permissions do not count.
    ///
    /// # Errors
    /// [`Error::Read`] names the file that could not be read.
    pub fn of_directory(dir: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for entry in WalkDir::new(dir).follow_links(true) {
            let entry = entry.map_err(|e| Error::Read {
                path: e.path().unwrap_or(dir).to_owned(),
                cause: e.into_io_error().unwrap_or_else(|| std::io::Error::other("a loop of links")),
            })?;
            if entry.file_type().is_dir() {
                continue;
            }
            let relative = entry.path().strip_prefix(dir).unwrap_or(entry.path());
            let name: Vec<&[u8]> = relative.iter().map(std::ffi::OsStr::as_encoded_bytes).collect();
            files.push((name.join(&b'/'), entry.into_path()));
        }
        files.sort();
        let mut parts = Parts::new("directory");
        for (name, path) in &files {
            parts.push(name);
            parts.push(&Self::of_file(path)?.0);
        }
        Ok(parts.finish())
    }

    /// Of a configuration: its JSON with the keys of every object sorted, so that the order of fields does not count.
    ///
    /// # Errors
    /// [`Error::BadName`] where the value cannot be expressed in JSON (a map whose keys are not strings).
    pub fn of_config<T: Serialize + ?Sized>(config: &T) -> Result<Self> {
        let value = serde_json::to_value(config).map_err(|e| Error::BadName {
            name: std::any::type_name::<T>().to_owned(),
            role: "a configuration",
            reason: e.to_string(),
        })?;
        Ok(Self::of_json(&value))
    }

    /// Of a JSON value; the order of keys does not count.
    pub fn of_json(value: &Value) -> Self {
        let mut text = String::new();
        canonical(value, &mut text);
        let mut parts = Parts::new("json");
        parts.push(text.as_bytes());
        parts.finish()
    }

    /// Of several named fingerprints, in the domain `label`. Order counts.
    pub fn combine<'a>(label: &str, parts: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let mut hasher = Parts::new("combine");
        hasher.push(label.as_bytes());
        for (name, fingerprint) in parts {
            hasher.push(name.as_bytes());
            hasher.push(&fingerprint.0);
        }
        hasher.finish()
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 digits, for messages.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

/// Length-prefixed parts in a domain of their own.
struct Parts(blake3::Hasher);

impl Parts {
    fn new(domain: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(&format!("shiftwise artifact fingerprint 1 {domain}")))
    }

    fn push(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finalize().into())
    }
}

/// JSON without spaces and with sorted keys, whatever the map type behind `Value` is in this build.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (i, (key, item)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(item, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        blake3::Hash::from_hex(text)
            .map(|hash| Self(hash.into()))
            .map_err(|_| format!("{text:?} is not a fingerprint (64 hexadecimal digits)"))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn order_of_keys_does_not_count_but_values_do() {
        let a: Value = serde_json::from_str(r#"{"b":[1,2.5],"a":{"y":1,"x":null}}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"a":{"x":null,"y":1},"b":[1,2.5]}"#).unwrap();
        assert_eq!(Fingerprint::of_json(&a), Fingerprint::of_json(&b));
        assert_ne!(
            Fingerprint::of_json(&a),
            Fingerprint::of_json(&json!({"a": {"x": null, "y": 1}, "b": [2.5, 1]}))
        );
        assert_ne!(Fingerprint::of_json(&json!("1")), Fingerprint::of_json(&json!(1)));
    }

    #[test]
    fn a_config_survives_its_way_through_text() {
        let value = serde_json::to_value((0.1_f32, 1e-300_f64, u64::MAX, "é\n\"")).unwrap();
        let back: Value = serde_json::from_str(&serde_json::to_string_pretty(&value).unwrap()).unwrap();
        assert_eq!(Fingerprint::of_json(&value), Fingerprint::of_json(&back));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let f = Fingerprint::of_bytes(b"x");
        assert_ne!(Fingerprint::combine("ab", [("c", f)]), Fingerprint::combine("a", [("bc", f)]));
        assert_ne!(Fingerprint::combine("ab", []), Fingerprint::of_bytes(b"ab"));
    }

    #[test]
    fn of_a_file_is_the_plain_hash_and_hex_round_trips() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        crate::atomic::write(&path, b"abc").unwrap();
        let f = Fingerprint::of_file(&path).unwrap();
        assert_eq!(f, Fingerprint::of_bytes(b"abc"));
        // The published BLAKE3 hash of "abc".
        assert_eq!(f.to_string(), "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
        assert_eq!(f, f.to_string().parse().unwrap());
        assert_eq!(serde_json::from_value::<Fingerprint>(serde_json::to_value(f).unwrap()).unwrap(), f);
        assert!(Fingerprint::of_file(&dir.path().join("no")).unwrap_err().to_string().contains("no"));
    }

    #[test]
    fn a_directory_is_its_names_and_contents() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("d")).unwrap();
        crate::atomic::write(&at("d/a"), b"1").unwrap();
        crate::atomic::write(&at("b"), b"2").unwrap();
        let first = Fingerprint::of_directory(dir.path()).unwrap();
        std::fs::rename(at("b"), at("c")).unwrap();
        assert_ne!(first, Fingerprint::of_directory(dir.path()).unwrap());
        std::fs::rename(at("c"), at("b")).unwrap();
        assert_eq!(first, Fingerprint::of_directory(dir.path()).unwrap());
        crate::atomic::write(&at("b"), b"3").unwrap();
        assert_ne!(first, Fingerprint::of_directory(dir.path()).unwrap());
    }
}
