//! The smallest program of the frame: counts to a number, can be interrupted, and fails in every way on demand.
//!
//! The tests of this crate run it; a real stage has its `Config` and its work in a library.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use shiftwise_artifact::Kind;
use shiftwise_stage::{Begin, CommonArgs, Context, Failure, Flags, Program, Stage};

/// Count to a number
#[derive(Debug, clap::Parser)]
#[command(name = "shiftwise-example", version)]
struct Args {
    /// The output directory
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Count to this number, slowly
    #[arg(long, value_name = "N", default_value_t = 0)]
    count: u64,

    /// How to fail: panic, check, bug, or stuck
    #[arg(long, value_name = "HOW")]
    fail: Option<String>,

    #[command(flatten)]
    common: CommonArgs,
}

impl Program for Args {
    const STAGE: Stage = Stage::Preprocess;

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct Config {
    fold_batch_norm: bool,
    fix_dim: BTreeMap<String, i64>,
}

fn main() -> ExitCode {
    shiftwise_stage::run(count)
}

fn count(args: &Args, context: &Context) -> Result<(), Failure> {
    let resolved = context.resolve::<Config>(&Flags::new())?;
    match args.fail.as_deref() {
        Some("panic") => panic!("index 7 is out of bounds"),
        Some("check") => return Err(Failure::check("2 nodes do not run on the NPU").with_help("see above")),
        Some("stuck") => {
            context.say("stuck");
            std::thread::sleep(Duration::from_secs(30));
        }
        Some("bug") => return Err(Failure::bug("count")),
        _ => {}
    }
    let progress = context.progress("counting", args.count, "numbers");
    for i in 0..args.count {
        if i == 0 {
            context.say("counting");
        }
        context.interrupt.check(|| format!("{i} of {} numbers are kept", args.count))?;
        std::thread::sleep(Duration::from_millis(20));
        progress.inc(1);
    }
    drop(progress);
    if let Some(dir) = &args.output {
        let begun = context.begin(dir, Kind::Evaluation, BTreeMap::new(), resolved.config.clone())?;
        if let Begin::Write(pending) = begun {
            let writer = pending.writer()?;
            writer.write_json("report.json", &args.count)?;
            context.finish(writer, BTreeMap::new())?;
        }
    }
    context.print_json(&resolved.options)
}
