//! The preprocess stage: rewrites a float model into the reference that is calibrated, quantized and compared against.
//!
//! [`prepare`] is the whole work on a model in memory; [`run`] reads, calls it, and writes a `prepared` artifact. What
//! leaves this stage computes what came in, up to rounding, under the same input and output names. It must never
//! change a model that it does not understand: what cannot be processed is refused before any work, and every rewrite
//! that was declined is in the report with its node and reason.

mod args;
mod config;
mod equalize;
mod error;
mod opset;
mod passes;
mod prepare;
mod report;
mod run;

pub use args::Arguments;
pub use config::{BalanceMethod, PreprocessConfig};
pub use equalize::Equalized;
pub use error::{DynamicDim, PreprocessError};
pub use passes::{
    BatchNormToConv, ConstantFolding, Constants, CopyShared, FoldArithmetic, FoldBatchNorm, FoldPad,
    FuseActivations, FuseGelu, FuseGemm, FuseInstanceNorm, FuseL2Norm, FuseLayerNorm, InlineBranches,
    MergeArithmetic, MergeCasts, MergeClips, MergeDuplicates, MergeReshapes, MergeTransposes, Recognized,
    ReduceMeanToPool, RemoveIdentity, ResolveReshapes, SplitPool, SplitToSlice, TransposedGemm,
    channels_last, dead_code, unused_constants,
};
pub use prepare::{Prepared, prepare, prepare_with};
pub use report::Rewrites;
pub use run::{REWRITES_FILE, run};
