//! `fleet exec`: one command on many hosts, or in a container of each.

mod show;

use std::io::Read as _;
use std::sync::Arc;

use anyhow::Context as _;

use super::App;
use super::context::Fleet;
use super::exit::usage;
use super::global::Limits;
use super::targets::Targets;
use crate::event::ExitKind;
use crate::ops::compose;
use crate::registry::Client;
use crate::shell::{Cmd, Stdin};
use crate::ssh::Stream;
use crate::ui::Out;
use show::{Live, LiveMany};

/// Longest input that is sent to every host, in bytes.
const MOST_INPUT: u64 = 64 << 20;

/// Run a command on hosts, or in a container of each with --service
///
/// The words after -- are one command and its arguments, passed on as they are; for pipes and
/// variables use sh -c. One host's output is shown as it comes; that of many is shown when all have
/// answered, equal outputs once, or with --live as it comes, each line behind its client's name. Up to
/// 64 MiB of standard input are sent with --stdin, and 16 MiB of each output are kept. The exit code is
/// 0 when every command ended with 0, 1 when one did not or a host gave no answer, 4 when no host was
/// reached. It never asks for confirmation.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet exec --all -- uptime
  fleet exec --tag prod --sudo -- sh -c 'df -h / | tail -n 1'
  fleet exec --all --live --sudo -- apt-get -qq update
  fleet exec ville-lyon --service api -- python manage.py createsuperuser --noinput
  fleet exec ville-lyon --service db --stdin -- psql -U geoclic < report.sql
  fleet exec --all --json -- cat /etc/debian_version | jq -r '[.client, .stdout] | @tsv'")]
pub struct Args {
    #[command(flatten)]
    pub targets: Targets,

    /// In the running container of this service, such as api
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,

    /// As root, through sudo (docker is always asked as root)
    #[arg(long)]
    pub sudo: bool,

    /// Send standard input to the command, on every host the same
    #[arg(long)]
    pub stdin: bool,

    /// Show the output of many as it comes, each line behind its client's name
    #[arg(long)]
    pub live: bool,

    /// Leave control characters in the output
    #[arg(long)]
    pub raw: bool,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    #[command(flatten)]
    pub limits: Limits,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    let fleet = Fleet::open(&app.global)?;
    let clients = args.targets.required(&fleet)?;
    let mut questions = Vec::new();
    for client in &clients {
        questions.push((fleet.target(client), cmd(&fleet, client, args)?));
    }
    if args.stdin {
        let input = input()?;
        questions.iter_mut().for_each(|(_, cmd)| *cmd = cmd.clone().stdin(input.clone()));
    }
    let single = if questions.len() == 1 && !app.global.json { questions.pop() } else { None };
    let Some(question) = single else {
        if args.live && !app.global.json {
            let live = LiveMany::new(app, &clients, args.raw);
            let hear = Arc::clone(&live);
            let hear = move |place: usize, stream: Stream, chunk: &[u8]| hear.take(place, stream, chunk);
            let answers = app.ask_heard(&fleet, "exec", questions, &args.limits, Some(Arc::new(hear)))?;
            live.finish()?;
            return Ok(answers.exit(show::summary(app, &answers.answers)));
        }
        let answers = app.ask(&fleet, "exec", questions, &args.limits)?;
        let bad = show::all(app, &answers.answers, args.raw)?;
        return Ok(answers.exit(bad));
    };
    let mut live = Live::new(args.raw, Out::stdout(), String::new());
    let answers = {
        let mut sink = |stream: Stream, chunk: &[u8]| live.take(stream, chunk);
        app.listen(&fleet, "exec", question, &args.limits, &mut sink)?
    };
    live.finish()?;
    let bad = show::endings(app, &answers.answers);
    Ok(answers.exit(bad))
}

fn cmd(fleet: &Fleet, client: &Client, args: &Args) -> anyhow::Result<Cmd> {
    Ok(match &args.service {
        Some(service) => {
            let stack = fleet.stack_with(client, service)?;
            compose::inside(&stack.name, service, &args.command, false)
        }
        None if args.sudo => Cmd::new(args.command.clone()).sudo(),
        None => Cmd::new(args.command.clone()),
    })
}

/// What is sent may be a password: it is never shown.
fn input() -> anyhow::Result<Stdin> {
    let mut bytes = Vec::new();
    let mut reader = std::io::stdin().lock().take(MOST_INPUT + 1);
    reader.read_to_end(&mut bytes).context("standard input cannot be read")?;
    if bytes.len() as u64 > MOST_INPUT {
        return Err(usage(format!("standard input is longer than {} MiB", MOST_INPUT >> 20)));
    }
    Ok(Stdin::Secret(bytes))
}
