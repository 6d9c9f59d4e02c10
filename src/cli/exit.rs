//! Errors that know their exit code. What goes wrong before a host is touched and knows none
//! counts as refused.

use crate::event::ExitKind;
use crate::hint;

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    pub exit: ExitKind,
    pub message: String,
}

/// The command line itself is wrong.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(CliError { exit: ExitKind::Usage, message: message.into() })
}

/// Understood and not done.
pub fn refused(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(CliError { exit: ExitKind::Refused, message: message.into() })
}

/// An error with the exit code that it ends the program with.
pub fn ended(exit: ExitKind, message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(CliError { exit, message: message.into() })
}

/// The exit code of an error that ended a command.
#[must_use]
pub fn exit_of(error: &anyhow::Error) -> ExitKind {
    hint::find::<CliError>(error).map_or(ExitKind::Refused, |error| error.exit)
}
