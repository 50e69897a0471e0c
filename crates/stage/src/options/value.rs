//! Values: from what somebody wrote to what the option needs.

use toml::{Table, Value};

use super::lookup::{nearest, normalized};
use super::row::{ALL, Choice, Row, ValueType};

/// A value as the option needs it, or what is wrong with it and what to do.
pub(crate) struct Wrong {
    pub(crate) reason: String,
    pub(crate) help: Option<String>,
}

impl Wrong {
    fn needs(ty: ValueType, found: &Value) -> Self {
        Self { reason: format!("it needs {}, not {}", ty.describe(), describe(found)), help: None }
    }
}

/// A value and its type, for messages.
fn describe(value: &Value) -> String {
    let kind = match value {
        Value::String(_) => "the text",
        Value::Integer(_) => "the integer",
        Value::Float(_) => "the number",
        Value::Boolean(_) => "the truth value",
        Value::Datetime(_) => "the date",
        Value::Array(_) => "the list",
        Value::Table(_) => "the table",
    };
    let text: String = value.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{kind} {text}")
}

/// A value of the command line: TOML, or else a bare text.
pub(crate) fn parse_bare(text: &str) -> Value {
    let document = format!("value = {text}");
    // More than one line or key would be TOML that says something else.
    let table = document.parse::<Table>().ok().filter(|table| table.len() == 1 && !text.contains('\n'));
    table.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// What the command line means with a bare text where something else is needed: `True`, or `Conv,Gemm`.
pub(crate) fn from_bare(ty: ValueType, value: Value) -> Value {
    match (ty, &value) {
        (ValueType::Bool, Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            _ => value,
        },
        (ValueType::Texts, Value::String(text)) => text
            .split(',')
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .map(Value::from)
            .collect::<Vec<_>>()
            .into(),
        (ValueType::Floats, Value::Float(_) | Value::Integer(_)) => Value::Array(vec![value]),
        (ValueType::Floats, Value::String(text)) => {
            let numbers: Result<Vec<f64>, _> = text.split(',').map(|t| t.trim().parse()).collect();
            numbers.map_or(value, |n| n.into_iter().map(Value::Float).collect::<Vec<_>>().into())
        }
        // Names that look like something else.
        (ValueType::Text | ValueType::Path | ValueType::Choice(_), Value::Integer(_) | Value::Float(_)) => {
            Value::String(value.to_string())
        }
        _ => value,
    }
}

/// Check a value against its option, and bring it into its canonical form.
pub(crate) fn canonical(row: &Row, value: Value) -> Result<Value, Wrong> {
    let wrong = |value: &Value| Err(Wrong::needs(row.ty, value));
    match (row.ty, value) {
        (ValueType::Any, value)
        | (ValueType::Bool, value @ Value::Boolean(_))
        | (ValueType::Text | ValueType::Path, value @ Value::String(_)) => Ok(value),
        (ValueType::Int(least), Value::Integer(n)) if n >= least => Ok(Value::Integer(n)),
        (ValueType::Float, Value::Float(x)) if x.is_finite() => Ok(Value::Float(x)),
        (ValueType::Float, Value::Integer(n)) => Ok(Value::Float(n as f64)),
        (ValueType::Choice(choices), Value::String(text)) => choose(row, choices, &text),
        (ValueType::Texts, Value::Array(items)) => match items.iter().find(|item| !item.is_str()) {
            Some(item) => wrong(item),
            None => Ok(Value::Array(items)),
        },
        (ValueType::Floats, Value::Array(items)) => {
            let number = |v: &Value| v.as_float().or_else(|| v.as_integer().map(|n| n as f64));
            let numbers = items.iter().map(|v| number(v).filter(|n| n.is_finite()).ok_or(v));
            match numbers.collect::<Result<Vec<f64>, &Value>>() {
                Ok(numbers) => Ok(Value::Array(numbers.into_iter().map(Value::Float).collect())),
                Err(item) => wrong(item),
            }
        }
        (ValueType::Ints, Value::Table(table)) => {
            match table.values().find(|item| !matches!(item, Value::Integer(n) if *n >= 1)) {
                Some(item) => wrong(item),
                None => Ok(Value::Table(table)),
            }
        }
        (ValueType::Shapes, Value::Table(table)) => {
            let is_shape = |item: &Value| {
                item.as_array().is_some_and(|a| a.iter().all(|d| matches!(d, Value::Integer(n) if *n >= 0)))
            };
            match table.values().find(|item| !is_shape(item)) {
                Some(item) => wrong(item),
                None => Ok(Value::Table(table)),
            }
        }
        (ValueType::Ranges, Value::Array(items)) => match range(&items) {
            Some(range) => Ok(Value::Table(Table::from_iter([(ALL.to_owned(), range)]))),
            None => wrong(&Value::Array(items)),
        },
        (ValueType::Ranges, Value::Table(table)) => {
            let mut ranges = Table::new();
            for (name, item) in table {
                let Some(range) = item.as_array().and_then(|items| range(items)) else { return wrong(&item) };
                ranges.insert(name, range);
            }
            Ok(Value::Table(ranges))
        }
        (_, value) => wrong(&value),
    }
}

/// Two finite numbers.
fn range(items: &[Value]) -> Option<Value> {
    let number =
        |v: &Value| v.as_float().or_else(|| v.as_integer().map(|n| n as f64)).filter(|n| n.is_finite());
    let [low, high] = items else { return None };
    Some(Value::Array(vec![number(low)?.into(), number(high)?.into()]))
}

fn choose(row: &Row, choices: &'static [Choice], text: &str) -> Result<Value, Wrong> {
    let spellings = |choice: &'static Choice| choice.aliases.iter().chain([&choice.value]);
    let wanted = spelling(text);
    let found = choices.iter().find(|choice| spellings(choice).any(|s| spelling(s) == wanted));
    let here: Vec<&str> = choices.iter().filter(|c| c.implemented).map(|c| c.value).collect();
    match found {
        Some(choice) if choice.implemented => Ok(choice.value.into()),
        Some(choice) => Err(Wrong {
            reason: format!("{:?} is known, but not implemented in this version", choice.value),
            help: Some(format!("this version has {} = {}", row.name, row.ty.describe())),
        }),
        None => {
            let names = choices.iter().flat_map(|c| spellings(c).map(|s| (*s, c.value)));
            let near = nearest(text.rsplit('.').next().unwrap_or(text), names);
            let near = if near.is_empty() { here } else { near };
            let near: Vec<String> = near.iter().map(|n| format!("{n:?}")).collect();
            Err(Wrong {
                reason: format!("there is no {text:?}"),
                help: Some(format!("did you mean {}?", near.join(" or "))),
            })
        }
    }
}

/// What counts of the spelling of a choice: the last two parts of a dotted path, without case and underscores
/// (`quark.onnx.QuantType.QInt8` is `QuantType.QInt8`).
fn spelling(text: &str) -> Vec<String> {
    let parts: Vec<String> = text.split('.').map(normalized).collect();
    parts[parts.len().saturating_sub(2)..].to_vec()
}
