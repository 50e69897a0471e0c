//! What is known about an option: one [`Row`] of the table.

/// A stage program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// `shiftwise-preprocess`.
    Preprocess,
    /// `shiftwise-calibrate`.
    Calibrate,
    /// `shiftwise-quantize`.
    Quantize,
    /// `shiftwise-npu-check`.
    NpuCheck,
    /// `shiftwise-finetune`.
    Finetune,
    /// `shiftwise-evaluate`.
    Evaluate,
}

/// Who reads an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reader {
    /// The configuration of one stage.
    Stage(Stage),
    /// [`crate::DataConfig`]: where samples come from.
    Data,
    /// [`crate::EngineConfig`]: what runs the model.
    Engine,
    /// What every program reads for itself: preset and threads.
    Run,
}

/// Whether an option can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is read by these.
    Available(&'static [Reader]),
    /// Only this value (TOML) is implemented. It may be given, and changes nothing; any other is an error.
    Fixed(&'static str),
    /// Using it is an error which says that it is not implemented.
    Planned,
    /// It is not an option here; using it is an error which says what to use.
    Elsewhere(&'static str),
}

/// A value that a [`ValueType::Choice`] may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The canonical value.
    pub value: &'static str,
    /// Other spellings. Case, underscores and leading module paths do not count.
    pub aliases: &'static [&'static str],
    /// Whether this version implements it.
    pub implemented: bool,
}

/// The name under which a table of [`ValueType::Ranges`] has what holds for all other names.
pub const ALL: &str = "*";

/// What values an option has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// `true` or `false`.
    Bool,
    /// An integer from this minimum on.
    Int(i64),
    /// A finite number; integers are taken too.
    Float,
    /// Any text.
    Text,
    /// A path; in a configuration file it is relative to that file.
    Path,
    /// One of a few names.
    Choice(&'static [Choice]),
    /// A list of texts.
    Texts,
    /// A list of finite numbers.
    Floats,
    /// A table of name → integer.
    Ints,
    /// A table of name → list of integers.
    Shapes,
    /// A table of name → two numbers, or two numbers for [`ALL`] names.
    Ranges,
    /// Anything; only for options that are not implemented.
    Any,
}

impl ValueType {
    /// What it is, for messages: "it needs …".
    pub fn describe(self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Int(i64::MIN) => "an integer".into(),
            Self::Int(least) => format!("an integer of at least {least}"),
            Self::Float => "a number".into(),
            Self::Text => "a text".into(),
            Self::Path => "a path".into(),
            Self::Choice(choices) => {
                let names = choices.iter().filter(|c| c.implemented).map(|c| format!("{:?}", c.value));
                names.collect::<Vec<_>>().join(" or ")
            }
            Self::Texts => "a list of texts".into(),
            Self::Floats => "a list of numbers".into(),
            Self::Ints => "a table of integers, like { name = 1 }".into(),
            Self::Shapes => "a table of lists of integers, like { name = [1, 3, 224, 224] }".into(),
            Self::Ranges => {
                "a lower and an upper number, like [0, 1], or a table of such, like { name = [0, 1] }".into()
            }
            Self::Any => "a value".into(),
        }
    }
}

/// One option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The canonical name, in snake_case.
    pub name: &'static str,
    /// Other names, where they differ from the canonical one by more than case and underscores.
    pub aliases: &'static [&'static str],
    /// What values it has.
    pub ty: ValueType,
    /// Whether it can be used.
    pub status: Status,
    /// What it does, in one line.
    pub doc: &'static str,
}

impl Row {
    /// Whether `reader` reads it.
    pub fn is_read_by(&self, reader: Reader) -> bool {
        matches!(self.status, Status::Available(readers) if readers.contains(&reader))
    }

    const fn new(name: &'static str, ty: ValueType, doc: &'static str) -> Self {
        Self { name, aliases: &[], ty, status: Status::Planned, doc }
    }

    pub(super) const fn aka(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    pub(super) const fn read_by(self, readers: &'static [Reader]) -> Self {
        Self { status: Status::Available(readers), ..self }
    }

    pub(super) const fn fixed(self, value: &'static str) -> Self {
        Self { status: Status::Fixed(value), ..self }
    }

    pub(super) const fn elsewhere(self, instead: &'static str) -> Self {
        Self { status: Status::Elsewhere(instead), ..self }
    }
}

// One constructor a type, so that a row of the table is one line. A row without `read_by`, `fixed` or `elsewhere` is planned.

pub(super) const fn bool(name: &'static str, doc: &'static str) -> Row {
    Row::new(name, ValueType::Bool, doc)
}

pub(super) const fn int(name: &'static str, least: i64, doc: &'static str) -> Row {
    Row::new(name, ValueType::Int(least), doc)
}

pub(super) const fn float(name: &'static str, doc: &'static str) -> Row {
    Row::new(name, ValueType::Float, doc)
}

pub(super) const fn path(name: &'static str, doc: &'static str) -> Row {
    Row::new(name, ValueType::Path, doc)
}

pub(super) const fn choice(name: &'static str, choices: &'static [Choice], doc: &'static str) -> Row {
    Row::new(name, ValueType::Choice(choices), doc)
}

pub(super) const fn text(name: &'static str, doc: &'static str) -> Row {
    Row::new(name, ValueType::Text, doc)
}

pub(super) const fn texts(name: &'static str, doc: &'static str) -> Row {
    Row::new(name, ValueType::Texts, doc)
}

pub(super) const fn floats(name: &'static str, doc: &'static str) -> Row {
    Row::new(name, ValueType::Floats, doc)
}

pub(super) const fn ints(name: &'static str, doc: &'static str) -> Row {
    Row::new(name, ValueType::Ints, doc)
}

pub(super) const fn shapes(name: &'static str, doc: &'static str) -> Row {
    Row::new(name, ValueType::Shapes, doc)
}

pub(super) const fn ranges(name: &'static str, doc: &'static str) -> Row {
    Row::new(name, ValueType::Ranges, doc)
}

pub(super) const fn any(name: &'static str, doc: &'static str) -> Row {
    Row::new(name, ValueType::Any, doc)
}

pub(super) const fn yes(value: &'static str, aliases: &'static [&'static str]) -> Choice {
    Choice { value, aliases, implemented: true }
}

pub(super) const fn no(value: &'static str, aliases: &'static [&'static str]) -> Choice {
    Choice { value, aliases, implemented: false }
}
