//! Spawning other programs: how they are spelled to the reader, and how their exit codes travel back.

use std::fmt;
use std::io::{self, Read, Write};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::Context as _;

/// A program we spawned did not succeed; its exit code becomes ours.
#[derive(Debug)]
pub(crate) struct Failed {
    command: String,
    status: ExitStatus,
}

impl Failed {
    /// The exit code to end with: the child's own, or 128 + the signal that ended it, as shells do.
    pub(crate) fn exit_code(&self) -> u8 {
        let code = match (self.status.code(), signal(self.status)) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 1,
        };
        u8::try_from(code).unwrap_or(1)
    }

    /// Whether the person at the terminal pressed Ctrl-C.
    pub(crate) fn is_interrupted(&self) -> bool {
        const INTERRUPT: i32 = 2;
        signal(self.status) == Some(INTERRUPT) || self.status.code() == Some(128 + INTERRUPT)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` failed ({})", self.command, self.status)
    }
}

impl std::error::Error for Failed {}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}

/// The command as one would type it: program by its file name, arguments quoted where a shell needs it.
pub(crate) fn spell(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| quote(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Shows the command on standard error, then runs it with our own standard streams.
pub(crate) fn announce_and_run(command: &mut Command) -> anyhow::Result<()> {
    eprintln!("+ {}", spell(command));
    run(command)
}

/// Runs the command with our own standard streams.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", spell(command)))?;
    succeeded(command, status)
}

/// Runs the command and returns what it wrote to standard output; its standard error is ours.
pub(crate) fn capture(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", spell(command)))?;
    succeeded(command, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("`{}` did not write UTF-8", spell(command)))
}

/// Whether the command can be started and succeeds; nothing it writes is shown.
pub(crate) fn works(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Which of a child's two output streams to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Error,
}

/// Runs the command, passes one of its streams through as it comes and returns a copy of it.
///
/// The child's failure is not an error here: the copy is of interest then too.
pub(crate) fn watch(command: &mut Command, stream: Stream) -> anyhow::Result<(ExitStatus, Vec<u8>)> {
    match stream {
        Stream::Out => command.stdout(Stdio::piped()),
        Stream::Error => command.stderr(Stdio::piped()),
    };
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", spell(command)))?;
    let copy = match (child.stdout.take(), child.stderr.take()) {
        (Some(mut out), _) => pass_through(&mut out, &mut io::stdout().lock())?,
        (None, Some(mut error)) => pass_through(&mut error, &mut io::stderr().lock())?,
        (None, None) => Vec::new(),
    };
    Ok((child.wait()?, copy))
}

fn pass_through(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<Vec<u8>> {
    let mut copy = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let n_bytes = from.read(&mut buffer)?;
        if n_bytes == 0 {
            return Ok(copy);
        }
        to.write_all(&buffer[..n_bytes])?;
        to.flush()?;
        copy.extend_from_slice(&buffer[..n_bytes]);
    }
}

/// Turns an unsuccessful status into a [`Failed`] that names the command.
pub(crate) fn succeeded(command: &Command, status: ExitStatus) -> anyhow::Result<()> {
    if status.success() {
        return Ok(());
    }
    Err(Failed { command: spell(command), status }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(script: &str) -> Failed {
        let mut command = Command::new("sh");
        let error = run(command.args(["-c", script])).unwrap_err();
        error.downcast::<Failed>().unwrap()
    }

    #[test]
    fn words_are_quoted_only_where_a_shell_needs_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["run", "--", "What's new?", ""]);
        assert_eq!(spell(&command), r"cargo run -- 'What'\''s new?' ''");
    }

    #[test]
    fn exit_codes_are_passed_on() {
        assert_eq!(failed("exit 7").exit_code(), 7);
        assert!(!failed("exit 7").is_interrupted());
    }

    #[test]
    fn signals_become_codes_above_128() {
        assert_eq!(failed("kill -TERM $$").exit_code(), 143);
        assert!(failed("kill -INT $$").is_interrupted());
        assert!(failed("exit 130").is_interrupted());
    }

    #[test]
    fn watching_returns_the_stream_even_of_a_child_that_fails() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo counted >&2; exit 4"]);
        let (status, copy) = watch(&mut command, Stream::Error).unwrap();
        assert_eq!((status.code(), copy.as_slice()), (Some(4), b"counted\n".as_slice()));
    }

    #[test]
    fn a_program_that_is_not_there_does_not_work() {
        assert!(!works(&mut Command::new("no-such-program-anywhere")));
        assert!(works(&mut Command::new("true")));
    }
}
