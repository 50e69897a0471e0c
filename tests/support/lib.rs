//! What the end-to-end tests share: finding and running the programs, the material they run on, and the chain of stages.
//!
//! These tests see what a user sees: programs, scripts, exit codes, files. They must never call a stage as a library.

mod chain;
mod material;
mod program;

pub use chain::Chain;
pub use material::{Case, npy, python, root, say, scratch, shared, skip, slow};
pub use program::{Run, command, program, run};
