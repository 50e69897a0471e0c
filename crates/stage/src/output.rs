//! Outputs: skipped when they are done, refused when they are something else, written whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shiftwise_artifact::{Artifact, Decision, Input, Kind, Measured, Request, Writer, decide};

use crate::{Context, Failure};

/// Whether there is something to do.
#[derive(Debug)]
pub enum Begin {
    /// The output exists, from the same inputs and configuration; the user was told.
    UpToDate(Box<Artifact>),
    /// The output is to be made.
    Write(Pending),
}

/// An output that is to be made.
#[derive(Debug, Clone)]
pub struct Pending {
    dir: PathBuf,
    request: Request,
    force: bool,
}

impl Pending {
    /// What is to be made, from what.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Begin to write. Long stages do their work first, and call this at the end.
    ///
    /// # Errors
    /// Where the directory cannot be made.
    pub fn writer(&self) -> Result<Writer, Failure> {
        Ok(Writer::new(&self.dir, self.request.clone(), self.force)?)
    }
}

impl Context {
    /// Decide whether an artifact has to be made: inputs by role, the resolved configuration ([`crate::Resolved::config`], with whatever
    /// else decides about the content). Says "up to date" where it is.
    ///
    /// # Errors
    /// Where the output exists and was made differently, or is something else; see [`decide`].
    pub fn begin(
        &self,
        dir: &Path,
        kind: Kind,
        inputs: BTreeMap<String, Input>,
        config: Value,
    ) -> Result<Begin, Failure> {
        let request = Request { kind, tool: self.tool.clone(), inputs, config };
        Ok(match decide(dir, &request, self.common.force)? {
            Decision::UpToDate(artifact) => {
                self.say(&format!("up to date: {}", dir.display()));
                Begin::UpToDate(Box::new(artifact))
            }
            Decision::Write => {
                Begin::Write(Pending { dir: dir.to_owned(), request, force: self.common.force })
            }
        })
    }

    /// Move a written artifact in place, with peak memory, wall time and notes in its manifest. Says where it is.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(&self, writer: Writer, notes: BTreeMap<String, Value>) -> Result<Artifact, Failure> {
        let measured = Measured { notes, ..Measured::since(self.started) };
        let artifact = writer.commit(measured)?;
        self.say(&format!("wrote {}", artifact.dir().display()));
        Ok(artifact)
    }
}
