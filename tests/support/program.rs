//! The programs under test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::root;

/// What a program that ran to its end left behind.
#[derive(Debug)]
pub struct Run {
    /// The command, for messages.
    pub command: String,
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Run {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap_or_else(|e| panic!("failed to start {command:?}: {e}"));
        Self::ended(format!("{command:?}"), &output)
    }

    /// From a process that was started and waited for elsewhere.
    pub fn ended(command: String, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            command,
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Fails the test unless the program succeeded.
    #[must_use]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Fails the test unless the program ended with this code.
    #[must_use]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Fails the test unless standard error has all of these texts.
    #[must_use]
    pub fn says(self, texts: &[&str]) -> Self {
        // Long messages are wrapped and indented.
        let flat = self.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        for text in texts {
            assert!(flat.contains(text), "nothing says {text:?}: {self}");
        }
        self
    }

    /// Standard output, which is JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {self}"))
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(f, "{command}\nexit code {code:?}\nstandard output:\n{stdout}\nstandard error:\n{stderr}")
    }
}

/// A program by its whole name: in the folder that `SHIFTWISE_BIN` names, or beside this test, where it is built if it is
/// missing or older than its sources.
pub fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("SHIFTWISE_BIN") {
        return Path::new(&folder).join(name);
    }
    // target/<profile>/deps/<this test>
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps");
    let path = folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    if !is_current(&path) {
        build(folder);
    }
    assert!(path.exists(), "there is no program {}", path.display());
    path
}

/// Cargo lists the sources of a program beside it: `program: source source …`.
fn is_current(program: &Path) -> bool {
    let written = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    let (Some(built), Ok(list)) = (written(program), std::fs::read_to_string(program.with_extension("d")))
    else {
        return false;
    };
    list.split_whitespace().skip(1).all(|source| written(Path::new(source)).is_some_and(|t| t <= built))
}

fn build(folder: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--workspace", "--bins", "--locked", "--quiet"]).current_dir(root());
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let _ = Run::of(&mut command).ok();
}

/// A program with arguments, from the workspace's root, without settings of the environment that change what it prints.
pub fn command<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program(name));
    command.args(arguments).current_dir(root()).env("NO_COLOR", "1").env("COLUMNS", "100");
    command.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
    command
}

/// Runs a program with arguments.
pub fn run<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Run {
    Run::of(&mut command(name, arguments))
}
