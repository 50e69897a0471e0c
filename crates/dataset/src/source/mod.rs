//! The kinds of sources, and which one a path is.

mod random;

use std::fmt::Debug;

use shiftwise_artifact::Fingerprint;
use shiftwise_graph::Value;

use crate::{DataError, DataSpec, InputSpec, Result, Source};

/// Samples of one kind.
pub(crate) trait Samples: Debug + Send + Sync {
    /// The values of sample `index`, in the order of the inputs.
    fn load(&self, index: usize, id: &str) -> Result<Vec<(String, Value)>>;

    /// The hash of the raw bytes of sample `index`.
    fn fingerprint(&self, index: usize) -> Result<Fingerprint>;
}

/// A source that has been looked through.
pub(crate) struct Opened {
    pub(crate) ids: Vec<String>,
    pub(crate) labels: Vec<Option<usize>>,
    pub(crate) samples: Box<dyn Samples>,
}

pub(crate) fn open(spec: &DataSpec, inputs: &[InputSpec]) -> Result<Opened> {
    if let Some(recipe) = &spec.recipe {
        recipe.check("in the configuration")?;
    }
    match &spec.source {
        Source::Random { seed, count } => random::open(*seed, *count, inputs),
        Source::Path(path) => Err(DataError::source(path, "only random samples can be read so far")),
    }
}

/// One hash for the inputs of a sample; that of the input itself where there is only one.
fn joint<'a>(parts: impl Iterator<Item = (&'a str, Fingerprint)>) -> Fingerprint {
    let parts: Vec<_> = parts.collect();
    match parts.as_slice() {
        [(_, only)] => *only,
        _ => Fingerprint::combine("sample", parts),
    }
}
