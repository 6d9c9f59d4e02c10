//! The command line: one file per verb, each with its arguments (their comments are the help) and
//! a `run` that reads like the manual. What verbs share is in `global`, `targets`, `context`,
//! `assemble` and `running`.

pub mod add;
mod app;
mod ask;
mod assemble;
mod backup;
mod backups;
mod builds;
mod change;
mod check;
mod completions;
mod context;
mod crons;
mod database;
mod deploys;
mod doctor;
mod exec;
mod exit;
mod explain;
pub mod global;
mod images;
mod init;
#[cfg(test)]
mod json_doc;
mod list;
mod lock;
mod logs;
mod looking;
mod migrate;
mod migrations;
mod notify;
mod own;
mod past;
mod policy;
mod preview;
mod provision;
mod remove;
mod render;
mod repositories;
mod restore;
mod rollback;
mod running;
mod runs;
mod secrets;
mod sentry;
mod shelves;
mod show;
mod ssh;
mod ssh_key;
mod status;
mod targets;
mod tell;
mod test_ssh;
mod update;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use app::App;

use crate::event::ExitKind;

/// Run the same application for many clients, each on a server of its own
///
/// An operator describes the clients in clients.toml; fleet takes each bare server to a working,
/// TLS-served, backed-up Docker Compose stack and keeps all of them up to date, over SSH and rsync,
/// with no agent on the servers.
#[derive(Parser, Debug)]
#[command(name = "fleet", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Start with `fleet init`. `fleet COMMAND --help` explains each command with examples.

Exit codes: 0 all well; 1 some client failed; 2 wrong usage; 3 refused before anything was touched;
4 no client reachable; 5 --check found pending changes; 6 held by someone else's lock; 130 interrupted.")]
pub struct Cli {
    #[command(flatten)]
    pub global: global::Global,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Init(init::Args),
    Add(add::Args),
    Remove(remove::Args),
    List(list::Args),
    Show(show::Args),
    #[command(name = "ssh-key")]
    SshKey(ssh_key::Args),
    #[command(name = "test-ssh")]
    TestSsh(test_ssh::Args),
    Render(render::Args),
    Secrets(secrets::Args),
    Provision(provision::Args),
    Update(update::Args),
    Rollback(rollback::Args),
    Migrate(migrate::Args),
    Backup(backup::Args),
    Backups(backups::Args),
    Restore(restore::Args),
    Status(status::Args),
    Check(check::Args),
    Doctor(doctor::Args),
    Logs(logs::Args),
    Ssh(ssh::Args),
    Exec(exec::Args),
    Notify(notify::Args),
    Sentry(sentry::Args),
    Runs(runs::Args),
    Lock(lock::Args),
    Completions(completions::Args),
    Man(completions::ManArgs),
    #[command(name = "test-progress", hide = true)]
    TestProgress,
    /// A fault of the program on purpose, to see that the report of one arrives.
    #[command(name = "test-panic", hide = true)]
    TestPanic,
}

/// The program as clap describes it, for completions, man pages and tests of the help.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program and returns its exit code; nothing calls `exit` on the way, so that what waits
/// to be written is written.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    // rsync starts this program as its remote shell: no parsing, no registry, nothing on stdout.
    if words.nth(1).is_some_and(|word| word == crate::ssh::RSYNC_SHELL) {
        return crate::ssh::rsync_shell_main(words);
    }
    let parsed = Cli::command().try_get_matches().and_then(|matches| {
        let verb = own::verb(&matches);
        Ok((verb, Cli::from_arg_matches(&matches)?))
    });
    let (verb, cli) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let code = if error.use_stderr() { ExitKind::Usage } else { ExitKind::Ok };
            // A closed pipe is no reason for another exit code.
            let _ = error.print();
            return ExitCode::from(code as u8);
        }
    };
    let app = App::new(cli.global);
    // Sends when it goes, after a panic too.
    let reporting = own::Reporting::begin(&verb);
    let exit = match dispatch(&app, &cli.command) {
        Ok(exit) => exit,
        Err(error) => {
            let error = explain::explain(error);
            app.error(&error);
            reporting.ended(&error);
            if explain::is_held(&error) { ExitKind::Locked } else { exit::exit_of(&error) }
        }
    };
    ExitCode::from(exit as u8)
}

fn dispatch(app: &App, command: &Command) -> anyhow::Result<ExitKind> {
    match command {
        Command::Init(args) => init::run(app, args),
        Command::Add(args) => add::run(app, args),
        Command::Remove(args) => remove::run(app, args),
        Command::List(args) => list::run(app, args),
        Command::Show(args) => show::run(app, args),
        Command::SshKey(args) => ssh_key::run(app, args),
        Command::TestSsh(args) => test_ssh::run(app, args),
        Command::Render(args) => render::run(app, args),
        Command::Secrets(args) => secrets::run(app, args),
        Command::Provision(args) => provision::run(app, args),
        Command::Update(args) => update::run(app, args),
        Command::Rollback(args) => rollback::run(app, args),
        Command::Migrate(args) => migrate::run(app, args),
        Command::Backup(args) => backup::run(app, args),
        Command::Backups(args) => backups::run(app, args),
        Command::Restore(args) => restore::run(app, args),
        Command::Status(args) => status::run(app, args),
        Command::Check(args) => check::run(app, args),
        Command::Doctor(args) => doctor::run(app, args),
        Command::Logs(args) => logs::run(app, args),
        Command::Ssh(args) => ssh::run(app, args),
        Command::Exec(args) => exec::run(app, args),
        Command::Notify(args) => notify::run(app, args),
        Command::Sentry(args) => sentry::run(app, args),
        Command::Lock(args) => lock::run(app, args),
        Command::Runs(args) => runs::run(app, args),
        Command::Completions(args) => completions::run(app, args),
        Command::Man(args) => completions::man(app, args),
        Command::TestProgress => {
            app.test_progress();
            Ok(ExitKind::Ok)
        }
        Command::TestPanic => panic!("asked to, by test-panic"),
    }
}
