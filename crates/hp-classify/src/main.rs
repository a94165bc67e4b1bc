//! The command line of the classifier: questions in, classifications out, one at a time or by the million.
//!
//! Exit codes: 0 fine, 2 bad usage or input, 3 anything else.

mod bulk;
mod cli;
mod commands;
mod terminal;

use std::fmt;
use std::process::ExitCode;

use clap::Parser;
use classifier_core::ErrorKind;

use crate::cli::Cli;

/// What the user gave cannot be used; ends in exit code 2.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// An error whose message has been written already; ends in exit code 2.
#[derive(Debug)]
pub(crate) struct AlreadyTold;

impl fmt::Display for AlreadyTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the input could not all be used")
    }
}

impl std::error::Error for AlreadyTold {}

const BAD_INPUT: u8 = 2;
const INTERNAL: u8 = 3;

fn main() -> ExitCode {
    // clap itself exits with 0 after --help and with 2 after bad usage.
    let cli = Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if terminal::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<AlreadyTold>() {
                terminal::report(&error);
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Whether an error is the user's to mend.
fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<UsageError>() || error.is::<AlreadyTold>() {
        return BAD_INPUT;
    }
    match error.downcast_ref::<classifier_core::Error>().map(classifier_core::Error::kind) {
        Some(
            ErrorKind::InvalidQuery
            | ErrorKind::InvalidTaxonomy
            | ErrorKind::InvalidModel
            | ErrorKind::InvalidData
            | ErrorKind::InvalidConfig
            | ErrorKind::NotFound,
        ) => BAD_INPUT,
        _ => INTERNAL,
    }
}
