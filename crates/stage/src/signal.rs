//! Signals: the first asks for a checkpoint, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Failure;

/// Whether the user, the shell or the cluster asked the program to stop.
///
/// Long loops poll it between two pieces of work, write their checkpoint, and return [`Failure::interrupted`].
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listen for SIGINT and SIGTERM. The first sets the flag; the second ends the process at once, by the signal's own default, so
    /// that a program which is stuck can still be stopped.
    ///
    /// # Errors
    /// Where the system refuses the handlers.
    pub fn install() -> Result<Self, Failure> {
        let this = Self::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // In this order: the conditional handler must see the flag as it was before this signal.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&this.0))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&this.0)))
                .map_err(|e| Failure::bug("install signal handlers").because(e.to_string()))?;
        }
        Ok(this)
    }

    /// Whether to stop.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Ask to stop, as a signal would.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Return [`Failure::interrupted`] when asked to stop; `kept` says what is not lost.
    ///
    /// # Errors
    /// When asked to stop.
    pub fn check(&self, kept: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.requested() { Err(Failure::interrupted(kept())) } else { Ok(()) }
    }
}
