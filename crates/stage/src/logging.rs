//! Log lines on standard error, for people: `warning: …`.

use std::fmt;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use tracing::{Event, Level, Subscriber, field};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::{CommonArgs, Failure, progress};

/// The variable with a filter of its own, such as `shiftwise_graph=trace`.
pub const LOG_VARIABLE: &str = "SHIFTWISE_LOG";

/// Log from here on, as much as `-q`, `-v` or `SHIFTWISE_LOG` say.
pub(crate) fn init(common: &CommonArgs) -> Result<(), Failure> {
    let usual = match (common.quiet, common.verbose) {
        (true, _) => "error",
        (_, 0) => "warn,shiftwise=info",
        (_, 1) => "warn,shiftwise=debug",
        _ => "info,shiftwise=trace",
    };
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|e| {
            Failure::usage(format!("read the variable {LOG_VARIABLE}={text:?}"))
                .because(e.to_string())
                .with_help("use a level (debug), or levels by crate (warn,shiftwise_graph=trace)")
        })?,
        _ => EnvFilter::new(usual),
    };
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).event_format(Lines).with_writer(Stderr).finish();
    // A second program in one process (a test) keeps the log of the first.
    tracing::subscriber::set_global_default(subscriber).ok();
    Ok(())
}

/// One line an event: level, message, fields.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (label, color) = match *event.metadata().level() {
            Level::ERROR => ("error: ", AnsiColor::Red),
            Level::WARN => ("warning: ", AnsiColor::Yellow),
            Level::INFO => ("", AnsiColor::Green),
            Level::DEBUG => ("debug: ", AnsiColor::Blue),
            Level::TRACE => ("trace: ", AnsiColor::Magenta),
        };
        let style = Style::new().bold().fg_color(Some(color.into()));
        if !label.is_empty() {
            write!(out, "{style}{label}{style:#}")?;
        }
        let mut line = Line::default();
        event.record(&mut line);
        writeln!(out, "{}{}", line.message, line.fields)
    }
}

/// Message first, fields behind it.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl field::Visit for Line {
    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields += &format!(" {}={value:?}", field.name());
        }
    }

    fn record_str(&mut self, field: &field::Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.fields += &format!(" {}={value:?}", field.name());
        }
    }
}

/// Standard error, above the progress bars; without colour where it is no terminal or NO_COLOR is set.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        progress::above(|| anstream::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        anstream::stderr().flush()
    }
}
