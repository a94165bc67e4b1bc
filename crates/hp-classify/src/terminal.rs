//! Writing to people: colours only on a terminal, and never a panic because a pipe was closed.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const FAIR: Style = AnsiColor::Yellow.on_default();

/// Standard output; styles are dropped when it is no terminal or `NO_COLOR` is set.
pub(crate) fn stdout() -> anstream::AutoStream<io::StdoutLock<'static>> {
    anstream::AutoStream::auto(io::stdout().lock())
}

/// Standard error; styles are dropped when it is no terminal or `NO_COLOR` is set.
pub(crate) fn stderr() -> anstream::AutoStream<io::StderrLock<'static>> {
    anstream::AutoStream::auto(io::stderr().lock())
}

/// The colour of a confidence.
pub(crate) fn confidence_style(confidence: f64) -> Style {
    if confidence >= 0.8 { GOOD } else { FAIR }
}

/// A time, in microseconds, or from ten thousand of them on in milliseconds.
pub(crate) fn time(time: std::time::Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1e4 { format!("{micros:.0} µs") } else { format!("{:.0} ms", micros / 1e3) }
}

/// Writes an error to standard error.
pub(crate) fn report(error: &anyhow::Error) {
    // OK to ignore: nowhere is left to say so.
    let _ = writeln!(stderr(), "{ERROR}error{ERROR:#}: {}", chain(error));
}

/// The error and its causes, leaving out a cause that the message before it says already.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Whether the reader of our output went away, as `head` does: no error of ours.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
