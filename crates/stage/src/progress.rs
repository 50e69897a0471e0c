//! Progress: a bar with an estimate on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

/// All bars of the process, so that log lines can be written above them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Without a terminal, lines are at least this far apart.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Write to standard error while bars are out of the way.
pub(crate) fn above<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// The progress of one piece of work. It can be shared between threads.
#[derive(Debug)]
pub struct Progress {
    what: String,
    unit: String,
    total: u64,
    show: Show,
}

#[derive(Debug)]
enum Show {
    Nothing,
    Bar(ProgressBar),
    Lines { done: AtomicU64, before: AtomicU64, started: Instant, last: Mutex<Instant> },
}

impl Progress {
    /// Begin `what` ("calibrating") over `total` units ("samples").
    pub fn new(what: &str, total: u64, unit: &str, quiet: bool) -> Self {
        let show = if quiet {
            Show::Nothing
        } else if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {prefix} {eta} left");
            let bar = ProgressBar::new(total)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(what.to_owned())
                .with_prefix(unit.to_owned());
            Show::Bar(BARS.add(bar))
        } else {
            let now = Instant::now();
            Show::Lines { done: 0.into(), before: 0.into(), started: now, last: now.into() }
        };
        Self { what: what.to_owned(), unit: unit.to_owned(), total, show }
    }

    /// `n` units were done by an earlier run; they do not count for the estimate.
    pub fn resume_at(&self, n: u64) {
        match &self.show {
            Show::Nothing => {}
            Show::Bar(bar) => {
                bar.set_position(n);
                bar.reset_eta();
            }
            Show::Lines { done, before, .. } => {
                done.store(n, Ordering::Relaxed);
                before.store(n, Ordering::Relaxed);
            }
        }
    }

    /// `n` more units are done.
    pub fn inc(&self, n: u64) {
        match &self.show {
            Show::Nothing => {}
            Show::Bar(bar) => bar.inc(n),
            Show::Lines { done, before, started, last } => {
                let done = done.fetch_add(n, Ordering::Relaxed) + n;
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() >= BETWEEN_LINES {
                    *last = Instant::now();
                    let new = done.saturating_sub(before.load(Ordering::Relaxed));
                    writeln!(std::io::stderr(), "{}", self.line(done, new, started.elapsed())).ok();
                }
            }
        }
    }

    fn line(&self, done: u64, new: u64, elapsed: Duration) -> String {
        let Self { what, unit, total, .. } = self;
        let percent = done * 100 / (*total).max(1);
        let rest = elapsed.as_secs_f64() / new.max(1) as f64 * total.saturating_sub(done) as f64;
        let rest = HumanDuration(Duration::try_from_secs_f64(rest).unwrap_or(Duration::MAX));
        format!("{what}: {done} of {total} {unit} ({percent} %), {rest} left")
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
            BARS.remove(bar);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_is_done_and_what_is_left() {
        let progress = Progress::new("calibrating", 400, "samples", true);
        insta::assert_snapshot!(
            progress.line(100, 50, Duration::from_secs(10)),
            @"calibrating: 100 of 400 samples (25 %), 60 seconds left"
        );
        // Nothing known yet, more done than there is: no panic, no nonsense.
        progress.line(0, 0, Duration::ZERO);
        progress.line(500, 500, Duration::MAX);
    }
}
