//! What an engine does not pass, and why.

/// Cases whose name begins like this.
pub(crate) struct Exception {
    prefix: &'static str,
    /// For readers.
    #[allow(dead_code)]
    reason: &'static str,
}

impl Exception {
    pub(crate) fn covers(&self, case: &str) -> bool {
        case.starts_with(self.prefix)
    }
}

#[allow(dead_code)]
const fn except(prefix: &'static str, reason: &'static str) -> Exception {
    Exception { prefix, reason }
}

pub(crate) const EMBEDDED: &[Exception] = &[];
