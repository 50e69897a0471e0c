//! What a stage gets from its program.

use std::io::Write;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shiftwise_artifact::Tool;

use crate::options::{Flags, Layers, Merged, Reader, Stage};
use crate::{CommonArgs, Failure, Interrupt, Progress};

/// What every stage needs beside its own arguments: configuration, signals, progress, output.
#[derive(Debug)]
pub struct Context {
    /// Which stage this is.
    pub stage: Stage,
    /// Name and version of the program, for manifests.
    pub tool: Tool,
    /// The common arguments.
    pub common: CommonArgs,
    /// Whether to stop.
    pub interrupt: Interrupt,
    /// When the program began.
    pub started: Instant,
    layers: Layers,
}

/// The configuration of a stage.
#[derive(Debug, Clone)]
pub struct Resolved<T> {
    /// The stage's own structure.
    pub options: T,
    /// The same, whole, with all defaults: what goes into `artifact.json` and decides whether an output is up to date.
    pub config: serde_json::Value,
    /// The preset below.
    pub preset: String,
}

impl Context {
    /// A context from its parts; [`crate::run`] makes it in programs, this is for tests of stages.
    ///
    /// # Errors
    /// Those of [`Layers::new`].
    pub fn new(stage: Stage, tool: Tool, common: CommonArgs) -> Result<Self, Failure> {
        let layers = Layers::new(common.config.as_deref(), &common.set)?;
        Ok(Self { stage, tool, common, interrupt: Interrupt::default(), started: Instant::now(), layers })
    }

    /// Settings of all layers under `flags`.
    ///
    /// # Errors
    /// Flags with values that their options do not take.
    pub fn merged(&self, flags: &Flags) -> Result<Merged, Failure> {
        let own = Flags::new().set("preset", self.common.preset.clone()).set("threads", self.common.threads);
        self.layers.merge(&own.and(flags))
    }

    /// The configuration of this stage. `T` has one field for each option that the table of options says this stage reads, with
    /// defaults (`#[serde(default, deny_unknown_fields)]`); [`crate::options::assert_config_matches`] tests that.
    ///
    /// With `--print-config` the configuration goes to standard output, and the returned failure ends the program with code 0.
    ///
    /// # Errors
    /// Flags with values that their options do not take.
    pub fn resolve<T: Serialize + DeserializeOwned>(&self, flags: &Flags) -> Result<Resolved<T>, Failure> {
        let merged = self.merged(flags)?;
        let options: T = merged.read(Reader::Stage(self.stage))?;
        if self.common.print_config {
            self.print(&merged.explain(&options)?)?;
            return Err(Failure::done());
        }
        let config = serde_json::to_value(&options)
            .map_err(|e| Failure::bug("record the configuration").because(e.to_string()))?;
        tracing::debug!("configuration: {config}");
        Ok(Resolved { options, config, preset: merged.preset })
    }

    /// Begin to show the progress of `what` ("calibrating") over `total` units ("samples"); nothing with `--quiet`.
    pub fn progress(&self, what: &str, total: u64, unit: &str) -> Progress {
        Progress::new(what, total, unit, self.common.quiet)
    }

    /// Print a result for machines to standard output, if `--json` asks for it.
    ///
    /// # Errors
    /// Where standard output cannot be written; [`Failure::done`] where nobody reads it any more.
    pub fn print_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Failure> {
        if !self.common.json {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(value)
            .map_err(|e| Failure::bug("print the result as JSON").because(e.to_string()))?;
        self.print(&(text + "\n"))
    }

    /// Print to standard output: what the user asked to see.
    ///
    /// # Errors
    /// Where standard output cannot be written; [`Failure::done`] where nobody reads it any more.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        let written = if text.ends_with('\n') { write!(out, "{text}") } else { writeln!(out, "{text}") };
        match written.and_then(|()| out.flush()) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::done()),
            Err(e) => Err(Failure::write(std::path::Path::new("standard output"), &e)),
            Ok(()) => Ok(()),
        }
    }

    /// Tell people something on standard error, such as a summary at the end; nothing with `--quiet`.
    pub fn say(&self, text: &str) {
        if !self.common.quiet {
            crate::progress::above(|| writeln!(anstream::stderr().lock(), "{}", text.trim_end())).ok();
        }
    }
}
