//! `shiftwise-npu-check`.

use std::process::ExitCode;

fn main() -> ExitCode {
    shiftwise_stage::run(shiftwise_npu_check::run)
}
