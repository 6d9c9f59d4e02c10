//! The command line: one file per verb, each with its arguments and a `run` that reads like the
//! manual. What is common to all verbs is in `global`, `targets` and `context`.
use std::process::ExitCode;
pub mod global;
pub fn main() -> ExitCode {
    // rsync starts us again as its remote shell: no verb, no settings, no Sentry.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|mode| mode == crate::ssh::RSYNC_SHELL) {
        return crate::ssh::rsync_shell_main(args);
    }
    ExitCode::SUCCESS
}
