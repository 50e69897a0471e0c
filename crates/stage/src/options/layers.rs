//! Layers of settings: preset, configuration file, flags, `--set`; each overrides those before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::{Spanned, Table, Value};

use super::lookup::{find, nearest_options, normalized};
use super::preset::{DEFAULT_PRESET, preset};
use super::row::{Reader, Row, Status, ValueType};
use super::value::{canonical, from_bare, parse_bare};
use crate::Failure;
use crate::args::{RANDOM, STDIN};

/// Options that flags of a program set, under their canonical names.
#[derive(Debug, Clone, Default)]
pub struct Flags(Vec<(String, Value)>);

impl Flags {
    /// No flags.
    pub fn new() -> Self {
        Self::default()
    }

    /// The flag which sets option `name`, if it was given.
    #[must_use]
    pub fn set<V: Into<Value>>(mut self, name: &str, value: Option<V>) -> Self {
        self.0.extend(value.map(|value| (name.to_owned(), value.into())));
        self
    }

    /// A flag that switches option `name` on or off where it was given, and leaves it alone otherwise.
    #[must_use]
    pub fn switch(self, name: &str, given: bool, value: bool) -> Self {
        self.set(name, given.then_some(value))
    }

    /// These, and then those.
    #[must_use]
    pub fn and(mut self, more: &Self) -> Self {
        self.0.extend(more.0.iter().cloned());
        self
    }

    /// A repeatable flag: a list, where it was given at all.
    #[must_use]
    pub fn list(self, name: &str, values: &[String]) -> Self {
        self.set(name, (!values.is_empty()).then(|| values.to_vec()))
    }
}

/// Everything that was set before flags are known, checked.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    file: Table,
    sets: Table,
}

impl Layers {
    /// Read the configuration file and the `--set` arguments.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, an unknown option, one that this version does not implement, a value of the wrong type.
    pub fn new(file: Option<&Path>, sets: &[String]) -> Result<Self, Failure> {
        let mut layers = Self::default();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|e| Failure::read(path, &e))?;
            layers.file = parse_file(&text, path)?;
        }
        let mut set = |name: &str, value: Value| -> Result<(), Failure> {
            let (row, value) = check(name, value, "--set", true)?;
            if let Some(value) = value {
                put(&mut layers.sets, row, value);
            }
            Ok(())
        };
        for argument in sets {
            let (key, value) = argument.split_once('=').ok_or_else(|| {
                Failure::usage(format!("read --set {argument:?}: it has no `=`"))
                    .with_help("write it as --set name=value")
            })?;
            let (name, inner) = key.trim().split_once('.').map_or((key.trim(), None), |(n, i)| (n, Some(i)));
            let mut value = parse_bare(value.trim());
            if let Some(inner) = inner {
                value = Value::Table(Table::from_iter([(inner.to_owned(), value)]));
            }
            for (name, value) in opened(name, value) {
                set(&name, value)?;
            }
        }
        Ok(layers)
    }

    /// All layers together with the flags of a program: canonical names and values.
    ///
    /// # Errors
    /// A flag with a value that its option does not take; a preset that does not exist.
    pub fn merge(&self, flags: &Flags) -> Result<Merged, Failure> {
        let mut over = self.file.clone();
        for (name, value) in &flags.0 {
            let (row, value) = check(name, value.clone(), &format!("--{}", name.replace('_', "-")), false)?;
            if let Some(value) = value {
                put(&mut over, row, value);
            }
        }
        for (name, value) in &self.sets {
            if let Some(row) = find(name) {
                put(&mut over, row, value.clone());
            }
        }
        let name = over.get("preset").and_then(Value::as_str).unwrap_or(DEFAULT_PRESET).to_owned();
        let mut table = preset(&name)?;
        for (name, value) in over {
            match find(&name) {
                Some(row) => put(&mut table, row, value),
                None => return Err(Failure::bug(format!("find option `{name}`"))),
            }
        }
        Ok(Merged { preset: name, table })
    }
}

/// Settings from all layers, under canonical names.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The preset below.
    pub preset: String,
    /// All settings, of all stages.
    pub table: Table,
}

impl Merged {
    /// The settings that `reader` reads.
    pub fn of(&self, reader: Reader) -> Table {
        let read = |name: &str| find(name).is_some_and(|row| row.is_read_by(reader));
        self.table.iter().filter(|(name, _)| read(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
    }

    /// The settings of `reader` as its structure, which must deny unknown fields.
    ///
    /// # Errors
    /// A value outside of what the structure can hold; a table and a structure that do not agree.
    pub fn read<T: serde::de::DeserializeOwned>(&self, reader: Reader) -> Result<T, Failure> {
        self.of(reader).try_into().map_err(|e: toml::de::Error| {
            Failure::usage("read the configuration").because(e.message().to_owned())
        })
    }

    /// As TOML, for `--print-config`: these settings below those of `resolved`, which has defaults, too.
    ///
    /// # Errors
    /// [`Failure::bug`] where `resolved` cannot be expressed.
    pub fn explain<T: Serialize>(&self, resolved: &T) -> Result<String, Failure> {
        let failed = |e: toml::ser::Error| Failure::bug("print the configuration").because(e.to_string());
        let mut table = self.table.clone();
        table.insert("preset".into(), self.preset.clone().into());
        table.extend(Table::try_from(resolved).map_err(failed)?);
        toml::to_string_pretty(&table).map_err(failed)
    }
}

/// What a name and its value stand for: the content of a table `extra_options` or `fast_finetune` counts as if it stood outside.
fn opened(name: &str, value: Value) -> Vec<(String, Value)> {
    let key = normalized(name);
    match value {
        Value::Table(inner) if key == "extraoptions" || key == "fastfinetune" => {
            let own = |name: String| match normalized(&name).as_str() {
                // Outside, it is how many samples calibration runs at a time.
                "batchsize" if key == "fastfinetune" => "finetune_batch_size".to_owned(),
                _ => name,
            };
            inner.into_iter().flat_map(|(name, value)| opened(&own(name), value)).collect()
        }
        value => vec![(name.to_owned(), value)],
    }
}

/// Read a configuration file: flat, with the options of all stages.
fn parse_file(text: &str, path: &Path) -> Result<Table, Failure> {
    type Document = BTreeMap<Spanned<String>, Value>;
    let document: Document = toml::from_str(text).map_err(|e| {
        Failure::usage(format!("parse {}", path.display()))
            .because(e.to_string())
            .with_help("see https://toml.io for the syntax")
    })?;
    let mut settings = Vec::new();
    for (key, value) in document {
        let place = format!("{}:{}", path.display(), line_of(text, key.span().start));
        settings.extend(opened(key.get_ref(), value).into_iter().map(|(n, v)| (n, v, place.clone())));
    }
    let (mut table, mut written) = (Table::new(), BTreeMap::new());
    for (name, value, place) in settings {
        let (row, value) = check(&name, value, &place, false)?;
        if let Some(before) = written.insert(row.name, name.clone()) {
            return Err(Failure::usage(format!("read option `{}` ({place}): it is set twice", row.name))
                .because(format!("as `{before}` and as `{name}`"))
                .with_help("keep one of them"));
        }
        if let Some(value) = value {
            put(&mut table, row, beside(row, value, path));
        }
    }
    Ok(table)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

/// Paths in a file are relative to the file, so that it works from everywhere.
fn beside(row: &Row, value: Value, file: &Path) -> Value {
    match value {
        Value::String(text) if row.ty == ValueType::Path && ![RANDOM, STDIN].contains(&text.as_str()) => {
            let path: PathBuf = file.parent().unwrap_or(Path::new("")).join(text);
            path.display().to_string().into()
        }
        value => value,
    }
}

/// Set an option; tables are merged name by name.
fn put(table: &mut Table, row: &Row, value: Value) {
    match (table.get_mut(row.name), value) {
        (Some(Value::Table(old)), Value::Table(new)) => old.extend(new),
        (_, value) => {
            table.insert(row.name.to_owned(), value);
        }
    }
}

/// Find an option and check the value for it. No value is returned for options which cannot be changed.
fn check(
    name: &str,
    value: Value,
    place: &str,
    bare: bool,
) -> Result<(&'static Row, Option<Value>), Failure> {
    let Some(row) = find(name) else {
        let failure = Failure::usage(format!("read option `{name}` ({place}): there is no such option"));
        let near: Vec<_> = nearest_options(name).iter().map(|n| format!("`{n}`")).collect();
        return Err(if near.is_empty() {
            failure.with_help("`--help` and the documentation list the options")
        } else {
            failure.with_help(format!("did you mean {}?", near.join(" or ")))
        });
    };
    let spelled = if name == row.name { String::new() } else { format!(", as `{name}`") };
    let fail =
        |reason: &str| Failure::usage(format!("read option `{}` ({place}{spelled}): {reason}", row.name));
    let meaning = || format!("{} means: {}", row.name, row.doc);
    let value = if bare { from_bare(row.ty, value) } else { value };
    match row.status {
        Status::Planned => Err(fail("it is known, but not implemented in this version")
            .because(meaning())
            .with_help("remove it")),
        Status::Elsewhere(instead) => Err(fail("it is known, but not set like this").with_help(instead)),
        Status::Available(_) | Status::Fixed(_) => {
            let value = canonical(row, value).map_err(|wrong| {
                let failure = fail(&wrong.reason);
                wrong.help.into_iter().fold(failure, Failure::with_help)
            })?;
            let Status::Fixed(only) = row.status else { return Ok((row, Some(value))) };
            if parse_bare(only) == value {
                return Ok((row, None));
            }
            Err(fail(&format!("it is known, but this version has only {} = {only}", row.name))
                .because(meaning())
                .with_help("remove it"))
        }
    }
}
