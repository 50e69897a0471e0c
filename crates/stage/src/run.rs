//! The frame of every program: parse, set up, run, report, exit code.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use shiftwise_artifact::Tool;

use crate::exit::BUG_HELP;
use crate::options::{Flags, Reader, Stage};
use crate::{CommonArgs, Context, ExitStatus, Failure, Interrupt, logging, progress};

/// The arguments of a program.
pub trait Program: Parser {
    /// Which stage it is.
    const STAGE: Stage;

    /// The flattened [`CommonArgs`].
    fn common(&self) -> &CommonArgs;
}

/// Run a program: all of its `main`.
///
/// Parses the arguments, sets up logging, threads, signals and configuration, runs `body`, and prints its failure. Panics are
/// reported as bugs.
pub fn run<A: Program>(body: impl FnOnce(&A, &Context) -> Result<(), Failure>) -> ExitCode {
    report_panics();
    let args = match A::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output; nobody reading it is no error.
            error.print().ok();
            return if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Done }.into();
        }
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let context = set_up::<A>(args.common())?;
        body(&args, &context)
    }));
    match outcome {
        Ok(Ok(())) => ExitStatus::Done.into(),
        Ok(Err(failure)) => {
            progress::above(|| write!(anstream::stderr().lock(), "{}", failure.render())).ok();
            failure.status.into()
        }
        // The hook has said what happened.
        Err(_) => ExitStatus::Bug.into(),
    }
}

fn set_up<A: Program>(common: &CommonArgs) -> Result<Context, Failure> {
    logging::init(common)?;
    let command = A::command();
    let version = command.get_version().unwrap_or(env!("CARGO_PKG_VERSION")).to_owned();
    let tool = Tool { name: command.get_name().to_owned(), version };
    let mut context = Context::new(A::STAGE, tool, common.clone())?;
    context.interrupt = Interrupt::install()?;
    context.started = Instant::now();
    let run: RunConfig = context.merged(&Flags::new())?.read(Reader::Run)?;
    if let Some(threads) = run.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|e| Failure::bug(format!("start {threads} threads")).because(e.to_string()))?;
    }
    Ok(context)
}

/// What every program reads for itself.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RunConfig {
    preset: Option<String>,
    threads: Option<usize>,
}

/// Say that a panic is a bug, and where it was.
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("panic");
        let mut failure = Failure::bug(format!("go on: {message}")).with_help(BUG_HELP);
        if let Some(place) = info.location() {
            failure = failure.because(format!("at {place}"));
        }
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0") {
            failure = failure.because(std::backtrace::Backtrace::force_capture().to_string());
        }
        write!(anstream::stderr().lock(), "{}", failure.render()).ok();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_config_matches_the_table() {
        crate::options::assert_config_matches::<RunConfig>(Reader::Run);
    }
}
