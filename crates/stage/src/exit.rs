//! Exit codes, and the one error type of every program.

use std::fmt;
use std::process::ExitCode;

/// How a program ends. Recipes and cluster jobs rely on these numbers; they never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Done, or already up to date.
    Done = 0,
    /// A bug: please report.
    Bug = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// An input is missing, malformed or unsupported; or an output cannot be written (a full disk).
    Input = 3,
    /// A check failed (`--strict`, an accuracy bound).
    Check = 4,
    /// Artifacts do not fit together (fingerprint, version, incomplete shards).
    Mismatch = 5,
    /// Stopped by a signal after a checkpoint: run again to go on.
    Interrupted = 75,
}

impl ExitStatus {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What stands before a message.
    fn lead(self) -> &'static str {
        match self {
            Self::Done => "",
            Self::Bug | Self::Usage | Self::Input | Self::Mismatch => "error: failed to ",
            Self::Check => "check failed: ",
            Self::Interrupted => "interrupted: ",
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        status.code().into()
    }
}

/// Why a program ends before its work is done: what it was doing, why that did not work, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub status: ExitStatus,
    /// A lower-case fragment which fits "failed to …"; for checks and interruptions what happened.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Reasons, outermost first.
    pub causes: Vec<String>,
}

impl Failure {
    fn new(status: ExitStatus, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), help: None, causes: Vec::new() }
    }

    /// Wrong usage or configuration: failed to `message`.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::Usage, message)
    }

    /// A missing, malformed or unsupported input: failed to `message`.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::Input, message)
    }

    /// A check that was asked for did not hold; `message` says which and by how much.
    pub fn check(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::Check, message)
    }

    /// Artifacts that do not fit together: failed to `message`.
    pub fn mismatch(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::Mismatch, message)
    }

    /// A signal came; `message` says what is kept ("400 of 1000 samples are kept").
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::Interrupted, message).with_help("run the same command again to go on")
    }

    /// An invariant broke: failed to `message`.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::Bug, message).with_help(BUG_HELP)
    }

    /// Nothing more to do, and nothing to say: the program ends at once with code 0.
    pub fn done() -> Self {
        Self::new(ExitStatus::Done, "")
    }

    /// The file could not be read.
    pub fn read(path: &std::path::Path, error: &std::io::Error) -> Self {
        let failure = Self::input(format!("read {}", path.display())).because(error.to_string());
        match error.kind() {
            std::io::ErrorKind::NotFound => failure.with_help("check the path"),
            std::io::ErrorKind::PermissionDenied => failure.with_help("check its permissions"),
            _ => failure,
        }
    }

    /// The file could not be written.
    pub fn write(path: &std::path::Path, error: &std::io::Error) -> Self {
        let failure = Self::input(format!("write {}", path.display())).because(error.to_string());
        match write_help(error.kind()) {
            Some(help) => failure.with_help(help),
            None => failure,
        }
    }

    /// Any error, with its whole chain of sources as causes.
    pub fn from_error(status: ExitStatus, error: &dyn std::error::Error) -> Self {
        let mut failure = Self::new(status, error.to_string());
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            // Many errors repeat their source in their own message.
            if !failure.message.contains(&text) && !failure.causes.iter().any(|c| c.contains(&text)) {
                failure.causes.push(text);
            }
            source = inner.source();
        }
        if status == ExitStatus::Bug {
            failure.help = Some(BUG_HELP.to_owned());
        }
        failure
    }

    /// Add what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Add a reason, behind the others.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Say what was being done when this happened: "failed to `doing`", with the old message as the first cause.
    #[must_use]
    pub fn while_doing(mut self, doing: impl Into<String>) -> Self {
        let inner = std::mem::replace(&mut self.message, doing.into());
        self.causes.insert(0, inner);
        self
    }

    /// The text for people, styled; a stream that shows no colour strips the styles.
    pub fn render(&self) -> String {
        use anstyle::{AnsiColor, Style};
        if self.status == ExitStatus::Done {
            return String::new();
        }
        let color = if self.status == ExitStatus::Interrupted { AnsiColor::Yellow } else { AnsiColor::Red };
        let loud = Style::new().bold().fg_color(Some(color.into()));
        let soft = Style::new().bold().fg_color(Some(AnsiColor::Cyan.into()));
        let (label, rest) = self.status.lead().split_once(':').unwrap_or_default();
        let mut out = format!("{loud}{label}:{loud:#}{rest}{}\n", indented(&self.message, 2));
        for cause in &self.causes {
            out += &format!("  because: {}\n", indented(cause, 4));
        }
        if let Some(help) = &self.help {
            out += &format!("{soft}help:{soft:#} {}\n", indented(help, 6));
        }
        out
    }
}

/// What a bug asks of the user.
pub(crate) const BUG_HELP: &str =
    "this is a bug: please report it with the command, its output and, if you can, the model";

/// Lines after the first, indented.
fn indented(text: &str, by: usize) -> String {
    text.trim_end().lines().collect::<Vec<_>>().join(&format!("\n{:by$}", ""))
}

/// What to do where something cannot be written.
pub(crate) fn write_help(kind: std::io::ErrorKind) -> Option<&'static str> {
    use std::io::ErrorKind;
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(
            "the disk is full: free some space, or choose another output; then run again, finished work is kept",
        ),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Some("choose an output where you may write")
        }
        ErrorKind::NotFound => Some("make the directory that it is to be in"),
        _ => None,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for Failure {}

impl miette::Diagnostic for Failure {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(format!("shiftwise::exit{}", self.status.code())))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(failure: &Failure) -> String {
        anstream::adapter::strip_str(&failure.render()).to_string()
    }

    #[test]
    fn codes_never_change() {
        use ExitStatus::{Bug, Check, Done, Input, Interrupted, Mismatch, Usage};
        let codes = [Done, Bug, Usage, Input, Check, Mismatch, Interrupted].map(ExitStatus::code);
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 75]);
    }

    #[test]
    fn a_failure_is_what_why_and_what_to_do() {
        let failure = Failure::input("read image a.png:\nit has 3 bytes")
            .because("the file is truncated")
            .with_help("copy it again,\nor leave it out")
            .while_doing("calibrate over images/");
        insta::assert_snapshot!(plain(&failure), @r"
        error: failed to calibrate over images/
          because: read image a.png:
            it has 3 bytes
          because: the file is truncated
        help: copy it again,
              or leave it out
        ");
        insta::assert_snapshot!(plain(&Failure::interrupted("3 of 9 samples are kept")), @r"
        interrupted: 3 of 9 samples are kept
        help: run the same command again to go on
        ");
        assert_eq!(Failure::done().render(), "");
        assert!(failure.render().contains("\u{1b}["), "styled for terminals");
    }

    #[test]
    fn sources_are_causes_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("open x: {source}")]
        struct Outer {
            source: std::io::Error,
        }
        let failure =
            Failure::from_error(ExitStatus::Input, &Outer { source: std::io::Error::other("no luck") });
        assert_eq!((failure.message.as_str(), failure.causes.len()), ("open x: no luck", 0));
    }

    #[test]
    fn diagnostics_of_other_frames_have_the_help() {
        let failure = Failure::usage("x").with_help("y");
        assert_eq!(miette::Diagnostic::help(&failure).unwrap().to_string(), "y");
    }
}
