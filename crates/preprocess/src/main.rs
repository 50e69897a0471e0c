//! `shiftwise-preprocess`.

use std::process::ExitCode;

/// A graph is millions of names and small lists: with the allocator of the system, time grows faster than the number of nodes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    shiftwise_stage::run(shiftwise_preprocess::run)
}
