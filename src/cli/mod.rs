//! The command line: one file per verb, each with its arguments and a `run` that reads like the
//! manual. What is common to all verbs is in `global`, `targets` and `context`.
use std::process::ExitCode;
pub mod global;
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
