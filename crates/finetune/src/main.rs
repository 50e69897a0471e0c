//! `shiftwise-finetune`.

use std::process::ExitCode;

fn main() -> ExitCode {
    shiftwise_stage::run(shiftwise_finetune::run)
}
